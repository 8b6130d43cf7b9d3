"""One conversation of 10^4 time slices with a real model. Prints one JSON line a tenth, and a last one.

    python benchmarks/duplex/endurance.py --chats held.jsonl --facts facts_held.jsonl

A round: the user tells three things and asks for one; it is answered, and nobody speaks for twenty slices. Then a question
about something else is put, its answer broken into by the question for another of the three, and again nobody speaks.
Both files are held-out ones, of `fullduplex data distill` and `fullduplex data facts`. What is counted of each tenth:

    waits   idle in every slice of a message but the last       stops   idle in the slice of an interruption's first words
    begins  an answer is begun                                  ends    an answer ends within 12 slices
    quiet   pauses of twenty slices kept                        slots   the word asked for, and not the other, is named,
    slots_later   the same some thirty slices after it was told
    repeated_share      three words running that the same answer had already, of all (text that degenerates repeats itself)
    cpu_ms, cpu_ms_p99  processor time a slice; mb: the most memory the process had so far
"""

import argparse
import json
import re
import resource
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

import numpy as np

from fullduplex.base.slices import MOST_PAIRS
from fullduplex.lm.behaviour.player import Player
from fullduplex.lm.llama import LlamaBrain
from fullduplex.lm.ultrachat.cut import CutConfig, user_slices
from fullduplex.lm.ultrachat.dialogues import Dialogue, read_dialogues
from fullduplex.lm.ultrachat.facts import FactDialogue, read_facts
from fullduplex.lm.ultrachat.phrases import Phrases
from fullduplex.recipes.parts import model_file

_WORDS = CutConfig(user_words=(4, 6))  # slices of 2 s
_MOST = 12  # slices of an answer
_PAUSE = 20  # slices in which nobody speaks


@dataclass(slots=True)
class Talk:
    """The conversation, and what is counted of the tenth under way."""

    player: Player
    draw: Random = field(default_factory=lambda: Random(0))
    right: Counter[str] = field(default_factory=Counter[str])
    count: Counter[str] = field(default_factory=Counter[str])
    cpu_s: list[float] = field(default_factory=list[float])

    def judge(self, measure: str, right: bool) -> None:
        """Count one decision."""
        self.right[measure] += right
        self.count[measure] += 1

    def hear(self, user: str) -> str:
        """One slice, timed."""
        began = time.process_time()
        machine = self.player.hear(user)
        self.cpu_s.append(time.process_time() - began)
        return machine

    def ask(self, text: str, *, over: bool = False) -> str:
        """Say a message in slices; what the machine said in the last of them."""
        *pieces, last = user_slices(text, _WORDS, self.draw)
        for number, piece in enumerate(pieces):
            self.judge("stops" if over and number == 0 else "waits", not self.hear(piece))
        return self.hear(last)

    def answer(self, first: str) -> str:
        """All of the answer that began with `first`, to its end."""
        said = machine = first or self.hear("")
        self.judge("begins", bool(said))
        for _ in range(_MOST):
            machine = self.hear("")
            said += machine
            if not machine:
                break
        self.judge("ends", not machine)
        words = re.findall(r"\w+", said.lower())
        threes = list(zip(words, words[1:], words[2:], strict=False))
        self.right["repeated"] += len(threes) - len(set(threes))
        self.count["repeated"] += len(threes)
        return said

    def pause(self) -> None:
        """Nobody speaks. A greedy model that was idle once gets the same prompt again: one decision, not twenty."""
        self.judge("quiet", sum(bool(self.hear("")) for _ in range(_PAUSE)) == 0)

    def round(self, facts: FactDialogue, chat: Dialogue) -> Iterator[None]:
        """See the module; yields where a tenth may end."""
        (first, _), (second, _) = facts.exchanges[:2]
        said = self.answer(self.ask(first))
        self.judge("slots", _names(said, facts.slots[0]) and not _names(said, facts.slots[1]))
        self.pause()
        yield
        self.ask(chat.exchanges[0].user)
        for _ in range(3):
            self.hear("")
        transition = self.draw.choice([phrase for phrase in Phrases().stop_and_ask if phrase])
        said = self.answer(self.ask(f"{transition} {second}", over=True))
        self.judge("slots_later", _names(said, facts.slots[1]) and not _names(said, facts.slots[0]))
        self.pause()
        yield

    def row(self, done: int) -> dict[str, object]:
        """The figures of a tenth, which are then forgotten."""
        repeated = self.right.pop("repeated", 0) / max(self.count.pop("repeated", 0), 1)
        shares = {name: [self.right[name], self.count[name]] for name in sorted(self.count)}
        median, p99 = (round(1e3 * float(np.quantile(self.cpu_s, at)), 1) for at in (0.5, 0.99))
        mean = round(1e3 * float(np.mean(self.cpu_s)), 1)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        self.right.clear()
        self.count.clear()
        self.cpu_s.clear()
        cost = {"cpu_ms": median, "cpu_ms_mean": mean, "cpu_ms_p99": p99, "mb": memory}
        return {"slices": done, **shares, "repeated_share": round(repeated, 4), **cost}


def _names(text: str, words: str) -> bool:
    return re.search(rf"\b{re.escape(words)}\b", text, re.IGNORECASE) is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brain", default="small-duplex")
    parser.add_argument("--slices", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=MOST_PAIRS, help="slices with words that are remembered")
    parser.add_argument("--chats", type=Path, required=True)
    parser.add_argument("--facts", type=Path, required=True)
    arguments = parser.parse_args()
    chats = [chat for chat in read_dialogues(arguments.chats) if len(chat.exchanges[0].user.split()) < 30]
    facts = read_facts(arguments.facts)
    talk = Talk(
        Player(brain=LlamaBrain(model_file(arguments.brain), context=4096, slots=2), most_pairs=arguments.pairs)
    )
    done = 0
    rows: list[dict[str, object]] = []
    for number in count():
        for _ in talk.round(facts[number % len(facts)], chats[number % len(chats)]):
            if done + len(talk.cpu_s) >= (len(rows) + 1) * arguments.slices / 10:
                done += len(talk.cpu_s)
                rows.append(talk.row(done))
                print(json.dumps(rows[-1]), flush=True)
        if done >= arguments.slices:
            break
    print(json.dumps({"part": "endurance", "slices": done, "rows": rows}))


if __name__ == "__main__":
    main()
