"""The Chimera layer: a short convolution, two-dimensional systems as heads, and a gate (arXiv 2406.04320).

Axes: B batch, T time, V variates, D features of the model, E inner channels, K taps, S = K - 1.

    [u, z] = W_in x,   u = SiLU(conv along time(u))
    y = sum over heads and directions of core(u),   out = W_out (y SiLU(z))

A stream in time (nn/stream.py) whose step is a column of V variates: axis 1 is time, all behind it belongs to a step.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.base.errors import InputError
from fullduplex.forecast.chimera.companion import CompanionCore
from fullduplex.forecast.chimera.config import ChimeraConfig
from fullduplex.forecast.chimera.core import GridCore
from fullduplex.kernels.conv import causal_conv
from fullduplex.kernels.native.library import native
from fullduplex.kernels.scan2d import GridState
from fullduplex.nn.linear import Linear
from fullduplex.nn.norm import RMSNorm
from fullduplex.nn.state import Stateless
from fullduplex.nn.stream import Growth

__all__ = ["Chimera", "ChimeraState", "Stack", "StackState", "check_columns"]


@dataclass(frozen=True, slots=True)
class ChimeraState:
    """The last inputs of the convolution, and the last column of every system: O(V N), whatever was heard."""

    past_BVSE: Tensor
    grids: tuple[GridState, ...]


class Chimera(nn.Module):
    """The layer of this file.

    Args:
        config: what it is made of.
        num_variates: V.
        generator: source of the initial weights.

    Raises:
        InputError: `num_variates` < 1.
    """

    growth: Growth = "constant"

    def __init__(self, config: ChimeraConfig, num_variates: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if num_variates < 1:
            raise InputError(f"Chimera got {num_variates} variates; expected 1 or more")
        self.config, self.num_variates = config, num_variates
        self.in_proj = Linear(config.width, 2 * config.inner, bias=False, generator=generator)
        bound = config.num_taps**-0.5
        self.conv_weight_EK = nn.Parameter(
            torch.empty(config.inner, config.num_taps).uniform_(-bound, bound, generator=generator)
        )
        self.conv_bias_E = nn.Parameter(torch.zeros(config.inner))
        self.backwards = tuple(backwards for _ in config.heads for backwards in config.directions)
        core = CompanionCore if config.transition == "companion" else GridCore
        self.cores = nn.ModuleList(
            core(config, head, generator=generator) for head in config.heads for _ in config.directions
        )
        self.out_proj = Linear(config.inner, config.width, bias=False, generator=generator)
        self._lent: list[tuple[dict[str, Any], str]] | None = None

    def init(self, batch: int) -> ChimeraState:
        """Nothing heard yet."""
        config = self.config
        past = self.conv_bias_E.new_zeros(batch, self.num_variates, config.num_taps - 1, config.inner)
        return ChimeraState(past, tuple(core.init(batch, self.num_variates) for core in self._systems()))

    def step(self, x_BVD: Tensor, state: ChimeraState) -> tuple[Tensor, ChimeraState]:
        """One column: one call of compiled code where it can be, else a scan of one step."""
        check_columns("Chimera", x_BVD.unsqueeze(1), (self.num_variates, self.config.width), state.past_BVSE.shape[0])
        done = self._step_compiled(x_BVD, state)
        if done is not None:
            return done
        y_BTVD, state = self.scan(x_BVD.unsqueeze(1), state)
        return y_BTVD[:, 0], state

    def _step_compiled(self, x_BVD: Tensor, state: ChimeraState) -> tuple[Tensor, ChimeraState] | None:
        """native/chimera.h; `scan` is its slow twin. None where a gradient, a precision or a setting asks for that one."""
        if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or not self._compilable():
            return None
        if self._lent is None:
            self._lent = self._lend()
        lent = [x_BVD, state.past_BVSE]
        for grid in state.grids:
            lent += [grid.h1_BVN, grid.h2_BVN]
        lent += [parameters[name] for parameters, name in self._lent]
        lent = [each.contiguous() for each in lent]
        kinds = {(each.dtype, each.is_cpu) for each in lent}
        compiled = native() if kinds in ({(torch.float32, True)}, {(torch.float64, True)}) else None
        if compiled is None:
            return None
        batch, config = x_BVD.shape[0], self.config
        sizes = (
            batch, self.num_variates, config.width, config.inner, config.order, config.num_taps, config.step_rank,
            len(self.backwards), torch.get_num_threads(), *map(int, self.backwards),
        )  # fmt: skip
        out = [torch.empty_like(lent[0]), torch.empty_like(lent[1])]
        for grid in state.grids:
            self._check_grid(grid, batch)
            out += [torch.empty_like(grid.h1_BVN), torch.empty_like(grid.h2_BVN)]
        compiled.run("chimera_step", x_BVD.dtype, lent, out, sizes)
        return out[0], ChimeraState(out[1], tuple(map(GridState, out[2::2], out[3::2])))

    def _lend(self) -> list[tuple[dict[str, Any], str]]:
        """Where native/chimera.h's weights live: asking the module for each costs more than small layers compute."""
        places = [(self.in_proj, "weight"), (self, "conv_weight_EK"), (self, "conv_bias_E"), (self.out_proj, "weight")]
        for core in self._systems():
            assert isinstance(core, GridCore)
            places += core.step_places()
        return [(module._parameters, name) for module, name in places]

    def _compilable(self) -> bool:
        config = self.config
        settings = (config.coupling, config.discretisation, config.hold, config.transition)
        return config.selective and settings == ("grid", "principled", "zoh", "diagonal")

    def _check_grid(self, grid: GridState, batch: int) -> None:
        """C takes our word for the shapes."""
        expected = (batch, self.num_variates, self.config.inner * self.config.order)
        if tuple(grid.h1_BVN.shape) != expected or tuple(grid.h2_BVN.shape) != expected:
            raise InputError(f"Chimera got a state {tuple(grid.h1_BVN.shape)}; expected {expected}, see init(batch)")

    def scan(self, x_BTVD: Tensor, state: ChimeraState) -> tuple[Tensor, ChimeraState]:
        """T columns at once.

        Raises:
            InputError: the variates, the width or the batch do not fit.
        """
        check_columns("Chimera", x_BTVD, (self.num_variates, self.config.width), state.past_BVSE.shape[0])
        if x_BTVD.shape[1] == 0:
            return x_BTVD.clone(), state
        u_BTVE, z_BTVE = self.in_proj.scan(x_BTVD.flatten(1, 2), self.in_proj.init(1))[0].unflatten(
            1, tuple(x_BTVD.shape[1:3])
        ).chunk(2, dim=-1)  # fmt: skip
        u_BTVE, past_BVSE = self._convolve(u_BTVE, state.past_BVSE)
        u_BTVE = u_BTVE.contiguous()  # once for all systems
        total, grids = torch.zeros_like(u_BTVE), []
        for core, backwards, grid in zip(self._systems(), self.backwards, state.grids, strict=True):
            y_BTVE, grid = core.scan(u_BTVE, grid, backwards=backwards)
            total = total + y_BTVE
            grids.append(grid)
        y_BTVD = functional.linear(total * functional.silu(z_BTVE), self.out_proj.weight)
        return y_BTVD, ChimeraState(past_BVSE, tuple(grids))

    def _systems(self) -> list[GridCore | CompanionCore]:
        return [core for core in self.cores if isinstance(core, GridCore | CompanionCore)]

    def _convolve(self, u_BTVE: Tensor, past_BVSE: Tensor) -> tuple[Tensor, Tensor]:
        """Each variate is a row of its own."""
        batch, num_variates = past_BVSE.shape[:2]
        rows_XTE = u_BTVE.transpose(1, 2).flatten(0, 1)
        u_XTE, past_XSE = causal_conv(
            rows_XTE, self.conv_weight_EK, self.conv_bias_E, past_BVSE.flatten(0, 1), silu=True
        )
        sizes = (batch, num_variates)
        return u_XTE.unflatten(0, sizes).transpose(1, 2), past_XSE.unflatten(0, sizes)


