"""The one file a model is: weights and all that is needed to predict, read without running any code.

A ``.safetensors`` file holds weights, an ``.onnx`` file the whole network; the metadata key ``figureground`` of both
holds one JSON object, ``BundleInfo``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from figureground.config import (
    ModelConfig,
    OperatingPoint,
    PostProcessingConfig,
    PreprocessingConfig,
    QualityConfig,
    parse,
    plain,
)
from figureground.errors import FiguregroundError
from figureground.images import replacing
from figureground.onnx_metadata import read_onnx_metadata
from figureground.pretrained import PRETRAINED, pretrained_bundle

FORMAT_VERSION = 1
METADATA_KEY = "figureground"
BUNDLE_IN_RUN = "model.safetensors"
"""The bundle of a run's best epoch, in the run's folder."""


@dataclass(frozen=True)
class DataSummary:
    """What a model was trained on."""

    name: str = ""
    splits: dict[str, int] = field(default_factory=dict)
    """Images in each split."""
    foreground: str = "foreground"
    """What the border of a trimap counted as."""


@dataclass(frozen=True)
class BundleInfo:
    """All that is needed to predict with the weights beside it, and where they come from."""

    model: ModelConfig = ModelConfig()
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    operating_point: OperatingPoint = OperatingPoint()
    post_processing: PostProcessingConfig = PostProcessingConfig()
    quality: QualityConfig = QualityConfig()
    data: DataSummary = DataSummary()
    scores: dict[str, Any] = field(default_factory=dict)
    """By split, in the form of ``evaluate --json``."""
    licence: str = ""
    export: dict[str, Any] = field(default_factory=dict)
    """Of an exported file: its precision, and how it compares with the model it was made from."""
    figureground: str = ""
    """The version that wrote it."""
    format_version: int = FORMAT_VERSION


def free_folder(parent: Path, name: str) -> Path:
    """``parent/name``, or ``parent/name-2`` and so on if it is taken."""
    folder, number = parent / name, 1
    while folder.exists():
        number += 1
        folder = parent / f"{name}-{number}"
    return folder


def followed(source: str | Path) -> Path:
    """A run, or a file in one, by the folder that a link such as ``runs/latest`` points to now: by the end of a long
    command it may be another.
    """
    path = Path(source)
    for link in (path, path.parent):
        if link.is_symlink() and link.is_dir():
            return link.parent / link.readlink() / path.relative_to(link)
    return path


def bundle_path(source: str | Path) -> Path:
    """The bundle that ``source`` is, that the run folder ``source`` holds, or that has this name in the package.

    A run folder or a file goes before a model of the package with its name.

    Raises:
        FiguregroundError: there is none.
    """
    path = followed(source)
    if (path / BUNDLE_IN_RUN).is_file():
        return path / BUNDLE_IN_RUN
    if str(source) in PRETRAINED and not path.is_file():
        return pretrained_bundle(str(source))
    if path.is_dir():
        raise FiguregroundError(
            f"{path} holds no {BUNDLE_IN_RUN}; expected a run folder behind its first epoch, or a bundle file"
        )
    if not path.is_file():
        raise FiguregroundError(
            f"{path}: no such model; expected a run folder, a bundle (.safetensors, .onnx), "
            f"or a name: {', '.join(PRETRAINED)}"
        )
    if path.suffix in (".pth", ".pt", ".ckpt"):
        raise FiguregroundError(
            f"{path} is a checkpoint, for resuming only; give the run's folder or its {BUNDLE_IN_RUN}"
        )
    return path


def write_bundle(path: Path, tensors: Mapping[str, NDArray[Any]], info: BundleInfo) -> None:
    """Write a bundle beside ``path`` and rename it into place.

    Raises:
        FiguregroundError: the folder cannot be written to, or the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    contiguous = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    with replacing(path) as partial:
        try:
            save_file(contiguous, partial, metadata={METADATA_KEY: json.dumps(plain(info))})
        except SafetensorError as error:  # a full disk, among others
            raise OSError(str(error)) from error


def replace_info(path: Path, info: BundleInfo) -> None:
    """Give a ``.safetensors`` bundle other metadata; its weights stay.

    Raises:
        FiguregroundError: it cannot be read, or not be written.
    """
    write_bundle(path, read_tensors(path), info)


def read_info(path: Path) -> BundleInfo:
    """The metadata of a bundle; the weights are not read.

    Raises:
        FiguregroundError: not a bundle, a damaged one, or one of a later format.
    """
    if path.suffix == ".onnx":
        metadata = read_onnx_metadata(path)
    else:
        with _open(path) as file:
            metadata = file.metadata() or {}
    if METADATA_KEY not in metadata:
        raise FiguregroundError(
            f"{path} is not a figureground bundle (no metadata); make one with: figureground export RUN"
        )
    return parse_info(metadata[METADATA_KEY], str(path))


def parse_info(text: str, where: str) -> BundleInfo:
    """``BundleInfo`` from the JSON text of a bundle's metadata; ``where`` names the file in errors."""
    try:
        given = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise FiguregroundError(f"{where}: its metadata is damaged ({error})") from None
    version = given.get("format_version") if isinstance(given, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise FiguregroundError(
            f"{where} has bundle format {version}; this version reads up to {FORMAT_VERSION}. Update figureground"
        )
    return parse(BundleInfo, given, where)


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The weights of a ``.safetensors`` bundle by name.

    Raises:
        FiguregroundError: missing, damaged, or another kind of file.
    """
    with _open(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)


def _open(path: Path) -> Any:
    """An open safetensors file.

    Raises:
        FiguregroundError: missing, damaged, or another kind of file.
    """
    if not path.is_file():
        raise FiguregroundError(f"{path}: no such file")
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError:
        raise FiguregroundError(
            f"{path} needs safetensors and torch, which are not installed: pip install 'figureground[train]'. "
            "Or use an .onnx file, made by figureground export"
        ) from None
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise FiguregroundError(
            f"{path} is not a readable .safetensors bundle ({error}); is it cut short, or another kind of file?"
        ) from None
