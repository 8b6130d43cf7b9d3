"""A language model of any streams: tokens in, the logits of the next token out, and a state instead of a context window.

Axes: B batch, T time, D features, V vocabulary.

    e = E[token],   e <- e + f_i(norm_i(e)) for each layer,   logits = W norm(e), W = E when the head is tied

The model is a stream over token ids: `init`, `step`, `scan`, as every layer is over features. The residual is never below
float32, whatever the precision of the layers.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.base.errors import InputError
from fullduplex.nn.compose import Chain, ChainState
from fullduplex.nn.mamba.whole import Ends, WholeStep
from fullduplex.nn.norm import RMSNorm
from fullduplex.nn.prenorm import PreNorm
from fullduplex.nn.state import Stateless

__all__ = ["LanguageModel", "continue_text", "next_token_loss"]


class LanguageModel(nn.Module):
    """Embedding, pre-norm layers, norm, head.

    Args:
        mixers: streams of `width` features in and out, first to last.
        vocabulary: number of tokens V.
        width: features D.
        tied: whether the head is the embedding turned around.
        epsilon: of all normalisations.
        generator: source of the embedding and the head, normal of deviation 0.02.

    Raises:
        InputError: no token or no feature, or a mixer that is not a stream.
    """

    def __init__(
        self,
        mixers: Sequence[nn.Module],
        *,
        vocabulary: int,
        width: int,
        tied: bool = True,
        epsilon: float = 1e-5,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if vocabulary < 1 or width < 1:
            raise InputError(f"LanguageModel got vocabulary {vocabulary}, width {width}; expected 1 or more")
        self.embedding_VD = nn.Parameter(torch.randn(vocabulary, width, generator=generator) * 0.02)
        self.layers = Chain([PreNorm(mixer, width, epsilon=epsilon) for mixer in mixers])
        self.norm = RMSNorm(width, epsilon=epsilon)
        self.head_VD = None if tied else nn.Parameter(torch.randn(vocabulary, width, generator=generator) * 0.02)
        self.growth = self.layers.growth
        self._whole = WholeStep()

    def init(self, batch: int) -> ChainState:
        """Nothing read yet."""
        return self.layers.init(batch)

    def step(self, ids_B: Tensor, state: ChainState) -> tuple[Tensor, ChainState]:
        """One token: logits of the next one, float32 or wider."""
        self._check(ids_B, 1)
        done = self._whole.run(self, self.layers.layers, self._ends(), ids_B, state.layers)
        if done is not None:
            return done[0], ChainState(done[1])
        x_BD, state = self.layers.step(self._embed(ids_B), state)
        return self._read(self.norm.step(x_BD, Stateless())[0]), state

    def scan(self, ids_BT: Tensor, state: ChainState) -> tuple[Tensor, ChainState]:
        """T tokens at once: logits_BTV after each of them."""
        x_BTD, state = self.features(ids_BT, state)
        return self._read(x_BTD), state

    def features(self, ids_BT: Tensor, state: ChainState) -> tuple[Tensor, ChainState]:
        """What the head reads: prefill that needs one row of logits need not pay for all."""
        self._check(ids_BT, 2)
        x_BTD, state = self.layers.scan(self._embed(ids_BT), state)
        return self.norm.scan(x_BTD, Stateless())[0], state

    def prefill(self, ids_BT: Tensor, state: ChainState) -> tuple[Tensor, ChainState]:
        """T >= 1 tokens at once: logits_BV after the last."""
        if ids_BT.ndim == 2 and ids_BT.shape[1] == 0:
            raise InputError("LanguageModel.prefill got no tokens; expected T >= 1")
        x_BTD, state = self.features(ids_BT, state)
        return self._read(x_BTD[:, -1]), state

    def _ends(self) -> Ends:
        head_VD = self.embedding_VD if self.head_VD is None else self.head_VD
        return Ends(self.embedding_VD, self.norm.gain, head_VD, self.norm.epsilon)

    def _embed(self, ids: Tensor) -> Tensor:
        embedded = functional.embedding(ids, self.embedding_VD)
        return embedded if embedded.dtype == torch.float64 else embedded.float()

    def _read(self, x: Tensor) -> Tensor:
        weight_VD = self.embedding_VD if self.head_VD is None else self.head_VD
        logits = functional.linear(x.to(weight_VD.dtype), weight_VD)
        return logits if logits.dtype == torch.float64 else logits.float()

    def _check(self, ids: Tensor, ndim: int) -> None:
        axes, vocabulary = "(B,)" if ndim == 1 else "(B, T)", self.embedding_VD.shape[0]
        if ids.ndim != ndim or ids.dtype not in (torch.int32, torch.int64):
            raise InputError(f"LanguageModel got {ids.dtype} {tuple(ids.shape)}; expected token ids of shape {axes}")
        if ids.device != self.embedding_VD.device:
            raise InputError(
                f"LanguageModel got ids on {ids.device}, its weights are on {self.embedding_VD.device}; expected one device"
            )
        if not ids.numel():
            return
        if ids.numel() == 1:
            lowest = highest = int(ids)
        else:
            lowest, highest = (int(each) for each in torch.aminmax(ids))
        if lowest < 0 or highest >= vocabulary:
            raise InputError(f"LanguageModel got tokens {lowest} to {highest}; expected 0 to {vocabulary - 1}")


def next_token_loss(model: LanguageModel, ids_BT: Tensor) -> Tensor:
    """Mean cross-entropy, in nats, of every token after the first given those before it; T >= 2."""
    if ids_BT.ndim != 2 or ids_BT.shape[1] < 2:
        raise InputError(f"next_token_loss got ids {tuple(ids_BT.shape)}; expected (B, T) with T >= 2")
    logits_BTV, _ = model.scan(ids_BT[:, :-1], model.init(ids_BT.shape[0]))
    return functional.cross_entropy(logits_BTV.flatten(0, 1), ids_BT[:, 1:].flatten())


@torch.no_grad()
def continue_text(
    model: LanguageModel,
    ids_BT: Tensor,
    num_tokens: int,
    *,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, ChainState]:
    """Read a prompt and write on.

    Args:
        model: the model.
        ids_BT: prompt, T >= 1.
        num_tokens: how many tokens to write, >= 0.
        temperature: 0 takes the likeliest token; above 0 draws.
        generator: source of the draws.

    Returns:
        The new tokens (B, num_tokens), and the state in which all but the last of them have been read.

    Raises:
        InputError: an empty prompt, a negative count or temperature.
    """
    if num_tokens < 0 or not temperature >= 0:
        raise InputError(f"continue_text got {num_tokens} tokens at temperature {temperature}; expected 0 or more")
    logits_BV, state = model.prefill(ids_BT, model.init(ids_BT.shape[0]))
    written: list[Tensor] = []
    while len(written) < num_tokens:
        if temperature > 0:
            chances_BV = torch.softmax(logits_BV / temperature, dim=-1)
            ids_B = torch.multinomial(chances_BV, 1, generator=generator).squeeze(1)
        else:
            ids_B = logits_BV.argmax(-1)
        written.append(ids_B)
        if len(written) < num_tokens:
            logits_BV, state = model.step(ids_B, state)
    new_BT = torch.stack(written, dim=1) if written else ids_BT.new_empty(ids_BT.shape[0], 0)
    return new_BT, cast("Any", state)
