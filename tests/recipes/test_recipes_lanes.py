"""Lanes: order, cancelling, bounded waiting, honest time; failing jobs and closing."""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from fullduplex.base.chat import Message, Sampling
from fullduplex.dialogue import ports
from fullduplex.recipes.lanes import MAX_WAITING, SimulatedLanes
from fullduplex.recipes.threads import ThreadLanes, ThreadPool

MESSAGES = (Message("user", "hi"),)


def voice(ticket: int) -> ports.Synthesise:
    return ports.Synthesise(ticket=ticket, text=str(ticket))


def brain(ticket: int) -> ports.Generate:
    return ports.Generate(ticket=ticket, messages=MESSAGES, sampling=Sampling())


def reader(ticket: int) -> ports.Recognise:
    return ports.Recognise(ticket=ticket, pcm=np.zeros(1, np.float32))


def judge(ticket: int) -> ports.JudgeEnd:
    return ports.JudgeEnd(ticket=ticket, pcm=np.zeros(1, np.float32))


def run(request: ports.Request, cancelled: Callable[[], bool]) -> Iterator[ports.Result]:
    if isinstance(request, ports.Generate):
        for word in ("a ", "b ", "c "):
            yield ports.Generated(ticket=request.ticket, text=word, done=False)
        yield ports.Generated(ticket=request.ticket, text="", done=True)
    else:
        yield ports.Prefilled(ticket=request.ticket)


def lanes(seconds: float = 1.0, cores: int = 2) -> SimulatedLanes:
    return SimulatedLanes(run, cores=cores, charge=lambda request, index: seconds)


def arrivals(simulated: SimulatedLanes, until_s: float = 30.0) -> list[tuple[float, int]]:
    """(time, ticket) of every result, looked for every quarter of a second."""
    found: list[tuple[float, int]] = []
    for step in range(int(until_s * 4)):
        found += [(step / 4, result.ticket) for result in simulated.collect(step / 4)]
    return found


def test_one_lane_serves_in_order_and_one_at_a_time() -> None:
    simulated = lanes()
    for ticket in (3, 1, 2):
        simulated.submit(voice(ticket), 0.0)
    assert arrivals(simulated) == [(1.0, 3), (2.0, 1), (3.0, 2)]


def test_two_lanes_overlap_and_a_third_waits_for_a_core() -> None:
    simulated = lanes()
    for make in (voice, reader, judge):
        simulated.submit(make(len(simulated._due) + id(make) % 7 + 1), 0.0)
    assert [at_s for at_s, _ in arrivals(simulated)] == [1.0, 1.0, 2.0]
    one_core = lanes(cores=1)
    for ticket, make in enumerate((voice, reader, judge), 1):
        one_core.submit(make(ticket), 0.0)
    assert [at_s for at_s, _ in arrivals(one_core)] == [1.0, 2.0, 3.0]


def test_a_request_does_not_begin_before_it_was_asked() -> None:
    simulated = lanes()
    simulated.submit(voice(1), 5.0)
    assert arrivals(simulated) == [(6.0, 1)]


@pytest.mark.parametrize("when_s", [0.0, 0.5, 1.0, 2.5])
def test_a_cancelled_request_gives_no_more_results_and_frees_its_lane(when_s: float) -> None:
    simulated = lanes()
    simulated.submit(brain(1), 0.0)
    simulated.submit(ports.Prefill(ticket=2, messages=MESSAGES), 0.0)
    before = simulated.collect(when_s)
    assert all(result.ticket == 1 for result in before)
    simulated.cancel(1)
    later = arrivals(simulated)
    assert [ticket for _, ticket in later] == [2]
    assert later[0][0] <= when_s + 2.25


def test_cancelling_leaves_nothing_behind() -> None:
    simulated = lanes(0.01)
    for ticket in range(2000):
        simulated.submit(voice(ticket), ticket * 0.1)
        simulated.cancel(ticket)
        simulated.collect(ticket * 0.1)
    kept = [value for value in vars(simulated).values() if isinstance(value, set | list | dict)]
    assert all(len(value) <= 4 for value in kept)


def test_waiting_is_bounded_and_refusal_is_a_result() -> None:
    simulated = lanes()
    for ticket in range(MAX_WAITING + 5):
        simulated.submit(voice(ticket), 0.0)
    refused = [r.ticket for r in simulated.collect(0.0) if isinstance(r, ports.Failed)]
    assert refused == list(range(MAX_WAITING, MAX_WAITING + 5))


