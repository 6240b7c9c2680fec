"""``figureground train --data D --minutes M`` and nothing else, on data nobody has tuned to, beside a plain script.

    python benchmarks/own_data.py --data cracks=DIR nuclei=DIR synthetic=synthetic --minutes 10 --seeds 0 1 \
        --output runs/own-data --json benchmarks/results/own_data.json

Of each dataset the test part of the tool's own division is scored at the photos' own size: mean Dice and boundary F1
within 2 pixels, with intervals, of what the command leaves and of what ``plain_smp.py`` makes of the same images in the
same minutes; and the paired difference. What is in ``--output`` already is not trained again. ``pets-200=DIR:18`` is a
plain folder of every 18th image of ``train`` and ``valid`` of a dataset that is divided.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import print_table, write_results
from PIL import Image

from figureground.config import plain
from figureground.data import open_dataset
from figureground.evaluation.statistics import bootstrap_mean, paired_difference
from figureground.metrics import boundary_distances, boundary_f1, counts, dice, matches
from figureground.prediction import load

HERE = Path(__file__).parent
PIXELS = 2.0


def every(source: Path, step: int, folder: Path) -> Path:
    """A plain folder of every ``step``-th image of the training and valid parts of a dataset."""
    if not folder.is_dir():
        partial = folder.with_name(f"{folder.name}.partial")
        samples = [(split, index) for split in ("train", "valid") for index in range(len(open_dataset(source, split)))]
        parts = {split: open_dataset(source, split) for split in ("train", "valid")}
        for split, index in samples[::step]:
            sample = parts[split][index]
            for kind, pixels in (("images", sample.image), ("masks", sample.mask.astype(np.uint8) * 255)):
                path = partial / kind / f"{sample.name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
        partial.rename(folder)
    return folder


def masks_of_command(data: str, minutes: float, seed: int, folder: Path) -> tuple[list[np.ndarray], float]:
    """The test masks of the run that the command leaves, and the minutes it took; a run that is there is taken."""
    took = folder.parent / f"{folder.name}.seconds"
    if not took.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        start = time.monotonic()
        command = [sys.executable, "-m", "figureground", "train", "--data", data, "--minutes", f"{minutes:g}"]
        command += ["--seed", f"{seed}", "--output", str(folder.parent), "--name", folder.name]
        subprocess.run(command, check=True)
        took.write_text(f"{time.monotonic() - start:.1f}")
    segmenter, test = load(folder), open_dataset(data, "test")
    return [segmenter.predict(test[index].image).mask for index in range(len(test))], float(took.read_text()) / 60


def masks_of_plain(data: str, minutes: float, seed: int, folder: Path) -> list[np.ndarray]:
    """The same of the plain script."""
    done = folder / "done"
    if not done.is_file():
        command = [sys.executable, str(HERE / "plain_smp.py"), "--data", data, "--minutes", f"{minutes:g}"]
        subprocess.run([*command, "--seed", f"{seed}", "--output", str(folder)], check=True)
        done.touch()
    names = open_dataset(data, "test").names
    return [np.asarray(Image.open(folder / f"{name}.png")) > 127 for name in names]


def scores(data: str, masks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Dice and boundary F1 within 2 pixels of each test image, (N,) each."""
    test = open_dataset(data, "test")
    rows = []
    for index, mask in enumerate(masks):
        truth, kept = test[index].truth
        near = matches(boundary_distances(mask, truth), PIXELS)
        rows.append((float(dice(*counts(mask, truth, kept))), boundary_f1(*near)))
    return tuple(np.array(rows).T)  # type: ignore[return-value]


def measured(name: str, data: str, given: argparse.Namespace) -> list[dict[str, Any]]:
    """A row a seed."""
    rows = []
    for seed in given.seeds:
        place = given.output / f"{name}-{given.minutes:g}-{seed}"
        masks, took = masks_of_command(data, given.minutes, seed, place)
        ours, outline = scores(data, masks)
        row = {"data": name, "seed": seed, "n": len(ours), "minutes": took, "dice": plain(bootstrap_mean(ours))}
        row["boundary_f1_2px"] = plain(bootstrap_mean(outline))
        if not given.without_plain:
            theirs, their_outline = scores(
                data, masks_of_plain(data, given.minutes, seed, place.with_name(place.name + "-plain"))
            )
            row["plain_boundary_f1_2px"] = plain(bootstrap_mean(their_outline))
            row["plain_dice"] = plain(bootstrap_mean(theirs))
            found = paired_difference(ours, theirs)
            row["difference"] = plain(found.difference) | {"p": found.p}
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, metavar="NAME=DIR[:EVERY]")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--output", type=Path, default=Path("runs/own-data"))
    parser.add_argument("--without-plain", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for entry in given.data:
        name, _, data = entry.partition("=")
        folder, _, step = data.rpartition(":")
        if folder and step.isdecimal():
            data = str(every(Path(folder), int(step), given.output / f"{name}-images"))
        rows += measured(name, data, given)
        if given.json:
            write_results(given.json, "own_data", {"minutes": given.minutes}, rows)
    shown_of = ("dice", "boundary_f1_2px", "plain_dice", "difference")
    print_table(
        ("data", "seed", "n", "minutes", *shown_of),
        [
            (row["data"], row["seed"], row["n"], f"{row['minutes']:.1f}", *(shown(row.get(key)) for key in shown_of))
            for row in rows
        ],
    )


def shown(mean: dict[str, Any] | None) -> str:
    if mean is None:
        return "–"
    low, high = mean["ci95"]
    return f"{mean['mean']:.4f} [{low:.4f}, {high:.4f}]"


if __name__ == "__main__":
    main()
