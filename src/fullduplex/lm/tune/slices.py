"""Duplex dialogues as conversations to train on: what the runtime will show the model, and where it must keep silent."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from fullduplex.base.chat import Message
from fullduplex.base.errors import FormatError
from fullduplex.base.slices import slice_messages
from fullduplex.lm.ultrachat.build import read_built
from fullduplex.lm.ultrachat.dialogues import read_dialogues

__all__ = ["kept_pairs", "read_chats", "read_conversations"]


def kept_pairs(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Pairs without those in which nobody says anything, but for the first of each such run.

    The runtime drops all of them from what the model is shown (`fullduplex.dialogue.policies.slices.compact`), and asks
    it once more after its last words: the first is where it learns to have finished.
    """
    kept: list[tuple[str, str]] = []
    silent = True
    for pair in pairs:
        idle = not (pair[0] or pair[1])
        if not idle or not silent:
            kept.append(pair)
        silent = idle
    return kept


def read_conversations(file: Path, *, system: str = "") -> list[tuple[Message, ...]]:
    """The dialogues of a file that `fullduplex data build` wrote, one conversation each.

    Raises:
        FormatError: a line is no duplex dialogue (it is named), or there are none.
    """
    found = [slice_messages(kept_pairs(built.sliced.pairs), system=system) for built in read_built(file)]
    if not found:
        raise FormatError(f"{file} holds no dialogue; make one with: fullduplex data build")
    return found


def read_chats(file: Path, *, system: str = "") -> list[tuple[Message, ...]]:
    """The chats of a file that `fullduplex data distill` wrote, or any other, as they are: turn by turn.

    2406.15718 mixes such chats in, so that the model keeps what it could do; how many, it does not say.

    Raises:
        FormatError: a line is no chat (it is named), or there are none.
    """
    head = (Message("system", system),) if system else ()
    found: list[tuple[Message, ...]] = []
    for dialogue in read_dialogues(file):
        said = ((Message("user", one.user), Message("assistant", one.machine)) for one in dialogue.exchanges)
        found.append((*head, *chain.from_iterable(said)))
    if not found:
        raise FormatError(f"{file} holds no chat")
    return found
