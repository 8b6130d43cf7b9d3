"""AdamW (Loshchilov and Hutter, arXiv 1711.05101) with weight decay where it belongs."""

import torch
from torch import nn

__all__ = ["SLOW_PEAK_LR", "make_adamw"]

SLOW_PEAK_LR = 1e-3  # of state-space modes and steps, whatever the rest learns at (arXiv 2206.11893, appendix)


def make_adamw(model: nn.Module, *, weight_decay: float, betas: tuple[float, float]) -> torch.optim.AdamW:
    """AdamW over all trainable parameters of `model`, at a rate of 0 until the loop sets one.

    Only tensors of two or more axes decay. Vectors are gains, biases and, in recurrent layers, time constants: a
    decay would pull those towards a memory nobody chose. A layer says which of its matrices are time constants too:
    `undecayed_parameters()` do not decay, and `slow_parameters()` moreover get a group of their own whose `peak_lr` the
    loop does not pass.
    """
    slow, undecayed = _named(model, "slow_parameters"), _named(model, "undecayed_parameters")
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    others = [parameter for parameter in trainable if id(parameter) not in slow]
    decays = [parameter.ndim >= 2 and id(parameter) not in undecayed for parameter in others]
    groups = [
        {"params": [p for p, yes in zip(others, decays, strict=True) if yes], "weight_decay": weight_decay},
        {"params": [p for p, yes in zip(others, decays, strict=True) if not yes], "weight_decay": 0.0},
    ]
    if slow:
        kept = [parameter for parameter in trainable if id(parameter) in slow]
        groups.append({"params": kept, "weight_decay": 0.0, "peak_lr": SLOW_PEAK_LR})
    return torch.optim.AdamW(groups, lr=0.0, betas=betas)


def _named(model: nn.Module, method: str) -> set[int]:
    return {id(parameter) for part in model.modules() for parameter in getattr(part, method, tuple)()}
