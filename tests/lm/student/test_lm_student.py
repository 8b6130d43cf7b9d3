"""The state-space student: its streaming contract, what it learns, its file, and a brain that forks and goes back."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch")
pytest.importorskip("safetensors", reason="needs the extra tune")

from fullduplex.base.chat import Message, Sampling  # noqa: E402
from fullduplex.base.errors import AssetError, ConfigError, FormatError, InputError  # noqa: E402
from fullduplex.lm.student.brain import StudentBrain, state_bytes  # noqa: E402
from fullduplex.lm.student.learn import Shelves, answer_loss, calibrate, layer_loss  # noqa: E402
from fullduplex.lm.student.model import Student, StudentConfig, fold, mixer_names  # noqa: E402
from fullduplex.lm.student.run import DistilConfig, distil, read_student, teacher_name  # noqa: E402
from fullduplex.lm.template import CHATML  # noqa: E402
from fullduplex.lm.tune.examples import Example, LayoutConfig  # noqa: E402
from fullduplex.lm.tune.llama import Llama, LlamaConfig  # noqa: E402

CONTROLS = ("<|im_start|>", "<|im_end|>")
SIZES = LlamaConfig(vocabulary=130, width=32, layers=2, heads=4, key_heads=2, hidden=48)
SMALL = StudentConfig(rank=4, alpha=8.0)


class Words:
    """A tokenizer of single ASCII characters and two control tokens, in llama.cpp's place."""

    template = CHATML

    def beginning(self) -> list[int]:
        return []

    def tokenize(self, text: str, special: bool) -> list[int]:
        out: list[int] = []
        while text:
            control = next((c for c in CONTROLS if special and text.startswith(c)), None)
            out.append(128 + CONTROLS.index(control) if control else ord(text[0]) % 128)
            text = text[len(control) if control else 1 :]
        return out

    def detokenize(self, tokens: Sequence[int]) -> str:
        return "".join(chr(token) if token < 128 else CONTROLS[token - 128] for token in tokens)

    def is_end(self, token: int) -> bool:
        return token == 129

    def turn_end_tokens(self) -> np.ndarray:
        return np.array([ord("."), 129])


def teacher(seed: int = 0) -> Llama:
    torch.manual_seed(seed)
    return Llama(SIZES)


def talk(*texts: str) -> tuple[Message, ...]:
    roles = ("user", "assistant")
    return tuple(Message(roles[at % 2], text) for at, text in enumerate(texts))


def brain(**options: int) -> StudentBrain:
    return StudentBrain(fold(Student(teacher(), SMALL)), Words(), **options)  # type: ignore[arg-type]


TALKS = [
    talk("What is it?", "A cat, I think.", "And now?", "It sleeps."),
    talk("Who?", "Nobody at all."),
    talk("a b", "c d"),
]


def test_the_student_streams_and_folding_changes_nothing() -> None:
    student = Student(teacher(), SMALL)
    for value in student.parameters():
        if value.requires_grad and value.ndim == 2 and not value.any():
            torch.nn.init.normal_(value, std=0.02)
    token_BT = torch.randint(0, SIZES.vocabulary, (2, 23))
    with torch.no_grad():
        whole = student(token_BT)
        fold(student)
        torch.testing.assert_close(student(token_BT), whole, rtol=1e-4, atol=1e-5)
        state, parts = student.init(2), []
        for low, high in ((0, 5), (5, 5), (5, 16), (16, 23)):
            part, state = student.scan(token_BT[:, low:high], state)
            parts.append(part)
        torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-5)
        state, steps = student.init(2), []
        for at in range(23):
            one, state = student.step(token_BT[:, at], state)
            steps.append(one)
    torch.testing.assert_close(torch.stack(steps, 1), whole, rtol=1e-4, atol=1e-5)
    assert not any(value.requires_grad for value in student.parameters())


def test_the_teacher_is_left_as_it_was() -> None:
    model, token_BT = teacher(), torch.randint(0, SIZES.vocabulary, (1, 9))
    before = model(token_BT)
    student = Student(model, SMALL)
    learnt = [value for value in student.parameters() if value.requires_grad]
    with torch.no_grad():
        for value in learnt:
            value.add_(0.1)
    assert torch.equal(model(token_BT), before)
    assert mixer_names(student) < {name for name, value in student.named_parameters() if value.requires_grad}


def test_both_losses_fall_and_padding_does_not_count() -> None:
    model = teacher()
    examples = [Example(tuple(range(5, 5 + n)), (0.0,) * 3 + (1.0,) * (n - 3)) for n in (9, 12, 20)]
    shelves = Shelves.of(examples, batch_tokens=1000)
    assert len(shelves.items) == 1 and len(Shelves.of(examples, batch_tokens=20).items) == 3
    batch = shelves.batch(np.array([0]))
    for make in (layer_loss, answer_loss):
        student, loss = Student(model, SMALL), make(model)
        alone = Shelves.of(examples[2:], 1000).batch(np.array([0]))
        longer = replace(
            alone,
            token_BT=torch.nn.functional.pad(alone.token_BT, (0, 6), value=7),
            weight_BT=torch.nn.functional.pad(alone.weight_BT, (0, 6)),
            segment_BT=torch.nn.functional.pad(alone.segment_BT, (0, 6), value=-1),
        )
        torch.testing.assert_close(loss(student, alone), loss(student, longer), rtol=1e-4, atol=1e-6)
        learnt = [value for value in student.parameters() if value.requires_grad]
        optimiser, first = torch.optim.Adam(learnt, lr=5e-3), float(loss(student, batch).detach())
        for _ in range(25):
            optimiser.zero_grad()
            loss(student, batch).backward()
            optimiser.step()
        assert float(loss(student, batch).detach()) < 0.7 * first, make.__name__
    with pytest.raises(InputError, match="no examples"):
        Shelves.of([], 10)


