"""Tasks: right answers, disjoint sets, one seed one task, files, and what is refused."""

import wave

import numpy as np
import pytest

pytest.importorskip("torch")

from fullduplex.base.errors import FormatError, InputError
from fullduplex.ssm.tasks.digits import digits, mnist1d
from fullduplex.ssm.tasks.keywords import read_keywords, resampled
from fullduplex.ssm.tasks.listops import TOKENS, evaluate_listops, listops, read_listops
from fullduplex.ssm.tasks.memory import copying, delay, recall, selective_copying
from fullduplex.ssm.tasks.pathfinder import PathfinderConfig, draw_picture, pathfinder
from fullduplex.ssm.tasks.table import TASKS, make_task
from fullduplex.ssm.tasks.task import Examples, distinct, split

SMALL = (40, 10, 10)
UNTRIED = ("keywords", "listops-long", "digits", "mnist1d", "pathfinder", "pathfinder-hard")  # files, or slow
MAKERS = {
    "listops": lambda seed: listops(seed, SMALL, lengths=(5, 40)),
    "pathfinder": lambda seed: pathfinder(seed, SMALL),
    "delay": lambda seed: delay(seed, SMALL, num_steps=64, lag=16),
    "copying": lambda seed: copying(seed, SMALL),
    "selective-copying": lambda seed: selective_copying(seed, SMALL),
    "recall": lambda seed: recall(seed, SMALL),
}


def tokens(text):
    return np.array([TOKENS.index(word) for word in text.split()])


def rows(task):
    return [{row.tobytes() for row in part.x} for part in (task.train, task.val, task.test)]


@pytest.mark.parametrize("name", MAKERS)
def test_a_seed_decides_and_the_sets_share_nothing(name):
    task, again, other = (MAKERS[name](seed) for seed in (3, 3, 4))
    for part in ("train", "val", "test"):
        for array in ("x", "y", "lengths_N"):
            np.testing.assert_array_equal(getattr(getattr(task, part), array), getattr(getattr(again, part), array))
    assert [len(part) for part in rows(task)] == list(SMALL)
    assert len(set.union(*rows(task))) == sum(SMALL)
    assert set.union(*rows(task)) != set.union(*rows(other))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("[MIN 3 8 ]", 3),
        ("[MAX 3 8 [MIN 9 9 ] ]", 9),
        ("[SM 5 6 7 ]", 8),
        ("[MED 1 2 4 8 ]", 3),
        ("[MED 1 2 ]", 1),
        ("[MAX 2 9 [MIN 4 7 ] 0 ]", 9),  # the example of the papers
    ],
)
def test_values_of_listops(text, value):
    assert evaluate_listops(tokens(text)) == value


@pytest.mark.parametrize("text", ["[MIN 3", "3 ]", "[MIN ]", "3 4", "<pad>", "[SM [MIN ] 3 ]"])
def test_broken_listops_are_refused(text):
    with pytest.raises(FormatError):
        evaluate_listops(tokens(text))


def test_generated_listops_are_whole_and_of_the_length_asked_for():
    task = listops(0, (150, 10, 10), lengths=(20, 100))
    assert set(task.train.y.tolist()) == set(range(10))
    for row, length, value in zip(task.train.x, task.train.lengths_N, task.train.y, strict=True):
        assert 20 <= length <= 100
        assert not row[length:].any()
        assert evaluate_listops(row[:length]) == value


def test_listops_at_full_length():
    task = listops(1, (12, 2, 2))
    lengths = np.concatenate([part.lengths_N for part in (task.train, task.val, task.test)])
    assert lengths.min() >= 500
    assert lengths.max() <= 2000


def test_files_of_long_range_arena(tmp_path):
    for part, lines in {"train": 3, "val": 1, "test": 2}.items():
        content = "Source\tTarget\n" + "( ( ( [MAX 2 ) 9 ) ] )\t9\n" * lines
        (tmp_path / f"basic_{part}.tsv").write_text(content)
    task = read_listops(tmp_path)
    assert [part.x.shape for part in (task.train, task.val, task.test)] == [(3, 4), (1, 4), (2, 4)]
    assert task.train.y.tolist() == [9, 9, 9]
    np.testing.assert_array_equal(task.train.x[0], tokens("[MAX 2 9 ]"))
    assert read_listops(tmp_path, limit=1).train.x.shape[0] == 1
    assert make_task("listops-long", data=tmp_path).outputs == 10
    for content in (
        "Source\tTarget\n( [MUL 2 ) ]\t4\n",
        "Source\tTarget\n[MIN 2 ]\tx\n",
        "a\tb\n1\t2\n",
        "Source\tTarget\n",
    ):
        (tmp_path / "basic_val.tsv").write_text(content)
        with pytest.raises(FormatError):
            read_listops(tmp_path)
    (tmp_path / "basic_val.tsv").unlink()
    with pytest.raises(FormatError, match="basic_val"):
        read_listops(tmp_path)


