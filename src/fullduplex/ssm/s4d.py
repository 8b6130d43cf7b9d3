"""S4D: one diagonal state space a channel, a convolution in training and a recurrence in a conversation.

Axes: B batch, T time, D channels, M = N / 2 modes of each channel, one of each conjugate pair.

The layer holds continuous modes and a step; what it does with them is `fullduplex.kernels.discretise` and
`fullduplex.ssm.diagonal`. Nothing depends on the length of the input but the work, so a saved layer has no length in it.

Modes are stored as real numbers, complex ones as pairs, and never leave float32 or float64: `.to(torch.bfloat16)` and
autocast, which drop imaginary parts or their digits, leave them alone.

Source: Gu, Gupta, Goel, Ré, "On the Parameterization and Initialization of Diagonal State Space Models"
(arXiv 2206.11893).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from fullduplex.base.errors import InputError
from fullduplex.kernels.discretise import Rule, discretise
from fullduplex.nn.rate import AnyRate
from fullduplex.nn.stream import Growth, check_piece
from fullduplex.ssm.decay import Decay, decay_from_free, free_from_decay
from fullduplex.ssm.diagonal import DiagonalModes, DiagonalModesState, FrozenDiagonal, response, scan, step
from fullduplex.ssm.modes import Start, modes

__all__ = ["S4D", "S4DConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class S4DConfig:
    """What an S4D layer is made of.

    Args:
        width: channels D.
        order: state size N of a channel in real numbers, even.
        start: initialisation of the modes, see `fullduplex.ssm.modes`.
        rule: `"zoh"` or `"bilinear"`.
        decay: how the real parts are kept negative, see `fullduplex.ssm.decay`.
        steps: shortest and longest step Delta at the start, spread log-uniformly over channels. One unit of the
            modes' time is 1 / Delta samples: about as far back as the channel looks.
        train_input: whether B learns; a frozen B loses nothing, because C multiplies it.
    """

    width: int
    order: int = 64
    start: Start = "lin"
    rule: Rule = "zoh"
    decay: Decay = "exp"
    steps: tuple[float, float] = (1e-3, 1e-1)
    train_input: bool = True

    def __post_init__(self) -> None:
        shortest, longest = self.steps
        if self.width < 1:
            raise InputError(f"S4D got a width of {self.width}; expected 1 or more")
        if not 0 < shortest <= longest < math.inf:
            raise InputError(f"S4D got steps {self.steps}; expected 0 < shortest <= longest")
        if self.rule not in ("zoh", "bilinear"):
            raise InputError(f"S4D got the rule {self.rule!r}; expected 'zoh' or 'bilinear'")


class S4D(AnyRate, nn.Module):
    """The layer of this file.

    Args:
        config: what it is made of.
        generator: source of the initial steps and weights.

    Raises:
        InputError: the configuration asks for something that does not exist.
    """

    growth: Growth = "constant"

    def __init__(self, config: S4DConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config, self.rate = config, 1.0
        # Only `rand` draws, and all channels start from the same draw.
        seed = int(torch.randint(2**31, (), generator=generator))
        a_M, b_M = (torch.from_numpy(each) for each in modes(config.start, config.order, seed=seed))
        shape = (config.width, a_M.shape[0])
        low, high = (math.log(length) for length in config.steps)
        self.log_step_D = nn.Parameter(torch.empty(config.width).uniform_(low, high, generator=generator))
        self.decay_DM = nn.Parameter(free_from_decay(a_M.real, config.decay).float().expand(shape).clone())
        self.turn_DM = nn.Parameter(a_M.imag.float().expand(shape).clone())
        b_M2 = torch.view_as_real(b_M).float()
        self.b_DM2 = nn.Parameter(b_M2.expand(*shape, 2).clone(), requires_grad=config.train_input)
        # Real and imaginary parts of variance 1/2 each: a complex normal number of variance 1.
        self.c_DM2 = nn.Parameter(torch.randn((*shape, 2), generator=generator) * math.sqrt(0.5))
        self.skip_D = nn.Parameter(torch.randn(config.width, generator=generator))

    def init(self, batch: int) -> DiagonalModesState:
        """Nothing heard yet."""
        return DiagonalModesState(self.c_DM2.new_zeros(batch, *self.c_DM2.shape))

    def step(self, x_BD: Tensor, state: DiagonalModesState) -> tuple[Tensor, DiagonalModesState]:
        """One step. It discretises the modes again every time, as learning asks; a conversation uses `frozen()`."""
        check_piece("S4D", x_BD, 2, self.config.width, state.h_BDM2)
        return step(self.discrete(), x_BD.to(self.skip_D.dtype), state)

    def scan(self, x_BTD: Tensor, state: DiagonalModesState) -> tuple[Tensor, DiagonalModesState]:
        """T steps at once: a convolution of any length."""
        check_piece("S4D", x_BTD, 3, self.config.width, state.h_BDM2)
        return scan(self.discrete(), x_BTD.to(self.skip_D.dtype), state)

    def kernel(self, num_steps: int) -> Tensor:
        """K_DT, the response to one unit of input, without the skip connection."""
        return response(self.discrete(), num_steps)

    def discrete(self) -> DiagonalModes:
        """The layer in discrete time, differentiable."""
        decay_DM = decay_from_free(self.decay_DM.double(), self.config.decay)
        step_D = self.log_step_D.double().exp() * self.rate
        b_DM, c_DM = (torch.view_as_complex(pair_DM2.double()) for pair_DM2 in (self.b_DM2, self.c_DM2))
        a_DM, b_DM = discretise(torch.complex(decay_DM, self.turn_DM.double()), b_DM, step_D, self.config.rule)
        return DiagonalModes(a_DM, b_DM, c_DM, self.skip_D)

    def frozen(self) -> FrozenDiagonal:
        """This layer as it is now, for a live stream: the same outputs, several times faster a step."""
        return FrozenDiagonal(self.discrete())

    def slow_parameters(self) -> tuple[nn.Parameter, ...]:
        """Modes, input and step: the paper trains them at a rate of at most 1e-3 and without weight decay."""
        return tuple(p for p in (self.decay_DM, self.turn_DM, self.b_DM2, self.log_step_D) if p.requires_grad)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves and casts, but never below float32: at 8 bits of mantissa a slow mode no longer decays."""

        def keep(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype in (torch.float32, torch.float64) else tensor.to(moved.device)

        return super()._apply(keep, recurse)
