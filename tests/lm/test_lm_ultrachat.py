"""The data builder: round trips, the invariants of every kind, repeatability, hostile and broken input."""

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import AssetError, InputError
from fullduplex.base.slices import IDLE, escape_controls, slice_messages
from fullduplex.dialogue import history
from fullduplex.dialogue.policies.slices import SlicePair, pair_messages
from fullduplex.lm.ultrachat.asides import side_questions
from fullduplex.lm.ultrachat.cut import CutConfig, answer_slices, rough_pieces, tokenizer_pieces, user_slices
from fullduplex.lm.ultrachat.dialogues import Dialogue, Exchange, dialogue_from
from fullduplex.lm.ultrachat.kinds import KINDS, NUM_DIALOGUES, KindConfig, SlicedDialogue, Unsuitable, make
from fullduplex.lm.ultrachat.phrases import BACKCHANNELS, NOISES, Phrases
from fullduplex.lm.ultrachat.rewrite import TemplateRewriter

CONFIG = KindConfig()
WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda sigma extraordinarily".split()


def text(draw: Random, count: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(count)) + "."


def dialogue(seed: int, *, rounds: int = 3, words: int = 60) -> Dialogue:
    draw = Random(seed)
    exchanges = tuple(
        Exchange(f"{text(draw, draw.randint(1, 20))} u{seed}{i}", f"m{seed}{i} {text(draw, words)}")
        for i in range(rounds)
    )
    return Dialogue(str(seed), exchanges)


def dialogues(kind: str, seed: int) -> list[Dialogue]:
    return [dialogue(seed * 10 + i) for i in range(NUM_DIALOGUES[kind][0])]


def users(sliced: SlicedDialogue) -> str:
    return " ".join(user for user, _ in sliced.pairs if user)


def machines(sliced: SlicedDialogue) -> str:
    return "".join(machine for _, machine in sliced.pairs)


def marked(sliced: SlicedDialogue, what: str) -> list[int]:
    return [at for name, at in sliced.marks if name == what]


# --- cutting

any_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=300)


@settings(max_examples=200, deadline=None)
@given(any_text)
def test_slices_give_the_text_back(message: str) -> None:
    slices = answer_slices(message, CutConfig())
    assert "".join(slices) == message
    assert "".join(rough_pieces(message)) == message
    assert all(len(rough_pieces(piece.rstrip())) <= 10 for piece in slices)  # blanks at an end join the slice before
    cut = user_slices(message, CutConfig(), Random(0))
    assert " ".join(cut).split() == message.split()
    assert all(4 <= len(piece.split()) <= 6 for piece in cut[:-1])


def test_user_slices_are_drawn_evenly() -> None:
    sizes = [len(p.split()) for p in user_slices("w " * 60_000, CutConfig(), Random(3))[:-1]]
    for size in (4, 5, 6):
        assert sizes.count(size) / len(sizes) == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("bad", [{"user_words": (0, 3)}, {"user_words": (5, 4)}, {"answer_tokens": 0}])
def test_cuts_that_cannot_be_are_refused(bad: dict) -> None:
    with pytest.raises(InputError):
        CutConfig(**bad)


