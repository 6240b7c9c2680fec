"""What an export must pass: the exported file, in every engine, against the model it was made from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from figureground.data import Dataset
from figureground.data.dataset import Truth, as_seen
from figureground.evaluation import batches
from figureground.metrics import counts, dice
from figureground.prediction import Member
from figureground.prediction.photos.views import seen_logits
from figureground.preprocessing import sigmoid

LIMITS = {"float32": 0.0005, "float16": 0.0005, "int8": 0.005}
"""By precision: how much the mean Dice may fall."""


@dataclass(frozen=True)
class EngineRow:
    """One engine on the exported file, beside the reference, over a split."""

    engine: str
    dice: float
    """Mean of the images at the size at which scores are taken."""
    dice_change: float
    """Against the reference; below 0: worse."""
    flipped: float
    """Share of the pixels that changed sides."""
    largest_difference: float
    """Of a pixel's probability."""
    milliseconds: float
    """Of the network and the normalisation before it, for each image, in batches."""


@dataclass
class _Tally:
    """Sums over a split."""

    dice: list[float] = field(default_factory=list)
    flipped: float = 0.0
    largest_difference: float = 0.0
    seconds: float = 0.0

    def add(self, logits: NDArray[np.float32], expected: NDArray[np.float32], truth: Truth, limit: float) -> None:
        """The maps (h, w) of an image: what the network says, what the reference says, and the truth."""
        self.dice.append(float(dice(*counts(logits > limit, *truth))))
        self.flipped += float(((logits > limit) != (expected > limit)).mean())
        difference = float(np.abs(sigmoid(logits) - sigmoid(expected)).max())
        self.largest_difference = max(self.largest_difference, difference)


def compare_engines(
    reference: Member, exported: Sequence[Member], dataset: Dataset, *, batch_size: int = 8, progress: bool = False
) -> list[EngineRow]:
    """Run a model and its exported file, in several engines, over a split.

    Returns:
        The reference first, then each of ``exported``.
    """
    members = [reference, *exported]
    tallies = [_Tally() for _ in members]
    point = reference.info.operating_point
    limit = np.log(point.threshold / (1 - point.threshold))
    preprocessing = reference.preprocessing
    with tqdm(total=len(dataset), desc="checking the export", unit="image", disable=not progress, leave=False) as bar:
        for samples in batches(dataset, batch_size):
            images = [preprocessing.scale_image(sample.image) for sample in samples]
            truths = [as_seen(preprocessing, sample).truth for sample in samples]
            expected: list[NDArray[np.float32]] | None = None
            for member, tally in zip(members, tallies, strict=True):
                start = time.perf_counter()
                maps = seen_logits(member, images, photos=len(images))
                tally.seconds += time.perf_counter() - start
                expected = maps if expected is None else expected
                for logits, reference_logits, truth in zip(maps, expected, truths, strict=True):
                    tally.add(logits, reference_logits, truth, float(limit))
            bar.update(len(samples))
    return _compared(members, tallies)


def _compared(members: Sequence[Member], tallies: Sequence[_Tally]) -> list[EngineRow]:
    means = [np.array(tally.dice) for tally in tallies]
    return [
        EngineRow(
            engine=member.engine.name,
            dice=float(values.mean()),
            dice_change=float(values.mean() - means[0].mean()),
            flipped=tally.flipped / len(values),
            largest_difference=tally.largest_difference,
            milliseconds=1000 * tally.seconds / len(values),
        )
        for member, tally, values in zip(members, tallies, means, strict=True)
    ]


def table(rows: Sequence[EngineRow], sizes: Sequence[int]) -> str:
    """The comparison for people; ``sizes`` are the files' bytes."""
    lines = [f"{'engine':<12}{'Dice':>8}{'change':>10}{'flipped':>10}{'max diff':>10}{'ms/image':>10}{'MB':>8}"]
    lines += [
        f"{row.engine:<12}{row.dice:>8.4f}{row.dice_change:>+10.5f}{row.flipped:>10.3%}{row.largest_difference:>10.4f}"
        f"{row.milliseconds:>10.1f}{size / 1e6:>8.1f}"
        for row, size in zip(rows, sizes, strict=True)
    ]
    return "\n".join(lines)


def worst_change(rows: Sequence[EngineRow]) -> float:
    """The largest fall of the mean Dice among the exported ones, 0 or below."""
    return min([row.dice_change for row in rows[1:]] + [0.0])


def to_json(rows: Sequence[EngineRow], sizes: Sequence[int], dataset: Dataset, precision: str) -> dict[str, Any]:
    """The comparison for the metadata of the exported file; ``sizes`` are the files' bytes, before their metadata."""
    return {
        "data": dataset.name,
        "split": dataset.split,
        "n": len(dataset),
        "foreground": dataset.foreground,
        "limit": LIMITS[precision],
        "engines": [{**vars(row), "bytes": size} for row, size in zip(rows, sizes, strict=True)],
    }
