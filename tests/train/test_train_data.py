import numpy as np
import pytest

from fullduplex.base.errors import InputError
from fullduplex.train.data import Position, ShuffledBatches, epoch_order


def stream(num_items=10, batch_size=3, seed=0):
    return ShuffledBatches(collate=np.ndarray.tolist, num_items=num_items, batch_size=batch_size, seed=seed)


def read_many(batches, count, position):
    out = []
    for _ in range(count):
        batch, position = batches.read(position)
        out.append(batch)
    return out, position


def test_an_epoch_shows_every_item_at_most_once_and_the_next_is_in_another_order():
    first, position = read_many(stream(), 3, Position())
    assert len({item for batch in first for item in batch}) == 9
    assert position == Position(epoch=1, batch=0)
    assert read_many(stream(), 3, position)[0] != first


def test_a_position_resumes_the_stream():
    whole, _ = read_many(stream(), 8, Position())
    _, position = read_many(stream(), 5, Position())
    assert read_many(stream(), 3, position)[0] == whole[5:]


def test_the_seed_decides_the_order():
    assert stream(seed=1).read(Position())[0] == stream(seed=1).read(Position())[0]
    assert stream(seed=1).read(Position())[0] != stream(seed=2).read(Position())[0]


def test_the_order_is_a_permutation_nobody_can_change():
    order_N = epoch_order(1000, 3, 4)
    assert np.array_equal(np.sort(order_N), np.arange(1000))
    with pytest.raises(ValueError, match="read-only"):
        order_N[0] = 1


@pytest.mark.parametrize(("num_items", "batch_size"), [(0, 1), (3, 4), (3, 0)])
def test_a_stream_without_a_batch_is_refused(num_items, batch_size):
    with pytest.raises(InputError, match="batch_size"):
        stream(num_items, batch_size)


@pytest.mark.parametrize("position", [Position(batch=3), Position(batch=-1), Position(epoch=-1)], ids=str)
def test_a_position_outside_the_data_is_refused(position):
    with pytest.raises(InputError, match="was the data changed"):
        stream().read(position)
