"""The demonstration: train a small network on drawn data, score it, and show what it does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from figureground.config import TrainConfig, merge, parse, read_settings
from figureground.data import open_dataset
from figureground.evaluation import Case, draw_cases, score_run
from figureground.prediction import load
from figureground.training import train

SETTINGS = {
    "data": {"source": "synthetic:n=800,size=96", "cache": "off"},
    "model": {"name": "unet", "arguments": {"base_width": 16}},
    "preprocessing": {"size": [96, 96]},
    "epochs": 10,
    "augmentation": "report",
    "learning_rate": 3e-3,
    "phases": [],
}
SHOWN = 4


def run_demo(output: Path, progress: bool, say: Callable[[str], object]) -> None:
    """Train, score and draw into ``output``, which is replaced if an earlier demonstration made it.

    Args:
        output: the folder.
        progress: show progress bars.
        say: receives the lines for the user.
    """
    config = parse(TrainConfig, merge(read_settings("strong"), SETTINGS))
    if (output / "run").is_dir():
        shutil.rmtree(output / "run")
    say("figureground: training a small U-Net on drawn figures (640 images of 96×96, 10 epochs)")
    run = train(config, output / "run", progress=progress)
    evaluation = score_run(run.folder, progress=progress)
    say(evaluation.summary())
    picture = output / "prediction.png"
    draw_cases(_spread(run.folder, config.data.source, evaluation.dice_per_image), picture)
    say(
        f"\nlook at   {picture}: photo, predicted mask and true mask of four test images, from the worst to the best\n"
        f"          {run.folder / 'history.png'}: the curves of the training\n"
        "next      figureground train --data DIR     your own images: DIR/images and DIR/masks, paired by name\n"
        f"          figureground predict {run.folder} PHOTO --output masks\n"
        "          figureground train --help"
    )


def _spread(folder: Path, source: str, dice: NDArray[np.float64]) -> list[Case]:
    """Test images from the worst to the best Dice, evenly spaced in rank."""
    dataset = open_dataset(source, "test")
    segmenter = load(folder)
    cases = []
    for index in np.argsort(dice)[np.linspace(0, len(dice) - 1, SHOWN).round().astype(int)]:
        sample = dataset[int(index)]
        prediction = segmenter.predict(sample.image)
        cases.append(Case(sample.name, sample.image, sample.mask, prediction.mask, float(dice[index])))
    return cases
