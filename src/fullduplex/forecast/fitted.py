"""A trained network that forecasts windows of a fixed length, and the one file it is kept in.

Axes: N windows, L context, H horizon, C channels.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from fullduplex.base.arrays import Float64Array
from fullduplex.base.config import config_from_mapping
from fullduplex.base.errors import ConfigError, FormatError
from fullduplex.forecast.epochs import Forward, SizedConfig, forecast_windows
from fullduplex.forecast.windows import filled
from fullduplex.nn.archive import read_archive, write_archive

__all__ = ["FittedNetwork", "load_fitted"]

ConfigT = TypeVar("ConfigT", bound=SizedConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedNetwork:
    """A trained network.

    Args:
        model: its weights.
        config: the frozen dataclass that the network is built from.
        forward: the forecasts of `model`.
        losses: the validation errors, the first before any training, empty where nothing was validated.
        season: where a missing value is looked up first.
    """

    model: nn.Module
    config: SizedConfig
    forward: Forward
    losses: tuple[float, ...] = ()
    season: int = 1

    def predict(self, context_NLC: Float64Array) -> Float64Array:
        """Forecasts of shape (N, H, C) for contexts of shape (N, L, C); missing values are filled from their own past.

        Raises:
            InputError: a channel is missing in a whole context, or the shape is not the model's.
        """
        self.model.eval()
        return forecast_windows(self.forward, filled(context_NLC, self.season))

    def save(self, path: Path) -> None:
        """Write the model and its configuration to `path`."""
        payload: dict[str, object] = {
            "config": asdict(self.config),  # pyright: ignore[reportArgumentType]
            "model": self.model.state_dict(),
            "losses": list(self.losses),
            "season": self.season,
        }
        write_archive(path, payload)


def load_fitted(path: Path, cls: type[ConfigT], build: Callable[[ConfigT], FittedNetwork]) -> FittedNetwork:
    """Read what `FittedNetwork.save` wrote; its forecasts are bit-equal.

    Args:
        path: of the file.
        cls: the network's configuration.
        build: an untrained network.

    Raises:
        FormatError: the file is damaged or of another kind.
    """
    saved: dict[str, Any] = read_archive(path)
    if saved.keys() != {"config", "model", "losses", "season"}:
        raise FormatError(f"{path.name} holds {sorted(saved)}; expected a fitted network")
    try:
        config = config_from_mapping(cls, saved["config"])
    except ConfigError as error:
        raise FormatError(f"{path.name} holds another network: {error}") from error
    made = build(config)
    made.model.load_state_dict(saved["model"])
    return replace(made, losses=tuple(saved["losses"]), season=saved["season"])
