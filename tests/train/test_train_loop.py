import dataclasses

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from fullduplex.base.errors import ConfigError, FormatError, InputError
from fullduplex.nn.compose import Chain, Residual
from fullduplex.nn.diagonal import DiagonalRecurrence
from fullduplex.nn.linear import Linear
from fullduplex.train.checkpoint import load_checkpoint, save_checkpoint
from fullduplex.train.data import Position, ShuffledBatches
from fullduplex.train.loop import DivergedError, TrainConfig, train
from fullduplex.train.schedule import ScheduleConfig

CONFIG = TrainConfig(
    num_steps=12, peak_lr=1e-2, seed=3, schedule=ScheduleConfig(warmup_steps=3), checkpoint_every_steps=4
)


class Killed(Exception):
    """Stands for the power cut."""


def make_model(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Chain(
        [
            Linear(3, 8, generator=generator),
            Residual(DiagonalRecurrence(8, generator=generator)),
            Linear(8, 1, generator=generator),
        ]
    )


def make_batches(target_scale=1.0):
    """Learn the running mean of three noisy channels: a task with memory."""
    x = torch.randn(20, 16, 3, generator=torch.Generator().manual_seed(1))
    y = x.mean(-1, keepdim=True).cumsum(1) / 4 * target_scale
    return ShuffledBatches(collate=lambda index_B: (x[index_B], y[index_B]), num_items=20, batch_size=4, seed=5)


def mean_square(model, batch):
    """With noise on the input, so that a forgotten generator shows."""
    x, y = batch
    out, _ = model.scan(x + 0.01 * torch.randn_like(x), model.init(x.shape[0]))
    return (out - y).square().mean()


def assert_same(one, two):
    assert (one.step, one.position) == (two.step, two.position)
    assert all(torch.equal(one.model[name], two.model[name]) for name in two.model)
    for index, moments in two.optimiser["state"].items():
        assert all(torch.equal(one.optimiser["state"][index][name], moments[name]) for name in moments)
    assert one.optimiser["param_groups"] == two.optimiser["param_groups"]
    assert all(torch.equal(a, b) for a, b in zip(one.rng, two.rng, strict=True))


def stop_after(step):
    def report(done):
        if done.step == step:
            raise Killed

    return report


def test_it_learns():
    losses = []
    config = dataclasses.replace(CONFIG, num_steps=150)
    train(make_model(), make_batches(), mean_square, config, report=lambda done: losses.append(done.loss))
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])


@pytest.mark.parametrize("kill_at", [4, 5, 7, 11])
def test_killed_and_resumed_equals_never_stopped(kill_at, tmp_path):
    whole = train(make_model(), make_batches(), mean_square, CONFIG)
    path = tmp_path / "run"
    with pytest.raises(Killed):
        train(make_model(), make_batches(), mean_square, CONFIG, report=stop_after(kill_at), checkpoint=path)
    state = load_checkpoint(path)
    assert state.step == kill_at // 4 * 4
    model = make_model(seed=99)
    resumed = train(model, make_batches(), mean_square, CONFIG, state=state, checkpoint=path)
    assert_same(resumed, whole)
    assert_same(load_checkpoint(path), whole)
    assert all(torch.equal(value, whole.model[name]) for name, value in model.state_dict().items())


def test_a_resume_leaves_the_state_it_was_given_alone(tmp_path):
    half = train(make_model(), make_batches(), mean_square, dataclasses.replace(CONFIG, num_steps=6))
    save_checkpoint(tmp_path / "half", half)
    train(make_model(), make_batches(), mean_square, CONFIG, state=half)
    assert_same(half, load_checkpoint(tmp_path / "half"))


def test_a_finished_run_resumes_to_itself():
    done = train(make_model(), make_batches(), mean_square, CONFIG)
    assert_same(train(make_model(9), make_batches(), mean_square, CONFIG, state=done), done)


