"""A training run: from a configuration to a folder with the best model, its history and its checkpoint."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import replace
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only

from figureground.bundle import BundleInfo, DataSummary, read_info, write_bundle
from figureground.config import TrainConfig, flat, plain, to_yaml
from figureground.data import Dataset, Split, open_dataset
from figureground.data.cache import CachedDataset
from figureground.errors import BadBundleError, CannotWriteError, UsageError
from figureground.files import replacing
from figureground.models import build
from figureground.models.learning import start_head
from figureground.runs import (
    BUNDLE_IN_RUN,
    CHECKPOINT,
    CONFIG,
    bundle_path,
    claimed,
    followed,
    forget_scores,
    link_latest,
    members_of,
    read_config,
    refuse_foreign,
    remove_run,
)
from figureground.training.budget import Deadline, within_minutes
from figureground.training.carrying import noticing_dead_workers
from figureground.training.fit import Batches, Run, fit
from figureground.training.history import Monitored, Row
from figureground.training.initial_weights import (
    load_initial_weights,
    refuse_other_weights,
    settled_weights,
)
from figureground.training.last_batch import leaves_out_last
from figureground.training.loaders import kept, loaders
from figureground.training.resumption import (
    Saved,
    facts_of,
    read_checkpoint,
    refuse_other_data,
    refuse_other_settings,
    refuse_other_shapes,
)
from figureground.training.supervised import SegmentationModule
from figureground.training.teachers import Taught
from figureground.training.trainer import keep_freed_memory, uses_gpu
from figureground.version import __version__

MONITORED = Monitored("valid_dice", "max")
LOOKED_AT = 64
"""Training images that say how much of an image the figure is."""
Datasets = tuple[Dataset, Dataset]
"""Train and valid."""
log = logging.getLogger(__name__)


def train(
    config: TrainConfig,
    folder: Path,
    *,
    overwrite: bool = False,
    progress: bool = False,
    started: float | None = None,
    scored: Split | None = "test",
    otherwise: TrainConfig | None = None,
) -> Run:
    """Train a network and leave a run in ``folder``.

    Args:
        config: all settings.
        folder: of the run; it must not exist, or be empty, unless ``overwrite`` is given.
        overwrite: replace a run that is there.
        progress: show progress bars.
        started: when ``config.minutes`` began, by ``time.monotonic``; none: now.
        scored: what the model will be scored on within ``config.minutes``; none: nothing.
        otherwise: what is tried in what is left of the minutes if, by a third of the epochs, nothing is learned.

    Raises:
        FiguregroundError: the data cannot be read, the folder is taken, what shall be replaced is no run, the loss
            diverges, the disk is full.
    """
    started = time.monotonic() if started is None else started
    keep_freed_memory()
    folder, config, otherwise = followed(folder), _settled(config), otherwise and _settled(otherwise)
    planned = config
    refuse_taken(folder, overwrite)
    start = config.initial_weights.network
    if otherwise and start and _lies_in(start, folder):
        raise CannotWriteError(
            f"{folder} is what the training starts from and would be replaced; choose another --name"
        )
    if any(_lies_in(teacher, folder) for teacher in config.teachers):
        raise CannotWriteError(f"{folder} is the teacher and would be replaced; choose another --name")
    _refuse_missing_parts(config)
    refuse_other_weights(config)
    with claimed(folder):
        datasets = open_datasets(config, progress)
        deadline = None
        if config.minutes is not None:
            with noticing_dead_workers("Start again"):
                config, deadline = within_minutes(config, datasets, started, uses_gpu(config), scored)
        module, batches = _prepared(config, datasets, otherwise is not None)
        load_initial_weights(module.network, config)
        if config.initial_weights.network is None:
            start_head(module.network, figure_share(datasets[0]))
    begin(config, folder, overwrite)
    run = _fit(module, batches, folder, config, datasets, deadline=deadline, progress=progress)
    while deadline and deadline.epochs and not run.interrupted:
        log.info("%d epochs instead of %d fit into the minutes at the pace so far", deadline.epochs, config.epochs)
        config = replace(config, epochs=deadline.epochs)
        gives_up = otherwise is not None
        run = resume(folder, epochs=config.epochs, progress=progress, deadline=deadline, gives_up=gives_up)
    if otherwise is None or not run.gave_up:
        return run
    before = flat(plain(planned))
    changed = [f"{path} {value}" for path, value in flat(plain(otherwise)).items() if value != before.get(path)]
    log.warning("nothing is learned by a third of the training; begun again with %s", ", ".join(changed))
    return train(otherwise, folder, overwrite=True, progress=progress, started=started, scored=scored)


def resume(
    folder: Path,
    *,
    epochs: int | None = None,
    progress: bool = False,
    deadline: Deadline | None = None,
    gives_up: bool = False,
) -> Run:
    """Continue a run with the same optimiser, schedule, order of images, random numbers and best score.

    Args:
        folder: of the run.
        epochs: in all, where they shall be others than the run was started with. The schedule and the sizes of images
            are then laid anew over all of them, and continued from the step that was reached.
        progress: show progress bars.
        deadline: see there.
        gives_up: stop where nothing is learned by a third of the epochs.

    Raises:
        FiguregroundError: the folder holds no run that can be continued, or its settings or images are others now.
    """
    folder = followed(folder)  # ``latest`` may point to another run before this one ends
    for name in (CONFIG, CHECKPOINT):
        if not (folder / name).is_file():
            raise BadBundleError(f"{folder} holds no {name}; there is no run to resume. Start one without --resume")
    given = read_config(folder)
    config = given if epochs is None else replace(given, epochs=epochs)
    saved = read_checkpoint(folder)
    refuse_other_settings(folder, saved, config)
    _refuse_missing_parts(config)
    datasets = open_datasets(config, progress)
    refuse_other_data(folder, saved, datasets)
    module, batches = _prepared(config, datasets, gives_up)
    refuse_other_shapes(folder, saved, module)
    if config != given:
        _write_config(config, folder)
    return _fit(module, batches, folder, config, datasets, saved, deadline=deadline, progress=progress)


def _lies_in(model: str, folder: Path) -> bool:
    """Whether a model is that of a run's folder."""
    return any(folder.resolve() in bundle_path(member).resolve().parents for member in members_of(model))


