"""Pictures of the plans: bars of the paper's comparison, lines of capacity over the length of a conversation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fullduplex.base.errors import MissingExtraError
from fullduplex.hardware.reproduce.comparison import Claim, Comparison

__all__ = ["draw_capacity", "draw_comparison", "draw_edap", "draw_sensitivity"]

_SHORT = {"Duplex+PE+ET": "+PE+ET", "Duplex+PE": "+PE"}


def draw_comparison(found: Comparison, path: Path) -> None:
    """Throughput over the GPU for every model, batch and length (the paper's Figure 11) as a PNG.

    Raises: MissingExtraError when matplotlib is not installed.
    """
    picture = _picture(11, 8)
    names = [name for name in found.runs if name != "GPU"]
    models = sorted({key[0] for key in found.runs["GPU"]})
    for row, model in enumerate(models):
        keys = [key for key in found.runs["GPU"] if key[0] == model]
        axes = picture.add_subplot(len(models), 1, row + 1)
        for index, name in enumerate(names):
            ratios = found.ratios(name, "GPU", model)
            places = [position + 0.16 * (index - (len(names) - 1) / 2) for position in range(len(ratios))]
            axes.bar(places, list(ratios.values()), width=0.15, label=name)
        axes.set_xticks(range(len(keys)), [f"batch {batch}\n{length}" for _, batch, length in keys], fontsize=8)
        axes.axhline(1, color="grey", linewidth=0.8)
        axes.set_title(model, loc="left", fontsize=10)
        axes.set_ylabel("tokens/s over GPU")
        if row == 0:
            axes.legend(ncols=len(names), fontsize=8, loc="upper right", bbox_to_anchor=(1, 1.25))
    picture.savefig(path, dpi=120)


def draw_capacity(minutes: Sequence[float], curves: Mapping[str, Sequence[int]], path: Path) -> None:
    """Sessions a system can hold over the length of a conversation, both axes logarithmic, as a PNG.

    Raises: MissingExtraError when matplotlib is not installed.
    """
    picture = _picture(8, 5)
    axes = picture.add_subplot()
    for index, (name, sessions) in enumerate(curves.items()):
        # Systems that memory limits alike lie on each other: dashes and smaller marks let the lower ones show.
        style = {"linestyle": ("-", "--", ":")[index % 3], "marker": "o", "markersize": 7 - 2 * (index % 3)}
        axes.plot(minutes, [count or float("nan") for count in sessions], label=name, **style)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("length of the conversation, minutes")
    axes.set_ylabel("sessions at once")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(fontsize=8)
    picture.savefig(path, dpi=120)


def draw_sensitivity(swept: Mapping[str, Mapping[str, Sequence[Claim]]], path: Path) -> None:
    """How far each statement of the paper moves with each unknown, in percent of the paper's number, as a PNG.

    Raises: MissingExtraError when matplotlib is not installed.
    """
    picture = _picture(15, 5)
    first = None
    for place, (unknown, values) in enumerate(swept.items()):
        axes = picture.add_subplot(1, len(swept), place + 1, sharey=first)
        first = first or axes
        for index, claim in enumerate(next(iter(values.values()))):
            errors = [100 * row[index].error for row in values.values()]
            axes.plot(range(len(values)), errors, marker="o", markersize=3, label=_short(claim.name))
        axes.axhspan(-6, 6, color="grey", alpha=0.2)
        axes.set_xticks(range(len(values)), list(values), fontsize=8)
        axes.set_title(unknown, fontsize=10)
    if first is not None:
        first.set_ylabel("% from the paper's number")
        picture.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    picture.savefig(path, dpi=120)


def _short(name: str) -> str:
    for full, brief in _SHORT.items():
        name = name.replace(full, brief)
    return name


def draw_edap(
    columns: Sequence[float], here: Mapping[str, Sequence[float]], paper: Mapping[str, Sequence[float]], path: Path
) -> None:
    """Energy x delay x area of the units in memory over Op/B: lines ours, crosses the paper's Figure 8, as a PNG.

    Raises: MissingExtraError when matplotlib is not installed.
    """
    picture = _picture(7, 4.5)
    axes = picture.add_subplot()
    for index, (name, values) in enumerate(here.items()):
        axes.plot(columns, values, color=f"C{index}", label=name)
        axes.plot(columns, paper[name], "x", color=f"C{index}")
    axes.set_xscale("log", base=2)
    axes.set_xlabel("Op/B")
    axes.set_ylabel("EDAP over the largest (crosses: paper)")
    axes.legend()
    picture.savefig(path, dpi=120)


def _picture(width: float, height: float) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "talk") from error
    picture = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(picture)
    return picture
