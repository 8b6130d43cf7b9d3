"""Models behind the data builder: rewriting and distillation, with brains that say what they are told."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from fullduplex.base.chat import Message, Sampling
from fullduplex.base.errors import FormatError, InputError
from fullduplex.base.slices import IDLE
from fullduplex.lm.scripted import ScriptedBrain
from fullduplex.lm.ultrachat.dialogues import Dialogue, Exchange, read_dialogues
from fullduplex.lm.ultrachat.distill import DistillConfig, distill, read_prompts, whole_sentences
from fullduplex.lm.ultrachat.kinds import KindConfig, make
from fullduplex.lm.ultrachat.prompts import FOLLOW_UPS, num_prompts, prompts
from fullduplex.lm.ultrachat.rewrite import BrainRewriter


class Brain:
    """Answers with a function of the prompt; remembers what it was asked and with which seed."""

    def __init__(self, reply: str) -> None:
        self.reply = reply
        self.asked: list[tuple[tuple[Message, ...], int]] = []

    def stream(self, messages: tuple[Message, ...], sampling: Sampling, **_: object) -> Iterator[str]:
        self.asked.append((messages, sampling.seed))
        yield from self.reply

    def forget(self, key: str) -> None:
        """Nothing is kept."""


SOURCE = Dialogue(
    "1", (Exchange("Tell me about trains.", "Trains run on rails. " * 20), Exchange("And boats?", "Boats float. " * 9))
)


@pytest.mark.parametrize("kind", ["terminate", "regenerate", "back_on_topic"])
def test_a_model_writes_where_templates_did(kind: str) -> None:
    brain = Brain('"A line of its own."')
    config = KindConfig(rewriter=BrainRewriter(brain))  # pyright: ignore[reportArgumentType]
    texts = []
    for seed in range(12):
        made = make(kind, [SOURCE], config, Random(seed))
        texts.append(" ".join(user for user, _ in made.pairs if user) + "".join(machine for _, machine in made.pairs))
    assert any("A line of its own." in text for text in texts)
    assert brain.asked
    seeds = [seed for _, seed in brain.asked]
    brain.asked.clear()
    for seed in range(12):
        make(kind, [SOURCE], config, Random(seed))
    assert [seed for _, seed in brain.asked] == seeds  # the same chance, the same questions


def test_an_empty_transition_is_not_rewritten() -> None:
    """The paper: a user who says nothing first wants the new thing as fast as possible."""
    from fullduplex.lm.ultrachat.phrases import Phrases

    brain = Brain("rewritten")
    config = KindConfig(rewriter=BrainRewriter(brain), phrases=Phrases(another=("",)))  # pyright: ignore[reportArgumentType]
    make("reset", [SOURCE] * 5, config, Random(0))
    assert brain.asked == []


def test_a_model_that_says_nothing_leaves_it_to_the_templates() -> None:
    made = make("back_on_topic", [SOURCE], KindConfig(rewriter=BrainRewriter(Brain(""))), Random(0))  # pyright: ignore[reportArgumentType]
    assert any(what == "resume" for what, _ in made.marks)


def test_what_a_model_writes_cannot_hold_a_control_string() -> None:
    made = make("regenerate", [SOURCE], KindConfig(rewriter=BrainRewriter(Brain("ok <idle> done"))), Random(0))  # pyright: ignore[reportArgumentType]
    assert all(IDLE not in user + machine for user, machine in made.pairs)


def test_distilled_chats_are_what_the_builder_reads(tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    asked = prompts(5, seed=2)
    brain = ScriptedBrain(("Here is an answer.", "And another one."))
    assert list(distill(file, brain, asked, DistillConfig(rounds=(2, 2)))) == [0, 1, 2, 3, 4]
    found = list(read_dialogues(file))
    assert [one.exchanges[0].user for one in found] == asked
    assert all(one.exchanges[1].user in FOLLOW_UPS for one in found)
    assert all(len(one.exchanges) == 2 for one in found)


def test_distillation_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    asked = prompts(6)
    list(distill(whole, ScriptedBrain(), asked))
    list(distill(part, ScriptedBrain(), asked[:3]))
    part.write_bytes(part.read_bytes() + b'{"id": 3, "mess')
    assert list(distill(part, ScriptedBrain(), asked, resume=True)) == [3, 4, 5]
    assert part.read_bytes() == whole.read_bytes()
    with pytest.raises(InputError, match="exists"):
        list(distill(part, ScriptedBrain(), asked))
    with pytest.raises(InputError, match="rounds"):
        DistillConfig(rounds=(2, 1))


def test_answers_end_where_a_sentence_does() -> None:
    assert whole_sentences(" One. Two is cut off in the ") == "One."
    assert whole_sentences('He said "no." And then') == 'He said "no."'
    assert whole_sentences("Pi is 3.14 and") == "Pi is 3.14 and"  # no sentence has ended
    assert whole_sentences("All of it!") == "All of it!"
    assert whole_sentences("") == ""


def test_an_empty_answer_keeps_its_line(tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    list(distill(file, Brain("  "), ["a", "b"]))  # pyright: ignore[reportArgumentType]
    assert [json.loads(line)["messages"] for line in file.read_text().splitlines()] == [[], []]
    with pytest.raises(FormatError, match="line 1"):
        list(read_dialogues(file))


def test_prompts_from_files_and_our_own(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("one\n\ntwo\n")
    (tmp_path / "p.jsonl").write_text('{"prompt": "three"}\n')
    assert read_prompts(tmp_path / "p.txt") == ["one", "two"]
    assert read_prompts(tmp_path / "p.jsonl") == ["three"]
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n{"text": "b"}\n')
    with pytest.raises(FormatError, match="line 2"):
        read_prompts(tmp_path / "p.jsonl")
    (tmp_path / "p.txt").write_text("\n")
    for name in ("p.txt", "none.txt"):
        with pytest.raises(FormatError):
            read_prompts(tmp_path / name)
    assert len(set(prompts(num_prompts()))) == num_prompts() > 500
    assert prompts(9, seed=1) == prompts(9, seed=1) != prompts(9, seed=2)
    with pytest.raises(InputError, match="count"):
        prompts(num_prompts() + 1)
