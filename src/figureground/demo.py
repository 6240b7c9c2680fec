"""The demonstration: cut out a cat with the model in the box, then train a small network on drawn data."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from figureground.images import write_image
from figureground.prediction import load
from figureground.pretrained import DEFAULT, EXAMPLE

if TYPE_CHECKING:
    from figureground.evaluation import Example

DRAWN = "synthetic:n=500,size=128"
MINUTES = 1.7
SHOWN = 4
GAP = 12  # pixels between pictures


def cut_out_example(output: Path, say: Callable[[str], object]) -> None:
    """Predict on the photograph in the package; needs neither training nor torch.

    Args:
        output: the folder for the picture.
        say: receives the lines for the user.
    """
    start = time.perf_counter()
    segmenter = load(DEFAULT)
    prediction = segmenter.predict(EXAMPLE)
    seconds = time.perf_counter() - start
    picture = output / "cat.png"
    shown = [prediction.image, np.asarray(prediction.overlay()), np.asarray(prediction.cutout("white"))]
    write_image(picture, side_by_side(shown))
    say(
        f"figureground: a cat, found in {seconds:.1f} s by the model in the box ({DEFAULT}, {segmenter.engine}); "
        f"estimated Dice {prediction.estimated_dice:.2f}\n"
        f"look at   {picture}: photo, mask laid over it, cut-out\n"
        f"the same  figureground predict {EXAMPLE} --save overlay,cutout --output {output / 'masks'}\n"
    )


def side_by_side(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures (H, W, 3) uint8 of one size in a row, with white between them."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    row = [part for picture in pictures for part in (gap, picture)]
    return np.concatenate(row[1:], axis=1)


def train_small(output: Path, progress: bool, say: Callable[[str], object]) -> None:
    """Train, score and draw.

    Args:
        output: the folder; the run goes below it.
        progress: show progress bars.
        say: receives the lines for the user.
    """
    from figureground.evaluation import draw_examples, score_run
    from figureground.plan import planned
    from figureground.training import train

    started = time.monotonic()
    say(f"figureground train --data {DRAWN} --minutes {MINUTES:g}")
    plan = planned({"data": {"source": DRAWN, "cache": str(output / "cache")}, "minutes": MINUTES})
    say("\n".join(plan.lines()))
    run = train(plan.config(), output / "run", progress=progress, started=started)
    if run.interrupted:
        raise KeyboardInterrupt
    evaluation = score_run(run.folder, progress=progress)
    say(evaluation.summary())
    picture = output / "prediction.png"
    draw_examples(_spread(run.folder, DRAWN, evaluation.dice_per_image), picture)
    say(
        f"\nlook at   {picture}: photo, predicted mask and true mask of four test images, from the worst to the best\n"
        f"          {run.folder / 'history.png'}: the curves of the training\n"
        "next      figureground train --data DIR     your own images: DIR/images and DIR/masks, paired by name\n"
        f"          figureground predict {run.folder} PHOTO --output masks\n"
        "          figureground train --help"
    )


def _spread(folder: Path, source: str, dice: NDArray[np.float64]) -> list[Example]:
    """Test images from the worst to the best Dice, evenly spaced in rank."""
    from figureground.data import open_dataset
    from figureground.evaluation import examples_of

    indices = np.argsort(dice)[np.linspace(0, len(dice) - 1, SHOWN).round().astype(int)]
    return list(examples_of(load(folder), open_dataset(source, "test"), dice, indices.tolist()))
