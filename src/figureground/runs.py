"""The folders of runs, and which bundle a run, a file or a name stands for."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from figureground.config import TrainConfig, parse, read_settings
from figureground.errors import BadBundleError, BadSettingsError, CannotWriteError, FiguregroundError
from figureground.files import UNSPEAKABLE, temporary_name
from figureground.pretrained import PRETRAINED, pretrained_bundle

BUNDLE_IN_RUN = "model.safetensors"
"""The bundle of a run's best epoch, in the run's folder."""
CONFIG = "config.yaml"
"""A run's settings, all of them."""
CHECKPOINT = "last.ckpt"
"""What a resumption needs, of the last epoch."""
CHECKPOINTS = (".ckpt", ".pth", ".pt")
"""Suffixes of torch's own files, which can hold more than weights."""
HISTORY_TABLE, HISTORY_PICTURE = "metrics.csv", "history.png"
"""What each epoch gave, a row each, and its curves."""
PER_IMAGE = "per_image.csv"
"""The figures of every image of the split that was scored."""
REPORT = "report.html"
FOLDS, OUT_OF_FOLD = "folds.json", "out_of_fold.csv"
"""Of a cross-validation: its figures, and those of every image by the network that has not seen it."""


def scores_file(split: str) -> str:
    """The name of the file with the figures of a split, such as ``test.json``."""
    return f"{split}.json"


_FILES = (
    CONFIG, BUNDLE_IN_RUN, CHECKPOINT, HISTORY_TABLE, HISTORY_PICTURE, PER_IMAGE, REPORT,
    *(scores_file(split) for split in ("train", "valid", "test")),
    "model.onnx", "model-float16.onnx", "model-int8.onnx",  # exports
)  # fmt: skip
_OF_ONE = (
    *_FILES,
    f"{Path(REPORT).stem}/*.png",
    *("events.out.tfevents.*", "hparams.yaml"),  # of TensorBoard
    *("*".join(temporary_name(Path(name))) for name in _FILES),  # of processes that were killed
)
WRITTEN = (*_OF_ONE, FOLDS, OUT_OF_FOLD, *(f"fold-*/{pattern}" for pattern in _OF_ONE))
"""What is written into a run's folder, as patterns."""


def read_config(folder: Path) -> TrainConfig:
    """The settings of a run.

    Raises:
        FiguregroundError: its ``config.yaml`` is missing, or damaged.
    """
    return parse(TrainConfig, run_settings(folder / CONFIG), str(folder / CONFIG))


def run_settings(source: str | Path) -> dict[str, Any]:
    """The settings in a YAML file, or in the recipe of that name.

    A run's from before folders were divided by shares keeps its division: its test images stay its own.

    Raises:
        FiguregroundError: there is no such file or recipe, or it is damaged.
    """
    settings = read_settings(source)
    data = settings.get("data")
    if isinstance(data, dict) and "cache" in data:  # all settings are there, as in a run's
        data.setdefault("split", "names")
    return settings


def free_folder(parent: Path, name: str) -> Path:
    """``parent/name``, or ``parent/name-2`` and so on if it is taken."""
    folder, number = parent / name, 1
    while folder.exists():
        number += 1
        folder = parent / f"{name}-{number}"
    return folder


def refuse_foreign(folder: Path) -> None:
    """A run's folder that shall be replaced holds nothing but what a run has written.

    Raises:
        CannotWriteError: it is none, or there is something else, which is named.
    """
    if not (folder / CONFIG).is_file():
        raise CannotWriteError(f"{folder} is no run (it holds no {CONFIG}) and is not replaced; choose another --name")
    try:
        read_config(folder)
        if "cache" not in (read_settings(folder / CONFIG).get("data") or {}):
            raise BadSettingsError(f"{CONFIG} does not hold all settings, as a run's does")
    except FiguregroundError as error:
        raise CannotWriteError(f"{folder} is no run and is not replaced; choose another --name ({error})") from None
    files = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    foreign = sorted(set(files) - set(_written(folder)))
    if foreign:
        raise CannotWriteError(
            f"{folder} holds {foreign[0].relative_to(folder)}, which no run has written, and is not replaced; move it "
            f"away ({len(foreign)} in all), or choose another --name"
        )


def forget_scores(folder: Path) -> None:
    """Take away what was said of a run's earlier model."""
    names = (REPORT, PER_IMAGE, *map(scores_file, ("train", "valid", "test")))
    for path in (*(folder / name for name in names), *folder.glob(f"{Path(REPORT).stem}/*.png")):
        path.unlink(missing_ok=True)


def remove_run(folder: Path) -> None:
    """What a run has written there, and nothing else."""
    written = _written(folder)
    for path in written:
        path.unlink()
    above = {parent for path in written for parent in path.parents if folder in parent.parents}
    for each in sorted(above, reverse=True):  # the inner ones first
        with suppress(OSError):  # somebody has put a file there meanwhile
            each.rmdir()


def _written(folder: Path) -> list[Path]:
    found = {path for pattern in WRITTEN for path in folder.glob(pattern)}
    return sorted(path for path in found if path.is_symlink() or path.is_file())


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """A run's folder, made before its data are read, which takes long: another run then takes another name.

    If that fails, a folder that was not there before is gone again.
    """
    there = folder.is_dir()
    try:
        folder.mkdir(parents=True, exist_ok=there)
    except OSError as error:
        if folder.is_dir():
            raise CannotWriteError(f"{folder} was just taken by another run; choose another --name") from None
        raise CannotWriteError(f"{folder} cannot be made ({error.strerror}); choose another with --output") from error
    try:
        yield
    except BaseException:
        if not there:
            with suppress(OSError):  # the cache may be in it
                folder.rmdir()
        raise