def connected(picture, start):
    """Pixels that can be reached from `start` in steps of at most three pixels over drawn ones."""
    drawn = {tuple(p) for p in np.argwhere(picture > 0.3)}
    reached, edge = set(), [start]
    while edge:
        at = edge.pop()
        if at in reached:
            continue
        reached.add(at)
        edge += [
            (at[0] + a, at[1] + b)
            for a in range(-3, 4)
            for b in range(-3, 4)
            if a * a + b * b <= 8 and (at[0] + a, at[1] + b) in drawn
        ]
    return reached


def dots(picture):
    """Pixels inside the two discs: where a 2 x 2 square is bright, which no dash is thick enough for."""
    full = np.argwhere(np.lib.stride_tricks.sliding_window_view(picture, (2, 2)).min((-1, -2)) > 0.9)
    far = [p for p in full if np.abs(p - full[0]).max() > 3]
    return tuple(full[0]), tuple(far[0])


@pytest.mark.parametrize("joined", [True, False])
def test_pictures_are_what_their_class_says(joined):
    # A flood fill over the dashes is an independent judge; crowded spots may fool it now and then.
    config, generator, right, seen = PathfinderConfig(distractors=0, clearance=4.0), np.random.default_rng(0), 0, 0
    while seen < 40:
        picture = draw_picture(generator, joined=joined, config=config)
        if picture is None:
            continue
        seen += 1
        one, other = dots(picture)
        right += (other in connected(picture, one)) == joined
    assert right >= 36


def test_pathfinder_is_balanced_and_can_be_harder():
    task = pathfinder(0, (100, 10, 10))
    assert 0.35 < task.train.y.mean() < 0.65
    assert task.train.x.shape == (100, 1024, 1)
    assert (task.train.x.min(), task.train.x.max()) == (-1, 1)
    hard = pathfinder(0, (20, 5, 5), config=PathfinderConfig(side=48, dashes=8, distractors=8))
    assert (hard.train.x > 0).sum() / 20 > 1.2 * (task.train.x > 0).sum() / 100
    # How much is drawn must not tell the classes apart.
    ink = (task.train.x[..., 0] > 0).sum(1)
    gap = abs(ink[task.train.y == 1].mean() - ink[task.train.y == 0].mean())
    assert gap < 0.8 * ink.std()


def test_memory_tasks_ask_for_what_was_seen():
    task = delay(0, SMALL, num_steps=64, lag=16, band=0.1)
    np.testing.assert_array_equal(task.train.y[:, 16:], task.train.x[:, :-16])
    assert np.isnan(task.train.y[:, :16]).all()
    assert np.abs(np.fft.rfft(task.train.x[0, :, 0]))[8:].max() < 1e-3
    task = copying(0, SMALL, symbols=5, items=4, wait=7)
    np.testing.assert_array_equal(task.train.y[:, -4:], task.train.x[:, :4])
    assert (task.train.y[:, :-4] == -1).all()
    task = selective_copying(0, SMALL, symbols=5, items=4, wait=9)
    for x, y in zip(task.train.x, task.train.y, strict=True):
        np.testing.assert_array_equal(y[y >= 0], x[x < 5])
    task = recall(0, SMALL, keys=6, values=4, pairs=3)
    for x, y in zip(task.train.x, task.train.y, strict=True):
        told = dict(zip(x[0:6:2].tolist(), (x[1:6:2] - 6).tolist(), strict=True))
        assert [told[key] for key in x[6:].tolist()] == y[6:].tolist()


def test_digits_are_real_and_apart():
    pytest.importorskip("sklearn")
    task = digits(0)
    assert task.train.x.shape == (1200, 64, 1)
    assert len(set.union(*rows(task))) == 1790
    assert (task.train.x.min(), task.train.x.max()) == (-1, 1)


def test_one_dimensional_digits_leave_the_global_generator_alone():
    pytest.importorskip("mnist1d")
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    task = mnist1d(1, (100, 20, 20))
    assert np.random.random() == expected  # noqa: NPY002
    assert task.train.x.shape == (100, 40, 1)
    np.testing.assert_array_equal(mnist1d(1, (100, 20, 20)).test.x, task.test.x)
    assert set(task.train.y.tolist()) == set(range(10))


