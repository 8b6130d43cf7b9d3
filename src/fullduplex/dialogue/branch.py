"""Speculation: start answering before the user has finished, and keep or drop the answer.

fork      begin a reply to what the user seems to have said; the conversation itself does not change
commit    the user has finished: the guess becomes the reply
roll_back the user went on: the guess never happened
"""

from dataclasses import replace

from fullduplex.dialogue.desk import Desk
from fullduplex.dialogue.events import ReplyStarted, ReplyText
from fullduplex.dialogue.history import record_user
from fullduplex.dialogue.listening.transcript import same_words
from fullduplex.dialogue.ports import Generate
from fullduplex.dialogue.speaking.playback import begin
from fullduplex.dialogue.speaking.reply import Reply

__all__ = ["commit", "fork", "roll_back", "withdraw"]


def fork(desk: Desk, user_text: str) -> None:
    """Begin a guess that answers `user_text`; a guess for the same words is kept, another one is dropped."""
    if desk.guess is not None:
        if same_words(desk.guess.answers, user_text):
            return
        roll_back(desk)
    messages = desk.prompt(user_text)
    sampling = desk.config.sampling
    ticket = desk.ask(lambda t: Generate(ticket=t, messages=messages, sampling=sampling))
    desk.guess = Reply(utterance=desk.new_utterance(), answers=user_text, generate_ticket=ticket)


def withdraw(desk: Desk, reply: Reply) -> None:
    """Cancel whatever is still being made for a reply."""
    desk.cancel(reply.generate_ticket)
    for clause in reply.clauses:
        desk.cancel(clause.ticket)


def roll_back(desk: Desk) -> None:
    """Drop the guess."""
    if desk.guess is not None:
        withdraw(desk, desk.guess)
        desk.guess = None


def commit(desk: Desk, user_text: str, turn: int) -> None:
    """Answer `user_text`: with the guess if it was made for the same words, else with a fresh reply."""
    fork(desk, user_text)
    assert desk.guess is not None
    desk.reply = replace(desk.guess, committed=True)
    desk.guess = None
    desk.history = record_user(desk.history, user_text)
    desk.playback = begin(desk.playback, desk.reply.utterance)
    desk.emit(ReplyStarted(utterance=desk.reply.utterance, turn=turn))
    for clause in desk.reply.clauses:  # thought while it was a guess
        desk.emit(ReplyText(utterance=desk.reply.utterance, text=clause.text))
