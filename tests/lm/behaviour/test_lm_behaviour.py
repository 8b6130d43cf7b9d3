"""Trials of a duplex model on models whose behaviour is known: scripted ones that do right, and ones that do wrong."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fullduplex.base.chat import Message, Sampling
from fullduplex.base.errors import FormatError, InputError
from fullduplex.base.slices import MOST_PAIRS, newest
from fullduplex.dialogue.policies.slices import SlicePair, pair_messages
from fullduplex.lm.behaviour.figures import examine, shares, wilson
from fullduplex.lm.behaviour.likeness import likeness
from fullduplex.lm.behaviour.player import Player
from fullduplex.lm.behaviour.trials import TrialConfig
from fullduplex.lm.brain import Prefill, Prompt, never
from fullduplex.lm.ultrachat.dialogues import Dialogue, Exchange
from fullduplex.lm.ultrachat.facts import fact_dialogues, read_facts
from fullduplex.lm.ultrachat.rewrite import TemplateRewriter

CHATS = [
    Dialogue(
        str(n),
        (
            Exchange(
                f"I wonder about many things today and {a} are among them. Tell me about {a}.",
                f"Many people like {a} very much. There is a long history of {a} in this country and {a} never bore.",
            ),
        ),
    )
    for n, a in enumerate(("volcanoes", "bicycles", "penguins", "magnets"))
]
FACTS = list(fact_dialogues(6, seed=3, part="held-out"))


class SliceBrain:
    """Writes what `choose` makes of the pairs so far and the user's newest slice."""

    def __init__(self, choose: Callable[[list[tuple[str, str]], str], str]) -> None:
        self.choose = choose
        self.prompts: list[Prompt] = []

    def stream(
        self, messages: Prompt, sampling: Sampling, *, key: str, cancelled: Callable[[], bool] = never
    ) -> Iterator[str]:
        self.prompts.append(messages)
        texts = ["" if message.text == "<idle>" else message.text for message in messages if message.role != "system"]
        pairs = list(zip(texts[::2], texts[1::2], strict=False))
        yield self.choose(pairs, texts[-1]) or "<idle>"

    def prefill(self, messages: Prompt, *, key: str, cancelled: Callable[[], bool] = never) -> Prefill:
        return Prefill()

    def end_probability(
        self, messages: Prompt, *, key: str, ahead: Prompt = (), cancelled: Callable[[], bool] = never
    ) -> float | None:
        return None

    def forget(self, key: str) -> None:
        return


def _ideal(pairs: list[tuple[str, str]], user: str) -> str:
    """Waits for a question mark or "Tell me …."; answers; after a side question goes on with its first answer."""
    everything = " ".join(pair[0] for pair in (*pairs, (user, "")) if pair[0])
    sentence = re.split(r"(?<=[.?])\s+", everything)[-1]
    if user and not (sentence.endswith("?") or (sentence.startswith("Tell me about") and sentence.endswith("."))):
        return ""
    plan = _plan(everything)
    said = sum(1 for pair in pairs[_turn_start(pairs, user) :] if pair[1])
    return plan[said] if said < len(plan) else ""


def _turn_start(pairs: list[tuple[str, str]], user: str) -> int:
    if user:
        return len(pairs)
    spoken = [at for at, pair in enumerate(pairs) if pair[0]]
    return spoken[-1] if spoken else 0


def _plan(everything: str) -> list[str]:
    for one in FACTS:
        if one.exchanges[0][0] not in everything:
            continue
        second = one.exchanges[1][0]
        if everything.endswith(second):
            return [f"It is {one.slots[1]}, as you", " said a while ago."]
        if everything.endswith(one.exchanges[0][0]):
            return [f"It is {one.slots[0]}, as you", " said a while ago to me", " and to all the others here."]
    subject = everything.rpartition("Tell me about ")[2].split(".")[0]
    if "last bit?" in everything[-12:]:
        return ["I said something. As I was saying,", f" {subject} have a history."]
    return [f"Well, {subject} are really", f" something. Many people like {subject}", " very much. And more."]


def test_a_model_that_does_right_is_found_right() -> None:
    brain = SliceBrain(_ideal)
    found = [v for trial in examine(brain, CHATS, FACTS, TrialConfig(), system="s") for v in trial]
    table = shares(found)
    assert {"waits", "stops", "begins", "answers_new", "answers_new_slot"} <= table.keys()
    for measure in ("waits", "stops", "begins", "answers_new", "answers_new_slot"):
        wrong = [v for v in found if v.measure == measure and not v.right]
        assert table[measure].rate == 1.0, (measure, wrong)


def test_a_model_that_never_stops_and_one_that_never_speaks_are_found_out() -> None:
    chatter = shares(v for t in examine(SliceBrain(lambda _, __: " word and"), CHATS, FACTS, TrialConfig()) for v in t)
    assert chatter["waits"].rate == 0 and chatter["stops"].rate == 0 and chatter["answers_new"].rate == 0
    mute = shares(v for t in examine(SliceBrain(lambda _, __: ""), CHATS, FACTS, TrialConfig()) for v in t)
    assert mute["waits"].rate == 1 and mute["begins"].rate == 0 and "answers_new" not in mute


