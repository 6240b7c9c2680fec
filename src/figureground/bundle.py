"""The one file a model is: weights and all that is needed to predict, read without running any code.

A ``.safetensors`` file holds weights, an ``.onnx`` file the whole network; the metadata key ``figureground`` of both
holds one JSON object, ``BundleInfo``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from figureground.config import (
    DataConfig,
    Foreground,
    ModelConfig,
    OperatingPoint,
    PostProcessingConfig,
    QualityConfig,
    parse,
    plain,
)
from figureground.errors import BadBundleError, CannotWriteError, FiguregroundError, MissingPackageError
from figureground.files import replacing
from figureground.onnx_metadata import read_onnx_metadata
from figureground.preprocessing import Preprocessing

FORMAT_VERSION = 2  # 1 had no encoder
LONGEST_NUMBER = 18  # digits of a whole one: what 64 bits hold
WEIGHT_TYPES = {"F16", "F32", "F64", "I8", "I16", "I32", "I64", "U8", "BOOL"}  # of safetensors, that NumPy has
METADATA_KEY = "figureground"


@dataclass(frozen=True)
class DataSummary:
    """What a model was trained on."""

    name: str = ""
    splits: dict[str, int] = field(default_factory=dict)
    """Images in each split."""
    foreground: Foreground = "foreground"
    """What the border of a trimap counted as."""
    reading: DataConfig = DataConfig(source="", split="names")
    """How masks were read and images divided; where they lay is not said. Files without it were divided by names."""


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

    def __post_init__(self) -> None:
        object.__setattr__(self, "preprocessing", self.preprocessing.settled())


def write_bundle(path: Path, tensors: Mapping[str, NDArray[Any]], info: BundleInfo) -> None:
    """Write a bundle beside ``path`` and rename it into place.

    Raises:
        CannotWriteError: the folder cannot be written to, or the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    contiguous = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    with replacing(path) as partial:
        try:
            save_file(contiguous, partial, metadata={METADATA_KEY: json.dumps(plain(info))})
        except SafetensorError as error:  # a full disk, among others
            raise CannotWriteError(f"{path} could not be written ({error}); nothing was changed there") from error


def replace_info(path: Path, info: BundleInfo) -> None:
    """Give a ``.safetensors`` bundle other metadata; its weights stay.

    Raises:
        FiguregroundError: it cannot be read, or not be written.
    """
    write_bundle(path, read_tensors(path), info)


def read_info(path: Path) -> BundleInfo:
    """The metadata of a bundle; the weights are not read.

    Raises:
        BadBundleError: not a bundle, a damaged one, or one of a later format.
    """
    if path.suffix == ".onnx":
        metadata = read_onnx_metadata(path)
    else:
        with _open(path) as file:
            metadata = file.metadata() or {}
    if METADATA_KEY not in metadata:
        raise BadBundleError(
            f"{path} is not a figureground bundle (no metadata); make one with: figureground export RUN"
        )
    return parse_info(metadata[METADATA_KEY], str(path))


def parse_info(text: str, where: str) -> BundleInfo:
    """``BundleInfo`` from the JSON text of a bundle's metadata; ``where`` names the file in errors.

    Raises:
        BadBundleError: damaged, of a later format, or with a setting that is wrong.
    """
    try:
        given = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise BadBundleError(f"{where}: its metadata is damaged ({error})") from None
    version = given.get("format_version") if isinstance(given, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise BadBundleError(
            f"{where} has bundle format {version}; this version reads up to {FORMAT_VERSION}. Update figureground"
        )
    try:
        return parse(BundleInfo, given, where)
    except FiguregroundError as error:
        raise BadBundleError(str(error)) from None


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"the number {text[:LONGEST_NUMBER]}, which is not finite")
    return float(text)


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The weights of a ``.safetensors`` bundle by name.

    Raises:
        BadBundleError: missing, damaged, or another kind of file.
    """
    with _open(path) as file:
        names = list(file.keys())
        unread = {file.get_slice(name).get_dtype() for name in names} - WEIGHT_TYPES
        if unread:
            raise BadBundleError(f"{path} holds weights of {', '.join(sorted(unread))}; expected float32, or float16")
        return {name: file.get_tensor(name) for name in names}


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights of a ``.safetensors`` bundle by name, without the weights.

    Raises:
        BadBundleError: missing, damaged, or another kind of file.
    """
    with _open(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (not a dict)


def _open(path: Path) -> Any:
    """An open safetensors file.

    Raises:
        BadBundleError: missing, damaged, or another kind of file.
    """
    if not path.is_file():
        raise BadBundleError(f"{path}: no such file")
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError:
        raise MissingPackageError(
            f"{path} needs safetensors and torch, which are not installed: pip install 'figureground[train]'. "
            "Or use an .onnx file, made by figureground export"
        ) from None
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise BadBundleError(
            f"{path} is not a readable .safetensors bundle ({error}); is it cut short, or another kind of file?"
        ) from None
