"""Whether ``data check --folds`` finds masks that were spoiled on purpose.

    python benchmarks/spoiled_masks.py --data DIR --images 400 --spoiled 40 --folds 5 --minutes 40 \
        --output runs/spoiled-masks --json benchmarks/results/spoiled_masks.json

Every n-th image of the training and valid parts goes into a plain folder. Of the spoiled a quarter each is shifted by
15 pixels, loses a half, has another image's mask, and is inverted. The target: 90% of them are among the first 1.5
times as many. What is in ``--output`` already is not made again; a training that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from machine import print_table, write_results
from PIL import Image

from figureground.data import open_dataset

KINDS = ("shifted", "half missing", "another's", "inverted")
SHIFT = 15


def spoil(mask: np.ndarray, how: str, other: np.ndarray) -> np.ndarray:
    """A mask (H, W) as ``how`` says; ``other`` is the mask of another image."""
    if how == "shifted":
        rows, columns = np.roll(mask, SHIFT, 1), np.arange(mask.shape[1])
        return rows & (columns >= SHIFT)
    if how == "half missing":
        return mask & (np.arange(mask.shape[1]) < np.median(np.nonzero(mask)[1]))
    if how == "another's":
        return np.asarray(Image.fromarray(other).resize(mask.shape[::-1], Image.Resampling.NEAREST))
    return ~mask


def write_folder(source: str, images: int, spoiled: int, folder: Path) -> dict[str, str]:
    """A plain folder of some images, and by the name of each spoiled one how."""
    record = folder / "spoiled.json"
    if record.is_file():
        return dict(json.loads(record.read_text()))
    parts = {split: open_dataset(source, split) for split in ("train", "valid")}
    places = [(split, index) for split, part in parts.items() for index in range(len(part))]
    chosen = np.linspace(0, len(places) - 1, images).round().astype(int)
    victims = np.random.default_rng(0).permutation(images)[:spoiled]
    how = {int(place): KINDS[number % len(KINDS)] for number, place in enumerate(victims)}
    found, before = {}, None
    for place, number in enumerate(chosen):
        split, index = places[number]
        sample = parts[split][index]
        mask = sample.mask
        if place in how:
            other = parts["valid"][0].mask if before is None else before
            found[sample.name], left = how[place], spoil(mask, how[place], other)
        else:
            left = mask
        before = mask
        for kind, pixels in (("images", sample.image), ("masks", left.astype(np.uint8) * 255)):
            path = folder / kind / f"{sample.name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    record.write_text(json.dumps(found))
    return found


def train(data: Path, folder: Path, folds: int, arguments: list[str]) -> None:
    """The folds of a run, unless they are there."""
    if (folder / "folds.json").is_file():
        return
    new = ["--data", str(data), "--folds", str(folds), "--output", str(folder.parent), "--name", folder.name]
    given = ["--resume", str(folder)] if (folder / "config.yaml").is_file() else [*new, *arguments]
    subprocess.run([sys.executable, "-m", "figureground", "train", *given], check=True)


def ranked(data: Path, run: Path, json_file: Path) -> list[str]:
    """The names of all images, those first whose masks are contradicted most."""
    command = [sys.executable, "-m", "figureground", "data", "check", str(data), "--folds", str(run)]
    subprocess.run([*command, "--json", str(json_file), "--overwrite"], check=False)  # 1: there are problems
    ranking = json.loads(json_file.read_text())["ranking"]
    return [Path(each["files"][0]).stem for each in ranking]


def main() -> None:
    """Print and write how many are found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--spoiled", type=int, default=40)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--output", type=Path, default=Path("runs/spoiled-masks"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--train", nargs=argparse.REMAINDER, default=[], help="More options of train, at the end.")
    arguments = parser.parse_args()
    how = write_folder(arguments.data, arguments.images, arguments.spoiled, arguments.output / "data")
    minutes = [] if "--epochs" in arguments.train else ["--minutes", f"{arguments.minutes:g}"]
    given = [*minutes, *arguments.train]
    train(arguments.output / "data", arguments.output / "folds", arguments.folds, given)
    names = ranked(arguments.output / "data", arguments.output / "folds", arguments.output / "check.json")
    first = set(names[: round(1.5 * len(how))])
    rows = []
    for kind in (*KINDS, "all"):
        own = [name for name, found in how.items() if kind in (found, "all")]
        rows.append((kind, len(own), sum(name in first for name in own)))
    print_table(("spoiled", "n", f"among the first {len(first)}"), rows)
    if arguments.json:
        folds = json.loads((arguments.output / "folds" / "folds.json").read_text())
        settings = {"images": len(names), "looked_at": len(first), "train": given}
        write_results(arguments.json, "spoiled_masks", settings, {"rows": rows, "out_of_fold_dice": folds["dice"]})


if __name__ == "__main__":
    main()