def _refuse_missing_parts(config: TrainConfig) -> None:
    """Before the data are read, which takes long.

    Raises:
        FiguregroundError: there is no such network, teacher or GPU, or the network cannot be built like that.
    """
    uses_gpu(config)
    for teacher in config.teachers:
        for member in members_of(teacher):
            read_info(bundle_path(member))
    with torch.device("meta"):  # without memory
        build(config.model)


def _settled(config: TrainConfig) -> TrainConfig:
    """With the runs that links to them, such as ``latest``, point to now: soon it is this run."""
    return replace(settled_weights(config), teachers=tuple(str(followed(teacher)) for teacher in config.teachers))


def open_datasets(config: TrainConfig, progress: bool) -> Datasets:
    """The images to train on, with what teachers see in them, and those to validate on; from the cache.

    Raises:
        FiguregroundError: they cannot be read, or there are teachers and no cache.
    """
    preprocessing = config.preprocessing
    train_data, valid_data = (open_dataset(config.data, split) for split in ("train", "valid"))  # before one is decoded
    # What is cached of crops is scaled, which teachers and the second cache would do once more.
    if not (config.teachers and preprocessing.resize == "crops"):
        train_data = kept(train_data, config.data, preprocessing, progress)
    if config.teachers:
        taught = Taught(train_data, config.teachers, config.teacher_share)
        train_data = kept(taught, config.data, preprocessing, progress)
        if not isinstance(train_data, CachedDataset):
            raise UsageError(
                f"what teachers see is kept in the cache (now {config.data.cache!r}); give --cache a folder with "
                f"{4 * len(taught) * math.prod(preprocessing.size) / 1e9:.1f} GB to spare"
            )
    return train_data, kept(valid_data, config.data, preprocessing, progress)