def test_charged_runs_repeat_to_the_bit() -> None:
    def once() -> list[tuple[float, int]]:
        simulated = SimulatedLanes(run, charge=lambda request, index: 0.1 + 0.01 * index)
        for ticket in range(6):
            simulated.submit((voice, brain, reader)[ticket % 3](ticket), ticket * 0.05)
        return arrivals(simulated)

    assert once() == once()


def collect_all(threaded: ThreadLanes, count: int) -> list[ports.Result]:
    found: list[ports.Result] = []
    for _ in range(1000):
        found += threaded.collect(0.0)
        if len(found) >= count:
            break
        time.sleep(0.005)
    return found


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    made = ThreadPool()
    yield made
    made.close()


def test_threads_answer_in_order_per_lane(pool: ThreadPool) -> None:
    threaded = ThreadLanes(run, pool)
    for ticket in range(20):
        threaded.submit(voice(ticket), 0.0)
    assert [result.ticket for result in collect_all(threaded, 20)] == list(range(20))
    assert not threaded._jobs


def test_a_job_that_raises_is_reported_and_the_lane_lives_on(pool: ThreadPool) -> None:
    def broken(request: ports.Request, cancelled: Callable[[], bool]) -> Iterator[ports.Result]:
        if request.ticket == 1:
            raise RuntimeError("boom")
        yield ports.Prefilled(ticket=request.ticket)

    threaded = ThreadLanes(broken, pool)
    threaded.submit(voice(1), 0.0)
    threaded.submit(voice(2), 0.0)
    first, second = collect_all(threaded, 2)
    assert isinstance(first, ports.Failed) and "boom" in first.message
    assert second == ports.Prefilled(ticket=2)


def test_nothing_comes_after_a_cancel_even_if_it_had_arrived(pool: ThreadPool) -> None:
    threaded = ThreadLanes(run, pool)
    threaded.submit(brain(1), 0.0)
    for _ in range(500):
        if len(threaded._arrived) == 4:
            break
        time.sleep(0.005)
    threaded.cancel(1)
    assert threaded.collect(0.0) == []


def test_the_brain_does_not_stand_back_for_a_clause_that_nobody_waits_for(pool: ThreadPool) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(request: ports.Request, cancelled: Callable[[], bool]) -> Iterator[ports.Result]:
        if isinstance(request, ports.Synthesise):
            begun.set()
            go_on.wait(10.0)
            yield ports.Synthesised(ticket=request.ticket, pcm=np.zeros(1, np.float32), words=())
        else:
            yield ports.Generated(ticket=request.ticket, text="a", done=False)
            yield ports.Generated(ticket=request.ticket, text="", done=True)

    threaded = ThreadLanes(slow, pool)
    threaded.submit(ports.Synthesise(ticket=1, text="x", urgent=True), 0.0)
    assert begun.wait(10.0)
    assert not pool.calm
    threaded.cancel(1)
    assert pool.calm
    threaded.submit(brain(2), 0.0)
    assert len(collect_all(threaded, 2)) == 2
    go_on.set()


def test_two_conversations_share_the_threads_and_not_the_results(pool: ThreadPool) -> None:
    one, other = ThreadLanes(run, pool), ThreadLanes(run, pool)
    for ticket in range(5):
        one.submit(voice(ticket), 0.0)
        other.submit(voice(ticket + 100), 0.0)
    assert [r.ticket for r in collect_all(one, 5)] == list(range(5))
    assert [r.ticket for r in collect_all(other, 5)] == list(range(100, 105))


def test_a_slow_lane_refuses_what_it_cannot_hold_and_closing_drops_it() -> None:
    go = threading.Event()
    ran: list[int] = []

    def slow(request: ports.Request, cancelled: Callable[[], bool]) -> Iterator[ports.Result]:
        ran.append(request.ticket)
        go.wait(5.0)
        yield ports.Prefilled(ticket=request.ticket)

    pool = ThreadPool()
    threaded = ThreadLanes(slow, pool)
    for ticket in range(MAX_WAITING + 3):
        threaded.submit(voice(ticket), 0.0)
    refused = [result.ticket for result in threaded.collect(0.0) if isinstance(result, ports.Failed)]
    assert refused == [MAX_WAITING, MAX_WAITING + 1, MAX_WAITING + 2]
    for _ in range(500):
        if ran:
            break
        time.sleep(0.005)
    threading.Timer(0.1, go.set).start()
    pool.close()
    assert len(ran) == 1  # the one that ran is finished, the waiting ones are dropped
    assert not any(thread.is_alive() for thread in pool._threads)


