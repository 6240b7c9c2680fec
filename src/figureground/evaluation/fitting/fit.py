"""Fits to the split ``valid`` all that turns a trained network's logits into masks and into a judgement of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from figureground.bundle import BundleInfo
from figureground.config import OperatingPoint, PostProcessingConfig, QualityConfig, plain, require
from figureground.data import Dataset, Sample
from figureground.data.dataset import Truth
from figureground.evaluation.fitting.cleanup import CleanUp, choose_post_processing
from figureground.evaluation.fitting.operating_point import (
    CLEAR,
    Histograms,
    Row,
    Temperature,
    choose_by_pixels,
    choose_threshold,
    collect,
    fit_temperature,
    gain,
    gain_of_choosing,
    no_temperature,
    parse_target,
    sweep,
)
from figureground.evaluation.fitting.quality import QualityFit, fit_quality
from figureground.evaluation.scoring.evaluation import at_network_size, over_split
from figureground.evaluation.statistics import Mean
from figureground.metrics import counts, dice
from figureground.prediction import Member, Segmenter
from figureground.prediction.photos.quality import FEATURES, features

FEWEST_TO_FIT = 20
"""Images below which a fit follows chance more than the model; a threshold can still be chosen by their pixels."""
FEWEST_TO_CHOOSE = 3
"""Images below which nothing is fitted at all."""


class Choice(NamedTuple):
    """A threshold, and why it is this one."""

    row: Row
    gain: Mean | None
    """In Dice over 0.5; of the target ``dice`` measured on images that had no part in choosing. None for few images."""
    why: str


@dataclass(frozen=True)
class Fit:
    """What was fitted, and how it was chosen."""

    info: BundleInfo
    """The model's, with what was fitted."""
    data: str
    n: int
    target: str
    temperature: Temperature
    chosen: Choice
    clean_up: CleanUp | None
    """None where none was wanted, or there are too few images."""
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
            "chosen": self.chosen.row._asdict(),
            "why": self.chosen.why,
            "gain": plain(self.chosen.gain) if self.chosen.gain else None,
            "post_processing": plain(self.info.post_processing),
            "post_processing_gain": plain(self.clean_up.gain) if self.clean_up else None,
            "quality": {
                "estimator": self.quality.estimator if self.quality else None,
                "errors": self.quality.errors if self.quality else {},
                **plain(self.info.quality),
            },
            "thresholds": [row._asdict() for row in self.rows],
        }

    def summary(self) -> str:
        """For people."""
        shown = [row for row in self.rows if row.boundary_f1 is not None or row == self.chosen.row]
        lines = [f"{'threshold':>9}{'Dice':>9}{'IoU':>9}{'precision':>11}{'recall':>9}{'boundary F1':>13}"]
        lines += [_line(row) + ("  <- chosen" if row == self.chosen.row else "") for row in shown]
        temperature, before, after = self.temperature
        lines.append(f"valid, n={self.n}; target: {self.target}; {self.chosen.why}")
        lines.append(f"temperature {temperature:.3f}: negative log-likelihood {before:.4f} -> {after:.4f}")
        gained = f", {self.clean_up.gain} gained by choosing" if self.clean_up else ""
        lines.append(f"clean-up: {plain(self.info.post_processing)}{gained}")
        if self.quality:
            errors = ", ".join(f"{name} {error:.4f}" for name, error in self.quality.errors.items())
            review = f"for review below {self.info.quality.review_below:.3f}"
            lines.append(f"estimated Dice: off by {errors} (cross-validated); {self.quality.estimator}, {review}")
        return "\n".join(lines)


def _line(row: Row) -> str:
    boundary = f"{row.boundary_f1:>13.4f}" if row.boundary_f1 is not None else f"{'':>13}"
    return f"{row.threshold:>9.4f}{row.dice:>9.4f}{row.iou:>9.4f}{row.precision:>11.4f}{row.recall:>9.4f}{boundary}"


