"""Fits to the split ``valid`` all that turns a trained network's logits into masks and into a judgement of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from figureground.bundle import BundleInfo
from figureground.config import OperatingPoint, PostProcessingConfig, QualityConfig, plain, require
from figureground.data import Dataset
from figureground.data.dataset import Truth
from figureground.evaluation.fitting.cleanup import choose_post_processing
from figureground.evaluation.fitting.operating_point import (
    Row,
    Temperature,
    choose_threshold,
    collect,
    fit_temperature,
    gain,
    parse_target,
    sweep,
)
from figureground.evaluation.fitting.quality import QualityFit, fit_quality
from figureground.evaluation.scoring.evaluation import at_network_size
from figureground.evaluation.statistics import Mean
from figureground.metrics import counts, dice
from figureground.prediction import Member, Prediction, Segmenter
from figureground.prediction.photos.quality import FEATURES, features

FEWEST_TO_FIT = 20
"""Images below which a fit follows chance more than the model."""


@dataclass(frozen=True)
class Fit:
    """What was fitted, and how it was chosen."""

    info: BundleInfo
    """The model's, with what was fitted."""
    data: str
    n: int
    target: str
    temperature: Temperature
    chosen: Row
    gain: Mean
    """Of Dice over 0.5, by the threshold that meets the target best; ``chosen`` is 0.5 where that may be by chance."""
    rows: Sequence[Row]
    quality: QualityFit | None
    """None where too few images have a mask."""

    def to_json(self) -> dict[str, Any]:
        """The figures of ``calibrate --json``."""
        return {
            "data": self.data,
            "split": self.info.operating_point.fitted_on,
            "n": self.n,
            "target": self.target,
            **self.temperature._asdict(),
            "chosen": self.chosen._asdict(),
            "gain": plain(self.gain),
            "post_processing": plain(self.info.post_processing),
            "quality": {
                "estimator": self.quality.estimator if self.quality else None,
                "errors": self.quality.errors if self.quality else {},
                **plain(self.info.quality),
            },
            "thresholds": [row._asdict() for row in self.rows],
        }

    def summary(self) -> str:
        """For people."""
        shown = [row for row in self.rows if row.boundary_f1 is not None or row == self.chosen]
        lines = [f"{'threshold':>9}{'Dice':>9}{'IoU':>9}{'precision':>11}{'recall':>9}{'boundary F1':>13}"]
        lines += [_line(row) + ("  <- chosen" if row == self.chosen else "") for row in shown]
        temperature, before, after = self.temperature
        lines.append(f"valid, n={self.n}; target: {self.target}; Dice gained over a threshold of 0.5: {self.gain}")
        lines.append(f"temperature {temperature:.3f}: negative log-likelihood {before:.4f} -> {after:.4f}")
        lines.append(f"clean-up: {plain(self.info.post_processing)}")
        if self.quality:
            errors = ", ".join(f"{name} {error:.4f}" for name, error in self.quality.errors.items())
            review = f"for review below {self.info.quality.review_below:.3f}"
            lines.append(f"estimated Dice: off by {errors} (cross-validated); {self.quality.estimator}, {review}")
        return "\n".join(lines)


def _line(row: Row) -> str:
    boundary = f"{row.boundary_f1:>13.4f}" if row.boundary_f1 is not None else f"{'':>13}"
    return f"{row.threshold:>9.4f}{row.dice:>9.4f}{row.iou:>9.4f}{row.precision:>11.4f}{row.recall:>9.4f}{boundary}"


def fit_on_valid(
    member: Member, dataset: Dataset, *, target: str = "dice", post_processing: bool = False, progress: bool = False
) -> Fit:
    """Temperature, threshold, clean-up if wanted, and the estimate of the Dice, each with the earlier ones in place.

    With the target ``dice`` the threshold leaves 0.5 only for a gain whose 95% interval is above 0.

    Everything is fitted anew, to the network's own logits: what its bundle holds already has no part in it. The
    network runs over the split twice, and once more for the clean-up.

    Args:
        member: the model.
        dataset: its split ``valid``.
        target: of the threshold, see ``choose_threshold``.
        post_processing: choose a clean-up; otherwise there is none.
        progress: show bars.

    Raises:
        FiguregroundError: another split, fewer than ``FEWEST_TO_FIT`` images, or a target that cannot be reached.
    """
    parse_target(target)  # before the network runs
    split, n = dataset.split, len(dataset)
    require(split == "valid", f"a model is fitted on valid, not on {split!r}: figures of {split} would be too good")
    require(
        n >= FEWEST_TO_FIT,
        f"valid has {n} images; expected at least {FEWEST_TO_FIT} to fit a threshold and a temperature",
    )
    info = replace(
        member.info, operating_point=OperatingPoint(), post_processing=PostProcessingConfig(), quality=QualityConfig()
    )
    found = collect(_segmenter(member, info), dataset, progress=progress)
    temperature = fit_temperature(found)
    rows = sweep(found, temperature.temperature)
    chosen = choose_threshold(rows, target)
    gained = gain(found, chosen, temperature.temperature)
    if target == "dice" and gained.ci95[0] <= 0:  # chance would choose another threshold on other images
        chosen = next(row for row in rows if row.threshold == 0.5)
    info = replace(info, operating_point=OperatingPoint(chosen.threshold, temperature.temperature, split))
    if post_processing:
        pairs = ((p.mask, truth) for p, truth in _predictions(_segmenter(member, info), dataset, progress))
        info = replace(info, post_processing=choose_post_processing(pairs))
    quality = _fit_quality(_segmenter(member, info), dataset, progress)
    if quality:
        info = replace(info, quality=quality.config)
    return Fit(info, dataset.name, n, target, temperature, chosen, gained, rows, quality)


def _segmenter(member: Member, info: BundleInfo) -> Segmenter:
    return Segmenter(replace(member, info=info))


def _predictions(segmenter: Segmenter, dataset: Dataset, progress: bool) -> Iterator[tuple[Prediction, Truth]]:
    for image, logits, truth in at_network_size(segmenter, dataset, progress=progress):
        yield segmenter.prediction(image, logits), truth


def _fit_quality(segmenter: Segmenter, dataset: Dataset, progress: bool) -> QualityFit | None:
    """From the predictions that have a mask: an empty one has no estimate, but always needs a review."""
    measured, true = [], []
    for prediction, truth in _predictions(segmenter, dataset, progress):
        if prediction.mask.any():
            by_name = features(prediction.mask, prediction.probability)
            measured.append([by_name[name] for name in FEATURES])
            true.append(float(dice(*counts(prediction.mask, *truth))))
    if len(true) < FEWEST_TO_FIT:
        return None
    return fit_quality(np.array(measured), np.array(true), dataset.split)