@dataclass(frozen=True, slots=True)
class StackState:
    """The states of the layers."""

    layers: tuple[ChimeraState, ...]


class Stack(nn.Module):
    """Layers of x + Chimera(norm(x)), and a norm behind them: the trunk of every model here, a stream itself.

    Args:
        config: of every layer.
        num_variates: V.
        num_layers: 1 or more.
        generator: source of the initial weights.
    """

    growth: Growth = "constant"

    def __init__(
        self, config: ChimeraConfig, num_variates: int, num_layers: int, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Chimera(config, num_variates, generator=generator) for _ in range(num_layers))
        self.norms = nn.ModuleList(RMSNorm(config.width) for _ in range(num_layers + 1))

    def init(self, batch: int) -> StackState:
        """Nothing heard yet."""
        return StackState(tuple(layer.init(batch) for layer in self._layers()))

    def step(self, x_BVD: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """One column."""
        states: list[ChimeraState] = []
        for layer, norm, before in zip(self._layers(), self.norms, state.layers, strict=False):
            y_BVD, after = layer.step(_normalise(norm, x_BVD), before)
            x_BVD = x_BVD + y_BVD
            states.append(after)
        return _normalise(self.norms[-1], x_BVD), StackState(tuple(states))

    def scan(self, x_BTVD: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """T columns at once."""
        states: list[ChimeraState] = []
        for layer, norm, before in zip(self._layers(), self.norms, state.layers, strict=False):
            y_BTVD, after = layer.scan(_normalise(norm, x_BTVD), before)
            x_BTVD = x_BTVD + y_BTVD
            states.append(after)
        return _normalise(self.norms[-1], x_BTVD), StackState(tuple(states))

    def _layers(self) -> list[Chimera]:
        return [layer for layer in self.layers if isinstance(layer, Chimera)]


def _normalise(norm: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(norm, RMSNorm)
    return norm.scan(x.flatten(1, -2), Stateless())[0].unflatten(1, tuple(x.shape[1:-1]))


def check_columns(layer: str, x_BTVD: Tensor, sizes: tuple[int, ...], batch: int) -> None:
    """Refuse columns that do not fit the layer or the state they came with.

    Raises:
        InputError: shape, dtype or batch is wrong.
    """
    if x_BTVD.ndim != 2 + len(sizes) or tuple(x_BTVD.shape[2:]) != sizes or not x_BTVD.is_floating_point():
        raise InputError(
            f"{layer} got {x_BTVD.dtype} {tuple(x_BTVD.shape)}; expected floats of batch, time, then {sizes}"
        )
    if x_BTVD.shape[0] != batch:
        raise InputError(
            f"{layer} got {x_BTVD.shape[0]} rows and a state of {batch}; expected the same, see init(batch)"
        )
