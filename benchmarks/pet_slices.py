"""Which photos of pets are hard: the lab report's claims, tested on the figures of ``evaluate --csv``.

    figureground evaluate MODEL --data DIR --csv per_image.csv
    python benchmarks/pet_slices.py per_image.csv --model "..." --data "..." --json benchmarks/results/pet_slices.json

Every claim is one comparison of a group with the other images, p values Holm-corrected over the claims. The coat of a
breed is judged from its breed standard: long coats with a fringed outline against short smooth ones; wiry, woolly and
double coats of middle length, and breeds with both, are left out, and so are images whose true mask is empty. ``within
size`` repeats a comparison within each tenth of the object size, and averages: what is left when the groups are
alike in size.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
from machine import print_table, write_results
from numpy.typing import NDArray

from figureground.data.sources.oxford_pet import species_and_breed
from figureground.evaluation.scoring.properties import PROPERTIES
from figureground.evaluation.statistics import bootstrap_mean, group_differences, holm

LONG = {
    "Birman", "Maine Coon", "Persian", "Ragdoll", "english cocker spaniel", "english setter", "great pyrenees",
    "havanese", "japanese chin", "keeshond", "leonberger", "newfoundland", "pomeranian", "samoyed", "yorkshire terrier",
}  # fmt: skip
SHORT = {
    "Abyssinian", "Bengal", "Bombay", "British Shorthair", "Egyptian Mau", "Russian Blue", "Siamese", "Sphynx",
    "american bulldog", "american pit bull terrier", "basset hound", "beagle", "boxer", "chihuahua",
    "german shorthaired", "miniature pinscher", "pug", "staffordshire bull terrier",
}  # fmt: skip
Values = NDArray[np.float64]
Group = NDArray[np.bool_]


def within_size(dice: Values, members: Group, area: Values) -> list[float]:
    """The mean difference over tenths of the object size with its interval, images drawn anew within the tenths."""
    tenth = np.searchsorted(np.quantile(area, np.arange(1, 10) / 10), area)
    cells = [(dice[(tenth == t) & members], dice[(tenth == t) & ~members]) for t in range(10)]
    cells = [pair for pair in cells if min(map(len, pair)) > 1]
    rng = np.random.default_rng(0)
    draws = [
        np.mean([rng.choice(a, len(a)).mean() - rng.choice(b, len(b)).mean() for a, b in cells]) for _ in range(2000)
    ]
    found = np.mean([a.mean() - b.mean() for a, b in cells])
    return [float(found), *map(float, np.quantile(draws, (0.025, 0.975)))]


def claims(columns: dict[str, Values], breeds: NDArray[Any]) -> dict[str, tuple[Group, Group]]:
    """Of every claim, the images that it calls easy or hard, and all that it is about."""
    everything = np.ones(len(breeds), bool)
    low, high = (
        {name: np.quantile(columns[name], share) for name in PROPERTIES if name in columns} for share in (1 / 3, 2 / 3)
    )
    long, short = (np.isin(breeds, sorted(coat)) for coat in (LONG, SHORT))
    cats = np.array([breed[:1].isupper() for breed in breeds])
    return {
        "plain backgrounds are easier": (columns["clutter"] <= low["clutter"], everything),
        "cluttered backgrounds are harder": (columns["clutter"] > high["clutter"], everything),
        "similar colours are harder": (columns["similarity"] > high["similarity"], everything),
        "long fur is hard": (long, long | short),
        "long fur is hard, cats alone": (long & cats, (long | short) & cats),
        "long fur is hard, dogs alone": (long & ~cats, (long | short) & ~cats),
    }


def _cells(row: dict[str, Any]) -> list[str]:
    difference, within = (f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]" for mean, low, high in (
        (row["difference"], *row["ci95"]), row["within_size"]))  # fmt: skip
    sizes, means = f"{row['n']} / {row['n_others']}", f"{row['mean']:.4f} / {row['others']:.4f}"
    return [sizes, means, difference, f"{row['p_corrected']:.4f}", within]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="what evaluate --csv has written")
    parser.add_argument("--model", required=True, help="in words")
    parser.add_argument("--data", required=True, help="in words")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with given.table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["tp"]) + int(row["fn"]) > 0]
    columns = {name: np.array([float(row[name]) for row in rows]) for name in (*PROPERTIES, "dice", "boundary_f1")}
    breeds = np.array([species_and_breed(row["name"])["breed"] for row in rows])
    results: list[dict[str, Any]] = []
    for metric in ("dice", "boundary_f1"):
        found = []
        for claim, (members, known) in claims(columns, breeds).items():
            values, group = columns[metric][known], members[known]
            (result,) = group_differences(values, group[:, None])
            found.append({
                "claim": claim, "metric": metric, "n": int(group.sum()), "n_others": int((~group).sum()),
                "mean": result.mean.mean, "others": bootstrap_mean(values[~group]).mean,
                "difference": result.difference.mean, "ci95": list(result.difference.ci95), "p": result.p,
                "within_size": within_size(values, group, columns["area"][known]),
            })  # fmt: skip
        for row, p in zip(found, holm([row["p"] for row in found]), strict=True):
            row["p_corrected"] = p
        results += found
    header = ["claim", "figure", "n / others", "mean / others", "difference", "p (Holm)", "within size"]
    print_table(header, [[r["claim"], r["metric"], *_cells(r)] for r in results])
    if given.json:
        settings = {
            "model": given.model,
            "data": given.data,
            "n": len(rows),
            "long": sorted(LONG),
            "short": sorted(SHORT),
        }
        write_results(given.json, "pet_slices", settings, results)


if __name__ == "__main__":
    main()
