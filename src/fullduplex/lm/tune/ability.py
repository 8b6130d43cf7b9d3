"""What tuning on slices costs elsewhere: perplexity of ordinary chats, and questions with one right answer among few."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from fullduplex.base.chat import Message
from fullduplex.lm.template import CHATML, encode, render
from fullduplex.lm.tune.examples import LayoutConfig, Tokenize, pack
from fullduplex.lm.tune.llama import Llama
from fullduplex.lm.tune.objective import slice_figures
from fullduplex.lm.tune.probes import Probe
from fullduplex.lm.tune.run import examples_of

__all__ = ["chat_perplexity", "probe_rates"]


def chat_perplexity(
    model: Llama, tokenize: Tokenize, chats: Sequence[Sequence[Message]], layout: LayoutConfig | None = None
) -> float:
    """exp of the mean negative log likelihood, over the assistant's tokens of chats as they are. Raises `InputError`."""
    layout = layout or LayoutConfig()
    rows = pack(examples_of(chats, tokenize, layout), layout, seed=0)
    batches = (rows.batch(np.array([at])) for at in range(len(rows)))
    return math.exp(slice_figures(model, batches, idle_token=-1)["loss"])


def probe_rates(
    model: Llama, tokenize: Tokenize, probes: Sequence[Probe], *, system: str = ""
) -> dict[str, tuple[int, int]]:
    """For each kind of question, how many of how many the model likes the right option of best.

    Options are compared by the log likelihood of their tokens behind the beginning of the answer, unscaled.
    """
    found: dict[str, tuple[int, int]] = {}
    for probe in probes:
        head = (Message("system", system),) if system else ()
        begun = (*head, Message("user", probe.question), Message("assistant", probe.begin))
        prompt = encode(render(CHATML, begun, "open"), tokenize)
        scores = [_score(model, prompt, tokenize(f" {option}", False)) for option in probe.options]
        right, count = found.get(probe.kind, (0, 0))
        found[probe.kind] = (right + (max(scores) == scores[0] > max(scores[1:])), count + 1)
    return found


def _score(model: Llama, prompt: list[int], option: list[int]) -> float:
    with torch.no_grad():
        hidden_BTD = model(torch.tensor([[*prompt, *option]]))
        logits_TV = model.logits(hidden_BTD[0, len(prompt) - 1 : -1]).float()
        picked_T = torch.log_softmax(logits_TV, -1).gather(1, torch.tensor(option)[:, None])
    return float(picked_T.sum())
