"""Two layers over one whole sequence, one forwards and one backwards: for recordings, never for a conversation.

The answer at a step depends on everything after it, so there is no state after which it could go on: `init`, `step` and
`scan` refuse, rather than return something that a stream would take for its past.
"""

from typing import Any, NoReturn, cast

from torch import Tensor, nn

from fullduplex.base.errors import InputError
from fullduplex.nn.stream import Stream

__all__ = ["Bidirectional"]


class Bidirectional(nn.Module):
    """y = ahead(x) + reversed(behind(reversed(x))); the present sample reaches both.

    The reference code of S4 pads its backward kernel so that it begins one step off; here both begin at the present.

    Args:
        ahead, behind: streams of the same widths.
    """

    def __init__(self, ahead: nn.Module, behind: nn.Module) -> None:
        super().__init__()
        self.ahead, self.behind = ahead, behind

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The whole sequence at once."""
        batch = x_BTD.shape[0]
        ahead, behind = cast("Stream[Any]", self.ahead), cast("Stream[Any]", self.behind)
        forwards_BTD, _ = ahead.scan(x_BTD, ahead.init(batch))
        backwards_BTD, _ = behind.scan(x_BTD.flip(1), behind.init(batch))
        return forwards_BTD + backwards_BTD.flip(1)

    def init(self, batch: int) -> NoReturn:
        """Refused: there is no state.

        Raises:
            InputError: always.
        """
        self._refuse()

    def step(self, x_BD: Tensor, state: object) -> NoReturn:
        """Refused, as `init`."""
        self._refuse()

    def scan(self, x_BTD: Tensor, state: object) -> NoReturn:
        """Refused, as `init`."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise InputError(
            "a bidirectional layer needs the future, so it has no state and no stream; call it on a whole sequence, or "
            "use one direction"
        )
