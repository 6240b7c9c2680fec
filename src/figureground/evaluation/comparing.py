"""Which of several models is better on the same images, and whether the images can tell."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from figureground.config import plain, read_settings
from figureground.errors import FiguregroundError, UsageError
from figureground.evaluation.scoring.evaluation import Evaluation
from figureground.evaluation.scoring.scores import EMPTY_MASK_RULE, METRICS
from figureground.evaluation.scoring.slices import SIGNIFICANT, Change, Group, changed_slices
from figureground.evaluation.statistics import (
    INTERVAL_METHOD,
    Mean,
    PairedDifference,
    bootstrap_mean,
    holm,
    paired_difference,
)
from figureground.runs import CONFIG, read_config


@dataclass(frozen=True)
class Contender:
    """A model, or trainings of one configuration that differ as by chance: in seed, cache, workers and device alone."""

    models: tuple[str, ...]
    figures: NDArray[np.float64]
    """(models, images)."""

    @property
    def name(self) -> str:
        """The model's; for several the first's, with their number."""
        return self.models[0] if len(self.models) == 1 else f"{self.models[0]} ({len(self.models)} seeds)"

    @property
    def per_image(self) -> NDArray[np.float64]:
        """The mean over the seeds for every image, (images,)."""
        return np.asarray(self.figures.mean(axis=0))

    @cached_property
    def mean(self) -> Mean:
        """Over images (and seeds); the interval is for other images, not for other seeds."""
        return bootstrap_mean(self.per_image)

    def seeds(self) -> dict[str, float]:
        """The spread of the runs' means over their seeds; for a single model only its mean."""
        means = self.figures.mean(axis=1)
        if len(means) == 1:
            return {"mean": float(means[0])}
        return {
            "mean": float(means.mean()),
            "standard_deviation": float(means.std(ddof=1)),
            "lowest": float(means.min()),
            "highest": float(means.max()),
        }


@dataclass(frozen=True)
class Pair:
    """Two contenders; the difference is the first's figure minus the second's."""

    a: Contender
    b: Contender
    result: PairedDifference
    p_corrected: float
    """After Holm, for all pairs of the comparison."""
    slices: tuple[Change, ...] = ()
    """The same for groups of images."""

    def verdict(self, lower_is_better: bool) -> str:
        """What the data say, in words."""
        n, p = len(self.a.per_image), f"p = {self.p_corrected:.4f}, Holm-corrected"
        if self.p_corrected >= SIGNIFICANT:
            return (
                f"the data cannot tell {self.a.name} and {self.b.name} apart: difference "
                f"{self.result.difference} ({p}, n = {n})"
            )
        first_is_better = (self.result.difference.mean < 0) == lower_is_better
        better, worse = (self.a, self.b) if first_is_better else (self.b, self.a)
        low, high = self.result.difference.ci95
        size = Mean(abs(self.result.difference.mean), (-high, -low) if self.result.difference.mean < 0 else (low, high))
        return f"{better.name} is better than {worse.name} by {size}; the data can tell them apart ({p}, n = {n})"


@dataclass(frozen=True)
class Comparison:
    """All contenders and all pairs of them, by one metric on one split."""

    metric: str
    evaluation: Evaluation
    """The first, for the data and the rules that are the same for all."""
    native: bool
    """At the photos' own size, not at the network's."""
    contenders: tuple[Contender, ...]
    pairs: tuple[Pair, ...]

    def to_json(self) -> dict[str, Any]:
        """The figures of ``compare --json``."""
        return {
            "data": self.evaluation.data,
            "split": self.evaluation.split,
            "n": len(self.evaluation.names),
            "foreground": self.evaluation.foreground,
            "empty_mask_rule": EMPTY_MASK_RULE,
            "metric": self.metric,
            "lower_is_better": METRICS[self.metric].lower_is_better,
            "size": "native" if self.native else list(self.evaluation.size),
            "interval": INTERVAL_METHOD,
            "test": "paired permutation (sign flips), two-sided, Holm-corrected over the pairs",
            "models": [
                {"models": list(c.models), "mean": c.mean.mean, "ci95": list(c.mean.ci95), "seeds": c.seeds()}
                for c in self.contenders
            ],
            "pairs": [self._pair_to_json(pair) for pair in self.pairs],
        }

    def _pair_to_json(self, pair: Pair) -> dict[str, Any]:
        return {
            "a": pair.a.name,
            "b": pair.b.name,
            "difference": pair.result.difference.mean,
            "ci95": list(pair.result.difference.ci95),
            "p": pair.result.p,
            "p_corrected": pair.p_corrected,
            "wins": pair.result.wins,
            "losses": pair.result.losses,
            "ties": pair.result.ties,
            "verdict": pair.verdict(METRICS[self.metric].lower_is_better),
            "slices": [change.to_json() for change in pair.slices],
        }

    def summary(self) -> str:
        """For people: the means, the spread over seeds, and a sentence for every pair."""
        metric, first = METRICS[self.metric], self.evaluation
        size = "the photos' own size" if self.native else f"{first.size[1]}×{first.size[0]}"
        direction = "lower" if metric.lower_is_better else "higher"
        lines = [
            f"{first.split} {metric.title} at {size}, {direction} is better, n={len(first.names)}, "
            f"border counted as: {first.foreground}"
        ]
        lines += [f"  {contender.name}: {contender.mean}{_spread(contender)}" for contender in self.contenders]
        for pair in self.pairs:
            lines.append(pair.verdict(metric.lower_is_better))
            lines.append(f"  {pair.a.name}: {pair.result.wins} wins, {pair.result.losses} losses, "
                         f"{pair.result.ties} ties against {pair.b.name}")  # fmt: skip
            lines += _changes(pair)
        return "\n".join([*lines, f"intervals: {INTERVAL_METHOD}", EMPTY_MASK_RULE])


