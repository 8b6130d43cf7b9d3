"""What the machine would make of a take: attenuation, false onsets, how soon and how well an interruption is understood.

Axes: N samples at 16 kHz, F frames of 512 samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from echo.battery import Interruption, Session
from echo.chromium import Take
from echo.figures import active_frames, attenuation_db, delay_samples, onset_of, onsets, sdr_db, word_errors
from numpy.typing import NDArray

from fullduplex.base.units import EAR_RATE_HZ, FRAME_S, FRAME_SAMPLES, samples_from_s
from fullduplex.dialogue.listening.hearing import HearingConfig
from fullduplex.dialogue.listening.transcript import words_of
from fullduplex.recipes.parts import PartsConfig, open_parts
from fullduplex.speech.echo import EchoCanceller, EchoRemover, NoEcho
from fullduplex.speech.webrtc import WebRtcEcho

__all__ = ["Listener", "Rating", "summarise", "table"]

Pcm = NDArray[np.float32]

CONDITIONS = {
    "no echo": "no echo in the room",
    "none": "nothing taken out",
    "browser": "the browser's (AEC3, 48 kHz)",
    "own": "ours (`speech/echo.py`)",
    "webrtc": "AEC3 on the server (`speech/webrtc.py`)",
}
_PREROLL_S, _AFTER_S = 0.384, 0.3
_FIRST_S = 0.5
_MOST_LATE_SAMPLES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One interruption. `onset_s` None: not noticed; `already`: the detector was active before, so it says nothing."""

    text: str
    understood: str
    read: str
    onset_s: float | None
    already: bool
    sdr_db: float
    first_sdr_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """One condition of one take. `begun`, `settled`: (before, after) of the echo in its first 2 s, and after 5 s."""

    condition: str
    loop: str
    begun_db: float
    settled_db: float
    alone_s: float
    false_alone: int
    between_s: float
    false_between: int
    heard: tuple[Heard, ...] = ()
    play: bool = True


class Listener:
    """The machine's ear and recogniser."""

    def __init__(self) -> None:
        """Open the models. Raises: AssetError."""
        parts = open_parts(PartsConfig(brain="scripted", voice="tones", strict=True))
        assert parts.recogniser is not None
        self._ear, self._recogniser, self._config = parts.ear, parts.recogniser, HearingConfig()

    def rate(self, session: Session, take: Take, *, play: bool) -> Iterator[Rating]:
        """Every condition of a take."""
        nothing = np.zeros_like(session.far)
        sounds: dict[str, tuple[Pcm, Pcm, EchoRemover]] = {
            "no echo": (session.quiet, nothing, NoEcho()),
            "none": (take.raw, nothing, NoEcho()),
            "browser": (take.cancelled, nothing, NoEcho()),
            "own": (take.raw, session.far if play else nothing, EchoCanceller()),
            "webrtc": (take.raw, session.far if play else nothing, WebRtcEcho()),
        }
        for condition, (near, far, echo) in sounds.items():
            out, believed = _through(echo, near, far, self._config.max_echo_share)
            yield replace(self._rating(condition, session, take.raw, out, believed), play=play)

    def _rating(self, condition: str, session: Session, raw: Pcm, out: Pcm, believed: list[bool]) -> Rating:
        active = active_frames(
            self._probabilities(out), believed, enter=self._config.enter, run=self._config.onset_frames
        )
        begin, end = session.alone
        two_s, five_s = (begin + samples_from_s(s, EAR_RATE_HZ) for s in (2.0, 5.0))
        first, last = begin // FRAME_SAMPLES, end // FRAME_SAMPLES
        outside = [not any(_near(said, i) for said in session.interruptions) for i in range(len(active))]
        at = onsets(active)
        return Rating(
            condition=condition,
            loop=session.loop.name,
            begun_db=attenuation_db(raw[begin:two_s], out[begin:two_s]),
            settled_db=attenuation_db(raw[five_s:end], out[five_s:end]),
            alone_s=(last - first) * FRAME_S,
            false_alone=sum(first <= i < last for i in at),
            between_s=sum(outside[last:]) * FRAME_S,
            false_between=sum(i >= last and outside[i] for i in at),
            heard=tuple(self._heard(said, session, out, active) for said in session.interruptions),
        )

    def _probabilities(self, out: Pcm) -> list[float]:
        state, found = self._ear.init(), []
        for start in range(0, out.size - FRAME_SAMPLES + 1, FRAME_SAMPLES):
            probability, state = self._ear.step(out[start : start + FRAME_SAMPLES], state)
            found.append(probability)
        return found

    def _heard(self, said: Interruption, session: Session, out: Pcm, active: list[bool]) -> Heard:
        frame, already = onset_of(active, said.start, said.end)
        before, after = samples_from_s(_PREROLL_S, EAR_RATE_HZ), samples_from_s(_AFTER_S, EAR_RATE_HZ)
        noticed = said.start if already else (0 if frame is None else (frame + 1) * FRAME_SAMPLES)
        late = delay_samples(out[said.start : said.end], session.near[said.start : said.end], most=_MOST_LATE_SAMPLES)
        voice, clean = out[said.start + late : said.end + late], session.near[said.start : said.end]
        return Heard(
            text=said.text,
            understood=self._recogniser.recognise(out[said.start - before : said.end + after]).text,
            read="" if frame is None else self._recogniser.recognise(out[noticed - before : said.end + after]).text,
            onset_s=None if frame is None else ((frame + 1) * FRAME_SAMPLES - said.start) / EAR_RATE_HZ,
            already=already,
            sdr_db=sdr_db(voice, clean),
            first_sdr_db=sdr_db(voice, clean, first_s=_FIRST_S),
        )


