"""The scores of a model on a split, at the network's size and at the photos' own."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from figureground.data import Dataset, Sample
from figureground.evaluation.properties import PROPERTIES, properties_of
from figureground.evaluation.scores import (
    COLUMNS,
    DEFINITIONS,
    EMPTY_MASK_RULE,
    LEFT_OUT_RULE,
    METRICS,
    ImageScores,
    Metric,
    Scores,
    Tally,
    score_image,
)
from figureground.evaluation.statistics import FEW, FEW_IMAGES, INTERVAL_METHOD, Mean
from figureground.images import replacing
from figureground.prediction import Segmenter

PER_IMAGE = "per_image.csv"


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
    """The network's height and width, at which ``scores`` compares prediction and truth."""
    names: tuple[str, ...]
    scores: Scores
    native: Scores | None
    """The same at each photo's own size."""
    properties: NDArray[np.float64] | None = None
    """(N, len(PROPERTIES)) at the network's size, what each image is like; NaN where that does not exist."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """(N, 3): true positive, false positive and false negative pixels of each image."""
        return np.stack([self.scores.column(name) for name in ("tp", "fp", "fn")], axis=1).astype(np.int64)

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
            "interval": INTERVAL_METHOD,
            **DEFINITIONS,
            **self.scores.to_json(),
            "native": self.native.to_json() if self.native else None,
        }

    def summary(self) -> str:
        """For people: the headline, a table, and how to read it."""
        both, one = (self.scores.images_with_empty_masks(empty) for empty in (2, 1))
        lines = [
            f"{self.split} Dice {_shown(self.dice)}  IoU {_shown(self.iou)}  n={len(self.names)}",
            *self._table(),
            f"means of the images with intervals: {INTERVAL_METHOD}; pooled: all pixels together",
            f"threshold {self.threshold:g}, border counted as: {self.foreground}",
            f"{EMPTY_MASK_RULE} (both: {both}, one: {one})",
        ]
        if self.foreground == "ignore":
            lines.append(LEFT_OUT_RULE)
        if len(self.names) < FEW:
            lines.append(FEW_IMAGES)
        return "\n".join(lines)

    def _table(self) -> Iterator[str]:
        sizes = {f"at {self.size[1]}×{self.size[0]}": self.scores}
        if self.native:
            sizes["at the photos' own size"] = self.native
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

    Args:
        segmenter: the model.
        dataset: the split.
        batch_size: images that go through the network together.
        progress: show a bar.
        native: score at the photos' own size too. A photo that has the network's size is scored once.
        per_image: write the figures of every image here, as CSV.

    Raises:
        FiguregroundError: a sample that cannot be read, or ``per_image`` cannot be written.
    """
    tallies = [Tally(len(dataset)) for _ in range(2 if native else 1)]
    properties = np.empty((len(dataset), len(PROPERTIES)))
    rows = iter(properties)
    bar = tqdm(total=len(dataset), desc=f"scoring {dataset.split}", unit="image", disable=not progress, leave=False)
    with bar, _csv_writer(per_image, native) as write:
        for samples in batches(dataset, batch_size):
            for sample, logits in zip(samples, segmenter.logit_maps([s.image for s in samples]), strict=True):
                small = _at_network(segmenter, sample)
                images = _score(segmenter, logits, sample, small, native)
                for tally, image in zip(tallies, images, strict=True):
                    tally.add(image)
                row = next(rows)
                row[:] = list(properties_of(small.image, small.labels).values())
                write([sample.name, dataset.foreground, *row, *(cell for image in images for cell in image.row)])
            bar.update(len(samples))
    return Evaluation(
        data=dataset.name,
        model=segmenter.name,
        split=dataset.split,
        foreground=dataset.foreground,
        threshold=segmenter.threshold,
        size=segmenter.preprocessing.size,
        names=tuple(dataset.names),
        scores=tallies[0].scores(),
        native=tallies[1].scores() if native else None,
        properties=properties,
    )


def _at_network(segmenter: Segmenter, sample: Sample) -> Sample:
    """The sample at the network's size."""
    preprocessing = segmenter.preprocessing
    return Sample(sample.name, preprocessing.resize_image(sample.image), preprocessing.resize_labels(sample.labels))


def _score(
    segmenter: Segmenter, logits: NDArray[np.float32], sample: Sample, small: Sample, native: bool
) -> list[ImageScores]:
    """At the network's size, which ``small`` has, and, if wanted, at the photo's own."""
    prediction = segmenter.prediction(small.image, logits)
    at_network = score_image(prediction.mask, prediction.probability, small.labels)
    if not native:
        return [at_network]
    if small.image.shape == sample.image.shape:
        return [at_network, at_network]
    prediction = segmenter.prediction(sample.image, logits)
    return [at_network, score_image(prediction.mask, prediction.probability, sample.labels)]


@contextmanager
def _csv_writer(path: Path | None, native: bool) -> Iterator[Callable[[Sequence[object]], None]]:
    """What writes the cells of an image as a row of the table; nothing does where no file is wanted."""
    if path is None:
        yield lambda cells: None
        return
    columns = [*COLUMNS, *(f"native_{name}" for name in COLUMNS if native)]
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", "foreground", *PROPERTIES, *columns])
        yield lambda cells: writer.writerow(cell if isinstance(cell, str) else f"{cell:.10g}" for cell in cells)


def batches(dataset: Dataset, size: int) -> Iterator[Sequence[Sample]]:
    """The samples of a split in order, ``size`` at a time."""
    for start in range(0, len(dataset), size):
        yield [dataset[index] for index in range(start, min(start + size, len(dataset)))]
