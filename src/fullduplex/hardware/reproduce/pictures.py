"""Pictures of the plans: bars of the paper's comparison, lines of capacity over the length of a conversation."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fullduplex.base.canvas import new_figure
from fullduplex.hardware.reproduce.comparison import Comparison
from fullduplex.hardware.reproduce.influence import Influence
from fullduplex.hardware.reproduce.table import Row

__all__ = ["draw_capacity", "draw_comparison", "draw_edap", "draw_influence"]

_SHORT = {"Duplex+PE+ET": "+PE+ET", "Duplex+PE": "+PE"}


def draw_comparison(found: Comparison, path: Path) -> None:
    """Throughput over the GPU for every model, batch and length (the paper's Figure 11) as a PNG.

    Raises: MissingExtraError when matplotlib is not installed.
    """
    picture = new_figure(11, 8)
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
    picture = new_figure(8, 5)
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


def draw_influence(swept: Mapping[str, Influence], path: Path) -> None:
    """How far each number of the paper moves with each unknown, ratios in percent and changes in points, as a PNG.

    Raises: MissingExtraError when matplotlib is not installed.
    """
    rows = next(iter(next(iter(swept.values())).rows.values()))
    points = [index for index, row in enumerate(rows) if row.unit == "%"]
    panels = [("% from the paper's ratio", [i for i, row in enumerate(rows) if row.unit in ("x", "1/s")])]
    panels += [("points from the paper's change", points)] if points else []
    picture = new_figure(16, 5.5 * len(panels))
    for height, (title, shown) in enumerate(panels):
        first = None
        for place, (unknown, found) in enumerate(swept.items()):
            axes = picture.add_subplot(len(panels), len(swept), height * len(swept) + place + 1, sharey=first)
            first = first or axes
            for index in shown:
                axes.plot([_off(row[index]) for row in found.rows.values()], marker=".", label=_short(rows[index].name))
            axes.axhspan(-6, 6, color="grey", alpha=0.2)
            axes.set_xticks(range(len(found.rows)), list(found.rows), fontsize=8)
            axes.set_title(unknown, fontsize=10)
            if place == 0:
                axes.set_ylabel(title)
            if place == len(swept) - 1:
                axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
    picture.savefig(path, dpi=120)


def _off(row: Row) -> float:
    return row.off if row.unit == "%" else 100 * row.off


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
    picture = new_figure(7, 4.5)
    axes = picture.add_subplot()
    for index, (name, values) in enumerate(here.items()):
        axes.plot(columns, values, color=f"C{index}", label=name)
        axes.plot(columns, paper[name], "x", color=f"C{index}")
    axes.set_xscale("log", base=2)
    axes.set_xlabel("Op/B")
    axes.set_ylabel("EDAP over the largest (crosses: paper)")
    axes.legend()
    picture.savefig(path, dpi=120)
