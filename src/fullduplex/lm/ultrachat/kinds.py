"""The kinds of duplex dialogue: each turns one or more dialogues into pairs of slices.

A turn is laid out as the paper draws it: while the user speaks the machine is idle; its answer begins in the slice of the
user's last words; while it speaks the user is idle. Where the user breaks in, the answer ends after whole slices and the
slice of the user's first words is idle on the machine's side. The machine never breaks in.

Choices where the paper is silent: exchanges, not sentences, are interwoven (its figure 3b shows that); a message that
breaks in is answered with the source's own next answer, except where the user asked for quiet (`answer_stopped`); an
answer that was finished is followed by `idle_after` slices in which nobody speaks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, get_args

from fullduplex.base.errors import InputError
from fullduplex.lm.ultrachat.cut import CutConfig, Pieces, answer_slices, rough_pieces, user_slices
from fullduplex.lm.ultrachat.dialogues import Dialogue, Exchange
from fullduplex.lm.ultrachat.phrases import BACKCHANNELS, NOISES, Phrases
from fullduplex.lm.ultrachat.rewrite import Rewriter, TemplateRewriter

__all__ = ["KINDS", "NUM_DIALOGUES", "Kind", "KindConfig", "SlicedDialogue", "Unsuitable", "make"]

Kind = Literal["basic", "interweave", "terminate", "regenerate", "reset", "back_on_topic", "backchannel"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# How many dialogues a kind is made of: (fewest, most).
NUM_DIALOGUES: dict[Kind, tuple[int, int]] = {
    "basic": (1, 1),
    "interweave": (3, 5),
    "terminate": (1, 1),
    "regenerate": (1, 1),
    "reset": (5, 5),
    "back_on_topic": (1, 1),
    "backchannel": (1, 1),
}


class Unsuitable(InputError):
    """A dialogue that a kind cannot be made of: too short to be broken into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindConfig:
    """How to lay out dialogues. `pieces` counts the machine's tokens; `rewriter` writes what the source lacks.

    `backchannel_gap`: slices between two sounds of the seventh kind, (fewest, most). `hesitation` (ours): chance that a user
    falls silent for one or two slices between two of a message, in which the machine must wait.
    """

    cut: CutConfig = CutConfig()
    phrases: Phrases = Phrases()
    rewriter: Rewriter = field(default_factory=TemplateRewriter)
    pieces: Pieces = rough_pieces
    idle_after: int = 1
    answer_stopped: bool = True
    backchannel_gap: tuple[int, int] = (3, 12)
    hesitation: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.hesitation <= 1:
            raise InputError(f"hesitation is {self.hesitation}; expected a chance from 0 to 1")
        if self.idle_after < 0 or not 1 <= self.backchannel_gap[0] <= self.backchannel_gap[1]:
            raise InputError("idle_after must be 0 or more, backchannel_gap 1 <= fewest <= most")


@dataclass(slots=True, kw_only=True)
class SlicedDialogue:
    """Pairs (user, machine), "" for idle; `marks`: (what, index of the pair) of everything that happened on purpose.

    Marks: "interrupt" (the first words over an answer), "answer" (the first slice of an answer), "end" (its last),
    "resume" (where an answer goes on), "sound" (a back-channel or noise), "pause" (the user hesitates).
    """

    kind: Kind
    sources: tuple[str, ...]
    pairs: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    marks: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])


