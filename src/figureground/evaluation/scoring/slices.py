"""On which images a model is worse: scores of groups that have something in common."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from figureground.data.dataset import Dataset, list_briefly
from figureground.errors import FiguregroundError
from figureground.evaluation.scoring.evaluation import Evaluation
from figureground.evaluation.scoring.properties import PROPERTIES
from figureground.evaluation.statistics import Mean, group_differences, holm, paired_difference, spearman
from figureground.files import read_text

Metadata = Mapping[str, Sequence[str]]
"""By column, a value for each image; empty where there is none."""
SMALLEST_GROUP = 10
"""A group of fewer images is left out: its interval would mean nothing."""
SIGNIFICANT = 0.05
SLICE_METHOD = (
    "intervals: 95% percentile bootstrap over all images; p: permutation of the images, two-sided, Holm-corrected over "
    "all slices"
)
NAME = "name"


@dataclass(frozen=True)
class Group:
    """Images that have something in common."""

    attribute: str
    """A property or a column of the metadata."""
    label: str
    members: NDArray[np.bool_]
    """(N,)."""


@dataclass(frozen=True)
class Slice:
    """How well the images of a group are done."""

    attribute: str
    label: str
    n: int
    mean: Mean
    difference: Mean
    """To the mean of all other images."""
    p: float
    """Holm-corrected over all slices."""

    @property
    def differs(self) -> bool:
        """Whether the data can tell."""
        return self.p < SIGNIFICANT

    def to_json(self) -> dict[str, Any]:
        """For ``evaluate --json``."""
        return {
            "attribute": self.attribute,
            "label": self.label,
            "n": self.n,
            "mean": self.mean.mean,
            "ci95": list(self.mean.ci95),
            "difference": self.difference.mean,
            "difference_ci95": list(self.difference.ci95),
            "p_corrected": self.p,
        }


@dataclass(frozen=True)
class Change:
    """How much two models differ on the images of a group."""

    attribute: str
    label: str
    n: int
    difference: Mean
    """The first's figure minus the second's."""
    p: float
    """Of the paired permutation test, Holm-corrected over all slices."""

    def to_json(self) -> dict[str, Any]:
        """For ``compare --json``."""
        return {
            "attribute": self.attribute,
            "label": self.label,
            "n": self.n,
            "difference": self.difference.mean,
            "ci95": list(self.difference.ci95),
            "p_corrected": self.p,
        }


@dataclass(frozen=True)
class Correlation:
    """Spearman's between a property and a figure."""

    attribute: str
    n: int
    rho: float
    ci95: tuple[float, float]


def slices_of(evaluation: Evaluation, metadata: Metadata | None = None) -> list[Slice]:
    """Every group of images against all others, at the network's size; none where there are too few images."""
    groups = groups_of(evaluation, metadata)
    if not groups:
        return []
    members = np.stack([group.members for group in groups], axis=1)
    found = group_differences(evaluation.dice_per_image, members)
    corrected = holm([result.p for result in found])
    return [
        Slice(group.attribute, group.label, int(group.members.sum()), result.mean, result.difference, p)
        for group, result, p in zip(groups, found, corrected, strict=True)
    ]


def changed_slices(
    a: NDArray[np.float64], b: NDArray[np.float64], groups: Sequence[Group], *, lower_is_better: bool = False
) -> list[Change]:
    """The figures (N,) of model A against those of model B on every group of images."""
    results = [paired_difference(a[g.members], b[g.members], lower_is_better=lower_is_better) for g in groups]
    corrected = holm([result.p for result in results])
    return [
        Change(group.attribute, group.label, int(group.members.sum()), result.difference, p)
        for group, result, p in zip(groups, results, corrected, strict=True)
    ]


def groups_of(evaluation: Evaluation, metadata: Metadata | None = None) -> list[Group]:
    """Thirds of every property and of numeric columns, and one group a value of the other columns."""
    found: list[Group] = []
    for (name, words), values in zip(PROPERTIES.items(), evaluation.properties.T, strict=True):
        found += _thirds(name, values, (words.low, "medium", words.high))
    for column, texts in (metadata or {}).items():
        numbers = _numbers(texts)
        found += _categories(column, texts) if numbers is None else _thirds(column, numbers, ("low", "medium", "high"))
    return [group for group in found if SMALLEST_GROUP <= group.members.sum() < len(evaluation.names)]


