"""How often the 95% intervals of ``evaluate`` hold the truth: samples of known mean are drawn again and again.

The samples look like the Dice of images: ``skewed`` is what a good model has, ``failures`` adds 5% of images on which
it fails, ``zeros`` 3% on which it finds nothing. Beside both bootstrap intervals stands Student's. ``above`` and
``below`` are the shares of intervals that miss because they lie above and below the true mean (2.5% each is ideal).

    python benchmarks/interval_coverage.py --json benchmarks/results/interval_coverage.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import print_table, write_results
from numpy.typing import NDArray
from scipy.stats import t as student

from figureground.evaluation.statistics import LEVEL, bootstrap_means

Values = NDArray[np.float64]
Generator = np.random.Generator
Bounds = tuple[Values, Values]


def skewed(rng: Generator, n: int, k: int) -> Values:
    return rng.beta(9, 1.2, (n, k))


def failures(rng: Generator, n: int, k: int) -> Values:
    return np.where(rng.random((n, k)) < 0.05, rng.uniform(0, 0.6, (n, k)), rng.beta(30, 2, (n, k)))


def zeros(rng: Generator, n: int, k: int) -> Values:
    return np.where(rng.random((n, k)) < 0.03, 0, rng.beta(20, 2, (n, k)))


SAMPLES: dict[str, tuple[Callable[[Generator, int, int], Values], float]] = {
    "skewed": (skewed, 9 / 10.2),
    "failures": (failures, 0.05 * 0.3 + 0.95 * 30 / 32),
    "zeros": (zeros, 0.97 * 20 / 22),
}


def percentile(values: Values, resamples: int, seed: int) -> Bounds:
    means = bootstrap_means(values, seed, "percentile", resamples)
    return tuple(np.array([mean.ci95 for mean in means]).T)


def bca(values: Values, resamples: int, seed: int) -> Bounds:
    means = bootstrap_means(values, seed, "bca", resamples)
    return tuple(np.array([mean.ci95 for mean in means]).T)


def students(values: Values, resamples: int, seed: int) -> Bounds:
    n = len(values)
    half = student.ppf((1 + LEVEL) / 2, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)
    return values.mean(axis=0) - half, values.mean(axis=0) + half


METHODS = (percentile, bca, students)


def measure(n: int, kind: str, given: argparse.Namespace) -> list[dict[str, Any]]:
    draw, true = SAMPLES[kind]
    values = draw(np.random.default_rng((given.seed, n)), n, given.samples)
    results = []
    for method in METHODS:
        # Columns of one call share their draws of images, which would tie their intervals together: few at a time.
        columns = np.array_split(values, given.samples // 4, axis=1)
        parts = [method(part, given.resamples, seed) for seed, part in enumerate(columns)]
        low, high = (np.concatenate(bound) for bound in zip(*parts, strict=True))
        covered = float(np.mean((low <= true) & (true <= high)))
        results.append({
            "samples": kind, "n": n, "method": method.__name__, "coverage": covered,
            "standard_error": float(np.sqrt(covered * (1 - covered) / given.samples)),
            "above": float(np.mean(low > true)), "below": float(np.mean(high < true)),
            "width": float(np.mean(high - low)),
        })  # fmt: skip
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 100, 368])
    parser.add_argument("--samples", type=int, default=4000, help="of each kind and size")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args()
    results = [row for kind in SAMPLES for n in given.sizes for row in measure(n, kind, given)]
    header = ("samples", "n", "method", "coverage", "±", "above", "below", "width")
    print_table(header, [[v if isinstance(v, str | int) else f"{v:.4f}" for v in row.values()] for row in results])
    settings = {name: getattr(given, name) for name in ("sizes", "samples", "resamples", "seed")}
    write_results(given.json, "interval_coverage", settings, results)


if __name__ == "__main__":
    main()
