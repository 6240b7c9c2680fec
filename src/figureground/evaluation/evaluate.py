"""The score of a model on a split, at the network's size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from figureground.data import Dataset, Sample
from figureground.evaluation.statistics import Mean, bootstrap_mean
from figureground.metrics import counts, dice, iou
from figureground.prediction import Segmenter


@dataclass(frozen=True)
class Evaluation:
    """Scores of a split. Prediction and truth both empty score 1."""

    data: str
    model: str
    split: str
    foreground: str
    """What the border of a trimap counted as."""
    threshold: float
    size: tuple[int, int]
    """Height and width at which prediction and truth are compared."""
    names: tuple[str, ...]
    counts: NDArray[np.int64]
    """(N, 3): true positive, false positive and false negative pixels of each image."""

    @property
    def dice_per_image(self) -> NDArray[np.float64]:
        """(N,)."""
        return dice(*self.counts.T)

    @property
    def dice(self) -> Mean:
        """The mean of the images' Dice."""
        return bootstrap_mean(self.dice_per_image)

    @property
    def iou(self) -> Mean:
        """The mean of the images' IoU."""
        return bootstrap_mean(iou(*self.counts.T))

    def to_json(self) -> dict[str, Any]:
        """The figures of ``evaluate --json``."""
        pooled = self.counts.sum(axis=0)
        mean_dice, mean_iou = self.dice, self.iou
        return {
            "data": self.data,
            "model": self.model,
            "split": self.split,
            "n": len(self.names),
            "foreground": self.foreground,
            "threshold": self.threshold,
            "size": list(self.size),
            "empty_mask_rule": "prediction and truth both empty score 1",
            "dice": {"mean": mean_dice.mean, "ci95": list(mean_dice.ci95)},
            "iou": {"mean": mean_iou.mean, "ci95": list(mean_iou.ci95)},
            "dataset_iou": float(iou(*pooled)),
            "dataset_dice": float(dice(*pooled)),
        }

    def summary(self) -> str:
        """Two lines for people."""
        mean_dice, mean_iou = self.dice, self.iou
        return (
            f"{self.split} Dice {_with_interval(mean_dice)}  IoU {_with_interval(mean_iou)}  n={len(self.names)}\n"
            f"mean of the images at {self.size[1]}×{self.size[0]}, threshold {self.threshold:g}, 95% bootstrap "
            f"interval, border counted as: {self.foreground}"
        )


def _with_interval(mean: Mean) -> str:
    return f"{mean.mean:.4f} [{mean.ci95[0]:.4f}, {mean.ci95[1]:.4f}]"


def evaluate(segmenter: Segmenter, dataset: Dataset, *, batch_size: int = 8, progress: bool = False) -> Evaluation:
    """Score a segmenter on every sample of a split.

    Raises:
        FiguregroundError: a sample that cannot be read.
    """
    rows = []
    bar = tqdm(total=len(dataset), desc=f"scoring {dataset.split}", unit="image", disable=not progress, leave=False)
    with bar:
        for samples in batches(dataset, batch_size):
            logits = segmenter.logits([sample.image for sample in samples])
            labels = np.stack([segmenter.preprocessing.resize_labels(sample.labels) for sample in samples])
            rows.append(np.stack(counts(logits > segmenter.logit_threshold, labels), axis=1))
            bar.update(len(samples))
    return Evaluation(
        data=dataset.name,
        model=segmenter.name,
        split=dataset.split,
        foreground=dataset.foreground,
        threshold=segmenter.threshold,
        size=segmenter.preprocessing.size,
        names=tuple(dataset.names),
        counts=np.concatenate(rows).astype(np.int64),
    )


def batches(dataset: Dataset, size: int) -> Iterator[Sequence[Sample]]:
    """The samples of a split in order, ``size`` at a time."""
    for start in range(0, len(dataset), size):
        yield [dataset[index] for index in range(start, min(start + size, len(dataset)))]