class _Tape:
    """Pairs in the making."""

    def __init__(self, out: SlicedDialogue, config: KindConfig, draw: Random) -> None:
        self.out, self.config, self.draw = out, config, draw

    def mark(self, what: str) -> None:
        self.out.marks.append((what, len(self.out.pairs)))

    def ask(self, text: str, *, over: bool = False) -> None:
        """The user's slices. `over`: they break into an answer."""
        if over:
            self.mark("interrupt")
        for number, piece in enumerate(user_slices(text, self.config.cut, self.draw)):
            if number and self.config.hesitation and self.draw.random() < self.config.hesitation:
                self.mark("pause")
                self.out.pairs += [("", "")] * (1 + self.below(2))
            self.out.pairs.append((piece, ""))

    def answer(self, slices: Sequence[str], *, what: str = "answer") -> None:
        """The machine's slices: the first joins the user's last words, where nobody has answered them yet."""
        pairs = self.out.pairs
        first = 0
        if pairs and pairs[-1][0] and not pairs[-1][1]:
            self.out.marks.append((what, len(pairs) - 1))
            pairs[-1] = (pairs[-1][0], slices[0])
            first = 1
        else:
            self.mark(what)
        pairs += [("", piece) for piece in slices[first:]]

    def finish(self) -> None:
        """The answer is over."""
        self.out.marks.append(("end", len(self.out.pairs) - 1))
        self.out.pairs += [("", "")] * self.config.idle_after

    def exchange(self, exchange: Exchange) -> None:
        self.ask(exchange.user)
        self.answer(self.slices(exchange.machine))
        self.finish()

    def slices(self, text: str) -> list[str]:
        return answer_slices(text, self.config.cut, self.config.pieces)

    def pick(self, choices: Sequence[str]) -> str:
        return choices[int(self.draw.random() * len(choices))]

    def below(self, count: int) -> int:
        return int(self.draw.random() * count)

    def fuse(self, transition: str, message: str) -> str:
        return self.config.rewriter.fuse(transition, message, self.draw) if transition else message


def make(kind: Kind, dialogues: Sequence[Dialogue], config: KindConfig, draw: Random) -> SlicedDialogue:
    """One duplex dialogue.

    Args:
        kind: which.
        dialogues: as many as NUM_DIALOGUES says.
        config: how to lay it out.
        draw: the only source of chance.

    Raises:
        Unsuitable: the dialogue is too short for the kind. InputError: a wrong number of dialogues.
    """
    fewest, most = NUM_DIALOGUES[kind]
    if not fewest <= len(dialogues) <= most:
        raise InputError(f"{kind} is made of {fewest} to {most} dialogues; got {len(dialogues)}")
    tape = _Tape(SlicedDialogue(kind=kind, sources=tuple(one.id for one in dialogues)), config, draw)
    _MAKERS[kind](tape, dialogues)
    return tape.out


def _basic(tape: _Tape, dialogues: Sequence[Dialogue]) -> None:
    for exchange in dialogues[0].exchanges:
        tape.exchange(exchange)


def _interweave(tape: _Tape, dialogues: Sequence[Dialogue]) -> None:
    """Exchanges of several dialogues in any order that keeps each dialogue's own."""
    left = [list(reversed(dialogue.exchanges)) for dialogue in dialogues]
    while left := [exchanges for exchanges in left if exchanges]:
        tape.exchange(left[tape.below(len(left))].pop())


def _breakable(tape: _Tape, exchanges: Sequence[Exchange]) -> tuple[int, list[str]]:
    """An exchange whose answer can be broken into, and the slices of it."""
    order = list(range(len(exchanges)))
    tape.draw.shuffle(order)
    for at in order:
        slices = tape.slices(exchanges[at].machine)
        if len(slices) >= 2:
            return at, slices
    raise Unsuitable("no answer is long enough to be broken into; expected one of two slices")


def _cut(tape: _Tape, exchange: Exchange, slices: list[str]) -> int:
    """The question and the answer up to a random slice; how many slices were said."""
    said = 1 + tape.below(len(slices) - 1)
    tape.ask(exchange.user)
    tape.answer(slices[:said])
    return said


def _terminate(tape: _Tape, dialogues: Sequence[Dialogue]) -> None:
    exchanges = dialogues[0].exchanges
    at, slices = _breakable(tape, exchanges)
    for exchange in exchanges[:at]:
        tape.exchange(exchange)
    _cut(tape, exchanges[at], slices)
    phrases = tape.config.phrases
    transition = tape.pick((*phrases.stop_and_ask, *phrases.stop))
    following = exchanges[at + 1] if at + 1 < len(exchanges) else None
    if following is None or transition in phrases.stop:
        tape.ask(transition if transition in phrases.stop else tape.pick(phrases.stop), over=True)
        tape.out.pairs += [("", "")] * tape.config.idle_after
        return
    tape.ask(tape.fuse(transition, following.user), over=True)
    if tape.config.answer_stopped:
        tape.answer(tape.slices(following.machine))
        tape.finish()


