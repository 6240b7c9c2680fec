"""A training run: from a configuration to a folder with the best model, its history and its checkpoint."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import lightning
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from figureground.bundle import BundleInfo, DataSummary, read_info
from figureground.config import TrainConfig, to_yaml
from figureground.data import Dataset, open_dataset
from figureground.data.dataset import Sample
from figureground.errors import BROKEN_FILE, FiguregroundError, UsageError
from figureground.files import replacing
from figureground.models.weights import misfit, shapes_of
from figureground.runs import (
    BUNDLE_IN_RUN,
    CHECKPOINT,
    CONFIG,
    bundle_path,
    claimed,
    followed,
    link_latest,
    read_config,
)
from figureground.training.callbacks import Interrupted, Interruption, RunKeeper, averaging
from figureground.training.history import EpochRow, best_of
from figureground.training.initial_weights import (
    load_initial_weights,
    refuse_other_network,
    refuse_other_weights,
    settled_weights,
)
from figureground.training.loaders import ResumableLoader, kept, loaders
from figureground.training.supervised import SegmentationModule
from figureground.training.teachers import Taught
from figureground.training.trainer import make_trainer, uses_gpu, without_advice
from figureground.version import __version__

ONE_VALUE = "Expected more than 1 value per channel"  # what torch says


@dataclass(frozen=True)
class Run:
    """What a training run has left behind."""

    folder: Path
    rows: tuple[EpochRow, ...]
    """One an epoch."""
    interrupted: bool
    """It was asked to stop; ``resume`` continues it."""

    @property
    def model(self) -> Path:
        """The bundle of the best epoch."""
        return self.folder / BUNDLE_IN_RUN

    @property
    def best(self) -> EpochRow | None:
        """The epoch whose model is kept."""
        return best_of(self.rows)


def train(config: TrainConfig, folder: Path, *, overwrite: bool = False, progress: bool = False) -> Run:
    """Train a network and leave a run in ``folder``.

    Args:
        config: all settings.
        folder: of the run; it must not exist, or be empty, unless ``overwrite`` is given.
        overwrite: replace a run that is there.
        progress: show progress bars.

    Raises:
        FiguregroundError: the data cannot be read, the folder is taken, what shall be replaced is no run, the loss
            diverges, the disk is full.
    """
    folder, config = followed(folder), _settled(config)
    if folder.is_file():
        raise FiguregroundError(f"{folder} is a file; expected a folder for the run")
    _refuse_taken(folder, overwrite)
    if any(bundle_path(teacher).resolve().parent == folder.resolve() for teacher in config.teachers):
        raise FiguregroundError(f"{folder} is the teacher and would be replaced; choose another --name")
    _refuse_wrong_parts(config)
    refuse_other_weights(config)
    with claimed(folder):
        datasets = _open_datasets(config, progress)
        parts = _parts(config, datasets)
    _empty_folder(folder, overwrite)
    with replacing(folder / CONFIG) as partial:
        partial.write_text(to_yaml(config))
    return _fit(config, folder, datasets, parts, None, progress)


def _refuse_wrong_parts(config: TrainConfig) -> None:
    """Before the data are read, which takes long.

    Raises:
        FiguregroundError: there is no such network, teacher or GPU, or the network cannot be built like that.
    """
    uses_gpu(config)
    for teacher in config.teachers:
        read_info(bundle_path(teacher))
    refuse_other_network(config.model)


def _settled(config: TrainConfig) -> TrainConfig:
    """With the runs that links to them, such as ``latest``, point to now: soon it is this run."""
    return replace(settled_weights(config), teachers=tuple(str(followed(teacher)) for teacher in config.teachers))


def resume(folder: Path, *, progress: bool = False) -> Run:
    """Continue an interrupted run with the same optimiser, schedule, order of images and best score.

    Raises:
        FiguregroundError: the folder holds no run that can be continued.
    """
    folder = followed(folder)  # ``latest`` may point to another run before this one ends
    for name in (CONFIG, CHECKPOINT):
        if not (folder / name).is_file():
            raise FiguregroundError(f"{folder} holds no {name}; there is no run to resume. Start one without --resume")
    config = read_config(folder)
    _refuse_wrong_parts(config)
    datasets = _open_datasets(config, progress)
    return _fit(config, folder, datasets, _parts(config, datasets, resumed=True), folder / CHECKPOINT, progress)


def _open_datasets(config: TrainConfig, progress: bool) -> tuple[Dataset, Dataset]:
    preprocessing = config.preprocessing
    train_data, valid_data = (open_dataset(config.data, split) for split in ("train", "valid"))  # before one is decoded
    train_data = kept(train_data, config.data, preprocessing, progress)
    if config.teachers:
        taught = Taught(train_data, config.teachers, config.teacher_share)
        train_data = kept(taught, config.data, preprocessing, progress)
        if train_data is taught:
            raise FiguregroundError(
                f"what teachers see is kept in the cache (now {config.data.cache!r}); give --cache a folder with "
                f"{4 * len(taught) * math.prod(preprocessing.size) / 1e9:.1f} GB to spare"
            )
    return train_data, kept(valid_data, config.data, preprocessing, progress)


def _refuse_taken(folder: Path, overwrite: bool) -> None:
    """
    Raises:
        FiguregroundError: there is something that may not be replaced, or is no run.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not overwrite:
        raise FiguregroundError(
            f"{folder} exists; choose another --name, go on with --resume {folder}, or replace it with --overwrite"
        )
    if not (folder / CONFIG).is_file():
        raise FiguregroundError(f"{folder} is no run (it holds no {CONFIG}) and is not replaced; choose another --name")


