"""The Chimera layer: the streaming contract in every mode, Mamba as a special case, stability, permutations."""

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.streaming import CHECKS
from fullduplex.base.errors import ConfigError, InputError
from fullduplex.forecast.chimera.config import ChimeraConfig, HeadConfig
from fullduplex.forecast.chimera.core import GridCore
from fullduplex.forecast.chimera.layer import Chimera
from fullduplex.nn.mamba.exact import StepStart
from fullduplex.nn.mamba.mamba1 import Mamba, MambaConfig

MODES = {
    "plain": {},
    "paper": {"discretisation": "paper"},
    "one_way": {"bidirectional": False},
    "pooled": {"coupling": "pooled"},
    "none": {"coupling": "none"},
    "not_selective": {"selective": False},
    "no_conv": {"num_taps": 1, "hold": "euler"},
}
ONE_HEAD = (HeadConfig(time=StepStart()),)


def make(dtype=torch.float64, num_variates=3, **options):
    generator = torch.Generator().manual_seed(0)
    config = ChimeraConfig(**{"width": 3, "order": 2, "expand": 1, **options})
    return Chimera(config, num_variates, generator=generator).to(dtype)


def noise(*shape, seed=1, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("check", CHECKS)
def test_streaming_contract(mode, check, tmp_path):
    CHECKS[check](make(**MODES[mode]), noise(3, 37, 3, 3), tmp_path)


@pytest.mark.parametrize("check", ["steps_equal_scan", "any_chunking", "gradients_equal"])
def test_streaming_contract_in_float32(check, tmp_path):
    CHECKS[check](make(torch.float32), noise(3, 37, 3, 3, dtype=torch.float32), tmp_path)


@pytest.mark.parametrize("mode", MODES)
def test_the_future_changes_no_bit_of_the_past(mode):
    layer, x = make(**MODES[mode]), noise(2, 20, 3, 3)
    other = x.clone()
    other[:, 11:] = torch.nan
    with torch.no_grad():
        before, after = (layer.scan(each, layer.init(2))[0] for each in (x, other))
    assert torch.equal(before[:, :11], after[:, :11])


@pytest.mark.parametrize("num_variates", [1, 4])
def test_without_coupling_it_is_mamba_of_every_variate(num_variates):
    generator = torch.Generator().manual_seed(3)
    mamba = Mamba(MambaConfig(width=4, order=5, step_rank=2), generator=generator).double()
    layer = make(width=4, order=5, expand=2, step_rank=2, coupling="none", hold="euler", heads=ONE_HEAD,
                 num_variates=num_variates)  # fmt: skip
    copy_weights(mamba, layer)
    x = noise(2, 33, num_variates, 4)
    y, _ = layer.scan(x, layer.init(2))
    for v in range(num_variates):
        expected, _ = mamba.scan(x[:, :, v], mamba.init(2))
        torch.testing.assert_close(y[:, :, v], expected, rtol=1e-11, atol=1e-12)


def test_a_grid_whose_other_state_is_not_read_is_mamba_too():
    generator = torch.Generator().manual_seed(3)
    mamba = Mamba(MambaConfig(width=3, order=2, expand=1, step_rank=1), generator=generator).double()
    layer = make(hold="euler", heads=ONE_HEAD, bidirectional=False)
    copy_weights(mamba, layer)
    core = layer.cores[0]
    x = noise(2, 21, 3, 3)
    with torch.no_grad():
        coupled, _ = layer.scan(x, layer.init(2))
        core.w2_EN.zero_()
        core.across.x_proj.weight[-2:].zero_()
        y, _ = layer.scan(x, layer.init(2))
        expected = torch.stack([mamba.scan(x[:, :, v], mamba.init(2))[0] for v in range(3)], dim=2)
    torch.testing.assert_close(y, expected, rtol=1e-11, atol=1e-12)
    assert (coupled - expected).abs().max() > 1e-2 * expected.abs().max()


def test_one_variate_is_the_mamba_of_mambapy():
    """An independent implementation on copied weights."""
    peer_module = pytest.importorskip("mambapy.mamba")
    peer_config = peer_module.MambaConfig(d_model=4, n_layers=1, d_state=5, expand_factor=2, dt_rank=2, d_conv=4)
    peer = peer_module.MambaBlock(peer_config)
    layer = make(torch.float32, width=4, order=5, expand=2, step_rank=2, coupling="none", hold="euler",
                 heads=ONE_HEAD, num_variates=1)  # fmt: skip
    core = layer.cores[0]
    pairs = [
        (layer.in_proj.weight, peer.in_proj.weight), (layer.out_proj.weight, peer.out_proj.weight),
        (layer.conv_weight_EK, peer.conv1d.weight[:, 0]), (layer.conv_bias_E, peer.conv1d.bias),
        (core.along.x_proj.weight, peer.x_proj.weight), (core.along.dt_weight_ER, peer.dt_proj.weight),
        (core.along.log_rate_EN, peer.A_log), (core.along.bias_E, peer.dt_proj.bias), (core.skip_E, peer.D),
    ]  # fmt: skip
    with torch.no_grad():
        for ours, theirs in pairs:
            ours.copy_(theirs)
        x = noise(2, 33, 4, dtype=torch.float32)
        y, _ = layer.scan(x.unsqueeze(2), layer.init(2))
        torch.testing.assert_close(y[:, :, 0], peer(x), rtol=1e-5, atol=1e-6)


def copy_weights(mamba, layer):
    core = layer.cores[0]
    pairs = [
        (layer.in_proj.weight, mamba.in_proj.weight), (layer.out_proj.weight, mamba.out_proj.weight),
        (layer.conv_weight_EK, mamba.conv_weight_EK), (layer.conv_bias_E, mamba.conv_bias_E),
        (core.along.x_proj.weight, mamba.x_proj.weight), (core.along.dt_weight_ER, mamba.dt_weight_ER),
        (core.along.log_rate_EN, mamba.exact.log_rate), (core.along.bias_E, mamba.exact.bias),
        (core.skip_E, mamba.exact.skip),
    ]  # fmt: skip
    with torch.no_grad():
        for ours, theirs in pairs:
            ours.copy_(theirs)


def test_zero_coupling_means_none_only_where_the_discretisation_is_principled():
    x = noise(1, 12, 3, 3)
    poked = x.clone()
    poked[:, 2, 0] += 1
    for name in ("principled", "paper"):
        layer = make(discretisation=name, bidirectional=False, heads=ONE_HEAD)
        with torch.no_grad():
            for w_EN in (layer.cores[0].w2_EN, layer.cores[0].w3_EN):  # A2 = A3 = 0 of the continuous system
                w_EN.fill_(0.0 if name == "principled" else -torch.inf)
            moved = (layer.scan(poked, layer.init(1))[0] - layer.scan(x, layer.init(1))[0])[:, 6:, 1:].abs().max()
        assert bool(moved < 1e-15) == (name == "principled")


@settings(max_examples=30, deadline=None)
@given(st.floats(-6, 6), st.floats(-4, 4), st.floats(-20, 20), st.integers(0, 99))
def test_principled_blocks_never_amplify(bias, log_rate, coupling, seed):
    core = GridCore(ChimeraConfig(width=2, order=3), ONE_HEAD[0]).double()
    u = noise(1, 6, 3, 4, seed=seed)
    with torch.no_grad():
        for drive in (core.along, core.across):
            drive.bias_E.fill_(bias)
            drive.log_rate_EN.fill_(log_rate)
        for w, drive in ((core.w2_EN, core.along), (core.w3_EN, core.across)):
            w.fill_(coupling)
            step, decay, _, _ = drive(u)
            assert (decay.abs() + core._couple(w, step, decay).abs()).max() <= 1 + 1e-15


def test_k_times_the_step_is_k_steps_of_a_still_input():
    # e^(k s r) = (e^(s r))^k, and with the input held the entering parts add up to the same.
    core = GridCore(ChimeraConfig(width=2, order=3, selective=False), ONE_HEAD[0]).double()
    u = noise(1, 1, 1, 4)
    with torch.no_grad():
        step, decay, enter, _ = core.along(u)
        core.along.bias_E.copy_(torch.log(torch.expm1(5 * step[0, 0, 0, :, 0])))
        _, decay5, enter5, _ = core.along(u)
    torch.testing.assert_close(decay5, decay**5, rtol=1e-12, atol=0)
    torch.testing.assert_close(enter5, enter * sum(decay**i for i in range(5)), rtol=1e-11, atol=0)


@pytest.mark.parametrize("mode", ["pooled", "none"])
def test_permuting_variates_permutes_the_answer(mode):
    layer, x = make(coupling=mode, num_variates=5), noise(2, 15, 5, 3)
    order = torch.tensor([3, 0, 4, 2, 1])
    with torch.no_grad():
        straight, shuffled = (layer.scan(each, layer.init(2))[0] for each in (x, x[:, :, order]))
    torch.testing.assert_close(shuffled, straight[:, :, order], rtol=1e-13, atol=1e-14)


def test_the_grid_depends_on_the_order_of_the_variates():
    layer, x = make(), noise(2, 15, 3, 3)
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        straight, shuffled = (layer.scan(each, layer.init(2))[0] for each in (x, x[:, :, order]))
    assert (shuffled - straight[:, :, order]).abs().max() > 1e-4


@pytest.mark.parametrize("options", [{"coupling": "pooled"}, {}], ids=str)
def test_every_variate_reaches_every_other(options):
    layer, x = make(**options), noise(1, 8, 3, 3)
    with torch.no_grad():
        before, _ = layer.scan(x, layer.init(1))
        for v in range(3):
            poked = x.clone()
            poked[:, 0, v] += 1
            moved = (layer.scan(poked, layer.init(1))[0] - before)[0, 4:].abs().amax(dim=(0, 2))
            assert (moved > 1e-9).all()


def test_bad_input_says_what_was_wrong():
    layer = make()
    for x in (noise(2, 5, 4, 3), noise(2, 5, 3, 2), noise(2, 5, 3), noise(1, 5, 3, 3), torch.ones(2, 5, 3, 3).long()):
        with pytest.raises(InputError, match="Chimera got"):
            layer.scan(x, layer.init(2))
    for options in ({"order": 0}, {"num_taps": 17}, {"heads": ()}, {"coupling": "star"}, {"discretisation": "best"},
                    {"hold": "still"}):  # fmt: skip
        with pytest.raises(ConfigError, match="ChimeraConfig got"):
            make(**options)
    with pytest.raises(InputError, match="0 variates"):
        make(num_variates=0)
