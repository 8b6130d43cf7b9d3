"""Reading chats and building from them: broken lines, extremes, proportions, going on where it broke off."""

import json
from pathlib import Path
from random import Random

import pytest

from fullduplex.base.errors import FormatError, InputError
from fullduplex.base.slices import IDLE
from fullduplex.lm.ultrachat.build import (
    OURS_MIX,
    PAPER_MIX,
    BuildConfig,
    build,
    read_built,
    to_line,
    write_build,
)
from fullduplex.lm.ultrachat.dialogues import Dialogue, Exchange, dialogue_from, read_dialogues
from fullduplex.lm.ultrachat.kinds import KindConfig, make
from fullduplex.lm.ultrachat.report import BuildReport

CONFIG = KindConfig()
WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda sigma extraordinarily".split()


def text(draw: Random, count: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(count)) + "."


def dialogue(seed: int) -> Dialogue:
    draw = Random(seed)
    exchanges = tuple(Exchange(text(draw, draw.randint(1, 20)), text(draw, 60)) for _ in range(3))
    return Dialogue(str(seed), exchanges)


# --- reading


def chat(*texts: str) -> str:
    roles = ("user", "assistant")
    return json.dumps({"messages": [{"role": roles[i % 2], "content": t} for i, t in enumerate(texts)]})


def test_three_shapes_and_what_is_left_out() -> None:
    expected = (Exchange("a", "b"), Exchange("c", "d"))
    shapes = [
        json.loads(chat("a", "b", "c", "d")),
        {"conversations": [{"from": f, "value": v} for f, v in zip(["human", "gpt"] * 2, "abcd", strict=True)]},
        {"data": ["a", "b", "c", "d", "e"]},
        {"messages": [{"role": "system", "content": "x"}, *json.loads(chat("a", "b", "c", "d"))["messages"]]},
    ]
    assert all(dialogue_from(plain, "1").exchanges == expected for plain in shapes)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "3",
        "{}",
        '{"messages": []}',
        '{"messages": 3}',
        '{"messages": [{"role": "user"}]}',
        '{"data": [1, 2]}',
        '{"data": "ab"}',
        '{"messages": [{"role": "user", "content": "\\ud800"}, {"role": "assistant", "content": "b"}]}',
        chat("only a question"),
        chat("a", "   "),
        chat("", "b"),
        '{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}',
        '{"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]}',
        '{"messages": [{"role": "user", "content": null}, {"role": "assistant", "content": "b"}]}',
        "\\xff",
    ],
)
def test_broken_lines_are_named_and_skipped_only_on_request(tmp_path: Path, line: str) -> None:
    file = tmp_path / "chat.jsonl"
    file.write_bytes("\n".join([chat("a", "b"), "", line, chat("c", "d")]).encode())
    with pytest.raises(FormatError, match=r"chat\.jsonl line 3"):
        list(read_dialogues(file))
    skipped: list[tuple[int, str]] = []
    found = list(read_dialogues(file, skip_bad=True, note=lambda *what: skipped.append(what)))
    assert [one.id for one in found] == ["1", "4"]
    assert [number for number, _ in skipped] == [3]
    with pytest.raises(FormatError, match="cannot be read"):
        list(read_dialogues(tmp_path / "none.jsonl"))


def test_one_word_and_ten_thousand_words() -> None:
    long = " ".join(f"w{i}" for i in range(10_000))
    found = dialogue_from(json.loads(chat(long, "ok", "why", long)), "1")
    for kind in ("basic", "terminate", "regenerate", "back_on_topic", "backchannel"):
        made = make(kind, [found], CONFIG, Random(1))
        assert len(made.pairs) > 2_000
    basic = make("basic", [found], CONFIG, Random(1))
    assert " ".join(user for user, _ in basic.pairs if user) == f"{long} why"
    assert "".join(machine for _, machine in basic.pairs) == f"ok{long}"


# --- building


