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
    QualityConfig,
    parse,
    plain,
)
from figureground.errors import FiguregroundError
from figureground.files import replacing
from figureground.onnx_metadata import read_onnx_metadata
from figureground.preprocessing import Preprocessing

FORMAT_VERSION = 2  # 1 had no encoder
METADATA_KEY = "figureground"


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
    preprocessing: Preprocessing = Preprocessing()
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


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights of a ``.safetensors`` bundle by name, without the weights.

    Raises:
        FiguregroundError: missing, damaged, or another kind of file.
    """
    with _open(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (not a dict)


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
