"""The pictures of the pet model's page: one cat as the photograph gets worse, and photographs without a pet.

    python benchmarks/pets_pictures.py --output docs/models/pets-limits.png

All photographs come with scikit-image: ``chelsea`` (CC0, Stéfan van der Walt), ``astronaut`` (NASA, public domain),
``coffee`` (CC0, Rachel Michetti), ``rocket`` (SpaceX, CC0).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageFilter
from skimage import data

from figureground.prediction import Segmenter, load

COLUMNS = 4


def small_on(background: np.ndarray, cat: Image.Image, share: float) -> Image.Image:
    """The cat's picture, ``share`` of the background's width wide, in the middle of it."""
    picture = Image.fromarray(background)
    width = round(share * picture.width)
    small = cat.resize((width, round(width * cat.height / cat.width)))
    picture.paste(small, ((picture.width - small.width) // 2, (picture.height - small.height) // 2))
    return picture


def pictures() -> dict[str, Image.Image]:
    """By title."""
    cat = Image.fromarray(data.chelsea())
    return {
        "as it is": cat,
        "a tenth of the light": cat.point(lambda value: value // 10),
        "upside down": cat.rotate(180),
        "out of focus": cat.filter(ImageFilter.GaussianBlur(12)),
        "a third of the width": small_on(data.coffee(), cat, 1 / 3),
        "a tenth of the width": small_on(data.coffee(), cat, 1 / 10),
        "16 pixels wide": cat.resize((16, 11)),
        "half of it hidden": half_hidden(cat),
        "no pet: astronaut": Image.fromarray(data.astronaut()),
        "no pet: coffee": Image.fromarray(data.coffee()),
        "no pet: rocket": Image.fromarray(data.rocket()),
        "no pet: noise": Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)),
    }


def half_hidden(cat: Image.Image) -> Image.Image:
    picture = cat.copy()
    picture.paste((90, 110, 90), (0, 0, cat.width // 2, cat.height))
    return picture


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
