"""The scores of a model on a split, at the size at which the network sees photos and at the photos' own."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from figureground.config import PostProcessingConfig, plain, require
from figureground.cores import usable_cores
from figureground.data import Dataset, Sample
from figureground.data.dataset import Truth, as_seen
from figureground.evaluation.scoring.estimates import QualityScores, score_quality
from figureground.evaluation.scoring.properties import PROPERTIES, properties_of
from figureground.evaluation.scoring.scores import (
    COLUMNS,
    DEFINITIONS,
    EMPTY_MASK_RULE,
    LEFT_OUT_RULE,
    METRICS,
    ImageScores,
    Metric,
    Scores,
    Tally,
    outline_of,
    score_image,
)
from figureground.evaluation.statistics import FEW_IMAGES, FEWEST_FOR_INTERVALS, INTERVAL_METHOD, Mean
from figureground.files import UNSPEAKABLE, replacing
from figureground.metrics import counts, dice
from figureground.prediction import Segmenter
from figureground.preprocessing import resized

HEADLINE_THRESHOLD = 0.5
LARGE = 2**23
"""Pixels of a photo above which one is compared at a time."""
T = TypeVar("T")


@dataclass(frozen=True)
class Fitted:
    """Scores as ``predict`` makes masks: with the temperature, the threshold and the clean-up of the bundle."""

    settings: dict[str, Any]
    """``threshold``, ``temperature`` and ``post_processing``."""
    scores: Scores
    """At the size of the headline."""

    def to_json(self) -> dict[str, Any]:
        """As part of ``evaluate --json``."""
        return self.settings | self.scores.to_json()


@dataclass(frozen=True)
class Evaluation:
    """Scores of a split."""

    data: str
    model: str
    split: str
    foreground: str
    """What the border of a trimap counted as."""
    threshold: float
    size: tuple[int, int]
    """The network's height and width."""
    names: tuple[str, ...]
    scores: Scores
    """At the size at which the network sees each photo, without padding; see ``scored_at``."""
    native: Scores | None
    """The same at each photo's own size."""
    fitted: Fitted | None
    """None where the bundle holds nothing but defaults."""
    quality: QualityScores
    """Of the estimates of each mask's Dice, as ``predict`` gives them: of the fitted masks, at the photos' own size if
    ``native`` is there."""
    properties: NDArray[np.float64]
    """(N, len(PROPERTIES)), what each image is like; NaN where that does not exist."""
    estimates: NDArray[np.float64]
    """(N, 2), the estimated Dice of each mask, and 1 where it needs a review."""
    scored_at: str
    """Where ``scores`` compares prediction and truth, in words (``Preprocessing.scored_at``)."""

    def by_size(self) -> dict[str, Scores]:
        """The scores by the size, in words; ``native`` is left out where the network saw the photos at their own."""
        found = {self.scored_at: self.scores}
        if self.native and not np.array_equal(self.scores.rows, self.native.rows, equal_nan=True):
            found["at the photos' own size"] = self.native
        return found

    @property
    def dice_per_image(self) -> NDArray[np.float64]:
        """(N,)."""
        return self.scores.column("dice")

    @property
    def dice(self) -> Mean:
        """The mean of the images' Dice."""
        return self.scores.means["dice"]

    @property
    def iou(self) -> Mean:
        """The mean of the images' IoU."""
        return self.scores.means["iou"]

    def worst(self) -> list[tuple[str, float]]:
        """The names of the three images with the lowest Dice, the lowest first, each with its Dice."""
        order = np.argsort(self.dice_per_image, kind="stable")[:3]
        return [(self.names[index], float(self.dice_per_image[index])) for index in order]

    def to_json(self) -> dict[str, Any]:
        """The figures of ``evaluate --json``."""
        return {
            "data": self.data,
            "model": self.model,
            "split": self.split,
            "n": len(self.names),
            "foreground": self.foreground,
            "threshold": self.threshold,
            "size": list(self.size),
            "scored_at": self.scored_at,
            "interval": INTERVAL_METHOD,
            **DEFINITIONS,
            **self.scores.to_json(),
            "native": self.native.to_json() if self.native else None,
            "fitted": self.fitted.to_json() if self.fitted else None,
            "quality": self.quality.to_json(),
        }

    def summary(self) -> str:
        """For people: the headline, a table, and how to read it."""
        both, one = (self.scores.images_with_empty_masks(empty) for empty in (2, 1))
        lines = [
            f"{self.split} Dice {_shown(self.dice)}  IoU {_shown(self.iou)}  n={len(self.names)}",
            *self._table(),
            f"worst: {', '.join(f'{name} {dice:.4f}' for name, dice in self.worst())}",
            f"means of the images with intervals: {INTERVAL_METHOD}; pooled: all pixels together",
            f"threshold {self.threshold:g}, border counted as: {self.foreground}",
            f"{EMPTY_MASK_RULE} (both: {both}, one: {one})",
            self.quality.summary(),
        ]
        if self.foreground == "ignore":
            lines.append(LEFT_OUT_RULE)
        if len(self.names) < FEWEST_FOR_INTERVALS:
            lines.append(FEW_IMAGES)
        return "\n".join(lines)

    def _table(self) -> Iterator[str]:
        sizes = self.by_size()
        if self.fitted:
            sizes[f"fitted, threshold {self.fitted.settings['threshold']:.3f}"] = self.fitted.scores
        yield " " * 22 + "".join(f"{title:28}{'pooled':>8}  " for title in sizes).rstrip()
        for name, metric in METRICS.items():
            cells = "".join(f"{_shown(s.means[name], metric):28}{_pooled(s, name):>8}  " for s in sizes.values())
            yield f"  {metric.title + ' ' + metric.unit:20}{cells}".rstrip()