@rank_zero_only  # other processes come when it is taken
def refuse_taken(folder: Path, overwrite: bool) -> None:
    """
    Raises:
        CannotWriteError: there is something that may not be replaced, or is no run.
    """
    if folder.is_file():
        raise CannotWriteError(f"{folder} is a file; expected a folder for the run")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not overwrite:
        raise CannotWriteError(
            f"{folder} exists; choose another --name, go on with --resume {folder}, or replace it with --overwrite"
        )
    refuse_foreign(folder)


@rank_zero_only
def begin(config: TrainConfig, folder: Path, overwrite: bool) -> None:
    """Nothing of another run in the folder but the settings, and ``latest`` beside it that points there."""
    refuse_taken(folder, overwrite)  # by another run meanwhile
    remove_run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    link_latest(folder)
    _write_config(config, folder)


@rank_zero_only
def _write_config(config: TrainConfig, folder: Path) -> None:
    with replacing(folder / CONFIG) as partial:
        partial.write_text(to_yaml(config))


def _prepared(config: TrainConfig, datasets: Datasets, gives_up: bool = False) -> tuple[SegmentationModule, Batches]:
    """What is trained, with random weights, and with which batches.

    Raises:
        FiguregroundError: there is no such network, or all batches are of one image, which is too few.
    """
    drop_last = leaves_out_last(config, config.epoch_images or len(datasets[0]))
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    batches = loaders(config, *datasets, uses_gpu(config), drop_last=drop_last)
    steps = config.epochs * math.ceil(len(batches[0]) / config.accumulate)
    return SegmentationModule(config, steps, gives_up), batches


def figure_share(dataset: Dataset) -> float:
    """The share of the pixels that are figure, as a few of the images show it; never 0 or 1."""
    chosen = np.linspace(0, len(dataset) - 1, min(LOOKED_AT, len(dataset))).round().astype(int)
    samples = (dataset[int(index)] for index in chosen)
    shares = [np.average(each.mask, weights=each.kept) for each in samples if each.kept is None or each.kept.any()]
    return float(np.clip(np.mean(shares or 0.5), 0.001, 0.999))


def _fit(
    module: SegmentationModule,
    batches: Batches,
    folder: Path,
    config: TrainConfig,
    datasets: Datasets,
    saved: Saved | None = None,
    *,
    deadline: Deadline | None = None,
    progress: bool,
) -> Run:
    """Train from the start or from what is saved."""

    def keep(row: Row) -> None:
        network = {name: tensor.cpu().numpy() for name, tensor in module.network.state_dict().items()}
        forget_scores(folder)
        write_bundle(folder / BUNDLE_IN_RUN, network, _describe(config, datasets, row))

    return fit(
        module,
        batches,
        folder,
        config,
        monitored=MONITORED,
        keep=keep,
        facts=facts_of(config, datasets),
        title=f"{config.model.name}: {folder.name}",
        checkpoint=None if saved is None else folder / CHECKPOINT,
        new_schedule=saved is not None and saved.epochs != config.epochs,
        deadline=deadline,
        progress=progress,
    )


def _describe(config: TrainConfig, datasets: Datasets, row: Row) -> BundleInfo:
    """The metadata of the bundle of an epoch."""
    train_data, valid_data = datasets
    splits = {"train": len(train_data), "valid": len(valid_data)}
    reading = replace(config.data, source="", cache="auto")
    return BundleInfo(
        model=config.model,
        preprocessing=config.preprocessing,
        data=DataSummary(train_data.name, splits, config.data.foreground, reading),
        scores={"valid": {"n": len(valid_data), "epoch": row["epoch"], "dice": {"mean": row[MONITORED.name]}}},
        figureground=__version__,
    )