def link_latest(folder: Path) -> None:
    """Let ``latest`` beside a run's folder point to it; of a fold, the folder of all is what is looked for."""
    if (folder.parent / CONFIG).is_file():
        return
    latest = folder.parent / "latest"
    if latest.is_symlink() or not latest.exists():
        with suppress(OSError):  # a convenience, which some file systems do not have
            latest.unlink(missing_ok=True)
            latest.symlink_to(folder.name)


def followed(source: str | Path) -> Path:
    """A run, or a file in one, by the folder that a link such as ``runs/latest`` points to now: by the end of a long
    command it may be another.
    """
    path = Path(source)
    for link in (path, path.parent):
        if link.is_symlink() and link.is_dir():
            return link.parent / link.readlink() / path.relative_to(link)
    return path


def is_run(folder: Path) -> bool:
    """Whether a folder holds what a training leaves, with its model or still without."""
    with suppress(OSError):  # not one that could be read; what it is instead is for others to say
        return any((folder / name).is_file() for name in (BUNDLE_IN_RUN, CONFIG, CHECKPOINT, HISTORY_TABLE))
    return False


def is_model(source: str) -> bool:
    """Whether this names a model, or what should hold one, rather than photos.

    That is a bundle or checkpoint by its suffix, a run, or a name of ``PRETRAINED`` unless photos have it.
    """
    path = Path(source)
    named = source in PRETRAINED and not path.exists()
    return named or path.suffix in (".safetensors", ".onnx", *CHECKPOINTS) or is_run(path)


def bundle_path(source: str | Path) -> Path:
    """The bundle that ``source`` is, that the run folder ``source`` holds, or that has this name in the package.

    A run folder, though it be without a model, or a file goes before a model of the package with its name.

    Raises:
        BadBundleError: there is none.
    """
    path = followed(source)
    if (path / BUNDLE_IN_RUN).is_file():
        return path / BUNDLE_IN_RUN
    if str(source) in PRETRAINED and not path.is_file() and not is_run(path):
        return pretrained_bundle(str(source))
    if fold_folder(path, 1).is_dir():
        raise BadBundleError(
            f"{path} holds folds, which are several models; expected one. Give {fold_folder(path, 1)}, or make one of "
            f"them with: figureground average {path}"
        )
    if path.is_dir():
        raise BadBundleError(
            f"{path} holds no {BUNDLE_IN_RUN}; expected a run folder behind its first epoch, or a bundle file"
        )
    if not path.is_file():
        raise BadBundleError(
            f"{path}: no such model; expected a run folder, a bundle (.safetensors, .onnx), "
            f"or a name: {', '.join(PRETRAINED)}"
        )
    if path.suffix in CHECKPOINTS:
        raise BadBundleError(f"{path} is a checkpoint, for resuming only; give the run's folder or its {BUNDLE_IN_RUN}")
    return path


def fold_folder(folder: Path, number: int) -> Path:
    """The run of one fold of a cross-validation, from 1."""
    return folder / f"fold-{number}"


def is_cross_validation(folder: Path) -> bool:
    """Whether this is the folder of all folds: settings, and no model of its own."""
    if not (folder / CONFIG).is_file() or (folder / BUNDLE_IN_RUN).is_file():
        return False
    return read_config(folder).data.cross_validates


def members_of(source: str | Path) -> list[str]:
    """The models that ``source`` stands for: of a cross-validation those of its folds, otherwise itself.

    Raises:
        FiguregroundError: a fold has no model yet.
    """
    folder = followed(source)
    if not is_cross_validation(folder):
        return [str(source)]
    folds = [fold_folder(folder, number + 1) for number in range(read_config(folder).data.folds or 0)]
    without = [fold for fold in folds if not (fold / BUNDLE_IN_RUN).is_file()]
    if without:
        raise BadBundleError(
            f"{folder} has {len(folds)} folds, of which {len(without)} hold no model ({without[0].name}); go on with: "
            f"figureground train --resume {folder}"
        )
    return [str(fold) for fold in folds]


def held_out_by(folder: Path) -> dict[str, int]:
    """By the name of an image the place, in ``members_of``, of the network that has not seen it.

    Raises:
        BadBundleError: this is no cross-validation, or not all of it is done.
    """
    path = folder / OUT_OF_FOLD
    if not path.is_file():
        raise BadBundleError(f"{folder} holds no {OUT_OF_FOLD}; expected the run of a figureground train --folds")
    with path.open(newline="", encoding="utf-8", errors=UNSPEAKABLE) as file:
        return {row["name"]: int(row["fold"]) - 1 for row in csv.DictReader(file)}


def trainable_bundle(source: str | Path) -> Path:
    """The bundle whose weights a training can go on from: as ``bundle_path``, and of a name the file that holds them.

    Raises:
        BadBundleError: there is none, or it is an exported file.
    """
    path = bundle_path(source)
    if path.suffix != ".onnx":
        return path
    if str(source) not in PRETRAINED or path != pretrained_bundle(str(source)):
        raise BadBundleError(
            f"{path} is an exported file, which is not trained on; give the run or the .safetensors it was made from"
        )
    trainable = path.with_suffix(".safetensors")
    if not trainable.is_file():
        raise BadBundleError(
            f"{source} has no trainable weights in this version; start from a run or a .safetensors bundle, or learn "
            f"from it with --teacher {source}"
        )
    return trainable
