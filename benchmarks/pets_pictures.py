"""The pictures of the pet model's page: one cat as the photograph gets worse, and photographs without a pet.

    python benchmarks/pets_pictures.py --output docs/models/pets-limits.png

All photographs come with scikit-image: ``chelsea`` (CC0, Stéfan van der Walt), ``astronaut`` (NASA, public domain),
``coffee`` (CC0, Rachel Michetti), ``rocket`` (SpaceX, CC0), ``brick`` and ``grass`` (CC0).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageFilter
from skimage import data

from figureground.data import open_dataset
from figureground.data.negatives import negative
from figureground.prediction import Segmenter, load

COLUMNS = 4
NEGATIVES, MOST_FIGURE = 200, 0.01  # a picture without a pet has so little figure, or is flagged
Placed = Callable[[np.ndarray], np.ndarray]
"""The mask of the cat's own picture to that of a picture made of it."""


def small_on(background: np.ndarray, cat: Image.Image, share: float) -> Image.Image:
    """The cat's picture, ``share`` of the background's width wide, in the middle of it."""
    picture = Image.fromarray(background)
    width = round(share * picture.width)
    small = cat.resize((width, round(width * cat.height / cat.width)))
    picture.paste(small, ((picture.width - small.width) // 2, (picture.height - small.height) // 2))
    return picture


def hard_cats() -> dict[str, tuple[Image.Image, Placed]]:
    """One cat as the photograph gets worse, by title."""
    cat, coffee = Image.fromarray(data.chelsea()), data.coffee()

    def on_coffee(share: float) -> tuple[Image.Image, Placed]:
        nothing = np.zeros(coffee.shape[:2], np.uint8)

        def placed(mask: np.ndarray) -> np.ndarray:
            return np.asarray(small_on(nothing, Image.fromarray(mask.astype(np.uint8) * 255), share)) > 127

        return small_on(coffee, cat, share), placed

    return {
        "as it is": (cat, lambda mask: mask),
        "a fifth of the light": (cat.point(lambda value: value // 5), lambda mask: mask),
        "upside down": (cat.rotate(180), lambda mask: mask[::-1, ::-1]),
        "blurred by 6 pixels": (cat.filter(ImageFilter.GaussianBlur(6)), lambda mask: mask),
        "a third of the width": on_coffee(1 / 3),
        "a sixth of the width": on_coffee(1 / 6),
        "half of it hidden": (half_hidden(cat), lambda mask: mask & (np.arange(cat.width) >= cat.width // 2)),
    }


def without_pets() -> dict[str, Image.Image]:
    """Pictures that show no cat and no dog, by name."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    shown = {name: getattr(data, name)() for name in ("astronaut", "coffee", "rocket", "brick", "grass")}
    shown |= {"noise": noise, "black": np.zeros((300, 400, 3), np.uint8)}
    return {name: Image.fromarray(image).convert("RGB") for name, image in shown.items()}


def pictures() -> dict[str, Image.Image]:
    """By title."""
    no_pets = {f"no pet: {name}": picture for name, picture in without_pets().items() if name not in ("noise", "black")}
    return {name: picture for name, (picture, _) in hard_cats().items()} | no_pets


def half_hidden(cat: Image.Image) -> Image.Image:
    picture = cat.copy()
    picture.paste((90, 110, 90), (0, 0, cat.width // 2, cat.height))
    return picture


def false_alarms(model: Segmenter, data: str) -> dict[str, Any]:
    """What it finds in pictures without a pet: known ones, and some made of the backgrounds of test."""
    test, rng = open_dataset(data, "test"), np.random.default_rng(0)
    made = {f"made{n}": negative(lambda: test[int(rng.integers(len(test)))], rng, (256, 256)) for n in range(NEGATIVES)}
    known = without_pets()
    found = {name: model.predict(image) for name, image in (known | made).items()}
    share = {name: float(each.mask.mean()) for name, each in found.items()}
    alarms = [name for name, each in found.items() if share[name] >= MOST_FIGURE and not each.needs_review]
    flagged = [name for name, each in found.items() if share[name] >= MOST_FIGURE and each.needs_review]
    return {"n": len(found), "share": {name: share[name] for name in known}, "unflagged": alarms, "flagged": flagged}


def draw(segmenter: Segmenter, path: Path) -> None:
    shown = pictures()
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(12, 2.9 * rows), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, picture) in zip(figure.subplots(rows, COLUMNS).flat, shown.items(), strict=True):
        prediction = segmenter.predict(picture)
        axes.imshow(prediction.overlay())
        axes.set_axis_off()
        estimate = f"estimated Dice {prediction.estimated_dice:.2f}" if prediction.mask.any() else "no figure"
        axes.set_title(f"{title}\n{estimate}{', to review' if prediction.needs_review else ''}", fontsize=10)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pets")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    draw(load(given.model), given.output)


if __name__ == "__main__":
    main()
