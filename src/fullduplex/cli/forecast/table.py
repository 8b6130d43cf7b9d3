"""The table of `fullduplex forecast`: a line a model, and how far trainings with other seeds differ."""

from dataclasses import dataclass

import numpy as np

from fullduplex.forecast.api.choice import TRAINED
from fullduplex.forecast.backtest import BacktestResult

__all__ = ["Row", "title_line"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table: a model's errors, one for each seed it was trained with; one where nothing is random."""

    name: str
    by_seed: tuple[BacktestResult, ...]

    def mean(self, figure: str) -> float | None:
        """Of a field of `BacktestResult`, over seeds; None where no seed has it."""
        found: list[float | None] = [getattr(result, figure) for result in self.by_seed]
        known = [value for value in found if value is not None]
        return float(np.mean(known)) if known else None

    @property
    def mse_std(self) -> float | None:
        """Over seeds; None of a single one."""
        return float(np.std([result.mse for result in self.by_seed], ddof=1)) if len(self.by_seed) > 1 else None

    def plain(self) -> dict[str, object]:
        """For JSON."""
        rounded = {
            name: None if value is None else round(value, digits)
            for name, value, digits in (
                ("mse_scaled", self.mean("mse"), 6),
                ("mse_scaled_std", self.mse_std, 6),
                ("mae_scaled", self.mean("mae"), 6),
                ("mase", self.mean("mase"), 6),
                ("coverage", self.mean("coverage"), 4),
            )
        }
        return {"model": self.name, "windows": self.by_seed[0].num_windows, "seeds": len(self.by_seed), **rounded}

    def line(self) -> str:
        """For the table."""
        cells = [
            f"{self.mean('mse'):.4f}",
            "one seed" if self.name in TRAINED and self.mse_std is None else _cell(self.mse_std, ".4f"),
            f"{self.mean('mae'):.4f}",
            _cell(self.mean("mase"), ".3f"),
        ]
        share = _cell(self.mean("coverage"), ".1%")
        return f"{self.name:<18}{self.by_seed[0].num_windows:>8}{''.join(f'{cell:>10}' for cell in cells)}{share:>12}"


def title_line(level: float) -> str:
    """What stands above the rows."""
    titles = ("MSE", "± seeds", "MAE", "MASE")
    return f"{'model':<18}{'windows':>8}{''.join(f'{title:>10}' for title in titles)}{f'inside {level:.0%}':>12}"


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