def _shown(mean: Mean, metric: Metric = METRICS["dice"]) -> str:
    digits = 2 if metric.unit else 4
    return f"{mean.mean:.{digits}f} [{mean.ci95[0]:.{digits}f}, {mean.ci95[1]:.{digits}f}]"


def _pooled(scores: Scores, name: str) -> str:
    digits = 2 if METRICS[name].unit else 4
    return f"{scores.pooled[name]:.{digits}f}" if name in scores.pooled else "–"


def evaluate(
    segmenter: Segmenter,
    dataset: Dataset,
    *,
    batch_size: int = 8,
    progress: bool = False,
    native: bool = True,
    per_image: Path | None = None,
) -> Evaluation:
    """Score a segmenter on every sample of a split, a batch at a time; of an image only its figures are kept.

    The headline is the network as it was trained: threshold 0.5, no temperature, no clean-up. What was fitted is
    scored beside it, in the same pass.

    Args:
        segmenter: the model.
        dataset: the split.
        batch_size: images that go through the network together.
        progress: show a bar.
        native: score at the photos' own size too. A photo that the network sees at that size is scored once.
        per_image: write the figures of every image here, as CSV.

    Raises:
        FiguregroundError: no images, a sample that cannot be read, or ``per_image`` cannot be written.
    """
    require(batch_size >= 1, f"batch_size is {batch_size}; expected at least 1")
    require(len(dataset) > 0, f"{dataset.name}: the split {dataset.split!r} has no images to score")
    kinds = ["", *(["native_"] if native else []), *(["fitted_"] if _is_fitted(segmenter) else [])]
    tallies = {kind: Tally() for kind in kinds}
    properties, judged = np.empty((len(dataset), len(PROPERTIES))), np.empty((len(dataset), 3))

    def score(sample: Sample, logits: NDArray[np.float32]) -> _Found:
        return _score(segmenter, sample, logits, kinds)

    found = over_split(segmenter, dataset, score, batch_size=batch_size, progress=progress, what="scoring")
    for index, (by_kind, *others) in enumerate(found):
        properties[index], judged[index] = others
        for kind, image in by_kind.items():
            tallies[kind].add(image)
    scores = {kind: tally.scores() for kind, tally in tallies.items()}
    evaluation = _evaluation(segmenter, dataset, scores, judged, properties)
    if per_image:
        write_table(per_image, evaluation)
    return evaluation


def _is_fitted(segmenter: Segmenter) -> bool:
    """Whether ``predict`` does anything else than the headline."""
    defaults = (HEADLINE_THRESHOLD, 1.0, PostProcessingConfig())
    return (segmenter.threshold, segmenter.temperature, segmenter.post_processing) != defaults


def _evaluation(
    segmenter: Segmenter,
    dataset: Dataset,
    scores: Mapping[str, Scores],
    judged: NDArray[np.float64],
    properties: NDArray[np.float64],
) -> Evaluation:
    fitted = scores.get("fitted_")
    settings = {name: plain(getattr(segmenter, name)) for name in ("threshold", "temperature", "post_processing")}
    estimates, needs_review, true = judged.T
    return Evaluation(
        data=dataset.name,
        model=segmenter.name,
        split=dataset.split,
        foreground=dataset.foreground,
        threshold=HEADLINE_THRESHOLD,
        size=segmenter.preprocessing.size,
        scored_at=segmenter.preprocessing.scored_at,
        names=tuple(dataset.names),
        scores=scores[""],
        native=scores.get("native_"),
        fitted=Fitted(settings, fitted) if fitted else None,
        quality=score_quality(estimates, needs_review > 0, true),
        properties=properties,
        estimates=judged[:, :2],
    )