def _changes(pair: Pair) -> list[str]:
    """The slices on which the data can tell a pair apart."""
    if not pair.slices:
        return []
    changed = [change for change in pair.slices if change.p < SIGNIFICANT]
    lines = [f"    {c.attribute}, {c.label}: {c.difference} (p = {c.p:.4f}, n = {c.n})" for c in changed]
    return [f"  {len(changed)} of {len(pair.slices)} slices differ, {pair.a.name} minus {pair.b.name}:", *lines]


def _spread(contender: Contender) -> str:
    if len(contender.models) == 1:
        return ""
    seeds = contender.seeds()
    return (
        f", over {len(contender.models)} seeds: standard deviation {seeds['standard_deviation']:.4f}, "
        f"range {seeds['lowest']:.4f} to {seeds['highest']:.4f}"
    )


def compare(
    evaluations: Sequence[Evaluation], metric: str = "dice", native: bool = False, slices: Sequence[Group] = ()
) -> Comparison:
    """Compare models by one metric on the same images, each with each; runs that differ by seed are taken together.

    Models whose networks see different sizes are compared at the photos' own size. On each group of ``slices`` the
    models are compared as well, p values Holm-corrected over the groups of a pair.

    Raises:
        FiguregroundError: fewer than two models, one that is given twice, other images, or an unknown metric.
    """
    require_comparable([evaluation.model for evaluation in evaluations], metric)
    first = evaluations[0]
    native = native or any(evaluation.size != first.size for evaluation in evaluations)
    groups: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        if evaluation.names != first.names or evaluation.foreground != first.foreground:
            raise FiguregroundError(
                f"{evaluation.model} was scored on other images or with another border policy than {first.model}; "
                "expected the same. Evaluate both on the same data"
            )
        groups.setdefault(_configuration(evaluation.model), []).append(evaluation)
    contenders = tuple(_contender(members, metric, native) for members in groups.values())
    return Comparison(metric, first, native, contenders, _pairs(contenders, metric, slices))


def require_comparable(models: Sequence[str], metric: str) -> None:
    """Refuse what cannot be compared, before anything is evaluated; see ``compare``."""
    if metric not in METRICS:
        raise UsageError(f"there is no metric {metric!r}; expected one of: {', '.join(METRICS)}")
    require_several(models, "compare")


def require_several(models: Sequence[str | Path], purpose: str) -> None:
    """Refuse less than two models, and one that is given twice; ``purpose`` is what they are for, a verb."""
    if len(models) < 2:
        raise UsageError(f"{len(models)} model to {purpose}; expected two or more")
    if len({Path(model).resolve() for model in models}) < len(models):
        raise UsageError(f"a model is given twice: {', '.join(map(str, models))}; expected different ones")


def _configuration(model: str) -> str:
    """The settings of a run that decide its result, as text; a model that is no run has only its name."""
    path = Path(model) / CONFIG
    if not path.is_file():
        return model
    if "seed" not in read_settings(path):  # a mean of weights, not a training
        return model
    config = read_config(Path(model))
    data = replace(config.data, cache="off")  # it and the next three change the result only as chance does
    return json.dumps(plain(replace(config, data=data, workers=None, device="auto", seed=0)), sort_keys=True)


def _contender(evaluations: Sequence[Evaluation], metric: str, native: bool) -> Contender:
    figures = []
    for evaluation in evaluations:
        scores = evaluation.native if native else evaluation.scores
        if scores is None:
            raise FiguregroundError(
                f"{evaluation.model} was not scored at the photos' own size; evaluate with native=True"
            )
        figures.append(scores.column(metric))
    return Contender(tuple(evaluation.model for evaluation in evaluations), np.stack(figures))


def _pairs(contenders: Sequence[Contender], metric: str, slices: Sequence[Group]) -> tuple[Pair, ...]:
    lower = METRICS[metric].lower_is_better
    pairs = list(itertools.combinations(contenders, 2))
    results = [paired_difference(a.per_image, b.per_image, lower_is_better=lower) for a, b in pairs]
    corrected = holm([result.p for result in results])
    return tuple(
        Pair(a, b, result, p, tuple(changed_slices(a.per_image, b.per_image, slices, lower_is_better=lower)))
        for (a, b), result, p in zip(pairs, results, corrected, strict=True)
    )