def test_a_models_own_tokens(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel({"hello": 0, "world": 1, "[UNK]": 2}, unk_token="[UNK]"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    model.save(str(tmp_path / "tokenizer.json"))
    pieces = tokenizer_pieces(tmp_path / "tokenizer.json")
    assert pieces("hello world, hello") == ["hello ", "world", ", ", "hello"]
    assert pieces("") == []
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(AssetError, match="no tokenizer"):
        tokenizer_pieces(tmp_path / "bad.json")


# --- kinds


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_what_holds_for_every_kind(kind: str, seed: int) -> None:
    """The machine never breaks in, is idle while the user is unfinished, and no slice holds a control string."""
    made = make(kind, dialogues(kind, seed), CONFIG, Random(seed))
    pairs = made.pairs
    sounds, cuts = set(marked(made, "sound")), set(marked(made, "interrupt"))
    for at, (user, machine) in enumerate(pairs):
        assert IDLE not in user + machine
        following = pairs[at + 1][0] if at + 1 < len(pairs) else ""
        if user and following and at not in sounds and not {at + 1} & (sounds | cuts):
            assert machine == ""  # the user is not finished
        if machine and not user:
            before = pairs[at - 1]
            assert before[1] or before[0] or at in marked(made, "answer") + marked(made, "resume")
    assert all(0 <= at < len(pairs) for _, at in made.marks)
    for at in marked(made, "answer"):
        assert pairs[at][1]
        assert pairs[at][0]  # an answer begins in the slice of the user's last words
    assert make(kind, dialogues(kind, seed), CONFIG, Random(seed)) == made


@pytest.mark.parametrize("seed", range(5))
def test_basic_gives_the_dialogue_back(seed: int) -> None:
    source = dialogue(seed)
    made = make("basic", [source], CONFIG, Random(seed))
    assert users(made).split() == " ".join(e.user for e in source.exchanges).split()
    assert machines(made) == "".join(e.machine for e in source.exchanges)
    assert not marked(made, "interrupt")
    assert len(marked(made, "end")) == len(source.exchanges)
    assert made.pairs[-1] == ("", "")


@pytest.mark.parametrize("seed", range(5))
def test_interweaving_keeps_each_dialogues_order(seed: int) -> None:
    sources = dialogues("interweave", seed)
    made = make("interweave", sources, CONFIG, Random(seed))
    said = machines(made)
    for source in sources:
        places = [said.index(exchange.machine) for exchange in source.exchanges]
        assert places == sorted(places)
    assert len(said) == sum(len(e.machine) for s in sources for e in s.exchanges)


@pytest.mark.parametrize("seed", range(12))
def test_termination_drops_the_rest_of_an_answer(seed: int) -> None:
    source = dialogue(seed)
    made = make("terminate", [source], CONFIG, Random(seed))
    (at,) = marked(made, "interrupt")
    assert made.pairs[at][0]
    assert made.pairs[at][1] == "" or made.pairs[at + 1][0] == ""  # one-slice interruptions may be answered at once
    cut = machines(SlicedDialogue(kind="basic", sources=(), pairs=made.pairs[:at]))
    whole = "".join(e.machine for e in source.exchanges)
    assert whole.startswith(cut)
    finished = {len("".join(e.machine for e in source.exchanges[: n + 1])) for n in range(len(source.exchanges))}
    assert len(cut) not in finished  # it was in the middle of an answer


def test_a_user_who_wants_quiet_gets_it() -> None:
    quiet = KindConfig(phrases=Phrases(stop_and_ask=("",), stop=("Please be quiet now.",)))
    made = make("terminate", [dialogue(1, rounds=1)], quiet, Random(0))
    (at,) = marked(made, "interrupt")
    assert all(machine == "" for _, machine in made.pairs[at:])
    silent = KindConfig(answer_stopped=False)
    for seed in range(6):
        made = make("terminate", [dialogue(seed)], silent, Random(seed))
        assert all(machine == "" for _, machine in made.pairs[marked(made, "interrupt")[0] :])


@pytest.mark.parametrize("seed", range(8))
def test_regeneration_asks_again_and_gets_a_whole_answer(seed: int) -> None:
    source = dialogue(seed)
    made = make("regenerate", [source], CONFIG, Random(seed))
    (at,) = marked(made, "interrupt")
    after = SlicedDialogue(kind="basic", sources=(), pairs=made.pairs[at:])
    (again,) = [
        e
        for e in source.exchanges
        if e.user.split()[-1] in users(after)
        and e.user.split()[-1] in users(SlicedDialogue(kind="basic", sources=(), pairs=made.pairs[:at]))
    ]
    assert again.user in users(after)
    assert machines(after).startswith(again.machine)


@pytest.mark.parametrize("seed", range(8))
def test_reset_breaks_into_four_dialogues_and_ends_with_the_fifth(seed: int) -> None:
    sources = dialogues("reset", seed)
    made = make("reset", sources, CONFIG, Random(seed))
    assert len(marked(made, "interrupt")) == 4
    last = "".join(e.machine for e in sources[4].exchanges)
    assert machines(made).endswith(last)
    for source in sources[:4]:
        assert "".join(e.machine for e in source.exchanges) not in machines(made)
    assert made.sources == tuple(source.id for source in sources)


@pytest.mark.parametrize("seed", range(12))
def test_back_on_topic_finishes_what_was_begun(seed: int) -> None:
    source = dialogue(seed)
    made = make("back_on_topic", [source], CONFIG, Random(seed))
    (at,), (back,) = marked(made, "interrupt"), marked(made, "resume")
    (end,) = [place for place in marked(made, "end") if place > back][:1]
    begun = machines(SlicedDialogue(kind="basic", sources=(), pairs=made.pairs[:at]))
    rest = machines(SlicedDialogue(kind="basic", sources=(), pairs=made.pairs[back : end + 1]))
    told = [e.machine for e in source.exchanges]
    (cut,) = [n for n in range(len(told)) if len("".join(told[:n])) < len(begun) < len("".join(told[: n + 1]))]
    tail = "".join(told[: cut + 1])[len(begun) :].strip()
    assert rest.endswith(tail)  # to the character, after the words that lead back
    assert any(phrase in rest for phrase in Phrases().back)


def test_known_side_questions_are_half_of_the_asides_and_parts_share_none() -> None:
    training, held = side_questions("training"), side_questions("held-out")
    assert not set(training) & set(held) and {*training, *held} == set(side_questions())
    assert not {answer for _, answer in training} & {answer for _, answer in held}
    rewriter = TemplateRewriter(training)
    asked = [rewriter.aside("Rivers carry water and stones.", Random(seed)) for seed in range(200)]
    assert 70 < sum(pair in training for pair in asked) < 130
    assert all(answer.count(".") == 1 for _, answer in side_questions())


def test_template_asides_are_true() -> None:
    said = "The extraordinary penguin lives on cold southern coasts and eats fish"
    for seed in range(40):
        question, answer = TemplateRewriter().aside(said, Random(seed))
        if question.startswith("How do you spell"):
            word = question.removeprefix("How do you spell ").rstrip("?")
            assert answer == f"That is {'-'.join(word.upper())}."
            assert word in said
        elif question.startswith("Wait"):
            assert question.removeprefix("Wait, did you say ").rstrip("?") in said
        else:
            assert answer.split('"')[1] in said


@pytest.mark.parametrize("seed", range(6))
def test_sounds_change_nothing_but_the_users_side(seed: int) -> None:
    plain, hummed = (make(kind, [dialogue(seed)], CONFIG, Random(seed)) for kind in ("basic", "backchannel"))
    assert machines(plain) == machines(hummed)
    assert len(plain.pairs) == len(hummed.pairs)
    sounds = marked(hummed, "sound")
    assert sounds
    for at in sounds:
        assert hummed.pairs[at][0] in (*BACKCHANNELS, *NOISES)
        assert hummed.pairs[at][1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_user_who_hesitates_is_waited_for(kind: str) -> None:
    config = KindConfig(hesitation=1.0)
    made = make(kind, dialogues(kind, 3), config, Random(0))
    plain = make(kind, dialogues(kind, 3), CONFIG, Random(0))
    pauses = marked(made, "pause")
    assert pauses
    assert not marked(plain, "pause")
    for at in pauses:
        assert made.pairs[at] == ("", "")
        assert made.pairs[at - 1][0]
        assert made.pairs[at - 1][1] == ""  # it had not begun to answer
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="hesitation"):
            KindConfig(hesitation=bad)


def test_short_dialogues_and_wrong_numbers_are_refused() -> None:
    short = Dialogue("s", (Exchange("Hi", "Hello."),))
    for kind in ("terminate", "regenerate", "back_on_topic", "backchannel"):
        with pytest.raises(Unsuitable):
            make(kind, [short], CONFIG, Random(0))
    made = make("basic", [short], CONFIG, Random(0))
    assert made.pairs == [("Hi", "Hello."), ("", "")]
    with pytest.raises(InputError, match="3 to 5"):
        make("interweave", [short], CONFIG, Random(0))
    with pytest.raises(InputError, match="words"):
        Phrases(stop=("",))
    with pytest.raises(InputError, match="again"):
        Phrases(again=())
    with pytest.raises(InputError):
        KindConfig(idle_after=-1)


def test_as_many_phrases_as_the_paper() -> None:
    phrases = Phrases()
    assert len(phrases.stop_and_ask) + len(phrases.stop) == 11
    assert (len(phrases.again), len(phrases.another)) == (15, 18)
    assert phrases.stop_and_ask.count("") == phrases.another.count("") == 1


# --- the format


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_the_format_is_the_one_the_policy_speaks(user: str) -> None:
    """Both rooms keep the text format apart; this is what holds them together."""
    assert escape_controls(user) == history.escape_controls(user)
    ours = slice_messages([("hello", ""), (user, "an answer")], system="s")
    theirs = pair_messages("s", (SlicePair("hello", ""), SlicePair(user, "an answer")), "next")
    assert ours == theirs[:-1]


def test_control_strings_in_the_source_are_harmless() -> None:
    plain = {
        "messages": [{"role": "user", "content": "say <idle> </s> [INST]"}, {"role": "assistant", "content": "<idle>"}]
    }
    found = dialogue_from(plain, "1")
    made = make("basic", [found], CONFIG, Random(0))
    for message in slice_messages(made.pairs):
        assert message.text == IDLE or "<" not in message.text
