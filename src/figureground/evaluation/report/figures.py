"""The plots of a report, from its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from figureground.drawing import (
    BLUE,
    GREY,
    ORANGE,
    Curve,
    Span,
    draw_curves,
    draw_histogram,
    draw_history,
    draw_spans,
)
from figureground.evaluation.scoring.evaluation import Evaluation
from figureground.evaluation.scoring.properties import PROPERTIES
from figureground.evaluation.scoring.slices import Slice
from figureground.metrics import THRESHOLDS, Reliability, dice

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_figures(
    evaluation: Evaluation, slices: Sequence[Slice], history: Sequence[Mapping[str, float]]
) -> Iterator[tuple[str, Figure]]:
    """Each plot that there are figures for, with its name."""
    mean, median = evaluation.dice.mean, float(np.median(evaluation.dice_per_image))
    lines = [(f"mean {mean:.4f}", mean, ORANGE), (f"median {median:.4f}", median, GREY)]
    yield "histogram", draw_histogram(evaluation.dice_per_image, lines)
    yield "threshold", _threshold(evaluation)
    yield "reliability", _reliability(Reliability(*evaluation.scores.parts.reliability))
    share, risk = zip(*evaluation.quality.curve, strict=True)
    by_chance = Curve("by chance", (0, 1), [evaluation.quality.aurc_random] * 2, GREY)
    ordered = Curve("in the order of the estimates", share, risk, BLUE, "o")
    yield "risk_coverage", draw_curves([ordered, by_chance], "share of the masks that is kept",
                                       "mean of 1 - Dice", legend="lower right", from_zero=True)  # fmt: skip
    if history:
        yield "losses", draw_history(history, "loss")
        yield "valid_dice", draw_history(history, "valid_dice")
    measured = [found for found in slices if found.attribute in PROPERTIES]
    named = [found for found in slices if found.attribute not in PROPERTIES]
    for name, shown in (("slices_properties", measured), ("slices_metadata", named)):
        if shown:
            yield name, draw_spans(list(map(_span, shown)), mean)


def title_of(attribute: str) -> str:
    """A property's for people; a column of the metadata has its name."""
    return PROPERTIES[attribute].title if attribute in PROPERTIES else attribute


def _threshold(evaluation: Evaluation) -> Figure:
    parts = evaluation.scores.parts
    curves = [
        Curve("mean of the images", THRESHOLDS, parts.sweep_dice / len(evaluation.names), BLUE, "o"),
        Curve("all pixels together", THRESHOLDS, dice(*parts.sweep), GREY),
    ]
    line = (f"in use: {evaluation.threshold:g}", evaluation.threshold)
    return draw_curves(curves, "threshold", "Dice", legend="lower left", line=line)


def _reliability(found: Reliability) -> Figure:
    """What share of the pixels is figure, for each bin of probability."""
    filled = found.pixels > 0
    pixels = found.pixels[filled]
    model = Curve("this model", found.probability[filled] / pixels, found.figure[filled] / pixels, BLUE, "o")
    curves = [Curve("calibrated", (0, 1), (0, 1), GREY), model]
    titles = "probability that is predicted", "share that is figure"
    return draw_curves(curves, *titles, legend="upper left", square=True)


def _span(found: Slice) -> Span:
    colour = ORANGE if found.difference.mean < 0 else BLUE
    label = f"{found.label} ({found.n:,})"
    return Span(title_of(found.attribute), label, found.mean.mean, found.mean.ci95, colour, found.differs)
