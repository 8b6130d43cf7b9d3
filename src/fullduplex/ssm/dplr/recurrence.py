"""A diagonal-plus-low-rank system as a stream: one step, or a piece of any length.

Axes: B batch, T time, D channels, M modes, N = 2 M real numbers of state; I blocks of J steps, T <= I J.

A piece is a convolution with the kernel (`fullduplex.ssm.dplr.convolution`), plus what the state before it still says,
C A'^(t+1) s; the state after it is A'^T s + sum_t A'^(T-1-t) B' x_t. Both sums go over blocks of about sqrt(T) steps: a
table of J powers within a block, and one matrix product from block to block. Tables are built in float64.
"""

import torch
from torch import Tensor

from fullduplex.ssm.diagonal import DiagonalModesState
from fullduplex.ssm.dplr.convolution import response
from fullduplex.ssm.dplr.system import Dplr, DplrStep, dense_step, one_step, pair_from_real, real_from_pair

__all__ = ["narrow", "scan", "step"]

_FEW_STEPS = 6  # below, a loop of steps is cheaper than the tables


def narrow(numbers: DplrStep, kind: torch.dtype) -> DplrStep:
    """The numbers of a step in another complex precision."""
    return DplrStep(
        a_DM=numbers.a_DM.to(kind),
        u_DMR=numbers.u_DMR.to(kind),
        w_DRM=numbers.w_DRM.to(kind),
        b_DM=numbers.b_DM.to(kind),
        c_DM=numbers.c_DM.to(kind),
    )


def step(
    numbers: DplrStep, skip_D: Tensor, x_BD: Tensor, state: DiagonalModesState
) -> tuple[Tensor, DiagonalModesState]:
    """One step; `numbers` in the precision of the signal."""
    h_BDM = torch.view_as_complex(state.h_BDM2)
    fed_BDR = (numbers.w_DRM * h_BDM.unsqueeze(-2)).sum(-1).real
    h_BDM = numbers.a_DM * h_BDM + numbers.b_DM * x_BD.unsqueeze(-1) - (numbers.u_DMR * fed_BDR.unsqueeze(-2)).sum(-1)
    y_BD = 2 * (numbers.c_DM * h_BDM).sum(-1).real + skip_D * x_BD
    return y_BD, DiagonalModesState(torch.view_as_real(h_BDM))


def scan(system: Dplr, skip_D: Tensor, x_BTD: Tensor, state: DiagonalModesState) -> tuple[Tensor, DiagonalModesState]:
    """T steps at once, T >= 0."""
    num_steps = x_BTD.shape[1]
    if num_steps == 0:
        return x_BTD.clone(), state
    with torch.autocast(x_BTD.device.type, enabled=False):
        numbers = one_step(system)
        if num_steps < _FEW_STEPS:
            return _loop(narrow(numbers, x_BTD.dtype.to_complex()), skip_D, x_BTD, state)
        x_BDT = x_BTD.transpose(1, 2)
        kernel_DT = response(system, numbers, num_steps).to(x_BTD.dtype)
        y_BDT = _convolve(x_BDT, kernel_DT) + skip_D.unsqueeze(-1) * x_BDT
        past_BDT, end = _carry(numbers, x_BDT, state)
    if past_BDT is not None:
        y_BDT = y_BDT + past_BDT
    return y_BDT.transpose(1, 2), end


def _loop(
    numbers: DplrStep, skip_D: Tensor, x_BTD: Tensor, state: DiagonalModesState
) -> tuple[Tensor, DiagonalModesState]:
    outputs: list[Tensor] = []
    for x_BD in x_BTD.unbind(1):
        y_BD, state = step(numbers, skip_D, x_BD, state)
        outputs.append(y_BD)
    return torch.stack(outputs, dim=1), state


def _carry(numbers: DplrStep, x_BDT: Tensor, state: DiagonalModesState) -> tuple[Tensor | None, DiagonalModesState]:
    """What the state before the piece adds to its outputs (None: nothing), and the state after it."""
    num_steps, real = x_BDT.shape[-1], x_BDT.dtype
    inner = 1 << max(1, (num_steps.bit_length() + 1) // 2)
    outer = -(-num_steps // inner)
    turn_DNN = dense_step(numbers)
    entered_DN1 = real_from_pair(numbers.b_DM).unsqueeze(-1)
    entered_DNJ, block_DNN = _krylov(turn_DNN, entered_DN1, inner)
    # Newest first, so that power 0 meets index 0; zeros older than the piece change nothing.
    newest_BDT = torch.nn.functional.pad(x_BDT.flip(-1), (0, outer * inner - num_steps))
    newest_DIBJ = newest_BDT.unflatten(-1, (outer, inner)).permute(1, 2, 0, 3)
    blocks_IDBN = (newest_DIBJ @ entered_DNJ.to(real).mT.unsqueeze(1)).unbind(1)
    forward_DNN = block_DNN.to(real).mT
    end_DBN = blocks_IDBN[-1]
    for block_DBN in reversed(blocks_IDBN[:-1]):
        end_DBN = end_DBN @ forward_DNN + block_DBN
    if not state.h_BDM2.requires_grad and not bool(state.h_BDM2.any()):
        return None, _as_state(end_DBN)
    start_DBN = real_from_pair(torch.view_as_complex(state.h_BDM2)).transpose(0, 1)
    left_DNN = torch.linalg.matrix_power(turn_DNN, num_steps).to(real).mT
    end_DBN = end_DBN + start_DBN @ left_DNN
    read_DN1 = 2 * real_from_pair(numbers.c_DM.conj()).unsqueeze(-1)
    read_DNJ, _ = _krylov(turn_DNN.mT, turn_DNN.mT @ read_DN1, inner)
    said = []
    for _ in range(outer):
        said.append(start_DBN @ read_DNJ.to(real))
        start_DBN = start_DBN @ forward_DNN
    past_BDT = torch.cat(said, dim=-1)[..., :num_steps].transpose(0, 1)
    return past_BDT, _as_state(end_DBN)


def _krylov(turn_DNN: Tensor, first_DN1: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """A^j v for j < count, a power of two, as columns; and A^count."""
    table_DNJ, power_DNN = first_DN1, turn_DNN
    while table_DNJ.shape[-1] < count:
        table_DNJ = torch.cat([table_DNJ, power_DNN @ table_DNJ], dim=-1)
        power_DNN = power_DNN @ power_DNN
    return table_DNJ, power_DNN


def _as_state(h_DBN: Tensor) -> DiagonalModesState:
    return DiagonalModesState(torch.view_as_real(pair_from_real(h_DBN.transpose(0, 1))))


def _convolve(x_BDT: Tensor, kernel_DT: Tensor) -> Tensor:
    """Causal convolution of each channel with its kernel, both T long."""
    num_steps = x_BDT.shape[-1]
    length = 1 << (2 * num_steps - 1).bit_length()
    spectrum_BDF = torch.fft.rfft(x_BDT, n=length) * torch.fft.rfft(kernel_DT, n=length)
    return torch.fft.irfft(spectrum_BDF, n=length)[..., :num_steps]
