"""The selective scan of Mamba (Gu and Dao, arXiv 2312.00752, algorithm 2 and section 3.3.2).

    s_t = softplus(dt_t + bias)             the length of a step, chosen by the input
    h_t = e^(s_t A) h_{t-1} + s_t x_t b_t   each channel has N states with rates A of their own; b is shared by channels
    y_t = (h_t . c_t + skip x_t) SiLU(z_t)

Axes: B batch, T time, D channels, N states of a channel.

Three paths on a CPU, one result up to rounding:

    reference   one step after the other, as it stands above, differentiated by autograd
    torch       tiles of time: all decays of a tile at once, then `linear_scan`; the backward pass keeps only the states
                between tiles and runs each tile again
    compiled    native/selective.h: one pass over memory with the states in registers, forward and backward

On CUDA tensors, where Triton is installed, `gpu/recurrence.py` runs the forward pass, and the scan inside the tiles.

Memory for the backward pass beside inputs and outputs: B D N T / tile numbers, never B D N T.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from fullduplex.base.errors import InputError
from fullduplex.kernels.native.library import Native, native_for, triton_for, unit_rows
from fullduplex.kernels.scan import linear_scan

__all__ = ["SelectiveSystem", "selective_scan", "selective_scan_ref"]

_TILE_STEPS = 32  # of the compiled path: what one tile keeps fits the second cache
_TILE_NUMBERS = 2**19  # of the torch path: B D N times the steps of a tile, so that its tensors fit a cache


@dataclass(frozen=True, slots=True)
class SelectiveSystem:
    """What does not depend on the input.

    Args:
        rate_DN: A, negative for states that fade; any value is computed.
        skip_D: how much of the input goes straight to the output.
        bias_D: added to dt in front of the softplus; None: dt already is the step, > 0.
    """

    rate_DN: Tensor
    skip_D: Tensor
    bias_D: Tensor | None = None


def selective_scan(
    x_BTD: Tensor,
    dt_BTD: Tensor,
    b_BTN: Tensor,
    c_BTN: Tensor,
    system: SelectiveSystem,
    h0_BDN: Tensor,
    z_BTD: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """All outputs of the recurrence, and the state after the last step.

    Args:
        x_BTD: inputs; T may be 0.
        dt_BTD: steps, before bias and softplus if the system has a bias.
        b_BTN: how the input enters the states.
        c_BTN: how the states are read.
        system: rates, skip connection, bias.
        h0_BDN: states before the first step.
        z_BTD: gate; None: no gate.

    Returns:
        y_BTD and h_BDN, fresh tensors. Differentiable once. A NaN stays in its row, and in its channel unless it came
        by b or c; it never reaches earlier steps.

    Raises:
        InputError: shapes do not fit, or not all are float32 or all float64, or not all on one device.
    """
    tensors = (x_BTD, dt_BTD, b_BTN, c_BTN, z_BTD, system.rate_DN, system.skip_D, system.bias_D)
    _check(tensors, h0_BDN)
    if x_BTD.shape[1] == 0:
        return x_BTD.clone(), h0_BDN.clone()
    compiled = native_for(x_BTD) if h0_BDN.numel() else None
    wanted = torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in (*tensors, h0_BDN))
    if compiled is not None and not wanted:
        return _forward(compiled, tensors, h0_BDN, None)
    if triton_for(x_BTD, h0_BDN):
        return _forward_gpu(tensors, h0_BDN)
    path = _Tiles if compiled is None else _Compiled
    return cast("tuple[Tensor, Tensor]", path.apply(*tensors, h0_BDN))


def selective_scan_ref(
    x_BTD: Tensor,
    dt_BTD: Tensor,
    b_BTN: Tensor,
    c_BTN: Tensor,
    system: SelectiveSystem,
    h0_BDN: Tensor,
    z_BTD: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`selective_scan`, written to be read."""
    step_BTD = dt_BTD if system.bias_D is None else functional.softplus(dt_BTD + system.bias_D, threshold=200)
    h_BDN, outputs = h0_BDN, []
    for x_BD, step_BD, b_BN, c_BN in zip(
        x_BTD.unbind(1), step_BTD.unbind(1), b_BTN.unbind(1), c_BTN.unbind(1), strict=True
    ):
        decay_BDN = torch.exp(step_BD[:, :, None] * system.rate_DN)
        h_BDN = decay_BDN * h_BDN + (step_BD * x_BD)[:, :, None] * b_BN[:, None, :]
        outputs.append((h_BDN * c_BN[:, None, :]).sum(-1) + system.skip_D * x_BD)
    y_BTD = torch.stack(outputs, dim=1) if outputs else x_BTD.clone()
    return (y_BTD if z_BTD is None else y_BTD * functional.silu(z_BTD)), h_BDN.clone()