def write(file, pcm, rate_hz=16_000, width=2):
    file.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(width)
        sound.setframerate(rate_hz)
        sound.writeframes((pcm * 32000).astype("<i2").tobytes() if width == 2 else bytes(len(pcm)))


@pytest.fixture
def recordings(tmp_path):
    time_s = np.arange(4000) / 16_000
    for part in ("train", "val", "test"):
        for word, pitch_hz in (("no", 200), ("yes", 900)):
            for number in range(3):
                write(tmp_path / part / word / f"{number}.wav", 0.3 * np.sin(2 * np.pi * (pitch_hz + number) * time_s))
    return tmp_path


def test_keywords_are_read_cut_and_levelled(recordings):
    task = read_keywords(recordings, num_samples=2_000)
    assert task.train.x.shape == (6, 2000, 1)
    assert task.train.y.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(np.sqrt(np.square(task.train.x).mean(1)), 1, rtol=1e-3)
    assert read_keywords(recordings, num_samples=5_000).train.x[:, 4000:].any() == np.False_
    assert make_task("keywords", data=recordings).outputs == 2


def test_half_the_rate_is_half_the_samples_of_the_same_sound(recordings):
    task = read_keywords(recordings, num_samples=4_000)
    slow = resampled(task.test, 16_000, 8_000)
    assert slow.x.shape == (6, 2000, 1)
    # Tones far below both Nyquist frequencies are the same function of time.
    np.testing.assert_allclose(slow.x[:, 200:-200], task.test.x[:, 400:-400:2], atol=0.05)


def test_bad_recordings_are_refused(recordings, tmp_path_factory):
    with pytest.raises(FormatError, match="words"):
        read_keywords(tmp_path_factory.mktemp("empty"))
    with pytest.raises(InputError):
        read_keywords(recordings, num_samples=0)
    write(recordings / "val" / "perhaps" / "0.wav", np.zeros(10))
    with pytest.raises(InputError, match="perhaps"):
        read_keywords(recordings)
    (recordings / "val" / "perhaps" / "0.wav").unlink()
    for make in (
        lambda file: write(file, np.zeros(10), rate_hz=8_000),
        lambda file: write(file, np.zeros(10), width=1),
        lambda file: write(file, np.zeros(0)),
        lambda file: file.write_bytes(b"RIFF"),
    ):
        make(recordings / "val" / "no" / "9.wav")
        with pytest.raises(FormatError):
            read_keywords(recordings)


@pytest.mark.parametrize("name", [name for name in TASKS if name not in UNTRIED])
def test_named_tasks_have_what_they_promise(name):
    task = make_task(name, seed=1)
    assert task.num_steps == task.train.x.shape[1]
    assert (task.inputs > 0) != (task.vocabulary > 0)
    if task.vocabulary:
        assert task.train.x.max() < task.vocabulary
    if task.goal != "number":
        assert task.train.y.max() == task.outputs - 1


@pytest.mark.parametrize(
    "bad",
    [
        lambda: listops(0, SMALL, lengths=(10, 5)),
        lambda: listops(0, SMALL, lengths=(0, 5)),
        lambda: listops(0, SMALL, lengths=(1, 9), max_arguments=1),
        lambda: PathfinderConfig(side=8),
        lambda: PathfinderConfig(dashes=1),
        lambda: delay(0, SMALL, num_steps=10, lag=10),
        lambda: delay(0, SMALL, band=0.6),
        lambda: copying(0, SMALL, symbols=1),
        lambda: copying(0, (100, 1, 1), symbols=2, items=2),
        lambda: selective_copying(0, SMALL, wait=0),
        lambda: recall(0, SMALL, keys=2, pairs=3),
        lambda: make_task("chess"),
        lambda: make_task("keywords"),
        lambda: make_task("recall", data="x"),
        lambda: distinct(lambda: None, 1, patience=3),
        lambda: split(Examples(x=np.ones((3, 1)), y=np.ones(3), lengths_N=np.ones(3, int)), (1, 1, 2)),
        lambda: Examples(x=np.ones((3, 1)), y=np.ones(2), lengths_N=np.ones(3, int)),
        lambda: Examples(x=np.ones((0, 1)), y=np.ones(0), lengths_N=np.ones(0, int)),
    ],
)
def test_bad_input_is_refused(bad):
    with pytest.raises(InputError):
        bad()
