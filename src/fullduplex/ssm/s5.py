"""S5: one state space for all channels together, run by a scan instead of a convolution.

Axes: B batch, T time, D channels, N state size in real numbers, J blocks, M modes, one of each conjugate pair.

    x' = Lambda x + B u,   y = 2 Re(C x) + d u,   a step Delta for every mode, zero-order hold

Lambda starts as J copies of the normal part of HiPPO-LegS of size N / J (HiPPO-N), or of `legs` perturbed and diagonalised
(S5-PTD); B and C start as those of a real system with random B and C, seen from the eigenvectors. Every step is a linear
recurrence of M complex numbers (`fullduplex.kernels.scan`), so a layer needs no FFT and its state is small.

Sources: Smith, Warrington, Linderman, "Simplified State Space Layers for Sequence Modeling" (arXiv 2208.04933), sections 3
and B.1; Yu et al. (arXiv 2310.01698) for S5-PTD.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fullduplex.base.errors import InputError
from fullduplex.kernels.discretise import Rule, discretise
from fullduplex.kernels.scan import linear_scan
from fullduplex.nn.rate import AnyRate
from fullduplex.nn.stream import Growth, check_piece
from fullduplex.ssm.decay import Decay, decay_from_free, free_from_decay
from fullduplex.ssm.hippo.normal import spectrum
from fullduplex.ssm.ptd.start import perturbed_legs

__all__ = ["S5", "FrozenS5", "OutputStart", "S5Config", "S5Start", "S5State"]

C128 = NDArray[np.complex128]
S5Start = Literal["legs", "ptd", "ptd-random"]
OutputStart = Literal["truncated", "lecun", "complex"]

_CLIP = -1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class S5Config:
    """What an S5 layer is made of.

    Args:
        width: channels D.
        order: state size N in real numbers, for all channels together; a multiple of 2 J.
        blocks: J, how many HiPPO matrices of size N / J the state starts from.
        start: `"legs"` (their normal part), `"ptd"` (S5-PTD) or its control `"ptd-random"`.
        rule: `"zoh"` or `"bilinear"`.
        decay: how the real parts are kept negative; `"none"` leaves them free, as the paper does.
        clip: real parts are at most -1e-4, whatever the parameters say.
        steps: shortest and longest step Delta at the start, spread log-uniformly over modes.
        output: where C starts: real and normal, cut at two standard deviations (`truncated`) or of variance 1 / N
            (`lecun`), seen from the eigenvectors; or complex normal as it is (`complex`).
    """

    width: int
    order: int = 64
    blocks: int = 1
    start: S5Start = "legs"
    rule: Rule = "zoh"
    decay: Decay = "none"
    clip: bool = True
    steps: tuple[float, float] = (1e-3, 1e-1)
    output: OutputStart = "lecun"

    def __post_init__(self) -> None:
        shortest, longest = self.steps
        if self.width < 1 or self.blocks < 1 or self.order < 2 or self.order % (2 * self.blocks):
            raise InputError(
                f"S5 got width {self.width}, state size {self.order}, {self.blocks} blocks; "
                "expected a width >= 1 and a state size that is a positive multiple of twice the blocks"
            )
        if not 0 < shortest <= longest < math.inf:
            raise InputError(f"S5 got steps {self.steps}; expected 0 < shortest <= longest")
        for name, kind in (("rule", Rule), ("start", S5Start), ("output", OutputStart), ("decay", Decay)):
            if getattr(self, name) not in get_args(kind):
                raise InputError(
                    f"S5 got the {name} {getattr(self, name)!r}; expected one of {', '.join(get_args(kind))}"
                )


@dataclass(frozen=True, slots=True)
class S5State:
    """The modes of all channels together, real and imaginary parts last."""

    h_BM2: Tensor


@dataclass(frozen=True, slots=True)
class S5Step:
    """The numbers of one step: complex, in the precision of the signal."""

    a_M: Tensor
    b_MD: Tensor
    c_DM: Tensor


class S5(AnyRate, nn.Module):
    """The layer of this file.

    Args:
        config: what it is made of.
        generator: source of the initial steps and weights.
    """

    growth: Growth = "constant"

    def __init__(self, config: S5Config, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config, self.rate = config, 1.0
        values_M, into_MP, out_PM = _block(config.start, config.order // config.blocks)
        width, size = config.width, config.order // config.blocks
        b_JPD = torch.randn(config.blocks, size, width, generator=generator, dtype=torch.float64) / math.sqrt(width)
        b_MD = (torch.from_numpy(into_MP) @ b_JPD.to(torch.complex128)).flatten(0, 1)
        lambda_M = torch.from_numpy(np.tile(values_M, config.blocks))
        low, high = (math.log(length) for length in config.steps)
        self.log_step_M = nn.Parameter(torch.empty(lambda_M.shape[0]).uniform_(low, high, generator=generator))
        self.decay_M = nn.Parameter(free_from_decay(lambda_M.real, config.decay).float())
        self.turn_M = nn.Parameter(lambda_M.imag.float())
        self.b_MD2 = nn.Parameter(torch.view_as_real(b_MD).float())
        self.c_DM2 = nn.Parameter(torch.view_as_real(_output(config, torch.from_numpy(out_PM), generator)).float())
        self.skip_D = nn.Parameter(torch.randn(width, generator=generator))

    def init(self, batch: int) -> S5State:
        """Nothing heard yet."""
        return S5State(self.skip_D.new_zeros(batch, self.turn_M.shape[0], 2))

    def step(self, x_BD: Tensor, state: S5State) -> tuple[Tensor, S5State]:
        """One step. It discretises the system again every time, as learning asks; a conversation uses `frozen()`."""
        check_piece("S5", x_BD, 2, self.config.width, state.h_BM2)
        return _step(self.discrete(), self.skip_D, x_BD, state)

    def scan(self, x_BTD: Tensor, state: S5State) -> tuple[Tensor, S5State]:
        """T steps at once."""
        check_piece("S5", x_BTD, 3, self.config.width, state.h_BM2)
        return _scan(self.discrete(), self.skip_D, x_BTD, state)

    def frozen(self) -> "FrozenS5":
        """This layer as it is now, for a live stream: the same outputs, nothing is discretised again."""
        return FrozenS5(self.discrete(), self.skip_D)

    def discrete(self) -> S5Step:
        """The layer in discrete time, differentiable; computed in complex128."""
        decay_M = decay_from_free(self.decay_M.double(), self.config.decay)
        if self.config.clip:
            decay_M = decay_M.clamp(max=_CLIP)
        lambda_M1 = torch.complex(decay_M, self.turn_M.double()).unsqueeze(-1)
        step_M = self.log_step_M.double().exp() * self.rate
        a_M1, gain_M1 = discretise(lambda_M1, torch.ones_like(lambda_M1), step_M, self.config.rule)
        kind = self.skip_D.dtype.to_complex()
        b_MD = gain_M1 * torch.view_as_complex(self.b_MD2.double())
        return S5Step(a_M1.squeeze(-1).to(kind), b_MD.to(kind), torch.view_as_complex(self.c_DM2).to(kind))

    def kernel(self, num_steps: int) -> Tensor:
        """K_TDD, what a unit of input into each channel (last axis) leads to in each channel, without the skip."""
        numbers, taps = self.discrete(), []
        h_MD = numbers.b_MD
        for _ in range(num_steps):
            taps.append(2 * (numbers.c_DM @ h_MD).real)
            h_MD = numbers.a_M.unsqueeze(-1) * h_MD
        width = self.config.width
        return torch.stack(taps) if taps else self.skip_D.new_zeros(0, width, width)

    def slow_parameters(self) -> tuple[nn.Parameter, ...]:
        """Modes, input and step: the paper trains them at a lower rate and without weight decay."""
        return self.decay_M, self.turn_M, self.b_MD2, self.log_step_M

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves and casts, but never below float32: at 8 bits of mantissa a slow mode no longer decays."""

        def keep(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype in (torch.float32, torch.float64) else tensor.to(moved.device)

        return super()._apply(keep, recurse)


class FrozenS5:
    """A stream of fixed numbers.

    Args:
        numbers, skip_D: of the layer; gradients end here.
    """

    growth: Growth = "constant"

    def __init__(self, numbers: S5Step, skip_D: Tensor) -> None:
        # Copies: a view of a parameter would go on learning.
        a_M, b_MD, c_DM = (each.detach().clone() for each in (numbers.a_M, numbers.b_MD, numbers.c_DM))
        self._numbers, self._skip_D = S5Step(a_M, b_MD, c_DM), skip_D.detach().clone()

    def init(self, batch: int) -> S5State:
        """Nothing heard yet."""
        return S5State(self._skip_D.new_zeros(batch, self._numbers.a_M.shape[0], 2))

    def step(self, x_BD: Tensor, state: S5State) -> tuple[Tensor, S5State]:
        """One step."""
        check_piece("FrozenS5", x_BD, 2, self._skip_D.shape[0], state.h_BM2)
        return _step(self._numbers, self._skip_D, x_BD, state)

    def scan(self, x_BTD: Tensor, state: S5State) -> tuple[Tensor, S5State]:
        """T steps at once."""
        check_piece("FrozenS5", x_BTD, 3, self._skip_D.shape[0], state.h_BM2)
        return _scan(self._numbers, self._skip_D, x_BTD, state)


def _step(numbers: S5Step, skip_D: Tensor, x_BD: Tensor, state: S5State) -> tuple[Tensor, S5State]:
    with torch.autocast(x_BD.device.type, enabled=False):
        x_BD = x_BD.to(skip_D.dtype)
        h_BM = numbers.a_M * torch.view_as_complex(state.h_BM2) + _enter(x_BD, numbers.b_MD)
        return _leave(h_BM, numbers.c_DM) + skip_D * x_BD, S5State(torch.view_as_real(h_BM))


def _scan(numbers: S5Step, skip_D: Tensor, x_BTD: Tensor, state: S5State) -> tuple[Tensor, S5State]:
    with torch.autocast(x_BTD.device.type, enabled=False):
        x_BTD = x_BTD.to(skip_D.dtype)
        if x_BTD.shape[1] == 0:
            return x_BTD.clone(), state
        entered_BTM = _enter(x_BTD, numbers.b_MD)
        h_BTM = linear_scan(numbers.a_M.expand(entered_BTM.shape), entered_BTM, torch.view_as_complex(state.h_BM2))
        y_BTD = _leave(h_BTM, numbers.c_DM) + skip_D * x_BTD
    # A copy, because a view would keep the states of the whole piece alive.
    return y_BTD, S5State(torch.view_as_real(h_BTM[:, -1].clone()))


def _enter(x: Tensor, b_MD: Tensor) -> Tensor:
    """B x for real x, as two real products."""
    return torch.complex(x @ b_MD.real.mT, x @ b_MD.imag.mT)


def _leave(h: Tensor, c_DM: Tensor) -> Tensor:
    """2 Re(C h)."""
    return 2 * (h.real @ c_DM.real.mT - h.imag @ c_DM.imag.mT)


def _block(start: S5Start, size: int) -> tuple[C128, C128, C128]:
    """Of one block of P numbers: eigenvalues M, the map into the modes (M, P), the map out of them (P, M)."""
    if start == "legs":
        half = spectrum("legs", size)
        return half.eigenvalues_M, half.v_NM.conj().T, half.v_NM
    found = perturbed_legs(size, "optimised" if start == "ptd" else "random")
    kept = np.flatnonzero(found.values_N.imag >= 0)
    # A real eigenvalue is its own pair: half of it, so that doubling is right.
    share_M1 = np.where(found.values_N.imag[kept] == 0, 0.5, 1.0)[:, None]
    return found.values_N[kept], share_M1 * found.inverse_NN[kept], found.v_NN[:, kept]


def _output(config: S5Config, out_PM: Tensor, generator: torch.Generator | None) -> Tensor:
    """C_DM at the start, complex128."""
    width, blocks, (size, modes) = config.width, config.blocks, out_PM.shape
    if config.output == "complex":
        shape = (width, blocks * modes)
        return torch.randn(shape, generator=generator, dtype=torch.complex128)
    drawn_DJP = torch.empty(width, blocks, size, dtype=torch.float64)
    nn.init.trunc_normal_(drawn_DJP, a=-2.0, b=2.0, generator=generator)
    if config.output == "lecun":
        drawn_DJP = torch.randn(width, blocks, size, generator=generator, dtype=torch.float64) / math.sqrt(config.order)
    return (drawn_DJP.to(torch.complex128) @ out_PM).flatten(1)
