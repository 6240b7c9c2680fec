"""Masks that a model contradicts: among the lowest scores of a split, and where the model is sure of itself.

The idea of confident learning (Northcutt, Jiang, Chuang, "Confident Learning", JAIR 2021): a wrong label shows where a
model that has not seen it is sure of another. With several models, one a fold, each image is judged by the one that
agrees least with its mask, which is most likely the one that was not trained on it. A single model has seen what it
was trained on, so its word counts on the other splits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from figureground.data.dataset import SPLITS, Split
from figureground.data.doctor.checks import UNDIVIDED, Examined
from figureground.data.doctor.findings import Case
from figureground.data.doctor.inspection import ImageFacts, figure_of
from figureground.data.doctor.survey import Item
from figureground.images import read_image
from figureground.metrics import counts, dice

Predictor = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From an image (H, W, 3) to the probability (H, W) of figure."""
FAR_OUT = 3.0  # interquartile ranges below the first quartile (Tukey, "Exploratory Data Analysis", 1977, section 2E)
SURE = 0.8
SURE_SHARE = 0.5  # of the pixels that are judged differently


@dataclass(frozen=True)
class Verdict:
    """What the models say of one mask."""

    case: Case
    split: Split | None
    dice: float
    sure: float
    """Of the pixels on which mask and model differ, the share where the model's probability is beyond 0.8."""


def check_agreement(
    examined: Examined, predictors: Sequence[Predictor], progress: bool = False
) -> Iterator[tuple[str, Case]]:
    """Masks with a Dice far below the others of their split, from a model that is sure; the worst first."""
    pairs = [
        (record.item, image)
        for record, image, mask in examined.readable()
        if image.size == mask.size and mask.shape is not None and 0 < mask.shape.share < 1
    ]
    bar = tqdm(pairs, desc="predicting", unit="image", leave=False, disable=not progress)
    verdicts = [_judge(item, image, examined, predictors) for item, image in bar]
    for verdict in sorted(outliers(verdicts), key=lambda verdict: verdict.dice):
        yield "disagreement", verdict.case


def outliers(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those whose Dice is below Q1 - 3 (Q3 - Q1) of their split's, where the model is sure of most that differs."""
    found: list[Verdict] = []
    for split in (*SPLITS, None):
        own = [verdict for verdict in verdicts if verdict.split == split]
        if own:
            first, third = np.percentile([verdict.dice for verdict in own], [25, 75])
            fence = first - FAR_OUT * (third - first)
            found += [verdict for verdict in own if verdict.dice < fence and verdict.sure >= SURE_SHARE]
    return found


def _judge(item: Item, image: ImageFacts, examined: Examined, predictors: Sequence[Predictor]) -> Verdict:
    pixels, figure = read_image(item.picture or image.path), figure_of(item, examined.reading)
    assert figure is not None
    score, sure = min(_compare(predict(pixels), figure) for predict in predictors)
    detail = f"{item.split or UNDIVIDED}, Dice {score:.3f}, the model is sure of {sure:.0%} of what differs"
    files = tuple(path for path in (item.image, item.mask) if path)
    return Verdict(Case(files, detail), item.split, score, sure)


def _compare(probability: NDArray[np.float32], figure: NDArray[np.bool_]) -> tuple[float, float]:
    """Dice of a prediction, and the share of what differs of which the model is sure."""
    prediction = probability > 0.5
    score = float(dice(*counts(prediction, figure)))
    differs = prediction != figure
    sure = np.maximum(probability, 1 - probability)[differs] > SURE
    return score, float(sure.mean()) if differs.any() else 0.0
