"""What an operator watches: Prometheus figures of one server."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from fullduplex.base.units import FRAME_S
from fullduplex.dialogue import events as ev
from fullduplex.recipes.threads import ThreadPool

__all__ = ["Metrics", "SessionMeter"]

_STEP_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128)
_GAP_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0)
_STOP_S = (0.032, 0.064, 0.096, 0.128, 0.16, 0.2, 0.3, 0.5)


class Metrics:
    """The figures of one server; thread-safe."""

    def __init__(self, pool: ThreadPool | None = None) -> None:
        self.registry = CollectorRegistry()
        self._pool = pool
        self.sessions = Gauge("fullduplex_sessions", "Conversations now", registry=self.registry)
        self.started = Counter("fullduplex_sessions_started", "Conversations begun", registry=self.registry)
        self.refused = Counter("fullduplex_refused", "Clients turned away", ["reason"], registry=self.registry)
        self.closed = Counter("fullduplex_closed", "Conversations ended", ["cause"], registry=self.registry)
        self.step_s = Histogram(
            "fullduplex_step_seconds", "One step of the core, ear included", buckets=_STEP_S, registry=self.registry
        )
        self.reply_gap_s = Histogram(
            "fullduplex_reply_gap_seconds",
            "From the end of the user's speech to the first sound sent",
            buckets=_GAP_S,
            registry=self.registry,
        )
        self.stop_s = Histogram(
            "fullduplex_stop_seconds",
            "From the user's first sound over a reply to the flush",
            buckets=_STOP_S,
            registry=self.registry,
        )
        self.shed_frames = Counter("fullduplex_shed_frames", "Frames that came too fast", registry=self.registry)
        self.silent_frames = Counter(
            "fullduplex_silent_frames", "Frames of silence in the place of missing sound", registry=self.registry
        )
        self.late = Counter("fullduplex_deadline_misses", "Promises broken", ["what"], registry=self.registry)
        self.failures = Counter("fullduplex_part_failures", "Parts that failed", ["port"], registry=self.registry)
        self.waiting = Gauge("fullduplex_lane_waiting", "Requests that wait", ["lane"], registry=self.registry)

    def page(self) -> bytes:
        """All figures in Prometheus' text format."""
        if self._pool is not None:
            for lane, count in self._pool.waiting().items():
                self.waiting.labels(lane).set(count)
        return generate_latest(self.registry)


class SessionMeter:
    """Watches the events of one conversation."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._began = 0
        self._ended = -1
        self._speaks = False

    def take(self, event: ev.Event, frame: int) -> None:
        """One event, which happened at the end of `frame`."""
        match event:
            case ev.UserSpeech():
                self._speech(event)
            case ev.AudioOut():
                self._audio(event, frame)
            case ev.Flush():
                if self._speaks:  # otherwise somebody pressed a button
                    self._metrics.stop_s.observe((frame + 1 - self._began) * FRAME_S)
            case ev.Dropped():
                self._metrics.shed_frames.inc(event.frames)
            case ev.DeadlineMissed():
                self._metrics.late.labels(event.what).inc()
            case ev.Failure():
                self._metrics.failures.labels(event.port).inc()
            case _:
                pass

    def _speech(self, event: ev.UserSpeech) -> None:
        self._speaks = event.active
        if event.active:
            self._began = event.frame
        else:
            self._ended = event.frame

    def _audio(self, event: ev.AudioOut, frame: int) -> None:
        if event.start == 0 and self._ended >= 0:
            self._metrics.reply_gap_s.observe((frame - self._ended) * FRAME_S)
            self._ended = -1