def test_answering_the_old_question_is_no_answer() -> None:
    def stubborn(pairs: list[tuple[str, str]], user: str) -> str:
        if user and not user.endswith(("?", ".")):
            return ""
        return " Many people like volcanoes and bicycles and penguins and magnets." if not pairs else " volcanoes"

    found = [v for t in examine(SliceBrain(stubborn), CHATS[:1] * 2, [], TrialConfig()) for v in t]
    assert not any(v.right for v in found if v.measure == "answers_new")  # the same subject: never nearer


@pytest.mark.parametrize("slice_s", [0.32, 0.64, 1.0, 2.0])
def test_shorter_slices_hold_fewer_words(slice_s: float) -> None:
    brain = SliceBrain(_ideal)
    list(examine(brain, CHATS[:1], [], TrialConfig(slice_s=slice_s)))
    longest = {0.32: 1, 0.64: 2, 1.0: 3, 2.0: 6}[slice_s]
    said = [m.text for prompt in brain.prompts for m in prompt if m.role == "user" and m.text != "<idle>"]
    assert max(len(text.split()) for text in said) == longest


def test_the_player_shows_what_the_policy_shows() -> None:
    brain = SliceBrain(lambda pairs, user: " yes <idle>" if user == "b?" else "")
    player = Player(brain=brain, system="s")
    for user in ("a <idle>", "", "b?", ""):
        player.hear(user)
    shown = pair_messages("s", (SlicePair("a <idle>", ""), SlicePair("b?", " yes ")), "")
    assert brain.prompts[-1] == shown
    assert isinstance(shown[0], Message)
    assert player.pairs == [("a <idle>", ""), ("b?", " yes ")]


def test_a_long_conversation_loses_two_thirds_at_once() -> None:
    brain = SliceBrain(lambda pairs, user: "")
    player = Player(brain=brain)
    for number in range(3 * MOST_PAIRS):
        player.hear(f"word{number}")
    beginnings = [prompt[0].text for prompt in brain.prompts]
    assert len(player.pairs) <= MOST_PAIRS
    assert player.pairs[-1] == (f"word{3 * MOST_PAIRS - 1}", "")
    assert len(set(beginnings)) <= 5
    assert newest([1, 2, 3], 1) == (3,)
    assert newest([1, 2, 3], 3) == (1, 2, 3)


def test_side_questions_are_judged_to_the_letter() -> None:
    def echo(pairs: list[tuple[str, str]], user: str) -> str:
        said = "".join(pair[1] for pair in pairs)
        if user and not user.endswith(("?", ".")):
            return ""
        if any(pair[0].endswith("?") for pair in pairs) or user.endswith("?"):
            return f"{expected[0]} To continue, volcanoes have a history." if user else ""
        return " volcanoes are mountains" if len(said) < 200 else ""

    expected = [""]
    original = TemplateRewriter.aside

    def remember(self: TemplateRewriter, said: str, draw: object) -> tuple[str, str]:
        question, expected[0] = original(self, said, draw)  # type: ignore[arg-type]
        return question, expected[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TemplateRewriter, "aside", remember)
        found = [v for t in examine(SliceBrain(echo), CHATS[:1], [], TrialConfig()) for v in t]
    assert [v.right for v in found if v.measure == "side_right"] == [True]
    assert [v.right for v in found if v.measure == "returns"] == [True]


def test_likeness_is_a_cosine_of_content_words() -> None:
    assert likeness("the volcano and the sea", "a sea, a volcano") == pytest.approx(1)
    assert likeness("penguins swim", "penguin") == pytest.approx(2**-0.5)
    assert likeness("the and of", "penguin") == 0 == likeness("", "")


def test_wilson_equals_the_published_example() -> None:
    """15 of 148, 95 %: 0.0624 to 0.1605 (Newcombe, Statistics in Medicine 17, 1998, table I, method 3)."""
    share = wilson(15, 148)
    assert (round(share.low, 4), round(share.high, 4)) == (0.0624, 0.1605)
    assert wilson(0, 20).low == 0 and wilson(20, 20).high == 1
    for right, count in ((1, 0), (3, 2), (-1, 2)):
        with pytest.raises(InputError):
            wilson(right, count)


def test_facts_share_no_word_and_hold_their_slots(tmp_path: Path) -> None:
    training = list(fact_dialogues(200, part="training"))
    held = list(fact_dialogues(200, part="held-out"))
    for one in (*training, *held):
        assert all(slot in answer for slot, (_, answer) in zip(one.slots, one.exchanges, strict=True))
        assert len(set(one.slots)) == len(one.slots)
    assert not {s for one in training for s in one.slots} & {s for one in held for s in one.slots}
    assert list(fact_dialogues(3, seed=5)) == list(fact_dialogues(3, seed=5)) != list(fact_dialogues(3, seed=6))
    with pytest.raises(InputError, match="count"):
        next(fact_dialogues(0))
    broken = tmp_path / "f.jsonl"
    broken.write_text('{"messages": []}\n')
    with pytest.raises(FormatError, match="line 1"):
        read_facts(broken)
    with pytest.raises(FormatError, match="cannot be read"):
        read_facts(tmp_path / "absent")


def test_bad_settings_are_named() -> None:
    with pytest.raises(InputError, match="slice_s"):
        TrialConfig(slice_s=1.5)
    with pytest.raises(InputError, match="slice_tokens"):
        Player(brain=SliceBrain(lambda _, __: ""), slice_tokens=0)