def _check(tensors: tuple[Tensor | None, ...], h0_BDN: Tensor) -> None:
    x_BTD, dt_BTD, b_BTN, c_BTN, z_BTD, rate_DN, skip_D, bias_D = tensors
    given = {
        "x": x_BTD, "dt": dt_BTD, "b": b_BTN, "c": c_BTN, "z": z_BTD,
        "rate": rate_DN, "skip": skip_D, "bias": bias_D, "h0": h0_BDN,
    }  # fmt: skip
    present = {name: tensor for name, tensor in given.items() if tensor is not None}
    if present["x"].ndim != 3 or present["rate"].ndim != 2:
        raise InputError(f"selective_scan got {_shapes(present)}; expected x (B, T, D) and rate (D, N)")
    (batch, num_steps, width), order = present["x"].shape, present["rate"].shape[1]
    wide, narrow = (batch, num_steps, width), (batch, num_steps, order)
    expected = {
        "x": wide, "dt": wide, "b": narrow, "c": narrow, "z": wide,
        "rate": (width, order), "skip": (width,), "bias": (width,), "h0": (batch, width, order),
    }  # fmt: skip
    if any(tensor.shape != expected[name] for name, tensor in present.items()):
        raise InputError(
            f"selective_scan got {_shapes(present)}; expected x, dt, z (B, T, D), b, c (B, T, N), rate (D, N), "
            "skip, bias (D,), h0 (B, D, N)"
        )
    kinds = {(tensor.dtype, tensor.device) for tensor in present.values()}
    if len(kinds) > 1 or present["x"].dtype not in (torch.float32, torch.float64):
        told = ", ".join(f"{name} {tensor.dtype} on {tensor.device}" for name, tensor in present.items())
        raise InputError(
            f"selective_scan got {told}; expected all float32 or all float64 on one device: "
            "cast half precision to float32 first"
        )


def _shapes(present: dict[str, Tensor]) -> str:
    return ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in present.items())


def _sizes(tensors: tuple[Tensor | None, ...]) -> tuple[int, ...]:
    """See native/selective.h; the order of `tensors` is that of `in` there."""
    x_BTD, dt_BTD, b_BTN, c_BTN, z_BTD, rate_DN, _, bias_D = tensors
    assert x_BTD is not None and dt_BTD is not None and b_BTN is not None and c_BTN is not None and rate_DN is not None
    strides = [stride for each in (x_BTD, dt_BTD, b_BTN, c_BTN) for stride in each.stride()[:2]]
    strides += z_BTD.stride()[:2] if z_BTD is not None else (0, 0)
    switches = (int(bias_D is not None), torch.get_num_threads(), _TILE_STEPS)
    return (*x_BTD.shape, rate_DN.shape[1], *switches, *strides)


def _forward(
    compiled: Native, tensors: tuple[Tensor | None, ...], h0_BDN: Tensor, kept: Tensor | None
) -> tuple[Tensor, Tensor]:
    lent = _lend(tensors)
    (x_BTD, *_), h0_BDN = lent, h0_BDN.contiguous()
    assert x_BTD is not None
    y_BTD, h_BDN = x_BTD.new_empty(x_BTD.shape), torch.empty_like(h0_BDN)
    compiled.run("selective", h0_BDN.dtype, lent, h0_BDN, y_BTD, h_BDN, kept, _sizes(lent))
    return y_BTD, h_BDN


def _forward_gpu(tensors: tuple[Tensor | None, ...], h0_BDN: Tensor) -> tuple[Tensor, Tensor]:
    from fullduplex.kernels.gpu.recurrence import selective_gpu

    x_BTD, dt_BTD, b_BTN, c_BTN, z_BTD, rate_DN, skip_D, bias_D = cast("tuple[Tensor, ...]", tensors)
    step_BTD = dt_BTD if bias_D is None else functional.softplus(dt_BTD + bias_D, threshold=200)
    y_BTD, h_BDN = selective_gpu(x_BTD, step_BTD, b_BTN, c_BTN, rate_DN, skip_D, h0_BDN)
    return (y_BTD if z_BTD is None else y_BTD * functional.silu(z_BTD)), h_BDN


