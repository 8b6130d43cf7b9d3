"""Where every picture of the project is drawn: matplotlib without a window, and only when a picture is asked for."""

from typing import Any

from fullduplex.base.errors import MissingExtraError

__all__ = ["new_figure"]


def new_figure(width_in: float, height_in: float, *, extra: str = "talk") -> Any:
    """An empty matplotlib figure to draw on and to save; no state of pyplot is touched, so threads may draw side by side.

    Args:
        width_in, height_in: inches.
        extra: the extra of the package that brings matplotlib to whoever asks.

    Raises: MissingExtraError when matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", extra) from error
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
