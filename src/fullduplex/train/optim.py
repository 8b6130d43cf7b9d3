"""AdamW (Loshchilov and Hutter, arXiv 1711.05101) with weight decay where it belongs."""

import torch
from torch import nn

__all__ = ["make_adamw"]


def make_adamw(model: nn.Module, *, weight_decay: float, betas: tuple[float, float]) -> torch.optim.AdamW:
    """AdamW over all trainable parameters of `model`, at a rate of 0 until the loop sets one.

    Only tensors of two or more axes decay. Vectors are gains, biases and, in recurrent layers, time constants: a
    decay would pull those towards a memory nobody chose.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trainable if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trainable if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=betas)
