"""State space duality, the recurrence of Mamba-2 (Dao and Gu, arXiv 2405.21060, sections 3, 6 and listing 1).

    h_t = e^(dt_t A) h_{t-1} + dt_t x_t b_t^T       one number A a head, so a head's state is a P x N matrix
    y_t = h_t c_t + skip x_t

Axes: B batch, T time, Q steps of a chunk, H heads, P numbers of a head, G groups of heads that share b and c, N states.

Everything here is one operation, a pass over values v, keys k and queries q:

    S_t = e^(l_t) S_{t-1} + w_t v_t k_t^T,    out_t = S_t q_t

Forward it is run with (x, b, c); each gradient is the same pass with the roles exchanged, two of them backward in time.
A pass goes chunk by chunk. Within a chunk the torch path is the quadratic form, out = (e^segsum(l) * q k^T) v; the compiled
path (native/ssd.h) keeps the state in the first cache and needs less arithmetic than that. States are kept between
chunks only.

The gradient of l comes from an identity instead of a second state: with g_t the gradient of S_t, psi_t = <g_t, e^l_t
S_{t-1}> obeys psi_t = psi_{t+1} + dout_t . out_t - w_t v_t . (g_t k_t). It is started afresh from the states at the end of
each chunk, so its rounding does not grow with the length.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fullduplex.base.errors import InputError
from fullduplex.kernels.native.library import Native, native_for, triton_for, unit_rows

__all__ = ["segment_sums", "ssd", "ssd_ref"]


def ssd(
    x_BTHP: Tensor,
    dt_BTH: Tensor,
    rate_H: Tensor,
    b_BTGN: Tensor,
    c_BTGN: Tensor,
    h0_BHPN: Tensor,
    *,
    skip_H: Tensor | None = None,
    chunk_steps: int = 256,
) -> tuple[Tensor, Tensor]:
    """All outputs of the recurrence, and the state after the last step.

    Args:
        x_BTHP: inputs; T may be 0.
        dt_BTH: steps, > 0; limit them before they come here.
        rate_H: A, negative for states that fade.
        b_BTGN: how the input enters the states; H is a multiple of G, neighbouring heads share.
        c_BTGN: how the states are read.
        h0_BHPN: states before the first step.
        skip_H: how much of the input goes straight to the output.
        chunk_steps: Q >= 1; the result depends on it by rounding only.

    Returns:
        y_BTHP and h_BHPN, fresh tensors. Differentiable once.

    Raises:
        InputError: shapes do not fit, or not all are float32 or all float64, or not all on one device.
    """
    inputs = (x_BTHP, dt_BTH, rate_H, b_BTGN, c_BTGN, h0_BHPN)
    _check(inputs, skip_H, chunk_steps)
    if x_BTHP.shape[1] == 0:
        return x_BTHP.clone(), h0_BHPN.clone()
    if torch.is_grad_enabled() and any(each.requires_grad for each in inputs):
        y_BTHP, h_BHPN = cast("tuple[Tensor, Tensor]", _Ssd.apply(*inputs, chunk_steps))
    else:
        y_BTHP, ends = _run(inputs, chunk_steps)
        h_BHPN = ends[-1]
    return (y_BTHP if skip_H is None else torch.addcmul(y_BTHP, x_BTHP, skip_H.unsqueeze(-1))), h_BHPN


def ssd_ref(
    x_BTHP: Tensor,
    dt_BTH: Tensor,
    rate_H: Tensor,
    b_BTGN: Tensor,
    c_BTGN: Tensor,
    h0_BHPN: Tensor,
    *,
    skip_H: Tensor | None = None,
    chunk_steps: int = 256,
) -> tuple[Tensor, Tensor]:
    """`ssd`, written to be read: one step after the other."""
    shared = x_BTHP.shape[2] // b_BTGN.shape[2]
    b_BTHN, c_BTHN = (each.repeat_interleave(shared, dim=2) for each in (b_BTGN, c_BTGN))
    h_BHPN, outputs = h0_BHPN, []
    for x_BHP, dt_BH, b_BHN, c_BHN in zip(
        x_BTHP.unbind(1), dt_BTH.unbind(1), b_BTHN.unbind(1), c_BTHN.unbind(1), strict=True
    ):
        decay_BH = torch.exp(dt_BH * rate_H)
        h_BHPN = decay_BH[:, :, None, None] * h_BHPN + (dt_BH[:, :, None] * x_BHP)[..., None] * b_BHN[:, :, None, :]
        outputs.append(torch.einsum("bhpn,bhn->bhp", h_BHPN, c_BHN))
    y_BTHP = torch.stack(outputs, dim=1) if outputs else x_BTHP.clone()
    return (y_BTHP if skip_H is None else y_BTHP + skip_H[:, None] * x_BTHP), h_BHPN.clone()


def segment_sums(l_XQ: Tensor) -> Tensor:
    """S_ts = l_{s+1} + ... + l_t for s <= t, minus infinity above the diagonal, shape (X, Q, Q).

    As a cumulative sum of masked numbers: the difference of two long cumulative sums would lose the digits they share.
    """
    num_steps = l_XQ.shape[-1]
    ones = torch.ones(num_steps, num_steps, dtype=torch.bool, device=l_XQ.device)
    spread_XQQ = l_XQ.unsqueeze(-1).expand(*l_XQ.shape, num_steps)
    sums_XQQ = spread_XQQ.masked_fill(~ones.tril(-1), 0).cumsum(-2)
    return sums_XQQ.masked_fill(~ones.tril(), -torch.inf)


def _check(inputs: tuple[Tensor, ...], skip_H: Tensor | None, chunk_steps: int) -> None:
    names = ("x", "dt", "rate", "b", "c", "h0", "skip")
    given = dict(zip(names, (*inputs, skip_H), strict=True))
    present = {name: tensor for name, tensor in given.items() if tensor is not None}
    told = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in present.items())
    fits = inputs[0].ndim == 4 and inputs[3].ndim == 4 and chunk_steps >= 1
    if fits:
        batch, num_steps, heads, size = inputs[0].shape
        groups, order = inputs[3].shape[2:]
        shared = (batch, num_steps, groups, order)
        expected = ((batch, num_steps, heads), (heads,), shared, shared, (batch, heads, size, order), (heads,))
        fits = groups > 0 and heads % groups == 0
        shapes: dict[str, tuple[int, ...]] = dict(zip(names[1:], expected, strict=True))
        fits = fits and all(name == "x" or tensor.shape == shapes[name] for name, tensor in present.items())
    if not fits:
        raise InputError(
            f"ssd got {told}, chunk_steps {chunk_steps}; expected x (B, T, H, P), dt (B, T, H), rate, skip (H,), "
            "b, c (B, T, G, N) with H a multiple of G, h0 (B, H, P, N), chunk_steps >= 1"
        )
    kinds = {(tensor.dtype, tensor.device) for tensor in present.values()}
    if len(kinds) > 1 or inputs[0].dtype not in (torch.float32, torch.float64):
        told = ", ".join(f"{name} {tensor.dtype} on {tensor.device}" for name, tensor in present.items())
        raise InputError(
            f"ssd got {told}; expected all float32 or all float64 on one device: cast half precision to float32 first"
        )


def _run(inputs: tuple[Tensor, ...], chunk_steps: int) -> tuple[Tensor, list[Tensor]]:
    """Outputs, and the states after each chunk."""
    x_BTHP, dt_BTH, rate_H, b_BTGN, c_BTGN, state_BHPN = inputs
    y_BTHP, ends, l_BTH = torch.empty_like(x_BTHP, memory_format=torch.contiguous_format), [], dt_BTH * rate_H
    for chunk in _chunks(x_BTHP.shape[1], chunk_steps):
        roles = _Roles(v=x_BTHP[:, chunk], k=b_BTGN[:, chunk], q=c_BTGN[:, chunk])
        state_BHPN = _pass(roles, l_BTH[:, chunk], dt_BTH[:, chunk], state_BHPN, y_BTHP[:, chunk])
        ends.append(state_BHPN)
    return y_BTHP, ends


class _Ssd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        *tensors, chunk_steps = inputs
        y_BTHP, ends = _run(tuple(tensors), chunk_steps)
        ctx.chunk_steps = chunk_steps
        ctx.save_for_backward(*tensors, *ends)
        return y_BTHP, ends[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]: the decorator hides the names
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        dy_BTHP, g_BHPN = grad_outputs
        x, dt, rate_H, b, c, h0_BHPN, *ends = ctx.saved_tensors
        (batch, num_steps, heads, size), (groups, order) = x.shape, b.shape[2:]
        dx, dk, dq = (x.new_empty(batch, num_steps, heads, width) for width in (size, order, order))
        psi_BTH, l_BTH = torch.empty_like(dt), dt * rate_H
        chunks = _chunks(num_steps, ctx.chunk_steps)
        for index in reversed(range(len(chunks))):
            chunk, start_BHPN, end_BHPN = chunks[index], (h0_BHPN, *ends)[index], ends[index]
            l_BQH, dt_BQH, ones_BQH = l_BTH[:, chunk], dt[:, chunk], torch.ones_like(dt[:, chunk])
            # A state hands its gradient to the one before it through the decay of its own step, not of that one's.
            shifted_BQH = torch.cat([l_BQH[:, 1:], torch.zeros_like(l_BQH[:, :1])], dim=1)
            v, k, q, dout = (each[:, chunk] for each in (x, b, c, dy_BTHP))
            forward = _Roles(v=k, k=v, q=dout)
            _pass(forward, l_BQH, dt_BQH, start_BHPN.transpose(2, 3), dq[:, chunk])
            backward = _Roles(v=q, k=dout, q=v, reverse=True)
            _pass(backward, shifted_BQH, ones_BQH, g_BHPN.transpose(2, 3), dk[:, chunk])
            backward = _Roles(v=dout, k=q, q=k, reverse=True)
            inner_BHPN = _pass(backward, shifted_BQH, ones_BQH, g_BHPN, dx[:, chunk])
            q_BQHN = q.repeat_interleave(heads // groups, dim=2)
            gain_BQH = (dq[:, chunk] * q_BQHN).sum(-1) - dt_BQH * (v * dx[:, chunk]).sum(-1)
            end_BH = (g_BHPN.double() * end_BHPN).sum((2, 3))
            psi_BTH[:, chunk] = gain_BQH.double().flip(1).cumsum(1).flip(1) + end_BH.unsqueeze(1)
            g_BHPN = l_BQH[:, 0].exp()[:, :, None, None] * inner_BHPN
        ddt_BTH = torch.addcmul((x * dx).sum(-1), psi_BTH, rate_H)
        grouped = (batch, num_steps, groups, heads // groups, order)
        db, dc = (dk * dt.unsqueeze(-1)).view(grouped).sum(3), dq.view(grouped).sum(3)
        return dx.mul_(dt.unsqueeze(-1)), ddt_BTH, (psi_BTH * dt).sum((0, 1)), db, dc, g_BHPN, None


def _chunks(num_steps: int, chunk_steps: int) -> list[slice]:
    return [slice(start, min(start + chunk_steps, num_steps)) for start in range(0, num_steps, chunk_steps)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Roles:
    """v (B, Q, any divisor of H, I); k and q (B, Q, any divisor of H, J); in which direction time runs."""

    v: Tensor
    k: Tensor
    q: Tensor
    reverse: bool = False


def _pass(roles: _Roles, l_BQH: Tensor, w_BQH: Tensor, s0_BHIJ: Tensor, out_BQHI: Tensor) -> Tensor:
    """Fill `out_BQHI`; the states after the last step of this direction."""
    compiled = native_for(out_BQHI)
    if compiled is not None:
        return _pass_compiled(compiled, roles, l_BQH, w_BQH, s0_BHIJ, out_BQHI)
    if triton_for(out_BQHI, s0_BHIJ):
        return _pass_gpu(roles, l_BQH, w_BQH, s0_BHIJ, out_BQHI)
    if roles.reverse:
        flipped = _Roles(v=roles.v.flip(1), k=roles.k.flip(1), q=roles.q.flip(1))
        turned_BQHI, end_BHIJ = _pass_torch(flipped, l_BQH.flip(1), w_BQH.flip(1), s0_BHIJ)
        out_BQHI.copy_(turned_BQHI.flip(1))
        return end_BHIJ
    made_BQHI, end_BHIJ = _pass_torch(roles, l_BQH, w_BQH, s0_BHIJ)
    out_BQHI.copy_(made_BQHI)
    return end_BHIJ


def _pass_torch(roles: _Roles, l_BQH: Tensor, w_BQH: Tensor, s0_BHIJ: Tensor) -> tuple[Tensor, Tensor]:
    """The quadratic form of one chunk."""
    heads = l_BQH.shape[2]
    v_BQHI, k_BQHJ, q_BQHJ = (each.repeat_interleave(heads // each.shape[2], 2) for each in (roles.v, roles.k, roles.q))
    l_BHQ = l_BQH.transpose(1, 2)
    mix_BHQQ = segment_sums(l_BHQ).exp_() * w_BQH.transpose(1, 2).unsqueeze(2)
    left_BHQ = mix_BHQQ[:, :, -1].clone()
    mix_BHQQ *= torch.einsum("bthj,bshj->bhts", q_BQHJ, k_BQHJ)
    from_start_BQHI = torch.einsum("bhij,bqhj->bqhi", s0_BHIJ, q_BQHJ) * l_BQH.cumsum(1).exp().unsqueeze(-1)
    out_BQHI = torch.einsum("bhts,bshi->bthi", mix_BHQQ, v_BQHI) + from_start_BQHI
    fresh_BHIJ = torch.einsum("bhs,bshi,bshj->bhij", left_BHQ, v_BQHI, k_BQHJ)
    return out_BQHI, l_BHQ.sum(-1).exp()[:, :, None, None] * s0_BHIJ + fresh_BHIJ


def _pass_gpu(roles: _Roles, l_BQH: Tensor, w_BQH: Tensor, s0_BHIJ: Tensor, out_BQHI: Tensor) -> Tensor:
    from fullduplex.kernels.gpu.ssd import Pass, pass_gpu

    given = Pass(
        v=roles.v, k=roles.k, q=roles.q, decay_BQH=l_BQH.exp(), weight_BQH=w_BQH, state_BHIJ=s0_BHIJ, reverse=roles.reverse
    )  # fmt: skip
    made_BQHI, end_BHIJ = pass_gpu(given)
    out_BQHI.copy_(made_BQHI)
    return end_BHIJ


def _pass_compiled(
    compiled: Native, roles: _Roles, l_BQH: Tensor, w_BQH: Tensor, s0_BHIJ: Tensor, out_BQHI: Tensor
) -> Tensor:
    """See native/ssd.h; a transposed state is read through its strides."""
    batch, num_steps, heads, width = out_BQHI.shape
    v, k, q = (unit_rows(each) for each in (roles.v, roles.k, roles.q))
    if not (s0_BHIJ.is_contiguous() or s0_BHIJ.transpose(2, 3).is_contiguous()):
        s0_BHIJ = s0_BHIJ.contiguous()
    end_BHIJ = torch.empty_like(s0_BHIJ)  # keeps the strides
    shares = (heads // k.shape[2], heads // q.shape[2], heads // v.shape[2])
    strides = (*v.stride()[:3], *k.stride()[:3], *q.stride()[:3], *out_BQHI.stride()[:3], *s0_BHIJ.stride()[2:])
    sizes = (batch, num_steps, heads, width, k.shape[3], *shares, int(roles.reverse), torch.get_num_threads(), *strides)
    arguments = (v, k, q, l_BQH.exp(), w_BQH.contiguous())
    compiled.run("ssd", out_BQHI.dtype, arguments, s0_BHIJ, out_BQHI, end_BHIJ, sizes)
    return end_BHIJ
