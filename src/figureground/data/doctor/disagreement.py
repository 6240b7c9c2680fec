"""Masks that a model contradicts: among the lowest scores of a split, and where the model is sure of itself.

The idea of confident learning (Northcutt, Jiang, Chuang, "Confident Learning", JAIR 2021): a wrong label shows where a
model that has not seen it is sure of another. Of the folds of a cross-validation it is known which network that is.
Of other models each image is judged by the one that agrees least with its mask. A single model has seen what it was
trained on, so its word counts on the other splits.

All masks are ranked by the Dice over the pixels of which the network is sure: outlines, and what is hard to see, then
count little, and a mask that is shifted by a few pixels comes before one of a photo that is difficult.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from figureground.data.dataset import SPLITS, Split
from figureground.data.doctor.checks import UNDIVIDED, Examined
from figureground.data.doctor.findings import Case
from figureground.data.doctor.inspection import ImageFacts, truth_of
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
    sure_dice: float = 1.0
    """Of the pixels of which the model is so sure, in mask or not."""


def judge_masks(
    examined: Examined, predictors: Sequence[Predictor], held_out: Mapping[str, int], progress: bool = False
) -> list[Verdict]:
    """What models say of all masks that have a figure, those first that they contradict most.

    Args:
        examined: the dataset.
        predictors: the models.
        held_out: by the name of an image the place of the only one among them that has not seen it.
        progress: show a bar.
    """
    pairs = [
        (record.item, image)
        for record, image, mask in examined.readable()
        if image.size == mask.size and mask.shape is not None and 0 < mask.shape.share < 1
    ]
    bar = tqdm(pairs, desc="predicting", unit="image", leave=False, disable=not progress)
    verdicts = []
    for item, image in bar:
        place = held_out.get(item.name)
        verdicts.append(_judge(item, image, examined, predictors if place is None else predictors[place : place + 1]))
    return sorted(verdicts, key=lambda verdict: (verdict.sure_dice, verdict.dice))


def check_agreement(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, Case]]:
    """Masks with a Dice far below the others of their split, from a model that is sure; the worst first."""
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
    pixels, (figure, kept) = read_image(item.picture or image.path), truth_of(item, examined.reading)
    assert figure is not None
    score, sure, sure_dice = min(_compare(predict(pixels), figure, kept) for predict in predictors)
    detail = f"{item.split or UNDIVIDED}, Dice {score:.3f}, the model is sure of {sure:.0%} of what differs"
    files = tuple(path for path in (item.image, item.mask) if path)
    return Verdict(Case(files, detail), item.split, score, sure, sure_dice)


def _compare(
    probability: NDArray[np.float32], figure: NDArray[np.bool_], kept: NDArray[np.bool_] | None
) -> tuple[float, float, float]:
    """Dice of a prediction, the share of what differs of which the model is sure, and the Dice where it is sure."""
    prediction = probability > 0.5
    sure = np.maximum(probability, 1 - probability) > SURE
    differs = (prediction != figure) & (True if kept is None else kept)
    score = float(dice(*counts(prediction, figure, kept)))
    sure_dice = float(dice(*counts(prediction, figure, sure & (True if kept is None else kept))))
    return score, float(sure[differs].mean()) if differs.any() else 0.0, sure_dice
