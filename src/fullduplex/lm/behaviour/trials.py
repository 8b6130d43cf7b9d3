"""Four things a duplex model must do, each tried on held-out dialogues; the model's own words are its history.

`waits`: idle in every slice of a message but the last. `stops`: the slice of an interruption's first words is idle.
`answers_new`: what is said after an interruption answers it. `returns`: after a side question the answer goes on.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from fullduplex.base.errors import InputError
from fullduplex.lm.behaviour.likeness import likeness
from fullduplex.lm.behaviour.player import Player
from fullduplex.lm.behaviour.returning import Likelihood, came_back, shares_words
from fullduplex.lm.ultrachat.cut import CutConfig, user_slices
from fullduplex.lm.ultrachat.dialogues import Dialogue
from fullduplex.lm.ultrachat.facts import FactDialogue
from fullduplex.lm.ultrachat.phrases import Phrases
from fullduplex.lm.ultrachat.rewrite import TemplateRewriter

__all__ = ["WORDS_OF_SLICE", "TrialConfig", "Verdict", "pairs_of", "try_facts", "try_interruption", "try_side_question"]

# Slice length in seconds -> words of a user's slice, at 2.5 words a second (2406.15718: 4 to 6 words in 2 s).
WORDS_OF_SLICE = {0.32: (1, 1), 0.64: (1, 2), 1.0: (2, 3), 2.0: (4, 6)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialConfig:
    """`slice_s`: one of `WORDS_OF_SLICE`. `most`: slices after which an answer is cut off. `seed`: all chance.

    `known`: side questions whose answers are known, of which half of them are then made (`side_questions("held-out")`).
    """

    slice_s: float = 2.0
    most: int = 14
    seed: int = 0
    known: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.slice_s not in WORDS_OF_SLICE:
            raise InputError(f"slice_s is {self.slice_s}; expected one of {', '.join(map(str, WORDS_OF_SLICE))}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decision of the model: which of the four (or `begins`, `side_right`), on what, and whether it was right."""

    measure: str
    right: bool
    case: str


class _Trial:
    def __init__(self, player: Player, config: TrialConfig, case: str) -> None:
        self.player, self.config, self.case = player, config, case
        self.draw = Random(f"{config.seed}:{case}")

    def verdict(self, measure: str, right: bool) -> Verdict:
        return Verdict(measure, right, self.case)

    def ask(self, text: str, *, over: bool = False) -> Iterator[Verdict | str]:
        """Say a message; yields verdicts and, last, what the machine said in its last slice."""
        slices = user_slices(text, CutConfig(user_words=WORDS_OF_SLICE[self.config.slice_s]), self.draw)
        machine = ""
        for number, piece in enumerate(slices):
            machine = self.player.hear(piece)
            if number == len(slices) - 1:
                break
            first = over and number == 0
            yield self.verdict("stops" if first else "waits", not machine)
        yield machine

    def speak(self, text: str, *, slices: int) -> Iterator[Verdict | str]:
        """Ask and let it answer for `slices` slices; yields verdicts and, last, what it said ("" if it did not)."""
        said = ""
        for item in self.ask(text):
            if isinstance(item, Verdict):
                yield item
            else:
                said = item
        begun = bool(said)
        for _ in range(slices - begun):
            machine = self.player.hear("")
            said += machine
            if begun and not machine:  # it has finished before it could be interrupted
                said = ""
                break
            begun = begun or bool(machine)
        yield self.verdict("begins", begun)
        yield said


def _run(items: Iterator[Verdict | str], verdicts: list[Verdict]) -> str:
    text = ""
    for item in items:
        if isinstance(item, Verdict):
            verdicts.append(item)
        else:
            text = item
    return text


def try_interruption(
    player: Player, chat: Dialogue, other: Dialogue, config: TrialConfig, phrases: Phrases | None = None
) -> list[Verdict]:
    """A question, its answer broken into by a question about something else.

    The answer is `answers_new` if it is more like the new question and its reference answer than like the old ones.
    """
    trial = _Trial(player, config, f"interruption {chat.id} by {other.id}")
    old, new = chat.exchanges[0], other.exchanges[0]
    verdicts: list[Verdict] = []
    if not _run(trial.speak(old.user, slices=1 + trial.draw.randrange(3)), verdicts):
        return verdicts
    transition = trial.draw.choice([phrase for phrase in (phrases or Phrases()).stop_and_ask if phrase])
    first = _run(trial.ask(f"{transition} {new.user}", over=True), verdicts)
    answer = first + player.finish(most=config.most)
    nearer = likeness(answer, f"{new.user} {new.machine}") > likeness(answer, f"{old.user} {old.machine}")
    verdicts.append(trial.verdict("answers_new", nearer))
    return verdicts


def try_facts(player: Player, facts: FactDialogue, number: int, config: TrialConfig) -> list[Verdict]:
    """A told fact is asked for; the answer is broken into by the question for another: the word asked for last is due."""
    trial = _Trial(player, config, f"facts {number}")
    verdicts: list[Verdict] = []
    if not _run(trial.speak(facts.exchanges[0][0], slices=1), verdicts):
        return verdicts
    transition = trial.draw.choice([phrase for phrase in Phrases().stop_and_ask if phrase])
    first = _run(trial.ask(f"{transition} {facts.exchanges[1][0]}", over=True), verdicts)
    answer = first + player.finish(most=config.most)
    right = _names(answer, facts.slots[1]) and not _names(answer, facts.slots[0])
    verdicts.append(trial.verdict("answers_new_slot", right))
    return verdicts


def try_side_question(
    player: Player, chat: Dialogue, config: TrialConfig, judge: Likelihood | None = None
) -> list[Verdict]:
    """A side question about the machine's last words; it is answered, and then the answer goes on.

    `returns`: something follows the first sentence, and it is more like question and answer so far than like the side
    question and its answer. `returns_judged`: the same by `came_back`, if there is a judge. `side_right`: the side question's
    own answer was given to the letter.
    """
    trial = _Trial(player, config, f"side question {chat.id}")
    verdicts: list[Verdict] = []
    said = _run(trial.speak(chat.exchanges[0].user, slices=2 + trial.draw.randrange(2)), verdicts)
    if not said:
        return verdicts
    question, due = TemplateRewriter(config.known).aside(said, trial.draw)
    first = _run(trial.ask(question, over=True), verdicts)
    reply = first + player.finish(most=config.most)
    verdicts.append(trial.verdict("side_right", _plain(reply).startswith(_plain(due))))
    _, _, rest = reply.partition(".")
    topic = f"{chat.exchanges[0].user} {said} {chat.exchanges[0].machine}"
    verdicts.append(trial.verdict("returns", shares_words(topic, f"{question} {due}", rest)))
    if judge is not None:
        back = came_back(judge, (chat.exchanges[0].user, said), (question, due), rest, system=player.system)
        verdicts.append(trial.verdict("returns_judged", back))
    return verdicts


def _names(text: str, words: str) -> bool:
    return re.search(rf"\b{re.escape(words)}\b", text, re.IGNORECASE) is not None


def _plain(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())


def pairs_of(chats: Sequence[Dialogue]) -> list[tuple[Dialogue, Dialogue]]:
    """Every chat with the one half a list further on, which speaks of something else."""
    half = len(chats) // 2
    return [(chat, chats[(at + half) % len(chats)]) for at, chat in enumerate(chats)]