def _thirds(attribute: str, values: NDArray[np.float64], words: tuple[str, str, str]) -> list[Group]:
    """Low, middle and high; equal values stay together, so that the groups may differ in size."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return []
    low, high = np.quantile(known, (1 / 3, 2 / 3))
    limits = (f"up to {low:.3g}", f"{low:.3g} to {high:.3g}", f"above {high:.3g}")
    masks = (values <= low, (values > low) & (values <= high), values > high)
    return [
        Group(attribute, f"{word}: {limit}", members) for word, limit, members in zip(words, limits, masks, strict=True)
    ]


def _categories(column: str, texts: Sequence[str]) -> list[Group]:
    given = np.array(texts)
    return [Group(column, value, given == value) for value in sorted(set(texts)) if value]


def _numbers(texts: Sequence[str]) -> NDArray[np.float64] | None:
    """A column of numbers, NaN where a cell is empty; none where there are words, or too few numbers for thirds."""
    try:
        numbers = np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return None
    return numbers if len(np.unique(numbers[np.isfinite(numbers)])) > SMALLEST_GROUP else None


def correlations_of(evaluation: Evaluation) -> list[Correlation]:
    """Spearman's rank correlation of every property and the Dice, with its interval."""
    figures = evaluation.dice_per_image
    found = []
    for name, values in zip(PROPERTIES, evaluation.properties.T, strict=True):
        known = np.isfinite(values)
        n = int(known.sum())
        if n < SMALLEST_GROUP or np.ptp(values[known]) == 0 or np.ptp(figures[known]) == 0:
            continue
        rho = spearman(values[known], figures[known])
        found.append(Correlation(name, n, rho.mean, rho.ci95))
    return found


def read_metadata(path: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """The columns of a CSV file, in the order of ``names``.

    Args:
        path: a table with a header; its column ``name`` says which image a row is for.
        names: of the images.

    Raises:
        FiguregroundError: no such file, no such column, or images without a row.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path), newline="")))
    except csv.Error as error:
        raise FiguregroundError(f"{path} cannot be read ({error}); expected a CSV file") from None
    columns = list(rows[0]) if rows else []
    if NAME not in columns:
        raise FiguregroundError(
            f"{path} has no column {NAME!r}; found: {', '.join(map(str, columns)) or 'nothing'}. "
            "It says which image a row is for"
        )
    by_name = {row[NAME]: row for row in rows}
    missing = [name for name in names if name not in by_name]
    if missing:
        raise FiguregroundError(
            f"{path} lacks {len(missing)} of {len(names)} images: {list_briefly(missing)}. "
            f"Its column {NAME!r} holds such as {rows[0][NAME]!r}; expected the images' names without suffix"
        )
    return {column: [by_name[name][column] or "" for name in names] for column in columns if column not in (NAME, None)}


def metadata_of(dataset: Dataset) -> dict[str, list[str]]:
    """What the source tells of the images of a split: a value for each, by column; missing ones are empty."""
    columns = dict.fromkeys(column for row in dataset.metadata for column in row)
    return {column: [row.get(column, "") for row in dataset.metadata] for column in columns}


def summary(slices: Sequence[Slice], most: int = 5) -> list[str]:
    """For people: lines on the slices that are worse than the rest, the worst first; none of no slices."""
    if not slices:
        return []
    worse = sorted((s for s in slices if s.differs and s.difference.mean < 0), key=lambda s: s.difference.mean)
    if not worse:
        return [f"none of {len(slices)} slices is found to be harder than the other images"]
    return [
        f"{len(worse)} of {len(slices)} slices are harder than the other images; the hardest:",
        *(
            f"  {s.attribute}, {s.label}: {s.mean}, {s.difference.mean:+.4f} (p = {s.p:.4f}, n = {s.n})"
            for s in worse[:most]
        ),
    ]
