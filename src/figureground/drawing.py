"""All that is drawn with matplotlib: curves of a training, plots of a report, pictures beside each other."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from figureground.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the colour of text, light or dark, which only a page knows."""
BLUE, ORANGE, GREY = "#3b82c4", "#d9772b", "#888888"
"""Readable on white and on black, and told apart with any kind of colour vision."""
WIDTH, HEIGHT = 5.2, 3.2  # inches: as wide as a phone at the size of its text
PANEL = 2.6  # inches of a picture beside others
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
MARKS = {"train": (BLUE, "o"), "valid": (ORANGE, "s")}
MARKED_UP_TO = 30  # epochs


class Curve(NamedTuple):
    """A line through points."""

    label: str
    x: Any
    y: Any
    """Both (n,)."""
    colour: str
    marker: str = ""
    """None draws a dashed line, for what is compared with."""


class Span(NamedTuple):
    """A mean with its interval, a row of ``draw_spans``."""

    group: str
    label: str
    mean: float
    ci95: tuple[float, float]
    colour: str
    filled: bool


@contextmanager
def _axes(columns: int = 1, height: float = HEIGHT) -> Iterator[tuple[Figure, list[Axes]]]:
    """An empty figure with axes beside each other, in the style of all."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(columns * WIDTH, height), dpi=120, layout="constrained")
        yield figure, list(figure.subplots(1, columns, squeeze=False)[0])


def as_svg(figure: Figure) -> str:
    """A figure as an element for a page: transparent, text in the page's colour, no address of any kind."""
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
        figure.savefig(partial, format="png")


def draw_training(rows: Sequence[Mapping[str, float]], monitored: str, best: Mapping[str, float], title: str) -> Figure:
    """All losses and the monitored figure by epoch, beside each other, from the rows of ``metrics.csv``.

    Args:
        rows: of the epochs; columns that end in ``_loss`` are losses.
        monitored: the column by which the best epoch is chosen.
        best: its row.
        title: above both.
    """
    with _axes(columns=2) as (figure, (losses, scores)):
        _by_epoch(losses, rows, "loss")
        _by_epoch(scores, rows, monitored)
        scores.axhline(best[monitored], color=GREY, lw=0.8, zorder=0)
        scores.set_title(f"best {best[monitored]:.4f} in epoch {best['epoch']:.0f}", fontsize=10)
        figure.suptitle(title)
    return figure


def draw_history(rows: Sequence[Mapping[str, float]], column: str) -> Figure:
    """A column of ``metrics.csv`` by epoch, or, for ``loss``, all of them that are losses."""
    with _axes() as (figure, (axes,)):
        _by_epoch(axes, rows, column)
    return figure


def _words(column: str) -> str:
    return column.replace("_", " ").replace("dice", "Dice")


def _by_epoch(axes: Axes, rows: Sequence[Mapping[str, float]], title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = [row["epoch"] for row in rows]
    for column in [name for name in rows[-1] if name == title or (title == "loss" and name.endswith("_loss"))]:
        split = column.partition("_")[0]
        colour, marker = MARKS.get(split, (GREY, "^"))
        axes.plot(epochs, [row[column] for row in rows], color=colour, label=split, ms=3,
                  marker=marker if len(rows) <= MARKED_UP_TO else "")  # fmt: skip
    axes.set(xlabel="epoch", ylabel=_words(title))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()


def draw_histogram(dice: NDArray[np.float64], lines: Sequence[tuple[str, float, str]]) -> Figure:
    """How many images have a Dice, (n,), in each of 40 bins; ``lines`` are a label, a value and a colour each."""
    with _axes() as (figure, (axes,)):
        axes.hist(dice, bins=np.linspace(0, 1, 41).tolist(), color=BLUE)
        for label, value, colour in lines:
            axes.axvline(value, color=colour, ls="--" if colour == GREY else "-", label=label)
        axes.set(xlabel="Dice of the image", ylabel="images", xlim=(0, 1))
        axes.legend(loc="upper left")
    return figure


def draw_curves(
    curves: Sequence[Curve],
    x: str,
    y: str,
    *,
    legend: Literal["upper left", "lower left", "lower right"],
    line: tuple[str, float] | None = None,
    square: bool = False,
    from_zero: bool = False,
) -> Figure:
    """Curves over 0 to 1.

    Args:
        curves: what is drawn.
        x: title of the axis.
        y: title of the axis.
        legend: the corner it stands in.
        line: label and place of a vertical line.
        square: both axes from 0 to 1, as long as each other.
        from_zero: the upright axis begins at 0.
    """
    with _axes() as (figure, (axes,)):
        for curve in curves:
            axes.plot(curve.x, curve.y, color=curve.colour, marker=curve.marker, ms=3, label=curve.label,
                      ls="-" if curve.marker else "--")  # fmt: skip
        if line:
            axes.axvline(line[1], color=ORANGE, label=line[0])
        axes.set(xlabel=x, ylabel=y, xlim=(0, 1.02))
        if from_zero or square:
            axes.set_ylim(bottom=0)
        if square:
            axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.legend(loc=legend)
    return figure


def draw_spans(spans: Sequence[Span], overall: float) -> Figure:
    """Means with their intervals, a row each below the name of their group; ``overall`` is a dashed line."""
    labels: list[str] = []
    rows: list[tuple[int, Span]] = []
    for group, members in groupby(spans, lambda span: span.group):
        labels.append(group.upper())
        for span in members:
            rows.append((len(labels), span))
            labels.append(span.label)
    with _axes(height=0.7 + 0.2 * len(labels)) as (figure, (axes,)):
        axes.axvline(overall, color=GREY, ls="--")
        for row, span in rows:
            axes.plot(span.ci95, [row, row], color=span.colour)
            axes.plot(span.mean, row, "o", color=span.colour, ms=5, fillstyle="full" if span.filled else "none")
        axes.set_yticks(range(len(labels)), labels, fontsize=9)
        axes.set(xlabel="mean Dice", ylim=(len(labels) - 0.5, -0.5))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", alpha=0.25)
    return figure


def show_pictures(
    rows: Sequence[Sequence[tuple[str, NDArray[Any]]]], path: Path | None, fallback: Path, panel: float = PANEL
) -> Path | None:
    """Pictures beside each other, each with its title, as a PNG file or in a window.

    Args:
        rows: of the same length; pictures (H, W, 3) uint8 or (H, W), 0 to 1.
        path: write a PNG here; none: show a window or, without a screen, write ``fallback``.
        fallback: see ``path``.
        panel: inches of a picture.

    Returns:
        The file, if one was written.
    """
    import matplotlib.pyplot as plt

    size = (len(rows[0]) * panel, len(rows) * (panel + 0.25))
    figure = plt.figure(figsize=size, dpi=120, layout="constrained")
    try:
        all_axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
        for axes, (title, pixels) in zip(all_axes.ravel(), (each for row in rows for each in row), strict=True):
            axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(title, fontsize=9)
            axes.axis("off")
        if path is None and has_screen():
            plt.show()
            return None
        target = path or fallback
        with replacing(target) as partial:
            figure.savefig(partial, format="png")
        return target
    finally:
        plt.close(figure)


def has_screen() -> bool:
    """Whether pictures can be shown in a window."""
    import matplotlib.pyplot as plt

    return plt.get_backend().lower() != "agg"  # what matplotlib falls back to without a screen
