"""The classifier: pooling, lengths, the stream of answers, rates, optimiser groups, and that it learns."""

import pytest

pytest.importorskip("torch")

import torch

from contracts.streaming import CHECKS
from fullduplex.base.errors import InputError
from fullduplex.ssm.classifier import Classifier, ClassifierConfig
from fullduplex.ssm.layers import LAYERS, LayerConfig, make_block
from fullduplex.train.optim import SLOW_PEAK_LR, make_adamw

FIXED = [name for name in LAYERS if not name.startswith("mamba")]


def model(name="s4d-lin", **options):
    layer = LayerConfig(name=name, width=8, order=4, steps=(0.01, 0.1))
    settings = {"layer": layer, "depth": 2, "inputs": 3, "outputs": 4, **options}
    return Classifier(ClassifierConfig(**settings), generator=torch.Generator().manual_seed(0)).eval()


def noise(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_makes_a_block_that_streams(name):
    block = make_block(LayerConfig(name=name, width=6, order=4), generator=torch.Generator().manual_seed(0)).double()
    x = noise(2, 20, 6, dtype=torch.float64)
    with torch.no_grad():
        whole, _ = block.scan(x, block.init(2))
        first, state = block.scan(x[:, :7], block.init(2))
        second, _ = block.scan(x[:, 7:], state)
        stepped, _ = block.step(x[:, 0], block.init(2))
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=0, atol=1e-11)
    torch.testing.assert_close(stepped, whole[:, 0], rtol=0, atol=1e-11)


@pytest.mark.parametrize("pool", ["mean", "last", "none"])
@pytest.mark.parametrize("check", [name for name in CHECKS if name != "gradients_equal"])
def test_a_stream_of_answers(pool, check, tmp_path):
    torch.manual_seed(0)
    stream = model(pool=pool).double()
    CHECKS[check](stream, noise(3, 37, 3, dtype=torch.float64), tmp_path)


@pytest.mark.parametrize("pool", ["mean", "last"])
@pytest.mark.parametrize("name", ["s4d-lin", "s5", "mamba"])
def test_the_last_answer_of_the_stream_is_that_of_the_whole(pool, name):
    net, x = model(name, pool=pool).double(), noise(2, 15, 3, dtype=torch.float64)
    with torch.no_grad():
        answers, _ = net.scan(x, net.init(2))
        torch.testing.assert_close(net(x), answers[:, -1], rtol=0, atol=1e-12)
        per_step = model(name, pool="none").double()(x)
    assert per_step.shape == (2, 15, 4)


@pytest.mark.parametrize("pool", ["mean", "last"])
def test_padding_changes_nothing(pool):
    net, x = model(pool=pool).double(), noise(3, 12, 3, dtype=torch.float64)
    lengths = torch.tensor([12, 5, 1])
    with torch.no_grad():
        got = net(x, lengths)
        for row, length in enumerate(lengths.tolist()):
            torch.testing.assert_close(got[row], net(x[row : row + 1, :length])[0], rtol=0, atol=1e-12)


def test_tokens():
    net = model(inputs=0, vocabulary=7)
    tokens = torch.randint(7, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        answers, state = net.scan(tokens[:, :8], net.init(2))
        last, _ = net.step(tokens[:, 8], state)
    assert answers.shape == (2, 8, 4)
    torch.testing.assert_close(last, net(tokens), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FIXED)
def test_another_rate_changes_every_layer_and_no_parameter(name):
    net = model(name)
    half = net.at_rate(2)
    assert [block.layer.rate for block in half.blocks.layers] == [2.0, 2.0]
    assert [block.layer.rate for block in net.blocks.layers] == [1.0, 1.0]
    assert {id(p) for p in half.parameters()} == {id(p) for p in net.parameters()}


@pytest.mark.parametrize("name", ["mamba", "mamba2"])
def test_selective_layers_have_no_rate(name):
    with pytest.raises(InputError, match="rate"):
        model(name).at_rate(2)


@pytest.mark.parametrize("name", LAYERS)
def test_state_space_parameters_learn_slowly_and_do_not_decay(name):
    net = model(name)
    optimiser = make_adamw(net, weight_decay=0.1, betas=(0.9, 0.999))
    grouped = [id(p) for group in optimiser.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in net.parameters())
    decayed = {id(p) for p in optimiser.param_groups[0]["params"]}
    for block in net.blocks.layers:
        if name.startswith("mamba"):
            assert not decayed & {id(p) for p in block.inner.undecayed_parameters()}
            continue
        slow = {id(p) for p in block.layer.slow_parameters()}
        group = optimiser.param_groups[2]
        assert slow <= {id(p) for p in group["params"]}
        assert (group["weight_decay"], group["peak_lr"]) == (0.0, SLOW_PEAK_LR)


@pytest.mark.parametrize("name", ["s4d-lin", "s4", "s5"])
def test_the_loop_holds_the_slow_group_back(name):
    from fullduplex.train.data import ShuffledBatches
    from fullduplex.train.loop import TrainConfig, train
    from fullduplex.train.schedule import ScheduleConfig

    net = model(name)
    before = {key: value.clone() for key, value in net.named_parameters()}
    batches = ShuffledBatches(collate=lambda rows: noise(4, 10, 3), num_items=4, batch_size=4, seed=0)
    config = TrainConfig(num_steps=1, peak_lr=0.05, seed=0, weight_decay=0.0, schedule=ScheduleConfig(kind="constant"))
    train(net, batches, lambda it, batch: it(batch).square().mean(), config)
    # The first step of Adam moves every number by its rate.
    moved = {key: (value - before[key]).abs().max().item() for key, value in net.named_parameters()}
    slow = {id(p) for block in net.blocks.layers for p in block.layer.slow_parameters()}
    for key, value in net.named_parameters():
        assert moved[key] == pytest.approx(SLOW_PEAK_LR if id(value) in slow else 0.05, rel=0.02), key


@pytest.mark.parametrize(
    "bad",
    [
        lambda: model(inputs=0),
        lambda: model(vocabulary=5),
        lambda: model(depth=0),
        lambda: model(outputs=0),
        lambda: model(pool="max"),
        lambda: LayerConfig(name="s6", width=4),
        lambda: model()(noise(2, 0, 3)),
        lambda: model()(noise(2, 5, 4)),
        lambda: model()(noise(2, 5, 3), torch.tensor([5])),
        lambda: model()(noise(2, 5, 3), torch.tensor([5, 6])),
        lambda: model()(noise(2, 5, 3), torch.tensor([5, 0])),
        lambda: model(inputs=0, vocabulary=4)(torch.tensor([[4]])),
        lambda: model(inputs=0, vocabulary=4)(torch.tensor([[-1]])),
        lambda: model(inputs=0, vocabulary=4)(noise(2, 5, 3)),
    ],
)
def test_bad_input_is_refused(bad):
    with pytest.raises(InputError):
        bad()
