"""One token through a whole language model of Mamba blocks as one call of native/language.h.

The slow twin is the model's own way, block after block. At batch 1 a small model takes less time than Python needs to collect
the addresses of its weights, so they are collected once. Whoever changes a weight, its precision or its place is noticed
before the next call: every module, parameter and buffer is compared with what was there when the addresses were taken.
"""

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from fullduplex.kernels.native.library import native
from fullduplex.nn.mamba.mamba1 import Mamba, MambaState
from fullduplex.nn.mamba.mamba2 import Mamba2, Mamba2State
from fullduplex.nn.mamba.stepping import MOST_ROWS, StepCall

__all__ = ["Ends", "WholeStep"]


@dataclass(frozen=True, slots=True)
class Ends:
    """What a language model has around its blocks: (V, D) embedding, (D,) gain of the last norm, (V, D) head."""

    embedding_VD: Tensor
    gain_D: Tensor
    head_VD: Tensor
    epsilon: float


@dataclass(frozen=True, slots=True)
class _Plan:
    """Addresses, and what they stand for."""

    call: StepCall
    make: type[MambaState] | type[Mamba2State]
    kind: torch.dtype
    lent: Any  # ctypes array of addresses; those of the states are zero
    num_lent: int  # of a block
    head: tuple[int, int, int]
    epsilon: float
    modules: list[tuple[dict[str, Any], str]]
    tensors: list[tuple[dict[str, Any], str]]
    seen: tuple[list[Any], list[Any], list[float]]


class WholeStep:
    """The compiled step of one model. It holds addresses only: a copy, or one from a file, starts without them."""

    def __init__(self) -> None:
        self._plan: _Plan | None = None

    def __reduce__(self) -> tuple[type["WholeStep"], tuple[()]]:
        return WholeStep, ()

    def run(
        self, model: nn.Module, blocks: Iterable[Any], ends: Ends, ids_B: Tensor, states: tuple[Any, ...]
    ) -> tuple[Tensor, tuple[Any, ...]] | None:
        """logits_BV and states after one token of each row; None where one call may not do it.

        Args:
            model: whose modules are watched.
            blocks: `PreNorm` blocks.
            ends: around them.
            ids_B: tokens, checked to be of the vocabulary.
            states: of the blocks.
        """
        rows, blocks = ids_B.shape[0], tuple(blocks)
        if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or not 1 <= rows <= MOST_ROWS:
            return None
        compiled = native()
        if compiled is None:
            return None
        plan = self._plan
        epsilons = [ends.epsilon, *(block.norm.epsilon for block in blocks if hasattr(block, "norm"))]
        if plan is None or (_children(plan.modules), _addresses(plan.tensors), epsilons) != plan.seen:
            plan = self._plan = _make_plan(model, blocks, ends, epsilons)
        if plan is None or len(states) != plan.head[1]:
            return None
        wanted = tuple((rows, *shape) for shape in plan.call.shapes)
        addresses = type(plan.lent).from_buffer_copy(plan.lent)
        logits_BV = torch.empty(rows, plan.head[2], dtype=plan.kind)
        fresh: list[Any] = []
        given: list[Tensor] = [logits_BV]
        place = plan.num_lent
        for state in states:
            if type(state) is not plan.make:
                return None
            pair = _leaves(state)
            for leaf, shape in zip(pair, wanted, strict=True):
                if leaf.dtype is not plan.kind or leaf.shape != shape or not leaf.is_contiguous() or not leaf.is_cpu:
                    return None
            addresses[place], addresses[place + 1] = pair[0].data_ptr(), pair[1].data_ptr()
            place += plan.num_lent
            after = (torch.empty_like(pair[0]), torch.empty_like(pair[1]))
            given += after
            fresh.append(plan.make(*after))
        tokens = (ctypes.c_int64 * rows)(*ids_B.tolist())
        limits = plan.call.limits or (0.0, 0.0, 0.0)
        sizes = (*plan.head, rows, *plan.call.sizes, torch.get_num_threads())
        compiled.run("language_step", plan.kind, addresses, tuple(given), tokens, plan.epsilon, *limits, sizes)
        return logits_BV, tuple(fresh)


def _leaves(state: MambaState | Mamba2State) -> tuple[Tensor, Tensor]:
    return (state.past_BSE, state.h_BEN) if isinstance(state, MambaState) else (state.past_BSC, state.h_BHPN)


def _make_plan(model: nn.Module, blocks: Sequence[Any], ends: Ends, epsilons: list[float]) -> _Plan | None:
    """None for blocks of more than one make, or of more than one precision, or not on the processor."""
    layers = [block.inner for block in blocks]
    if not layers or type(layers[0]) not in (Mamba, Mamba2) or len(set(epsilons)) > 1:
        return None
    calls = [cast("Mamba | Mamba2", layer).step_call() for layer in layers if type(layer) is type(layers[0])]
    first, kind = calls[0], ends.gain_D.dtype
    same = all((each.sizes, each.limits) == (first.sizes, first.limits) for each in calls)
    if len(calls) != len(layers) or not same or kind not in (torch.float32, torch.float64):
        return None
    lent: list[Tensor | None] = [ends.embedding_VD, ends.gain_D, ends.head_VD]
    for call, block in zip(calls, blocks, strict=True):
        lent += [*call.weights, None, None, block.norm.gain]
    if not all(each is None or (each.dtype is kind and each.is_contiguous() and each.is_cpu) for each in lent):
        return None
    array = (ctypes.c_void_p * len(lent))(*[None if each is None else each.data_ptr() for each in lent])
    owners = list(model.modules())
    modules = [(each._modules, name) for each in owners for name in each._modules]
    tensors = [(table, name) for each in owners for table in (each._parameters, each._buffers) for name in table]
    return _Plan(
        call=first,
        make=MambaState if isinstance(layers[0], Mamba) else Mamba2State,
        kind=kind,
        lent=array,
        num_lent=len(first.weights) + 3,
        head=(1 if isinstance(layers[0], Mamba) else 2, len(blocks), ends.head_VD.shape[0]),
        epsilon=ends.epsilon,
        modules=modules,
        tensors=tensors,
        seen=(_children(modules), _addresses(tensors), epsilons),
    )


def _addresses(tables: list[tuple[dict[str, Any], str]]) -> list[Any]:
    """Where each tensor is, of what kind and size; lists of the same questions are the quickest way to ask them."""
    tensors: list[Tensor] = [each for table, name in tables if (each := table.get(name)) is not None]
    return [
        len(tensors),
        [each.data_ptr() for each in tensors],
        [each.dtype for each in tensors],
        [each.numel() for each in tensors],
        [each.is_contiguous() for each in tensors],
    ]


def _children(tables: list[tuple[dict[str, Any], str]]) -> list[Any]:
    return [table.get(name) for table, name in tables]
