"""Bring a reply to the ear: text to clauses, clauses to sound, sound to the loudspeaker; hold, go on, stop."""

from dataclasses import replace
from functools import partial

from fullduplex.base.units import FRAME_S, VOICE_RATE_HZ, samples_from_s
from fullduplex.dialogue.branch import withdraw
from fullduplex.dialogue.desk import Desk
from fullduplex.dialogue.events import AudioOut, DeadlineMissed, Failure, Heard, ReplyDone, ReplyText, Resumed
from fullduplex.dialogue.history import record_heard
from fullduplex.dialogue.ports import Failed, Generated, Synthesise, Synthesised
from fullduplex.dialogue.speaking.playback import acknowledge, hold, pump, release
from fullduplex.dialogue.speaking.reply import Reply, add_text, cut_short, heard_text, spoken, unspoken
from fullduplex.dialogue.turns import Cue, Floor

__all__ = ["deliver", "hold_breath", "resume", "stop", "take_failure", "take_heard", "take_sound", "take_text"]


def _owner(desk: Desk, ticket: int) -> str | None:
    for name in ("reply", "guess"):
        reply: Reply | None = getattr(desk, name)
        if reply is not None and (
            reply.generate_ticket == ticket or any(clause.ticket == ticket for clause in reply.clauses)
        ):
            return name
    return None


def take_text(desk: Desk, result: Generated) -> bool:
    """More text for the reply or the guess; False if it belongs to neither."""
    name = _owner(desk, result.ticket)
    if name is None:
        return False
    reply: Reply = getattr(desk, name)
    grown = add_text(reply, result.text, desk.config.clauses, done=result.done)
    _tell_new(desk, reply, grown)
    setattr(desk, name, grown)
    return True


def _tell_new(desk: Desk, before: Reply, grown: Reply) -> None:
    for clause in grown.clauses[len(before.clauses) :]:
        if grown.committed:
            desk.emit(ReplyText(utterance=grown.utterance, text=clause.text))


def _feed(desk: Desk, reply: Reply) -> Reply:
    """Before the sound runs out while the brain is in the middle of a long clause: cut the clause."""
    if reply.text_done or not reply.clauses or not all(clause.whole for clause in reply.clauses):
        return reply
    left = reply.available_samples - desk.playback.sent
    if left >= samples_from_s(desk.config.clauses.hungry_s, VOICE_RATE_HZ):
        return reply
    grown = cut_short(reply, desk.config.clauses)
    _tell_new(desk, reply, grown)
    return grown


def take_sound(desk: Desk, result: Synthesised) -> None:
    """The sound of a clause, or a piece of it."""
    name = _owner(desk, result.ticket)
    if name is not None:
        setattr(desk, name, spoken(getattr(desk, name), result, desk.config.clauses))


def take_failure(desk: Desk, result: Failed, port: str) -> None:
    """A port failed: say what can still be said, never leave the user waiting."""
    desk.emit(Failure(port=port, message=result.message))
    name = _owner(desk, result.ticket)
    if name is None:
        return
    reply: Reply = getattr(desk, name)
    if reply.generate_ticket == result.ticket:
        text = "" if reply.clauses or reply.rest else desk.config.apology
        setattr(desk, name, add_text(reply, text, desk.config.clauses, done=True))
    else:
        setattr(desk, name, unspoken(reply, result.ticket, desk.config.clauses))


def take_heard(desk: Desk, heard: Heard) -> None:
    """The loudspeaker says what was played; the history follows."""
    before = desk.playback
    desk.playback = acknowledge(before, heard)
    replaced = desk.parting is not None and desk.parting.utterance == heard.utterance != before.utterance
    if replaced and before.flushing and heard.epoch == before.epoch:
        _take_last_words(desk, min(max(heard.samples, 0), before.parting_sent))
    for reply in (desk.parting, desk.reply):
        if reply is None or reply.utterance != heard.utterance or reply.utterance != desk.playback.utterance:
            continue
        text = heard_text(reply, desk.playback.heard)
        done = reply.complete and desk.playback.heard >= reply.available_samples
        desk.history = record_heard(desk.history, reply.utterance, text, complete=done)
    if desk.parting is not None and not desk.playback.flushing:
        desk.parting = None