def fit_on_valid(
    member: Member,
    dataset: Dataset,
    *,
    target: str = "dice",
    post_processing: bool = False,
    boundaries: bool = False,
    progress: bool = False,
) -> Fit:
    """Temperature, threshold, clean-up if wanted, and the estimate of the Dice, each with the earlier ones in place.

    Threshold (of the target ``dice``) and clean-up are only chosen for a gain whose 95% interval is above 0, measured
    on images that had no part in choosing. Of fewer than ``FEWEST_TO_FIT`` images only a threshold is chosen, by their
    pixels.

    Everything is fitted anew, to the network's own logits: what its bundle holds already has no part in it. The
    network runs over the split twice, and once more for the clean-up.

    Args:
        member: the model.
        dataset: its split ``valid``.
        target: of the threshold, see ``choose_threshold``.
        post_processing: choose a clean-up; otherwise there is none.
        boundaries: say what thresholds do to boundaries, which takes longer than the rest.
        progress: show bars.

    Raises:
        FiguregroundError: another split, fewer than ``FEWEST_TO_CHOOSE`` images, for other targets than ``dice`` fewer
            than ``FEWEST_TO_FIT``, or a target that cannot be reached.
    """
    parse_target(target)  # before the network runs
    split, n = dataset.split, len(dataset)
    require(split == "valid", f"a model is fitted on valid, not on {split!r}: figures of {split} would be too good")
    fewest = FEWEST_TO_CHOOSE if target == "dice" else FEWEST_TO_FIT
    require(n >= fewest, f"valid has {n} images; expected at least {fewest} to fit a threshold (target {target})")
    info = replace(
        member.info, operating_point=OperatingPoint(), post_processing=PostProcessingConfig(), quality=QualityConfig()
    )
    found = collect(_segmenter(member, info), dataset, boundaries=boundaries, progress=progress)
    temperature = fit_temperature(found) if n >= FEWEST_TO_FIT else no_temperature(found)
    rows = sweep(found, temperature.temperature)
    chosen = _choose(found, rows, temperature.temperature, target)
    point = OperatingPoint(chosen.row.threshold, temperature.temperature, split)
    info, clean_up, quality = replace(info, operating_point=point), None, None
    if n >= FEWEST_TO_FIT:
        if post_processing:
            clean_up = choose_post_processing(_masks(_segmenter(member, info), dataset, progress))
            info = replace(info, post_processing=clean_up.settings)
        quality = _fit_quality(_segmenter(member, info), dataset, progress)
        info = replace(info, quality=quality.config if quality else QualityConfig())
    return Fit(info, dataset.name, n, target, temperature, chosen, clean_up, rows, quality)


def _choose(found: Histograms, rows: Sequence[Row], temperature: float, target: str) -> Choice:
    """The threshold of a target."""
    n, half = len(found.pixels), next(row for row in rows if row.threshold == 0.5)
    if n < FEWEST_TO_FIT:
        row, pooled = choose_by_pixels(found, rows)
        what = f"gains {pooled:.4f} over 0.5" if row != half else f"gains {CLEAR} over 0.5, which stays"
        which = f"a threshold of {row.threshold:.2f}" if row != half else "no threshold from 0.2 to 0.8"
        return Choice(row, None, f"fewer than {FEWEST_TO_FIT} images: by all pixels together {which} {what}")
    row = choose_threshold(rows, target)
    if target != "dice":
        gained = gain(found, row, temperature)
        return Choice(row, gained, f"Dice gained over a threshold of 0.5: {gained}")
    gained = gain_of_choosing(found, rows, temperature)
    why = f"Dice gained over a threshold of 0.5, chosen on one half of the images and measured on the other: {gained}"
    if gained.ci95[0] > 0:
        return Choice(row, gained, why)
    return Choice(half, gained, f"{why}, which may be chance: 0.5 stays")


def _segmenter(member: Member, info: BundleInfo) -> Segmenter:
    return Segmenter(replace(member, info=info))


def _masks(segmenter: Segmenter, dataset: Dataset, progress: bool) -> Iterator[tuple[NDArray[np.bool_], Truth]]:
    """As predicted and as they are, at the network's size."""

    def masks(sample: Sample, logits: NDArray[np.float32]) -> tuple[NDArray[np.bool_], Truth]:
        image, logits, truth = at_network_size(segmenter, sample, logits)
        return segmenter.prediction(image, logits).mask, truth

    return over_split(segmenter, dataset, masks, progress=progress)


def _fit_quality(segmenter: Segmenter, dataset: Dataset, progress: bool) -> QualityFit | None:
    """From the predictions that have a mask, at the photos' own size, where estimates are made.

    An empty mask has no estimate, but always needs a review.
    """

    def measure(sample: Sample, logits: NDArray[np.float32]) -> tuple[list[float], float] | None:
        prediction = segmenter.prediction(sample.image, logits)
        if not prediction.mask.any():
            return None
        by_name = features(prediction.mask, prediction.probability)
        return [by_name[name] for name in FEATURES], float(dice(*counts(prediction.mask, *sample.truth)))

    found = [each for each in over_split(segmenter, dataset, measure, progress=progress) if each is not None]
    if len(found) < FEWEST_TO_FIT:
        return None
    measured, true = map(np.array, zip(*found, strict=True))
    return fit_quality(measured, true, dataset.split)