def test_closing_a_conversation_cancels_its_jobs_only(pool: ThreadPool) -> None:
    one, other = ThreadLanes(run, pool), ThreadLanes(run, pool)
    one.submit(brain(1), 0.0)
    other.submit(brain(2), 0.0)
    one.close()
    assert [r.ticket for r in collect_all(other, 4)] == [2, 2, 2, 2]
    assert one.collect(0.0) == []


def words(count: int, log: list[int], seconds: float = 0.002) -> Callable[..., Iterator[ports.Result]]:
    """A brain that takes its time over every word and writes down whose it was."""

    def reply(request: ports.Request, cancelled: Callable[[], bool]) -> Iterator[ports.Result]:
        for _ in range(count):
            time.sleep(seconds)
            log.append(request.ticket)
            yield ports.Generated(ticket=request.ticket, text="word ", done=False)
        yield ports.Generated(ticket=request.ticket, text="", done=True)

    return reply


def until(happened: Callable[[], bool]) -> None:
    for _ in range(4000):
        if happened():
            return
        time.sleep(0.0025)
    raise AssertionError("it did not happen within ten seconds")


def test_a_new_reply_does_not_wait_for_the_end_of_somebody_elses(pool: ThreadPool) -> None:
    log: list[int] = []
    long, short = ThreadLanes(words(200, log), pool), ThreadLanes(words(10, log), pool)
    long.submit(brain(1), 0.0)
    until(lambda: log.count(1) >= 20)
    short.submit(brain(2), 0.0)
    assert len(collect_all(short, 11)) == 11
    first = log.index(2)
    last = len(log) - log[::-1].index(2)
    assert log[first:last].count(1) == 0  # who has had ten words less goes first, all ten times
    assert len(collect_all(long, 201)) == 201
    assert not pool._lines


def test_two_new_replies_take_turns(pool: ThreadPool) -> None:
    log: list[int] = []
    both = [ThreadLanes(words(30, log), pool) for _ in range(2)]
    for ticket, one in enumerate(both):
        one.submit(brain(ticket), 0.0)
    for one in both:
        assert len(collect_all(one, 31)) == 31
    had = [0, 0]
    for ticket in log:
        other = had[1 - ticket]
        assert had[ticket] <= other or other in (
            0,
            30,
        )  # who has had more waits, unless the other has not begun or has ended
        had[ticket] += 1


def test_a_reply_that_is_given_up_makes_way_though_others_go_before_it(pool: ThreadPool) -> None:
    log: list[int] = []
    one, other = ThreadLanes(words(500, log), pool), ThreadLanes(words(500, log, 0.05), pool)
    one.submit(brain(1), 0.0)
    until(lambda: log.count(1) >= 50)
    other.submit(brain(2), 0.0)
    until(lambda: 2 in log)  # the first waits now until the second has had as much
    before = log.count(2)
    one.cancel(1)
    one.submit(brain(3), 0.0)
    until(lambda: 3 in log)
    assert log.count(2) - before < 10
    one.close()
    other.close()


def test_brains_elsewhere_serve_conversations_together() -> None:
    meeting = threading.Barrier(3, timeout=10.0)

    def meet(request: ports.Request, cancelled: Callable[[], bool]) -> Iterator[ports.Result]:
        meeting.wait()
        yield ports.Generated(ticket=request.ticket, text="", done=True)

    pool = ThreadPool(in_turns=False)
    three = [ThreadLanes(meet, pool) for _ in range(3)]
    for one in three:
        one.submit(brain(1), 0.0)
    for one in three:
        assert collect_all(one, 1) == [ports.Generated(ticket=1, text="", done=True)]
    pool.close()


def test_a_conversation_is_served_in_order_by_the_brain_too(pool: ThreadPool) -> None:
    log: list[int] = []
    one = ThreadLanes(words(3, log), pool)
    for ticket in range(5):
        one.submit(brain(ticket), 0.0)
    assert pool.waiting()["brain"] <= 4
    assert len(collect_all(one, 20)) == 20
    assert log == [ticket for ticket in range(5) for _ in range(3)]


def test_closing_ends_a_reply_at_its_next_word() -> None:
    log: list[int] = []
    pool = ThreadPool()
    several = [ThreadLanes(words(10_000, log), pool) for _ in range(3)]
    for ticket, one in enumerate(several):
        one.submit(brain(ticket), 0.0)
        one.submit(brain(ticket + 10), 0.0)
    until(lambda: len(log) > 20)
    pool.close()
    ended = len(log)
    several[0].submit(brain(99), 0.0)
    time.sleep(0.05)
    assert len(log) == ended < 10_000
    assert not any(thread.name.startswith("lane-brain") for thread in threading.enumerate() if thread.is_alive())
