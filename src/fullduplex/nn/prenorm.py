"""The block that most deep sequence models stack: y = x + f(norm(x))."""

from typing import Any, cast

from torch import Tensor, nn

from fullduplex.nn.mamba.mamba1 import Mamba
from fullduplex.nn.mamba.mamba2 import Mamba2
from fullduplex.nn.mamba.stepping import BlockNorm
from fullduplex.nn.norm import RMSNorm
from fullduplex.nn.state import Stateless
from fullduplex.nn.stream import Growth, Stream, check_piece

__all__ = ["PreNorm"]


class PreNorm(nn.Module):
    """A residual around a normalised stream; its state is that of the stream.

    The sum keeps the precision of what comes in: a residual in float32 stays there when the layers are half precision.

    Args:
        inner: a stream as wide going out as coming in.
        width: features.
        epsilon: of the normalisation.
    """

    def __init__(self, inner: nn.Module, width: int, *, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.norm = RMSNorm(width, epsilon=epsilon)
        self.inner = inner
        self.growth: Growth = self._stream().growth

    def init(self, batch: int) -> Any:
        """The start of the inner stream."""
        return self._stream().init(batch)

    def step(self, x_BD: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One step."""
        check_piece("PreNorm", x_BD, 2, self.norm.gain.shape[0])
        if isinstance(self.inner, Mamba | Mamba2):
            done = self.inner.step_at_once(x_BD, state, BlockNorm(self.norm.gain, self.norm.epsilon))
            if done is not None:
                return done
        y_BD, state = self._stream().step(self.norm.step(x_BD, Stateless())[0], state)
        return x_BD + y_BD.to(x_BD.dtype), state

    def scan(self, x_BTD: Tensor, state: Any) -> tuple[Tensor, Any]:
        """T steps at once."""
        check_piece("PreNorm", x_BTD, 3, self.norm.gain.shape[0])
        y_BTD, state = self._stream().scan(self.norm.scan(x_BTD, Stateless())[0], state)
        return x_BTD + y_BTD.to(x_BTD.dtype), state

    def _stream(self) -> Stream[Any]:
        return cast("Stream[Any]", self.inner)
