"""S4: one state space a channel, diagonal plus low rank, so that it is a HiPPO memory exactly when it starts.

Axes: B batch, T time, D channels, M = N / 2 modes, one of each conjugate pair, R rank.

A convolution in training (`fullduplex.ssm.dplr.convolution`), a recurrence of O(N R) a step in a conversation
(`fullduplex.ssm.dplr.system`), bilinear rule. Nothing is changed by a forward pass and no length is stored, so a saved
layer runs at every length. Modes are stored as real numbers, complex ones as pairs, and never leave float32 or float64.

Sources: Gu, Goel, Ré (arXiv 2111.00396); Gu, Johnson, Timalsina, Rudra, Ré (arXiv 2206.12037) for S4-LegS, S4-FouT and
their mixture.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from fullduplex.base.errors import InputError
from fullduplex.nn.rate import AnyRate
from fullduplex.nn.stream import Growth, check_piece
from fullduplex.ssm.decay import Decay, decay_from_free, free_from_decay
from fullduplex.ssm.diagonal import DiagonalModesState
from fullduplex.ssm.dplr.convolution import response
from fullduplex.ssm.dplr.recurrence import narrow, scan, step
from fullduplex.ssm.dplr.start import dplr_start
from fullduplex.ssm.dplr.system import Dplr, one_step

__all__ = ["S4", "FrozenS4", "S4Config"]


@dataclass(frozen=True, slots=True, kw_only=True)
class S4Config:
    """What an S4 layer is made of.

    Args:
        width: channels D.
        order: state size N of a channel in real numbers, even.
        kinds: HiPPO families to start from, sharing the channels equally: `("legs",)`, `("legt",)`, `("fout",)`,
            `("legs", "fout")`.
        rank: columns of P; None for as many as the families need (1, and 2 for `legt`).
        decay: how the real parts are kept negative, see `fullduplex.ssm.decay`.
        steps: shortest and longest step Delta at the start, spread log-uniformly over the channels of each family.
        train_input: whether B learns.
    """

    width: int
    order: int = 64
    kinds: tuple[str, ...] = ("legs",)
    rank: int | None = None
    decay: Decay = "exp"
    steps: tuple[float, float] = (1e-3, 1e-1)
    train_input: bool = True

    def __post_init__(self) -> None:
        shortest, longest = self.steps
        if not 0 < shortest <= longest < math.inf:
            raise InputError(f"S4 got steps {self.steps}; expected 0 < shortest <= longest")


class S4(AnyRate, nn.Module):
    """The layer of this file.

    Args:
        config: what it is made of.
        generator: source of the initial steps and weights.

    Raises:
        InputError: the configuration asks for something that does not exist.
    """

    growth: Growth = "constant"

    def __init__(self, config: S4Config, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config, self.rate = config, 1.0
        start = dplr_start(config.kinds, config.width, config.order, rank=config.rank)
        low, high = (math.log(length) for length in config.steps)
        self.log_step_D = nn.Parameter(torch.empty(config.width).uniform_(low, high, generator=generator))
        lambda_DM = torch.from_numpy(start.lambda_DM)
        self.decay_DM = nn.Parameter(free_from_decay(lambda_DM.real, config.decay).float())
        self.turn_DM = nn.Parameter(lambda_DM.imag.float())
        self.p_DMR2 = nn.Parameter(torch.view_as_real(torch.from_numpy(start.p_DMR)).float())
        b_DM2 = torch.view_as_real(torch.from_numpy(start.b_DM)).float()
        self.b_DM2 = nn.Parameter(b_DM2, requires_grad=config.train_input)
        # Real and imaginary parts of variance 1/2 each: a complex normal number of variance 1.
        self.c_DM2 = nn.Parameter(torch.randn(b_DM2.shape, generator=generator) * math.sqrt(0.5))
        self.skip_D = nn.Parameter(torch.randn(config.width, generator=generator))

    def init(self, batch: int) -> DiagonalModesState:
        """Nothing heard yet."""
        return DiagonalModesState(self.c_DM2.new_zeros(batch, *self.c_DM2.shape))

    def step(self, x_BD: Tensor, state: DiagonalModesState) -> tuple[Tensor, DiagonalModesState]:
        """One step. It discretises the system again every time, as learning asks; a conversation uses `frozen()`."""
        check_piece("S4", x_BD, 2, self.config.width, state.h_BDM2)
        x_BD = x_BD.to(self.skip_D.dtype)
        return step(narrow(one_step(self.system()), x_BD.dtype.to_complex()), self.skip_D, x_BD, state)

    def scan(self, x_BTD: Tensor, state: DiagonalModesState) -> tuple[Tensor, DiagonalModesState]:
        """T steps at once: a convolution of any length."""
        check_piece("S4", x_BTD, 3, self.config.width, state.h_BDM2)
        return scan(self.system(), self.skip_D, x_BTD.to(self.skip_D.dtype), state)

    def kernel(self, num_steps: int) -> Tensor:
        """K_DT, the response to one unit of input, without the skip connection.

        Raises:
            InputError: a negative length.
        """
        if num_steps < 0:
            raise InputError(f"S4 got a kernel length of {num_steps}; expected 0 or more")
        system = self.system()
        return response(system, one_step(system), num_steps).to(self.skip_D.dtype)

    def system(self) -> Dplr:
        """The layer in continuous time, complex128, differentiable."""
        decay_DM = decay_from_free(self.decay_DM.double(), self.config.decay)
        p_DMR, b_DM, c_DM = (torch.view_as_complex(pair.double()) for pair in (self.p_DMR2, self.b_DM2, self.c_DM2))
        return Dplr(
            lambda_DM=torch.complex(decay_DM, self.turn_DM.double()),
            p_DMR=p_DMR,
            b_DM=b_DM,
            c_DM=c_DM,
            step_D=self.log_step_D.double().exp() * self.rate,
        )

    def frozen(self) -> "FrozenS4":
        """This layer as it is now, for a live stream: nothing is discretised again."""
        return FrozenS4(self.system(), self.skip_D)

    def slow_parameters(self) -> tuple[nn.Parameter, ...]:
        """Modes, input and step: the papers train them at a rate of at most 1e-3 and without weight decay."""
        slow = (self.decay_DM, self.turn_DM, self.p_DMR2, self.b_DM2, self.log_step_D)
        return tuple(parameter for parameter in slow if parameter.requires_grad)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves and casts, but never below float32: at 8 bits of mantissa a slow mode no longer decays."""

        def keep(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype in (torch.float32, torch.float64) else tensor.to(moved.device)

        return super()._apply(keep, recurse)


class FrozenS4:
    """A stream of fixed numbers: nothing learns, so nothing is discretised again at every step.

    Args:
        system: the numbers; gradients end here.
        skip_D: the skip connection, in the precision of the signal.
    """

    growth: Growth = "constant"

    def __init__(self, system: Dplr, skip_D: Tensor) -> None:
        # Copies: a view of a parameter would go on learning.
        self._system = Dplr(
            *(
                each.detach().clone()
                for each in (system.lambda_DM, system.p_DMR, system.b_DM, system.c_DM, system.step_D)
            )
        )
        self._skip_D = skip_D.detach().clone()
        self._narrow = narrow(one_step(self._system), self._skip_D.dtype.to_complex())

    def init(self, batch: int) -> DiagonalModesState:
        """Nothing heard yet."""
        return DiagonalModesState(self._skip_D.new_zeros(batch, *self._system.lambda_DM.shape, 2))

    def step(self, x_BD: Tensor, state: DiagonalModesState) -> tuple[Tensor, DiagonalModesState]:
        """One step."""
        check_piece("FrozenS4", x_BD, 2, self._skip_D.shape[0], state.h_BDM2)
        return step(self._narrow, self._skip_D, x_BD.to(self._skip_D.dtype), state)

    def scan(self, x_BTD: Tensor, state: DiagonalModesState) -> tuple[Tensor, DiagonalModesState]:
        """T steps at once."""
        check_piece("FrozenS4", x_BTD, 3, self._skip_D.shape[0], state.h_BDM2)
        return scan(self._system, self._skip_D, x_BTD.to(self._skip_D.dtype), state)