def _empty_folder(folder: Path, overwrite: bool) -> None:
    """Nothing in the run's folder, and ``latest`` beside it that points there."""
    _refuse_taken(folder, overwrite)
    if folder.is_dir():
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    link_latest(folder)


class _Parts(NamedTuple):
    """What is trained, and with which batches."""

    module: SegmentationModule
    batches: tuple[ResumableLoader, DataLoader[Sample]]
    on_gpu: bool


def _parts(config: TrainConfig, datasets: tuple[Dataset, Dataset], *, resumed: bool = False) -> _Parts:
    """
    Args:
        config: all settings.
        datasets: train and valid.
        resumed: a checkpoint will bring the weights.

    Raises:
        FiguregroundError: there is no such network or GPU, or the weights that it starts from cannot be read.
    """
    on_gpu = uses_gpu(config)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    batches = loaders(config, *datasets, on_gpu)
    module = SegmentationModule(config, config.epochs * math.ceil(len(batches[0]) / config.accumulate))
    if not resumed:
        load_initial_weights(module.network, config)
    return _Parts(module, batches, on_gpu)


def _fit(
    config: TrainConfig,
    folder: Path,
    datasets: tuple[Dataset, Dataset],
    parts: _Parts,
    checkpoint: Path | None,
    progress: bool,
) -> Run:
    """Train from the start or from a checkpoint."""
    module, batches, on_gpu = parts
    keeper = RunKeeper(folder, lambda row: _describe(config, datasets, row), config.early_stopping)
    # The order counts: the keeper saves while the averaged weights are lent to the network, and an interruption comes
    # when the average has this batch's step.
    averages = [averaging(config.ema_decay)] if config.ema_decay is not None else []
    bars = [TQDMProgressBar(leave=False)] if progress else []
    logger = TensorBoardLogger(folder, name="", version="", default_hp_metric=False)
    trainer = make_trainer(
        config, on_gpu, [keeper, *averages, Interruption(folder), *bars], epochs=config.epochs, logger=logger
    )
    if checkpoint is not None:
        _refuse_other_checkpoint(checkpoint, module)
    interrupted = False
    try:
        with without_advice():
            trainer.fit(module, *batches, ckpt_path=checkpoint, weights_only=True)
    except Interrupted:
        interrupted = True
    except ValueError as error:
        if ONE_VALUE not in str(error):
            raise
        raise UsageError(
            "an epoch's last batch holds a single image, at a size that leaves the deepest stage one pixel: batch norm "
            "needs two values; choose another --batch-size, or --size 64"
        ) from None
    except FiguregroundError as error:  # of a worker process it comes wrapped in that one's traceback
        raise FiguregroundError(str(error).rpartition(f"{FiguregroundError.__name__}: ")[2].strip()) from error
    keeper.draw(module)  # the last epochs too
    return Run(folder, tuple(keeper.rows), interrupted)


def _refuse_other_checkpoint(path: Path, module: SegmentationModule) -> None:
    """Before Lightning reads it, whose errors are long.

    Raises:
        FiguregroundError: damaged, holding code, or of another network.
    """
    again = f"start anew with figureground train --config {path.parent / CONFIG}"
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        problem = misfit(module, shapes_of(found))
    except BROKEN_FILE:
        raise FiguregroundError(f"{path} is damaged, or no checkpoint of a run; {again}") from None
    if problem:
        raise FiguregroundError(f"{path} is of another network than {CONFIG} beside it: {problem}; {again}")


def _describe(config: TrainConfig, datasets: tuple[Dataset, Dataset], row: EpochRow) -> BundleInfo:
    """The metadata of the bundle of an epoch."""
    train_data, valid_data = datasets
    splits = {"train": len(train_data), "valid": len(valid_data)}
    return BundleInfo(
        model=config.model,
        preprocessing=config.preprocessing,
        data=DataSummary(train_data.name, splits, train_data.foreground),
        scores={"valid": {"n": len(valid_data), "epoch": row.epoch, "dice": {"mean": row.valid_dice}}},
        figureground=__version__,
    )
