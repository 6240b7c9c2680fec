"""A training run: from a configuration to a folder with the best model, its history and its checkpoint."""

from __future__ import annotations

import logging
import math
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import lightning
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from figureground.bundle import BundleInfo, DataSummary
from figureground.config import TrainConfig, parse, read_settings, to_yaml
from figureground.data import Dataset
from figureground.errors import FiguregroundError
from figureground.images import replacing
from figureground.preprocessing import Preprocessing
from figureground.training.datamodule import loaders, open_for_training
from figureground.training.history import EpochRow
from figureground.training.keeper import BEST, LAST, Interrupted, Interruption, RunKeeper, averaging
from figureground.training.module import SegmentationModule
from figureground.version import __version__

CONFIG = "config.yaml"
log = logging.getLogger(__name__)


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
        return self.folder / BEST

    @property
    def best(self) -> EpochRow | None:
        """The epoch whose model is kept."""
        return max(self.rows, key=lambda row: row.valid_dice, default=None)


def train(config: TrainConfig, folder: Path, *, overwrite: bool = False, progress: bool = False) -> Run:
    """Train a network and leave a run in ``folder``.

    Args:
        config: all settings.
        folder: of the run; it must not exist, or be empty, unless ``overwrite`` is given.
        overwrite: replace a run that is there.
        progress: show progress bars.

    Raises:
        FiguregroundError: the data cannot be read, the folder is taken, the loss diverges, the disk is full.
    """
    if folder.is_file():
        raise FiguregroundError(f"{folder} is a file; expected a folder for the run")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise FiguregroundError(
            f"{folder} exists; choose another --name, go on with --resume {folder}, or replace it with --overwrite"
        )
    datasets = _open_datasets(config, progress)
    _make_folder(folder, overwrite)
    with replacing(folder / CONFIG) as partial:
        partial.write_text(to_yaml(config))
    return _fit(config, folder, datasets, None, progress)


def resume(folder: Path, *, progress: bool = False) -> Run:
    """Continue an interrupted run with the same optimiser, schedule, order of images and best score.

    Raises:
        FiguregroundError: the folder holds no run that can be continued.
    """
    for name in (CONFIG, LAST):
        if not (folder / name).is_file():
            raise FiguregroundError(f"{folder} holds no {name}; there is no run to resume. Start one without --resume")
    config = parse(TrainConfig, read_settings(folder / CONFIG), str(folder / CONFIG))
    return _fit(config, folder, _open_datasets(config, progress), folder / LAST, progress)


def _open_datasets(config: TrainConfig, progress: bool) -> tuple[Dataset, Dataset]:
    preprocessing = Preprocessing(config.preprocessing.size, config.preprocessing.resize)
    train_data = open_for_training(config.data, preprocessing, "train", progress)
    return train_data, open_for_training(config.data, preprocessing, "valid", progress)


def _make_folder(folder: Path, overwrite: bool) -> None:
    """An empty folder, and ``latest`` beside it that points there."""
    if overwrite and folder.is_dir():
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FiguregroundError(f"{folder} cannot be made ({error.strerror}); choose another with --output") from error
    latest = folder.parent / "latest"
    if latest.is_symlink() or not latest.exists():
        latest.unlink(missing_ok=True)
        latest.symlink_to(folder.name)


def _fit(
    config: TrainConfig, folder: Path, datasets: tuple[Dataset, Dataset], checkpoint: Path | None, progress: bool
) -> Run:
    """Train from the start, or from a checkpoint."""
    train_data, valid_data = datasets
    on_gpu = config.device != "cpu" and torch.cuda.is_available()
    if config.device == "gpu" and not on_gpu:
        raise FiguregroundError("there is no GPU that torch can use; leave out --device, or install a torch with CUDA")
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    batches = loaders(config, train_data, valid_data, on_gpu)
    module = SegmentationModule(config, config.epochs * math.ceil(len(batches[0]) / config.accumulate))

    def describe(row: EpochRow) -> BundleInfo:
        splits = {"train": len(train_data), "valid": len(valid_data)}
        scores = {"valid": {"n": len(valid_data), "epoch": row.epoch, "dice": {"mean": row.valid_dice}}}
        data = DataSummary(train_data.name, splits, train_data.foreground)
        return BundleInfo(replace(config.model, arguments=_to_rebuild(config)), config.preprocessing, data=data,
                          scores=scores, figureground=__version__)  # fmt: skip

    keeper = RunKeeper(folder, describe, config.early_stopping)
    # The order counts: the keeper saves while the averaged weights are lent to the network, and an interruption comes
    # when the average has this batch's step.
    callbacks: list[lightning.Callback] = [keeper]
    if config.ema_decay is not None:
        callbacks.append(averaging(config.ema_decay))
    callbacks.append(Interruption(folder))
    if progress:
        callbacks.append(TQDMProgressBar(leave=False))
    interrupted = False
    with _without_lightnings_advice():
        trainer = lightning.Trainer(
            accelerator="gpu" if on_gpu else "cpu",
            devices=1,
            precision=_precision(config, on_gpu),
            max_epochs=config.epochs,
            accumulate_grad_batches=config.accumulate,
            gradient_clip_val=config.clip,
            callbacks=callbacks,
            logger=TensorBoardLogger(folder, name="", version="", default_hp_metric=False),
            enable_checkpointing=False,
            enable_progress_bar=progress,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )
        try:
            trainer.fit(module, *batches, ckpt_path=checkpoint, weights_only=True)
        except Interrupted:
            interrupted = True
    return Run(folder, tuple(keeper.rows), interrupted)


def _to_rebuild(config: TrainConfig) -> dict[str, object]:
    """The model's arguments for a bundle, which brings its own weights: none are to be downloaded again."""
    return {name: value for name, value in config.model.arguments.items() if name != "pretrained"}


def _precision(config: TrainConfig, on_gpu: bool) -> Literal["bf16-mixed", "32-true"]:
    """Lightning's name for the precision to train in."""
    if config.precision == "auto":
        fast = torch.cuda.is_bf16_supported() if on_gpu else _cpu_multiplies_bfloat16()
        return "bf16-mixed" if fast else "32-true"
    return "bf16-mixed" if config.precision == "bfloat16" else "32-true"


def _cpu_multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for it; where it is emulated, float32 is faster."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@contextmanager
def _without_lightnings_advice() -> Iterator[None]:
    """Lightning's start-up lines and its advice on settings that are chosen here on purpose, kept from the user."""
    names = ("lightning.pytorch", "lightning.fabric")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in (
                ".*does not have many workers.*",  # on a CPU more would take time from the network
                ".*dataloader is not resumable.*",  # ours is; Lightning's check looks at the wrapper
                ".*Checkpoint directory .* exists.*",
                ".*treespec.*is deprecated.*",
            ):
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def free_folder(runs: Path, name: str) -> Path:
    """``runs/name``, or ``runs/name-2`` and so on if it is taken."""
    folder, number = runs / name, 1
    while folder.exists():
        number += 1
        folder = runs / f"{name}-{number}"
    return folder