def test_the_first_step_is_adamw_by_hand():
    # One step of Adam from zero moments moves every weight by lr * g / (|g| + eps); decay first takes lr * wd * w.
    model = Linear(3, 1, generator=torch.Generator().manual_seed(0)).double()
    before, bias_before = model.weight.detach().clone(), model.bias.detach().clone()
    x = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    batches = ShuffledBatches(collate=lambda index_B: x, num_items=1, batch_size=1, seed=0)
    config = TrainConfig(
        num_steps=1, peak_lr=0.1, seed=0, weight_decay=0.5, clip_norm=1e9, schedule=ScheduleConfig(kind="constant")
    )
    train(model, batches, lambda model, x: model.step(x, model.init(1))[0].sum(), config)
    torch.testing.assert_close(model.weight, before * (1 - 0.1 * 0.5) - 0.1 * x.sign(), rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(model.bias, bias_before - 0.1, rtol=1e-7, atol=1e-8)


def test_the_gradient_is_clipped_and_reported_before():
    model = Linear(1, 1, bias=False)
    batches = ShuffledBatches(collate=lambda index_B: torch.ones(1, 1), num_items=1, batch_size=1, seed=0)
    config = dataclasses.replace(CONFIG, num_steps=1, clip_norm=0.5)
    seen = []
    train(model, batches, lambda model, x: 40 * model.step(x, model.init(1))[0].sum(), config, report=seen.append)
    assert seen[0].grad_norm == pytest.approx(40)
    assert model.weight.grad.item() == pytest.approx(0.5)


def test_the_rate_follows_the_schedule():
    rates = []
    train(make_model(), make_batches(), mean_square, CONFIG, report=lambda done: rates.append(done.lr))
    assert rates[:4] == pytest.approx([1e-2 / 3, 2e-2 / 3, 1e-2, 1e-2])


def test_evaluation_is_called_when_due_and_changes_nothing():
    def evaluate(model):
        assert not model.training
        assert not torch.is_grad_enabled()
        return {"noise": torch.randn(()).item()}

    seen = []
    config = dataclasses.replace(CONFIG, evaluate_every_steps=5)
    looked = train(make_model(), make_batches(), mean_square, config, evaluate=evaluate, report=seen.append)
    assert [done.step for done in seen if done.figures] == [5, 10]
    assert_same(looked, train(make_model(), make_batches(), mean_square, CONFIG))


def test_the_generators_of_the_caller_are_left_alone():
    before = torch.get_rng_state()
    train(make_model(), make_batches(), mean_square, CONFIG)
    assert torch.equal(torch.get_rng_state(), before)


def test_bfloat16_trains_and_keeps_weights_wide():
    losses = []
    config = dataclasses.replace(CONFIG, num_steps=60, precision="bfloat16")
    state = train(make_model(), make_batches(), mean_square, config, report=lambda done: losses.append(done.loss))
    assert {value.dtype for value in state.model.values()} == {torch.float32}
    assert losses[-1] < 0.5 * losses[0]


def test_frozen_parameters_stay():
    model = make_model()
    model.layers[0].weight.requires_grad_(False)
    before = model.layers[0].weight.clone()
    train(model, make_batches(), mean_square, CONFIG)
    assert torch.equal(model.layers[0].weight, before)


def test_a_nan_loss_is_an_error_and_the_last_good_state_is_kept(tmp_path):
    path, calls = tmp_path / "run", []

    def breaks_at_step_7(model, batch):
        calls.append(1)
        return mean_square(model, batch) * (torch.nan if len(calls) == 7 else 1)

    with pytest.raises(DivergedError, match="step 7: not finite: loss"):
        train(make_model(), make_batches(), breaks_at_step_7, CONFIG, checkpoint=path)
    state = load_checkpoint(path)
    assert state.step == 4
    assert all(torch.isfinite(value).all() for value in state.model.values())


def test_an_infinite_gradient_behind_a_finite_loss_is_an_error():
    model = Linear(1, 1, bias=False)
    batches = ShuffledBatches(collate=lambda index_B: torch.zeros(1, 1), num_items=1, batch_size=1, seed=0)
    with pytest.raises(DivergedError, match="gradient norm"):
        train(model, batches, lambda model, x: (model.weight * x).sqrt().sum(), CONFIG)


def test_weights_that_overflow_are_never_written(tmp_path):
    path = tmp_path / "run"
    config = TrainConfig(num_steps=1, peak_lr=3e37, seed=0, weight_decay=0.0, schedule=ScheduleConfig(kind="constant"))
    model = Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(3.4e38)
    batches = ShuffledBatches(collate=lambda index_B: -torch.ones(1, 1), num_items=1, batch_size=1, seed=0)

    def loss(model, x):
        return (model.weight * x).sum()

    with pytest.raises(DivergedError, match=r"weight; none was kept"):
        train(model, batches, loss, config, checkpoint=path)
    assert not path.exists()


def test_a_state_of_another_model_is_refused():
    state = train(make_model(), make_batches(), mean_square, dataclasses.replace(CONFIG, num_steps=1))
    with pytest.raises(FormatError, match="does not fit"):
        train(Linear(3, 1), make_batches(), mean_square, CONFIG, state=state)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    state = train(make_model(), make_batches(), mean_square, dataclasses.replace(CONFIG, num_steps=1))
    save_checkpoint(tmp_path / "run", state)
    content = (tmp_path / "run").read_bytes()
    (tmp_path / "run").write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match="truncated"):
        load_checkpoint(tmp_path / "run")


def test_a_model_with_nothing_to_train_is_refused():
    with pytest.raises(InputError, match="no trainable parameter"):
        train(nn.Identity(), make_batches(), mean_square, CONFIG)


def test_no_steps_is_the_start():
    state = train(make_model(), make_batches(), mean_square, dataclasses.replace(CONFIG, num_steps=0))
    assert (state.step, state.position) == (0, Position())


@pytest.mark.parametrize(
    "change",
    [
        {"num_steps": -1},
        {"peak_lr": 0.0},
        {"peak_lr": float("nan")},
        {"clip_norm": 0.0},
        {"weight_decay": -0.1},
        {"precision": "float16"},
        {"checkpoint_every_steps": -1},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(change):
    with pytest.raises(ConfigError, match="expected"):
        dataclasses.replace(CONFIG, **change)