def source(count: int = 60) -> list[Dialogue]:
    return [dialogue(i) for i in range(count)]


def test_the_papers_proportions() -> None:
    """4000 draws of the mix: each kind within three standard errors of its share of table 1."""
    report = BuildReport(count_tokens=False).addall(build(source(400), BuildConfig(copies=10)))
    assert report.num_dialogues == 4000
    total = sum(PAPER_MIX.values())
    for kind, count in PAPER_MIX.items():
        share = count / total
        assert report.kinds[kind].dialogues / 4000 == pytest.approx(share, abs=3 * (share * (1 - share) / 4000) ** 0.5)
    assert report.kinds["backchannel"].dialogues == 0
    assert OURS_MIX["backchannel"] / sum(OURS_MIX.values()) == pytest.approx(0.1)
    figures = report.figures()
    assert figures["basic"]["pairs_paper"] == 153.9
    assert figures["basic"]["share_paper"] == pytest.approx(0.3007, abs=1e-4)
    assert report.slices()["user_words_mean"] < 6


def test_a_build_that_broke_off_is_the_same_to_the_byte(tmp_path: Path) -> None:
    config = BuildConfig(mix=OURS_MIX, seed=5)
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    assert len(list(write_build(whole, source(), config))) == 60
    assert len(list(write_build(part, source(), config, limit=23))) == 23
    part.write_bytes(part.read_bytes() + whole.read_bytes().splitlines()[23][:40])  # a line cut off in writing
    assert len(list(write_build(part, source(), config, resume=True))) == 37
    assert part.read_bytes() == whole.read_bytes()
    assert list(write_build(part, source(), config, resume=True)) == []
    with pytest.raises(InputError, match="exists"):
        list(write_build(part, source(), config))
    other = tmp_path / "other.jsonl"
    list(write_build(other, source(), BuildConfig(mix=OURS_MIX, seed=6)))
    assert other.read_bytes() != whole.read_bytes()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    written = list(write_build(file, source(), BuildConfig(mix=OURS_MIX)))
    assert list(read_built(file)) == written
    plain = json.loads(to_line(written[0], layout="messages"))
    assert {message["role"] for message in plain["output"]} == {"user", "assistant"}
    assert any(message["content"] == IDLE for message in plain["output"])
    for bad in ("{", "{}", '{"n": 0, "kind": "song", "wanted": "basic", "sources": [], "pairs": [], "marks": []}'):
        file.write_text(bad + "\n")
        with pytest.raises(FormatError, match="line 1"):
            list(read_built(file))
    with pytest.raises(FormatError, match="cannot be read"):
        list(read_built(tmp_path / "none.jsonl"))
    with pytest.raises(InputError, match="layout"):
        to_line(written[0], layout="xml")


def test_a_source_too_small_or_too_short_becomes_basic_and_says_so() -> None:
    short = [Dialogue(str(i), (Exchange("Hi", "Hello."),)) for i in range(3)]
    found = list(build(short, BuildConfig(copies=40, mix={"reset": 1, "terminate": 1})))
    assert {built.sliced.kind for built in found} == {"basic"}
    assert {built.wanted for built in found} == {"reset", "terminate"}
    with pytest.raises(InputError, match="at least one"):
        list(build([]))


def test_partners_come_from_the_window_and_never_twice() -> None:
    for built in build(source(30), BuildConfig(mix={"reset": 1}, window=6)):
        assert len(set(built.sliced.sources)) == 5
        numbers = [int(name) for name in built.sliced.sources]
        assert all(abs(number - numbers[0]) <= 6 for number in numbers)


@pytest.mark.parametrize(
    "bad", [{"mix": {}}, {"mix": {"song": 1}}, {"mix": {"basic": -1}}, {"copies": 0}, {"window": 4}]
)
def test_builds_that_cannot_be_are_refused(bad: dict) -> None:
    with pytest.raises(InputError):
        BuildConfig(**bad)