def _lend(tensors: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """Streams keep their strides over batch and time; what has no time is made contiguous."""
    streams = tuple(None if each is None else unit_rows(each) for each in tensors[:5])
    return (*streams, *(None if each is None else each.contiguous() for each in tensors[5:]))


class _Compiled(torch.autograd.Function):
    """Both directions in C."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor | None) -> tuple[Tensor, Tensor]:
        *tensors, h0_BDN = inputs
        lent, (x_BTD, rate_DN) = _lend(tuple(tensors)), (inputs[0], inputs[5])
        assert h0_BDN is not None and x_BTD is not None and rate_DN is not None
        compiled = native_for(x_BTD)
        assert compiled is not None
        batch, num_steps, width = x_BTD.shape
        lanes = 16 if x_BTD.dtype == torch.float32 else 8
        tiles, blocks = -(-num_steps // _TILE_STEPS), -(-width // lanes)
        kept = x_BTD.new_empty(batch, tiles, blocks, rate_DN.shape[1], lanes)
        y_BTD, h_BDN = _forward(compiled, lent, h0_BDN, kept)
        ctx.save_for_backward(*lent, kept)
        return y_BTD, h_BDN

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]: the decorator hides the names
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        dy_BTD, dh_BDN = (each.contiguous() for each in grad_outputs)
        *lent, kept = ctx.saved_tensors
        x_BTD, b_BTN, z_BTD, bias_D = lent[0], lent[2], lent[4], lent[7]
        compiled = native_for(x_BTD)
        assert compiled is not None
        sizes = _sizes(tuple(lent))
        (batch, _, width), order, threads = x_BTD.shape, sizes[3], sizes[5]
        groups = -(-threads // batch) if threads > batch else 1
        du, ddt, dz = (None if each is None else each.new_empty(each.shape) for each in (x_BTD, x_BTD, z_BTD))
        drate, dskip, dbias = (dy_BTD.new_empty(batch, *shape) for shape in ((width, order), (width,), (width,)))
        # A group without channels writes nothing.
        db, dc = (b_BTN.new_zeros(groups, *b_BTN.shape) for _ in range(2))
        dh0 = torch.empty_like(dh_BDN)
        out = (du, ddt, dz, drate, dskip, dbias, db, dc, dh0)
        compiled.run("selective_backward", dy_BTD.dtype, tuple(lent), kept, dy_BTD, dh_BDN, out, sizes)
        summed_bias = None if bias_D is None else dbias.sum(0)
        return du, ddt, db.sum(0), dc.sum(0), dz, drate.sum(0), dskip.sum(0), summed_bias, dh0


class _Tiles(torch.autograd.Function):
    """Tile by tile in torch, on any device."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor | None) -> tuple[Tensor, Tensor]:
        *tensors, h_BDN = inputs
        assert h_BDN is not None
        starts, outputs = [], []
        for tile in _tiles(h_BDN, tensors[0]):
            starts.append(h_BDN)
            y_BTD, h_BDN = _tile(*_cut(tuple(tensors), tile), h_BDN)
            outputs.append(y_BTD)
        ctx.save_for_backward(*tensors, *starts)
        return torch.cat(outputs, dim=1), h_BDN.clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]: the decorator hides the names
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        dy_BTD, dh_BDN = grad_outputs
        tensors, starts = ctx.saved_tensors[:8], ctx.saved_tensors[8:]
        streams: list[list[Tensor | None]] = []
        constants: list[Tensor | None] = [None if each is None else torch.zeros_like(each) for each in tensors[5:]]
        for tile, start_BDN in reversed(list(zip(_tiles(dh_BDN, dy_BTD), starts, strict=True))):
            lone = [None if e is None else e.detach().requires_grad_() for e in (*_cut(tensors, tile), start_BDN)]
            with torch.enable_grad():
                results = _tile(*lone)
            wanted = [each for each in lone if each is not None]
            found = iter(torch.autograd.grad(results, wanted, (dy_BTD[:, tile], dh_BDN)))
            gradients = [None if each is None else next(found) for each in lone]
            streams.append(gradients[:5])
            constants = [s if g is None or s is None else s + g for s, g in zip(constants, gradients[5:8], strict=True)]
            dh_BDN = cast("Tensor", gradients[8])
        joined = (
            None if tensors[index] is None else torch.cat([cast("Tensor", s[index]) for s in reversed(streams)], dim=1)
            for index in range(5)
        )
        return (*joined, *constants, dh_BDN)


def _tiles(h_BDN: Tensor, x_BTD: Tensor | None) -> list[slice]:
    assert x_BTD is not None
    num_steps = x_BTD.shape[1]
    size = max(1, _TILE_NUMBERS // max(1, h_BDN.numel()))
    return [slice(start, min(start + size, num_steps)) for start in range(0, num_steps, size)]


def _cut(tensors: tuple[Tensor | None, ...], tile: slice) -> list[Tensor | None]:
    return [*(None if each is None else each[:, tile] for each in tensors[:5]), *tensors[5:]]


def _tile(*inputs: Tensor | None) -> tuple[Tensor, Tensor]:
    """The recurrence on a tile, all decays at once."""
    x_BTD, dt_BTD, b_BTN, c_BTN, z_BTD, rate_DN, skip_D, bias_D, h0_BDN = cast("tuple[Tensor, ...]", inputs)
    step_BTD = dt_BTD if bias_D is None else functional.softplus(dt_BTD + bias_D, threshold=200)
    decay_BTDN = torch.exp(step_BTD.unsqueeze(-1) * rate_DN)
    drive_BTDN = (step_BTD * x_BTD).unsqueeze(-1) * b_BTN.unsqueeze(2)
    flat = (decay_BTDN.flatten(2), drive_BTDN.flatten(2), h0_BDN.flatten(1))
    h_BTDN = linear_scan(*flat).unflatten(2, rate_DN.shape)
    y_BTD = torch.einsum("btdn,btn->btd", h_BTDN, c_BTN) + skip_D * x_BTD
    return (y_BTD if z_BTD is None else y_BTD * functional.silu(z_BTD)), h_BTDN[:, -1].clone()
