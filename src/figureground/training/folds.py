"""Cross-validation: a run for each fold, one after another, in the folder of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from figureground.config import TrainConfig
from figureground.data import Split, open_dataset
from figureground.runs import CHECKPOINT, claimed, fold_folder, followed, read_config, scores_file
from figureground.training.fit import Run
from figureground.training.run import begin, refuse_taken, resume, train

HELD_OUT: Split = "test"
"""What a fold's run calls the images that it holds out."""


def of_fold(config: TrainConfig, number: int) -> TrainConfig:
    """The settings of one fold, from 1: of the minutes it has its share."""
    minutes = config.minutes and config.minutes / (config.data.folds or 1)
    return replace(config, minutes=minutes, data=replace(config.data, fold=number))


def begin_folds(config: TrainConfig, folder: Path, *, overwrite: bool = False) -> None:
    """Leave a folder that ``train_folds`` goes on with, if the data can be divided into these folds.

    Args:
        config: all settings, with ``data.folds`` and no ``data.fold``.
        folder: of the run; it must not exist, or be empty, unless ``overwrite`` is given.
        overwrite: replace a run that is there.

    Raises:
        FiguregroundError: too few images, a fold without figure, or the folder is taken.
    """
    refuse_taken(folder, overwrite)
    with claimed(folder):
        open_dataset(of_fold(config, 1).data, HELD_OUT)
    begin(config, folder, overwrite)


def train_folds(
    folder: Path,
    finish: Callable[[Run], None],
    *,
    progress: bool = False,
    started: float | None = None,
    otherwise: TrainConfig | None = None,
) -> bool:
    """Train what is left of a cross-validation; whether all is done, and nothing was interrupted.

    Args:
        folder: as ``begin_folds`` leaves it, or an earlier call.
        finish: scores a fold's run on what it holds out, within its minutes; a run with that score is done.
        progress: show progress bars.
        started: when the first fold's minutes began, by ``time.monotonic``; none: now.
        otherwise: as of ``train``, for every fold.

    Raises:
        FiguregroundError: as of ``train`` and ``resume``.
    """
    folder = followed(folder)
    config = read_config(folder)
    for number in range(1, (config.data.folds or 0) + 1):
        own = fold_folder(folder, number)
        if (own / scores_file(HELD_OUT)).is_file():
            continue
        if (own / CHECKPOINT).is_file():
            run = resume(own, progress=progress)
        else:
            run = train(
                of_fold(config, number),
                own,
                overwrite=True,
                progress=progress,
                started=started,
                otherwise=otherwise and of_fold(otherwise, number),
            )
        if run.interrupted:
            return False
        finish(run)
        started = None
    return True
