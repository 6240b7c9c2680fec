"""The one file a model is: weights and all that is needed to predict, read without running any code.

A ``.safetensors`` file holds weights, an ``.onnx`` file the whole network; the metadata key ``figureground`` of both
holds one JSON object, ``BundleInfo``, and the key ``figureground.proof`` another, ``Proof``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

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
from figureground.onnx_metadata import read_onnx_metadata, sum_of_onnx
from figureground.preprocessing import Preprocessing

FORMAT_VERSION = 2  # 1 had no encoder
LONGEST_NUMBER = 18  # digits of a whole one: what 64 bits hold
WEIGHT_TYPES = {"F16", "F32", "F64", "I8", "I16", "I32", "I64", "U8", "BOOL"}  # of safetensors, that NumPy has
T = TypeVar("T")
METADATA_KEY = "figureground"
PROOF_KEY = "figureground.proof"  # its own: earlier versions do not look at it


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


@dataclass(frozen=True)
class Proof:
    """By what a bundle shows that it is still what was written."""

    sha256: str
    """Of the weights (``.safetensors``), or of all but the metadata (``.onnx``)."""
    logits: tuple[float, ...] = ()
    """What the network gave for two inputs that are made by a rule (``prediction.photos.verify``)."""
    info: str = ""
    """SHA-256 of the text of ``BundleInfo``; files of earlier versions have none."""


def write_bundle(
    path: Path, tensors: Mapping[str, NDArray[Any]], info: BundleInfo, logits: Sequence[float] = ()
) -> None:
    """Write a bundle with its proof beside ``path`` and rename it into place.

    Raises:
        CannotWriteError: the folder cannot be written to, or the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    contiguous = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    metadata = as_metadata(info, Proof(_sum_of(contiguous), tuple(logits)))
    with replacing(path) as partial:
        try:
            save_file(contiguous, partial, metadata=metadata)
        except SafetensorError as error:  # a full disk, among others
            raise CannotWriteError(f"{path} could not be written ({error}); nothing was changed there") from error


def as_metadata(info: BundleInfo, proof: Proof) -> dict[str, str]:
    """What a file's metadata say of both, by key; the proof is made one of ``info`` too."""
    text = json.dumps(plain(info))
    return {METADATA_KEY: text, PROOF_KEY: json.dumps(plain(replace(proof, info=_sum_of_text(text))))}


def replace_info(path: Path, info: BundleInfo, logits: Sequence[float] | None = None) -> None:
    """Give a ``.safetensors`` bundle other metadata; its weights stay, and without ``logits`` its test vectors.

    Raises:
        FiguregroundError: it cannot be read, or not be written.
    """
    write_bundle(path, read_tensors(path), info, known_logits(path) if logits is None else logits)


def read_info(path: Path) -> BundleInfo:
    """The metadata of a bundle; the weights are not read.

    Raises:
        BadBundleError: not a bundle, a damaged one, one of a later format, or its metadata are not those of their sum.
    """
    metadata = _metadata(path)
    if METADATA_KEY not in metadata:
        raise BadBundleError(
            f"{path} is not a figureground bundle (no metadata); make one with: figureground export RUN"
        )
    info = parse_info(metadata[METADATA_KEY], str(path))
    proof = _proof_in(metadata, path)
    if proof and proof.info not in ("", _sum_of_text(metadata[METADATA_KEY])):
        raise _changed(path, "metadata")
    return info


def read_proof(path: Path) -> Proof | None:
    """The proof of a bundle; none of files from before there were any.

    Raises:
        BadBundleError: it, or the file, is damaged.
    """
    return _proof_in(_metadata(path), path)


def _proof_in(metadata: Mapping[str, str], path: Path) -> Proof | None:
    return _parsed(Proof, metadata[PROOF_KEY], str(path)) if PROOF_KEY in metadata else None


def known_logits(path: Path) -> tuple[float, ...]:
    """Those of a bundle's proof, if it has any and they are of this network."""
    proof = read_proof(path)
    changed = proof and path.suffix == ".onnx" and proof.sha256 != sum_of_onnx(path)  # by another tool
    return () if proof is None or changed else proof.logits


def require_intact(path: Path) -> None:
    """Compare a bundle with its sum; one without a sum passes.

    Raises:
        BadBundleError: its weights are not those that were written, or the file is damaged.
    """
    if path.suffix == ".onnx":
        _require_sum(path, lambda: sum_of_onnx(path))
    else:
        read_tensors(path)


def _require_sum(path: Path, found: Callable[[], str]) -> None:
    proof = read_proof(path)
    if proof is not None and proof.sha256 != found():
        raise _changed(path, "weights")


def _changed(path: Path, what: str) -> BadBundleError:
    return BadBundleError(
        f"{path} was changed or damaged since it was written: its {what} are not those of its sum. Copy it again, "
        "or make it anew"
    )


def _sum_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _sum_of(tensors: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256, in hexadecimal digits, of tensors with their names, types and shapes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype.str} {tensors[name].shape} ".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()


def _metadata(path: Path) -> dict[str, str]:
    if path.suffix == ".onnx":
        return read_onnx_metadata(path)
    with _open(path) as file:
        return file.metadata() or {}


def parse_info(text: str, where: str) -> BundleInfo:
    """``BundleInfo`` from the JSON text of a bundle's metadata; ``where`` names the file in errors.

    Raises:
        BadBundleError: damaged, of a later format, or with a setting that is wrong.
    """
    return _parsed(BundleInfo, text, where)


def _parsed(cls: type[T], text: str, where: str) -> T:
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
        return parse(cls, given, where)
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
        BadBundleError: missing, damaged, another kind of file, or its weights are not those of its sum.
    """
    with _open(path) as file:
        names = list(file.keys())
        unread = {file.get_slice(name).get_dtype() for name in names} - WEIGHT_TYPES
        if unread:
            raise BadBundleError(f"{path} holds weights of {', '.join(sorted(unread))}; expected float32, or float16")
        tensors = {name: file.get_tensor(name) for name in names}
    _require_sum(path, lambda: _sum_of(tensors))
    return tensors


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