def _take_last_words(desk: Desk, samples: int) -> None:
    """How much was heard of a reply that has been stopped and replaced since, by a typed message for instance."""
    assert desk.parting is not None
    text = heard_text(desk.parting, samples)
    desk.history = record_heard(desk.history, desk.parting.utterance, text, complete=False, replaced=True)


def _synthesise(text: str, urgent: bool, ticket: int) -> Synthesise:
    return Synthesise(ticket=ticket, text=text, urgent=urgent)


def _ask_for_sound(desk: Desk, reply: Reply, limit: int) -> Reply:
    """One clause is on its way at a time: a stop then has little to cancel, and clauses arrive in order."""
    for i, clause in enumerate(reply.clauses[:limit]):
        if clause.whole:
            continue
        if clause.ticket is not None:
            return reply
        ticket = desk.ask(partial(_synthesise, clause.text, i == 0))
        clauses = (*reply.clauses[:i], replace(clause, ticket=ticket), *reply.clauses[i + 1 :])
        return replace(reply, clauses=clauses)
    return reply


def deliver(desk: Desk, *, frames: int) -> None:
    """The end of every step: ask for sound, send what is due, notice beginnings, ends and delays.

    `frames` is how much time has passed since the last step: 1, or 0 in the middle of a frame.
    """
    if desk.guess is not None and not desk.hearing.active:  # an answer begun early stays silent while the user speaks
        desk.guess = _ask_for_sound(desk, desk.guess, desk.config.speculate_clauses)
    reply = desk.reply
    if reply is None:
        desk.playback, _ = pump(desk.playback, _SILENT, desk.config.playback, frames=frames)
        return
    reply = _feed(desk, reply)
    reply = desk.reply = _ask_for_sound(desk, reply, len(reply.clauses))
    desk.playback, sent = pump(desk.playback, reply, desk.config.playback, frames=frames)
    for audio in sent:
        desk.emit(audio)
    if sent and desk.floor is Floor.THINKING:
        desk.cue(Cue.AUDIBLE)
    if frames:
        _watch_deadline(desk, sent)
    if reply.complete and desk.playback.heard >= reply.available_samples and not desk.playback.flushing:
        _finish(desk, reply, cause="done", complete=True)
        desk.cue(Cue.DONE)


_SILENT = Reply(utterance=0, answers="", generate_ticket=None)


def _watch_deadline(desk: Desk, sent: list[AudioOut]) -> None:
    if desk.floor is Floor.THINKING and not sent:
        desk.thinking_frames += 1
        limit = round(desk.config.first_audio_s / FRAME_S)
        if desk.thinking_frames > 0 and desk.thinking_frames % limit == 0:
            desk.emit(DeadlineMissed(what="first audio", late_s=(desk.thinking_frames - limit) * FRAME_S))


def _finish(desk: Desk, reply: Reply, *, cause: str, complete: bool) -> None:
    heard = heard_text(reply, desk.playback.heard)
    desk.history = record_heard(desk.history, reply.utterance, heard, complete=complete)
    desk.emit(ReplyDone(utterance=reply.utterance, text=reply.text, heard=heard, complete=complete, cause=cause))
    desk.reply = None


def hold_breath(desk: Desk) -> None:
    """Silence at once; the reply may go on later."""
    desk.playback, flushes = hold(desk.playback)
    for flush in flushes:
        desk.emit(flush)


def resume(desk: Desk, cause: str) -> None:
    """Go on from the first sample that was not heard."""
    desk.playback = release(desk.playback)
    desk.emit(Resumed(utterance=desk.playback.utterance, start=desk.playback.heard, cause=cause))


def stop(desk: Desk, cause: str) -> None:
    """Give up the reply: silence at once, nothing more is made, the history keeps what was heard."""
    reply = desk.reply
    if reply is None:
        return
    if desk.playback.sent > 0:
        hold_breath(desk)
        desk.parting = reply if desk.playback.flushing else None
    withdraw(desk, reply)
    _finish(desk, reply, cause=cause, complete=False)
