"""Recordings for the keyword task: layout, words, and that what is there stays."""

from pathlib import Path

import pytest

from fullduplex.assets import store
from fullduplex.base.errors import InputError
from fullduplex.recipes.keywords import make_keywords

pytest.importorskip("onnxruntime")
pytest.importorskip("soundfile")


def test_too_few_renditions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="renditions"):
        make_keywords(tmp_path, renditions=(1, 0, 1))


def test_words_are_said_in_many_ways(tmp_path: Path) -> None:
    for name in ("piper-joe", "english-lexicon"):
        if store.find(name) is None:
            pytest.skip(f"the asset {name} is not installed: fullduplex assets get {name}")
    torch_tasks = pytest.importorskip("fullduplex.ssm.tasks.keywords")
    told: list[tuple[int, int]] = []
    words = make_keywords(tmp_path, renditions=(2, 1, 1), report=lambda done, total: told.append((done, total)))
    assert len(words) == 7
    assert told[-1] == (28, 28)
    task = torch_tasks.read_keywords(tmp_path, num_samples=4_000)
    assert task.train.x.shape == (14, 4000, 1)
    assert sorted(set(task.test.y.tolist())) == list(range(7))
    others = torch_tasks.read_examples(tmp_path / "others" / "test", list(words), num_samples=4_000)
    assert others.x.shape[0] == 28
    # Two renditions of a word are two sounds; a second call makes nothing again.
    assert (task.train.x[0] != task.train.x[1]).any()
    before = (tmp_path / "train" / words[0] / "000.wav").read_bytes()
    make_keywords(tmp_path, renditions=(2, 1, 1))
    assert (tmp_path / "train" / words[0] / "000.wav").read_bytes() == before