def _near(said: Interruption, frame: int) -> bool:
    """Whether an onset in this frame may be the user's."""
    return said.start <= (frame + 1) * FRAME_SAMPLES and frame * FRAME_SAMPLES < said.end + EAR_RATE_HZ // 2


def _through(echo: EchoRemover, near: Pcm, far: Pcm, max_share: float) -> tuple[Pcm, list[bool]]:
    """What leaves a canceller frame by frame, and whether each frame is believed."""
    pieces, believed = [], []
    for start in range(0, near.size - FRAME_SAMPLES + 1, FRAME_SAMPLES):
        frame = slice(start, start + FRAME_SAMPLES)
        pieces.append(echo.process(near[frame], far[frame]))
        believed.append(echo.echo_share < max_share)
    return np.concatenate(pieces), believed


def summarise(ratings: list[Rating]) -> list[dict[str, Any]]:
    """One line a loop and condition, over all takes of it."""
    keys = list(dict.fromkeys((r.play, r.loop, r.condition) for r in ratings))
    return [_line([r for r in ratings if (r.play, r.loop, r.condition) == key]) for key in keys]


def _line(ratings: list[Rating]) -> dict[str, Any]:
    heard = [one for rating in ratings for one in rating.heard]
    told = [one for one in heard if not one.already]
    noticed = [one.onset_s for one in told if one.onset_s is not None]
    alone_s, between_s = sum(r.alone_s for r in ratings), sum(r.between_s for r in ratings)
    return {
        "loop": ratings[0].loop,
        "played": ratings[0].play,
        "condition": ratings[0].condition,
        "attenuation_first_2_s_db": _mean([r.begun_db for r in ratings]),
        "attenuation_after_5_s_db": _mean([r.settled_db for r in ratings]),
        "false_onsets_alone": sum(r.false_alone for r in ratings),
        "alone_s": round(alone_s, 1),
        "false_onsets_between": sum(r.false_between for r in ratings),
        "between_s": round(between_s, 1),
        "interruptions": len(heard),
        "already_active": len(heard) - len(told),
        "missed": sum(one.onset_s is None for one in heard),
        "onset_s_median": round(float(np.median(noticed)), 3) if noticed else None,
        "onset_s_max": round(max(noticed), 3) if noticed else None,
        "word_error_rate": _word_error_rate([(one.text, one.understood) for one in heard]),
        "word_error_rate_read": _word_error_rate([(one.text, one.read) for one in heard]),
        "sdr_db_median": round(float(np.median([one.sdr_db for one in heard])), 1),
        "first_half_second_sdr_db_median": round(float(np.median([one.first_sdr_db for one in heard])), 1),
    }


def _mean(values: list[float]) -> float:
    return round(float(np.mean(values)), 1)


def _word_error_rate(pairs: list[tuple[str, str]]) -> float:
    said = [words_of(text) for text, _ in pairs]
    errors = sum(word_errors(words, words_of(text)) for words, (_, text) in zip(said, pairs, strict=True))
    return round(errors / sum(map(len, said)), 3)


def table(lines: list[dict[str, Any]]) -> str:
    """Markdown."""
    rows = [
        "| loop gain | canceller | echo taken out, first 2 s / after 5 s | false onsets a minute, echo alone / between "
        "| onset, median / worst | missed | word errors | SDR, whole / first 0.5 s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*rows, *map(_row, lines)])


def _row(line: dict[str, Any]) -> str:
    loop = line["loop"] if line["played"] else f"{line['loop']}, nothing played"
    rates = [60 * line[f"false_onsets_{k}"] / max(line[f"{k}_s"], 1e-9) for k in ("alone", "between")]
    onset = "–" if line["onset_s_median"] is None else f"{line['onset_s_median']:.2f} / {line['onset_s_max']:.2f} s"
    cells = (
        loop,
        CONDITIONS[line["condition"]],
        f"{line['attenuation_first_2_s_db']:.0f} / {line['attenuation_after_5_s_db']:.0f} dB",
        f"{rates[0]:.1f} / {rates[1]:.1f}",
        onset + (f" ({line['already_active']} active before)" if line["already_active"] else ""),
        f"{line['missed']} of {line['interruptions']}",
        f"{100 * line['word_error_rate']:.0f} %",
        f"{line['sdr_db_median']:.0f} / {line['first_half_second_sdr_db_median']:.0f} dB",
    )
    return f"| {' | '.join(cells)} |"
