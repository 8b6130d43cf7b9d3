"""How well do two judges tell a return to the topic from other continuations? Prints one JSON line.

    python benchmarks/duplex/judge.py held.jsonl [--limit N]

Answers of held-out chats are broken off and asked a side question, as in `fullduplex tune examine`; behind its answer stands
what really followed (a return), with a phrase of returning or without, or one of four things that are no return. Judges:
shared words, told what really followed ("words") or not ("words, blind": a machine has its own way to go on); the likelihood
by a language model that was not tuned, which is not told.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

from tqdm import tqdm

from fullduplex.dialogue.desk import DEFAULT_SYSTEM
from fullduplex.lm.behaviour.returning import came_back, shares_words
from fullduplex.lm.llama import LlamaBrain
from fullduplex.lm.ultrachat.asides import side_questions
from fullduplex.lm.ultrachat.cut import CutConfig, answer_slices, rough_pieces
from fullduplex.lm.ultrachat.dialogues import Dialogue, read_dialogues
from fullduplex.lm.ultrachat.phrases import Phrases
from fullduplex.lm.ultrachat.rewrite import TemplateRewriter
from fullduplex.recipes.parts import model_file

_WORDS = 25  # of a continuation


def cases(chat: Dialogue, other: Dialogue, known: bool, draw: Random) -> Iterator[tuple[str, bool, str, str, str, str]]:
    """(kind, whether it is a return, what was said, side question, its answer, continuation)."""
    slices = answer_slices(chat.exchanges[0].machine, CutConfig(), rough_pieces)
    at = 2 + draw.randrange(2)
    said, rest = "".join(slices[:at]), " ".join("".join(slices[at:]).split()[:_WORDS])
    if len(rest.split()) < 6:
        return
    question, due = TemplateRewriter(side_questions("held-out") if known else ()).aside(said, draw)
    phrase = draw.choice(Phrases().back)
    strange = " ".join(other.exchanges[0].machine.split()[:_WORDS])
    for kind, truth, text in (
        ("goes on", True, rest),
        ("goes on with a phrase", True, f"{phrase} {rest}"),
        ("answers once more", False, due),
        ("stays with it", False, f"{due[:-1]}, that is what it was."),
        ("another topic", False, f"{phrase} {strange}"),
        ("offers help", False, "Is there anything else that you would like to know today?"),
    ):
        yield kind, truth, said, question, due, text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chats", type=Path, help="from: fullduplex data distill --part held-out")
    parser.add_argument("--judge", default="small")
    parser.add_argument("--limit", type=int, help="only the first N chats")
    arguments = parser.parse_args()
    chats = list(islice(read_dialogues(arguments.chats), arguments.limit))
    judge = LlamaBrain(model_file(arguments.judge))
    right: dict[str, dict[str, list[bool]]] = {}
    for at, chat in enumerate(tqdm(chats, unit=" chats", disable=None)):
        for known in (False, True):
            ask, whole = chat.exchanges[0].user, chat.exchanges[0].machine
            other = chats[(at + len(chats) // 2) % len(chats)]
            for kind, truth, said, question, due, text in cases(chat, other, known, Random(f"{at}:{known}")):
                verdicts = {
                    "words": shares_words(f"{ask} {said} {whole}", f"{question} {due}", text),
                    "words, blind": shares_words(f"{ask} {said}", f"{question} {due}", text),
                    "likelihood": came_back(judge, (ask, said), (question, due), text, system=DEFAULT_SYSTEM),
                }
                for name, verdict in verdicts.items():
                    right.setdefault(kind, {}).setdefault(name, []).append(verdict == truth)
    table = {kind: {name: [sum(found), len(found)] for name, found in row.items()} for kind, row in right.items()}
    print(json.dumps({"judge": arguments.judge, "right_of": table}))


if __name__ == "__main__":
    main()