def _regenerate(tape: _Tape, dialogues: Sequence[Dialogue]) -> None:
    exchanges = dialogues[0].exchanges
    at, slices = _breakable(tape, exchanges)
    for exchange in exchanges[:at]:
        tape.exchange(exchange)
    chosen = exchanges[at]
    _cut(tape, chosen, slices)
    again = tape.fuse(tape.pick(tape.config.phrases.again), chosen.user)
    tape.ask(again, over=True)
    answer = tape.config.rewriter.answer(exchanges[:at], again, chosen.machine, tape.draw)
    tape.answer(tape.slices(answer))
    tape.finish()
    for exchange in exchanges[at + 1 :]:
        tape.exchange(exchange)


def _reset(tape: _Tape, dialogues: Sequence[Dialogue]) -> None:
    transition = ""
    for number, dialogue in enumerate(dialogues):
        first = dialogue.exchanges[0]
        opening = Exchange(tape.fuse(transition, first.user) if number else first.user, first.machine)
        exchanges = (opening, *dialogue.exchanges[1:])
        at, slices = (len(exchanges), []) if number == len(dialogues) - 1 else _breakable(tape, exchanges)
        for place, exchange in enumerate(exchanges[: at + 1]):
            over = bool(number and not place)
            if place == at:
                said = 1 + tape.below(len(slices) - 1)
                tape.ask(exchange.user, over=over)
                tape.answer(slices[:said])
            else:
                tape.ask(exchange.user, over=over)
                tape.answer(tape.slices(exchange.machine))
                tape.finish()
        transition = tape.pick(tape.config.phrases.another)


def _unfinished(said: str, rest: str) -> str:
    """What is still to be said; a word that was cut in two is said again, whole."""
    if said[-1:].isspace() or rest[:1].isspace():
        return rest.lstrip()
    return f"{said.split()[-1]}{rest}" if said.split() else rest


def _back_on_topic(tape: _Tape, dialogues: Sequence[Dialogue]) -> None:
    exchanges = dialogues[0].exchanges
    at, slices = _breakable(tape, exchanges)
    for exchange in exchanges[:at]:
        tape.exchange(exchange)
    said = _cut(tape, exchanges[at], slices)
    question, answer = tape.config.rewriter.aside("".join(slices[:said]), tape.draw)
    tape.ask(question, over=True)
    tape.answer(tape.slices(answer))
    rest = _unfinished("".join(slices[:said]), "".join(slices[said:]))
    tape.answer(tape.slices(f" {tape.pick(tape.config.phrases.back)} {rest}"), what="resume")
    tape.finish()
    for exchange in exchanges[at + 1 :]:
        tape.exchange(exchange)


def _backchannel(tape: _Tape, dialogues: Sequence[Dialogue]) -> None:
    """Ours: sounds over the answers that change nothing. At least one."""
    _basic(tape, dialogues)
    pairs = tape.out.pairs
    inside = [i for i in range(1, len(pairs)) if not pairs[i][0] and pairs[i][1] and pairs[i - 1][1]]
    if not inside:
        raise Unsuitable("no answer is long enough to be hummed over; expected one of two slices")
    fewest, most = tape.config.backchannel_gap
    at = tape.below(min(len(inside), most))
    while at < len(inside):
        sound = tape.pick(BACKCHANNELS if tape.draw.random() < 0.7 else NOISES)
        pairs[inside[at]] = (sound, pairs[inside[at]][1])
        tape.out.marks.append(("sound", inside[at]))
        at += fewest + tape.below(most - fewest + 1)
    tape.out.marks.sort(key=lambda mark: mark[1])


_MAKERS: dict[Kind, Callable[[_Tape, Sequence[Dialogue]], None]] = {
    "basic": _basic,
    "interweave": _interweave,
    "terminate": _terminate,
    "regenerate": _regenerate,
    "reset": _reset,
    "back_on_topic": _back_on_topic,
    "backchannel": _backchannel,
}
