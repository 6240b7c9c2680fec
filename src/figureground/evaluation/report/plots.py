"""The figures of a report, each once for the page (SVG, in the page's own text colour) and once as PNG."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from figureground.evaluation.scoring.slices import Slice
from figureground.evaluation.statistics import Mean
from figureground.files import replacing
from figureground.metrics import THRESHOLDS, Reliability, dice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the colour of text, light or dark, which only the page knows."""
BLUE, ORANGE, GREY = "#3b82c4", "#d9772b", "#888888"
"""Readable on white and on black, and told apart with any kind of colour vision."""
SIZE = (5.2, 3.2)  # inches: as wide as a phone at the size of its text
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "figureground",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@contextmanager
def canvas(size: tuple[float, float] = SIZE) -> Iterator[tuple[Figure, Axes]]:
    """An empty figure with one pair of axes, in the report's style."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure, figure.subplots()


def as_svg(figure: Figure) -> str:
    """A figure as an element for the page: transparent, text in the page's colour, no address of any kind."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context(STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata=NO_METADATA)
    element = buffer.getvalue().partition("<svg")[2]
    element = re.sub(r'\s+(xmlns(:\w+)?="[^"]*"|width="[^"]*"|height="[^"]*")', "", element, count=4)
    return "<svg" + element.replace(INK, "currentColor")


def write_png(path: Path, figure: Figure) -> None:
    """A figure as a picture file, on white."""
    from matplotlib import rc_context

    with rc_context(STYLE), replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=120)


def draw_histogram(values: NDArray[np.float64], mean: Mean) -> Figure:
    """How many images (n,) have which Dice."""
    with canvas() as (figure, axes):
        axes.hist(values, bins=np.linspace(0, 1, 41).tolist(), color=BLUE)
        axes.axvline(mean.mean, color=ORANGE, label=f"mean {mean.mean:.4f}")
        axes.axvline(float(np.median(values)), color=GREY, ls="--", label=f"median {np.median(values):.4f}")
        axes.set(xlabel="Dice of the image", ylabel="images", xlim=(0, 1))
        axes.legend(loc="upper left")
    return figure


def draw_sweep(mean_dice: NDArray[np.float64], counts: NDArray[Any], threshold: float) -> Figure:
    """Dice over the threshold: the images' mean (thresholds,), and that of all pixels from their counts."""
    with canvas() as (figure, axes):
        axes.plot(THRESHOLDS, mean_dice, color=BLUE, marker="o", ms=3, label="mean of the images")
        axes.plot(THRESHOLDS, dice(*counts), color=GREY, ls="--", label="all pixels together")
        axes.axvline(threshold, color=ORANGE, label=f"in use: {threshold:g}")
        axes.set(xlabel="threshold", ylabel="Dice", xlim=(0, 1))
        axes.legend(loc="lower left")
    return figure


def draw_reliability(found: Reliability) -> Figure:
    """What share of the pixels is figure, for each bin of probability; the line of a calibrated model is dashed."""
    filled = found.pixels > 0
    with canvas() as (figure, axes):
        axes.plot([0, 1], [0, 1], color=GREY, ls="--", label="calibrated")
        pixels = found.pixels[filled]
        axes.plot(found.probability[filled] / pixels, found.figure[filled] / pixels, color=BLUE, marker="o", ms=4,
                  label="this model")  # fmt: skip
        axes.set(xlabel="probability that is predicted", ylabel="share that is figure", xlim=(0, 1), ylim=(0, 1))
        axes.set_aspect("equal")
        axes.legend(loc="upper left")
    return figure


def draw_risk_coverage(curve: Sequence[tuple[float, float]], by_chance: float) -> Figure:
    """Mean risk (1 - Dice) of the images with the highest estimates, by their share of all."""
    coverage, risk = zip(*curve, strict=True)
    with canvas() as (figure, axes):
        axes.plot(coverage, risk, color=BLUE, marker="o", ms=3, label="in the order of the estimates")
        axes.axhline(by_chance, color=GREY, ls="--", label="by chance")
        axes.set(xlabel="share of the masks that is kept", ylabel="mean of 1 - Dice", xlim=(0, 1.02), ylim=(0, None))
        axes.legend(loc="lower right")
    return figure


def draw_losses(rows: Sequence[Mapping[str, float]]) -> Figure:
    """Both losses by epoch, from the rows of ``metrics.csv``."""
    return _by_epoch(rows, {"train": "train_loss", "valid": "valid_loss"}, "loss")


def draw_valid_dice(rows: Sequence[Mapping[str, float]]) -> Figure:
    """The valid Dice by epoch, from the rows of ``metrics.csv``."""
    return _by_epoch(rows, {"valid": "valid_dice"}, "valid Dice")


def _by_epoch(rows: Sequence[Mapping[str, float]], columns: dict[str, str], title: str) -> Figure:
    from matplotlib.ticker import MaxNLocator

    colours, markers = {"train": BLUE, "valid": ORANGE}, {"train": "o", "valid": "s"}
    epochs = [row["epoch"] for row in rows]
    with canvas() as (figure, axes):
        for label, column in columns.items():
            axes.plot(epochs, [row[column] for row in rows], color=colours[label], marker=markers[label], ms=3,
                      label=label)  # fmt: skip
        axes.set(xlabel="epoch", ylabel=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    return figure


def draw_slices(slices: Sequence[Slice], overall: Mean, titles: Mapping[str, str]) -> Figure:
    """The mean Dice of each slice with its interval, a row each; filled where it differs from the others."""
    labels: list[str] = []
    rows: list[tuple[int, Slice]] = []
    for attribute, members in groupby(slices, lambda found: found.attribute):
        labels.append(titles.get(attribute, attribute).upper())
        for found in members:
            rows.append((len(labels), found))
            labels.append(f"{found.label} ({found.n:,})")
    with canvas((SIZE[0], 0.7 + 0.2 * len(labels))) as (figure, axes):
        axes.axvline(overall.mean, color=GREY, ls="--")
        for row, found in rows:
            colour = ORANGE if found.difference.mean < 0 else BLUE
            axes.plot(found.mean.ci95, [row, row], color=colour)
            axes.plot(found.mean.mean, row, "o", color=colour, ms=5, fillstyle="full" if found.differs else "none")
        axes.set_yticks(range(len(labels)), labels, fontsize=9)
        axes.set(xlabel="mean Dice", ylim=(len(labels) - 0.5, -0.5))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", alpha=0.25)
    return figure