def test_calibration_brings_every_layer_nearer() -> None:
    model = teacher()
    batch = Shelves.of([Example(tuple(range(5, 60)), (1.0,) * 55)], 1000).batch(np.array([0]))
    student, loss = Student(model, SMALL), layer_loss(model)
    with torch.no_grad():
        for mixer in student.mixers():
            mixer.norm_gain_E.mul_(7.0)
        before = float(loss(student, batch))
        calibrate(student, model, batch)
        assert float(loss(student, batch)) < 1.1 < before


def test_a_run_leaves_a_student_that_can_be_opened(tmp_path: Path) -> None:
    config = DistilConfig(
        layer_steps=3,
        answer_steps=3,
        batch_tokens=200,
        layout=LayoutConfig(row_tokens=128),
        student=SMALL,
        teacher="t.gguf",
    )
    manifest = distil(teacher(), Words().tokenize, TALKS, TALKS[:1], config, tmp_path / "run")
    figures = manifest["held_out"]
    assert figures["student"]["loss"] > 0 and figures["teacher"]["loss"] > 0
    file = tmp_path / "run" / "student.safetensors"
    assert teacher_name(file) == "t.gguf"
    opened = read_student(teacher(), file)
    token_BT = torch.tensor([Words().tokenize("Who is it?", False)])
    again = read_student(teacher(), file)
    assert torch.equal(opened(token_BT), again(token_BT))
    assert not torch.allclose(opened(token_BT), fold(Student(teacher(), SMALL))(token_BT), atol=1e-4)
    with pytest.raises(InputError, match="holds a run already"):
        distil(teacher(), Words().tokenize, TALKS, [], config, tmp_path / "run")
    distil(teacher(), Words().tokenize, TALKS, [], config, tmp_path / "run", resume=True)
    assert torch.equal(read_student(teacher(), file)(token_BT), opened(token_BT))
    with pytest.raises(FormatError, match="other settings"):
        distil(teacher(), Words().tokenize, TALKS, [], replace(config, seed=5), tmp_path / "run", resume=True)
    with pytest.raises(FormatError, match="other sizes"):
        read_student(Llama(replace(SIZES, width=48, heads=4)), file)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(FormatError, match="is no student"):
        read_student(teacher(), file)
    with pytest.raises(AssetError):
        read_student(teacher(), tmp_path / "absent")


def test_what_is_kept_changes_the_time_and_never_the_answer() -> None:
    warm, sampling = brain(), Sampling(max_tokens=12, temperature=0.0)
    talks = [
        talk("Hello there"),
        talk("Hello there", "yes", "and you?"),
        talk("Hello you"),
        talk("Hello there", "yes", "no"),
    ]
    for one in (*talks, *talks):
        cold = brain()
        for key in ("a", "b"):
            assert "".join(warm.stream(one, sampling, key=key)) == "".join(cold.stream(one, sampling, key="x"))
        spoken = talk(*(m.text for m in one))
        assert warm.end_probability(spoken, key="a") == pytest.approx(cold.end_probability(spoken, key="x"), rel=1e-4)


def test_reading_goes_on_from_the_nearest_state() -> None:
    one = brain()
    base = talk("A long story about a cat", "I see", "and its dog")
    one.prefill(base, key="a")
    before = one.read_tokens
    one.fork("a", "b")
    list(one.stream(talk(*(m.text for m in base[:-1]), "and its dog ran"), Sampling(max_tokens=1), key="b"))
    assert one.read_tokens - before < 50
    assert one.prefill(base, key="a").new_tokens == 0
    many = brain(states=6)
    text = "word " * 60
    for end in range(10, len(text), 5):
        many.prefill(talk(text[:end]), key="a")
    spent = many.read_tokens
    many.prefill(talk(text[:200] + "other "), key="a")
    assert many.read_tokens - spent < 160  # not from the beginning, though few states are kept


def test_the_state_does_not_grow() -> None:
    student = fold(Student(teacher(), SMALL))
    with torch.no_grad():
        _, short = student.scan(torch.randint(0, 120, (1, 3)), student.init(1))
        _, long = student.scan(torch.randint(0, 120, (1, 900)), student.init(1))
    assert state_bytes(short) == state_bytes(long) == 4 * 2 * (4 * 8 * 8 + 3 * (32 + 2 * 32))


def test_cancelling_and_bad_input() -> None:
    one = brain()
    assert list(one.stream(talk("Hi"), Sampling(max_tokens=4), key="a", cancelled=lambda: True)) == []
    assert one.prefill(talk("Hi you there"), key="a", cancelled=lambda: True).new_tokens == 0
    assert one.end_probability(talk("..."), key="a") == 0.0
    with pytest.raises(InputError):
        one.end_probability(talk("Hi", "yes"), key="a")
    with pytest.raises(InputError):
        list(one.stream(talk("Hi"), Sampling(max_tokens=0), key="a"))
    with pytest.raises(InputError, match="axes"):
        Student(teacher(), SMALL).scan(torch.zeros(3, dtype=torch.int64), ())
    with pytest.raises(InputError, match="several conversations"):
        Student(teacher(), SMALL)(torch.zeros(1, 2, dtype=torch.int64), torch.tensor([[0, 1]]))
    with pytest.raises(InputError, match="0 to 129"):
        Student(teacher(), SMALL)(torch.full((1, 2), 999))
    for wrong in ({"rank": 0}, {"memory": (5.0, 1.0)}):
        with pytest.raises(ConfigError):
            StudentConfig(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        brain(states=0)
    with pytest.raises(ConfigError):
        DistilConfig(layer_steps=0)
    one.forget("a")
    one.forget("nobody")
