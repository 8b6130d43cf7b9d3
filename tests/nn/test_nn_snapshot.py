import io

import pytest

pytest.importorskip("torch")

import torch

from fullduplex.base.errors import FormatError
from fullduplex.nn.archive import read_archive, write_archive
from fullduplex.nn.attention import CausalAttention
from fullduplex.nn.conv import CausalConv
from fullduplex.nn.diagonal import DiagonalRecurrence
from fullduplex.nn.linear import Linear
from fullduplex.nn.snapshot import load_state, save_state
from fullduplex.nn.state import Stateless


def test_bfloat16_complex_and_nan_survive_bit_for_bit(tmp_path):
    kept = {
        "half": torch.randn(5).bfloat16(),
        "complex": torch.randn(3, dtype=torch.complex64),
        "odd": torch.tensor([torch.nan, torch.inf, -0.0]),
    }
    write_archive(tmp_path / "a", {"tensors": kept, "step": 3})
    read = read_archive(tmp_path / "a")
    assert read["step"] == 3
    for name, tensor in kept.items():
        assert torch.equal(read["tensors"][name].view(torch.uint8), tensor.view(torch.uint8))


@pytest.mark.parametrize("keep", [0, 10, 80, 300, -1])
def test_a_truncated_file_is_refused(keep, tmp_path):
    path = tmp_path / "a"
    write_archive(path, {"x": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FormatError, match="a "):
        read_archive(path)


def test_one_flipped_bit_of_a_tensor_is_noticed(tmp_path):
    path = tmp_path / "a"
    write_archive(path, {"x": torch.full((100,), 1.5)})
    content = bytearray(path.read_bytes())
    content[content.index(torch.full((4,), 1.5).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(FormatError, match="checksum"):
        read_archive(path)


def test_code_in_a_file_is_never_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    write_archive(tmp_path / "a", {"x": Payload()})
    with pytest.raises(FormatError, match="plain tensors"):
        read_archive(tmp_path / "a")
    assert not (tmp_path / "ran").exists()


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a"
    write_archive(path, {"x": 1})
    with pytest.raises(Exception, match="pickle"):
        write_archive(path, {"x": (i for i in range(3))})
    assert read_archive(path) == {"x": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_torch_wrote_alone_is_refused(tmp_path):
    buffer = io.BytesIO()
    torch.save({"x": 1}, buffer)
    (tmp_path / "a").write_bytes(buffer.getvalue())
    with pytest.raises(FormatError, match="not a fullduplex archive"):
        read_archive(tmp_path / "a")


@pytest.mark.parametrize(
    "other",
    [DiagonalRecurrence(5), CausalConv(4, 3), Linear(4, 4), DiagonalRecurrence(4).double()],
    ids=["width", "kind", "stateless", "dtype"],
)
def test_a_state_of_another_stream_is_refused(other, tmp_path):
    save_state(DiagonalRecurrence(4).init(2), tmp_path / "s")
    with pytest.raises(FormatError, match=r"state lea"):
        load_state(other, tmp_path / "s")


def test_a_cache_of_other_heads_is_refused(tmp_path):
    save_state(CausalAttention(4, 2).init(2), tmp_path / "s")
    with pytest.raises(FormatError, match="key_BSHK"):
        load_state(CausalAttention(4, 4), tmp_path / "s")


def test_an_archive_without_a_state_is_refused(tmp_path):
    write_archive(tmp_path / "s", {"model": 1})
    with pytest.raises(FormatError, match="save_state"):
        load_state(Linear(2, 2), tmp_path / "s")


def test_a_stateless_stream_has_a_file_too(tmp_path):
    save_state(Stateless(), tmp_path / "s")
    assert load_state(Linear(2, 2), tmp_path / "s") == Stateless()