_Found = tuple[dict[str, ImageScores], list[float], tuple[float, bool, float]]
"""Of an image: its scores by kind, its properties, and of its mask the estimated Dice, whether it needs a review, and
the true Dice."""


def _score(segmenter: Segmenter, sample: Sample, logits: NDArray[np.float32], kinds: Sequence[str]) -> _Found:
    small = as_seen(segmenter.preprocessing, sample)
    same = small.image.shape == sample.image.shape
    prediction = segmenter.prediction(small.image, logits)
    mask, probability = _headline(segmenter, logits, small.image)
    outline = outline_of(mask, small.truth)
    scores = {"": score_image(mask, probability, small.truth, outline)}
    if "native_" in kinds:
        scores["native_"] = (
            scores[""] if same else score_image(*_headline(segmenter, logits, sample.image), sample.truth)
        )
    if "fitted_" in kinds:
        known = outline if np.array_equal(prediction.mask, mask) else None
        scores["fitted_"] = score_image(prediction.mask, prediction.probability, small.truth, known)
    judged, truth = prediction, small.truth
    if "native_" in kinds and not same:
        judged, truth = segmenter.prediction(sample.image, logits), sample.truth
    true = float(dice(*counts(judged.mask, *truth)))
    properties = list(properties_of(small.image, *small.truth).values())
    return scores, properties, (judged.estimated_dice, judged.needs_review, true)


def headline_probability(
    segmenter: Segmenter, logits: NDArray[np.float32], height: int, width: int
) -> NDArray[np.float32]:
    """Probabilities (height, width) of the network as it was trained: the temperature is taken back."""
    return segmenter.preprocessing.restore(logits * np.float32(segmenter.temperature), height, width)


def _headline(
    segmenter: Segmenter, logits: NDArray[np.float32], image: NDArray[np.uint8]
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Mask and probabilities."""
    probability = headline_probability(segmenter, logits, *image.shape[:2])
    return probability > HEADLINE_THRESHOLD, probability


def write_table(path: Path, evaluation: Evaluation) -> None:
    """Write the figures of every image as CSV.

    Raises:
        FiguregroundError: the folder cannot be written to.
    """
    fitted = evaluation.fitted.scores if evaluation.fitted else None
    by_kind = {"": evaluation.scores, "native_": evaluation.native, "fitted_": fitted}
    given = {kind: scores for kind, scores in by_kind.items() if scores is not None}
    columns = [*PROPERTIES, *(kind + name for kind in given for name in COLUMNS), "estimated_dice", "needs_review"]
    table = np.hstack([evaluation.properties, *(scores.rows for scores in given.values()), evaluation.estimates])
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8", errors=UNSPEAKABLE) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", "foreground", *columns])
        for name, row in zip(evaluation.names, table, strict=True):
            writer.writerow([name, evaluation.foreground, *(f"{cell:.10g}" for cell in row)])


def batches(dataset: Dataset, size: int) -> Iterator[Sequence[Sample]]:
    """The samples of a split in order, ``size`` at a time."""
    for start in range(0, len(dataset), size):
        yield [dataset[index] for index in range(start, min(start + size, len(dataset)))]


def over_split(
    segmenter: Segmenter,
    dataset: Dataset,
    each: Callable[[Sample, NDArray[np.float32]], T],
    *,
    batch_size: int = 8,
    progress: bool = False,
    what: str = "fitting on",
) -> Iterator[T]:
    """What ``each`` makes of every sample of a split and its map of logits (h, w), in order.

    Samples are read, and ``each`` is called, on all cores, in turn with the network, which has them to itself: side by
    side they would be in each other's way.
    """
    bar = tqdm(total=len(dataset), desc=f"{what} {dataset.split}", unit="image", disable=not progress, leave=False)
    with bar, ThreadPoolExecutor(usable_cores()) as pool:
        for start in range(0, len(dataset), batch_size):
            numbers = range(start, min(start + batch_size, len(dataset)))
            samples = list(pool.map(dataset.__getitem__, numbers))
            maps = segmenter.logit_maps([sample.image for sample in samples])
            large = any(sample.image.size > 3 * LARGE for sample in samples)  # of which several would take much memory
            yield from map(each, samples, maps) if large else pool.map(each, samples, maps)
            del samples, maps  # before the next are read
            bar.update(len(numbers))


def at_network_size(
    segmenter: Segmenter, sample: Sample, logits: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32], Truth]:
    """Image (h, w, 3), logits (h, w) and truth (h, w)."""
    small = as_seen(segmenter.preprocessing, sample)
    return small.image, resized(logits, *small.image.shape[:2]), small.truth
