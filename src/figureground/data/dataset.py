"""What images with truth look like to the rest, whatever source they come from."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from figureground.errors import BadDataError, FiguregroundError
from figureground.files import UNSPEAKABLE
from figureground.images import read_image
from figureground.preprocessing import Preprocessing

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Targets = Mapping[str, NDArray[np.uint8]]
"""By name, maps (H, W) uint8. ``figure``: how far a pixel is figure, 0 to 255 for 0 to 1. ``weight``, only where
something is left out of loss and score: 0 there, 255 elsewhere."""
Truth = tuple[NDArray[np.bool_], NDArray[np.bool_] | None]
"""A mask (H, W), and where its pixels count (H, W); none: everywhere."""
FIGURE, WEIGHT = "figure", "weight"
FULL = 255
"""The value of a pixel that is all figure, or counts in full."""
log = logging.getLogger(__name__)
_said: set[str] = set()


def say(line: str) -> None:
    """Tell the user of a dataset once, not again for each split that is opened."""
    if line not in _said:
        _said.add(line)
        log.info(os.fsencode(line).decode("utf-8", UNSPEAKABLE))  # names need not be valid UTF-8


def targets_of(mask: NDArray[np.bool_], kept: NDArray[np.bool_] | None = None) -> dict[str, NDArray[np.uint8]]:
    """Targets of a mask (H, W); ``kept`` (H, W) is False where pixels are left out, None where all count."""
    targets = {FIGURE: mask.astype(np.uint8) * np.uint8(FULL)}
    if kept is not None and not kept.all():
        targets[WEIGHT] = kept.astype(np.uint8) * np.uint8(FULL)
    return targets


@dataclass(frozen=True)
class Sample:
    """One image with its truth."""

    name: str
    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    targets: Targets

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W), True where the figure is."""
        return np.asarray(self.targets[FIGURE] > FULL // 2)

    @property
    def truth(self) -> Truth:
        """The mask, and which of its pixels count: what predictions are compared with."""
        return self.mask, self.kept

    @property
    def kept(self) -> NDArray[np.bool_] | None:
        """(H, W), False where pixels are left out of loss and score; None where all count."""
        weight = self.targets.get(WEIGHT)
        return None if weight is None else np.asarray(weight > 0)


def as_seen(preprocessing: Preprocessing, sample: Sample) -> Sample:
    """A sample at the size at which a network sees it as a whole, without padding: where scores are taken."""
    targets = {name: preprocessing.scale_target(target) for name, target in sample.targets.items()}
    return Sample(sample.name, preprocessing.scale_image(sample.image), targets)


def as_shown(preprocessing: Preprocessing, sample: Sample) -> Sample:
    """A sample at the network's size, by ``stretch`` or ``fit``; what is padded is left out."""
    image = preprocessing.resize_image(sample.image)
    targets = {name: preprocessing.resize_target(target) for name, target in sample.targets.items()}
    if WEIGHT not in targets and preprocessing.seen_size(*sample.image.shape[:2]) != image.shape[:2]:
        whole = np.full(sample.image.shape[:2], FULL, np.uint8)
        targets[WEIGHT] = preprocessing.resize_target(whole)
    return Sample(sample.name, image, targets)


def as_cached(preprocessing: Preprocessing, sample: Sample) -> Sample:
    """What training draws from: the whole photo as it is shown, or, of ``crops``, as it is seen."""
    return (as_seen if preprocessing.resize == "crops" else as_shown)(preprocessing, sample)


class Dataset(Protocol):
    """The samples of one split, by index."""

    name: str
    kind: str
    """Of its source, a key of ``sources.SOURCES``."""
    split: Split
    foreground: str
    """What the border of a trimap counts as."""
    names: Sequence[str]
    """One a sample, unique."""
    metadata: Sequence[Mapping[str, str]]
    """What its source tells of each sample besides, by name of the property."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def fingerprint(self) -> str:
        """Changes whenever a sample may have changed."""
        ...


class Derived:
    """What all datasets have in common whose samples are made of those of ``source``."""

    def __init__(self, source: Dataset) -> None:
        self.name, self.kind, self.foreground = source.name, source.kind, source.foreground
        self.split: Split = source.split
        self.names, self.metadata = source.names, source.metadata
        self._source = source

    def __len__(self) -> int:
        return len(self.names)

    def fingerprint(self) -> str:
        """Of the source."""
        return self._source.fingerprint()


@dataclass(frozen=True)
class Entry:
    """A sample that is not read yet, as its source lists it."""

    name: str
    image: Path
    truth: Any
    """What the source makes the targets of: a mask file, outlines, a number."""
    split: Split | None = None
    """Where somebody else has put it."""
    group: str | None = None
    """Samples of one group, such as slices of one patient, stay in one split."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    unpack: Callable[[Path], bytes] | None = None
    """Takes the picture file out of ``image``, where that is a file of another kind."""

    @property
    def picture(self) -> Path | bytes:
        """What functions that read images take."""
        return self.unpack(self.image) if self.unpack else self.image

    def read_image(self) -> NDArray[np.uint8]:
        """The image (H, W, 3).

        Raises:
            FiguregroundError: it is broken.
        """
        try:
            return read_image(self.picture)
        except FiguregroundError as error:
            if self.unpack is None:
                raise
            raise type(error)(f"{self.image}, its image: {error}") from None


class Source(Protocol):
    """Lists samples and reads them; who is in which split is for ``splits`` to say."""

    @property
    def kind(self) -> str:
        """A key of ``sources.SOURCES``."""

    @property
    def name(self) -> str:
        """Of the data, for reports."""

    @property
    def foreground(self) -> str:
        """What the border of a trimap counts as."""

    @property
    def entries(self) -> Sequence[Entry]:
        """All samples, unread."""

    def read(self, entry: Entry) -> Sample:
        """
        Raises:
            FiguregroundError: the image or its truth is broken, or their sizes differ.
        """
        ...

    def targets(self, entry: Entry) -> Targets:
        """The truth alone."""
        ...

    def stamp(self, entry: Entry) -> str:
        """Changes whenever the sample may have changed."""
        ...


@dataclass(frozen=True)
class FileSource:
    """Samples whose images are files."""

    kind: str
    name: str
    """Of the data, for reports."""
    entries: Sequence[Entry]
    read_targets: Callable[[Any], Targets]
    """From an entry's ``truth``."""
    foreground: str = "foreground"
    settings: str = ""
    """Everything else that decides what ``read_targets`` returns, as text."""

    def read(self, entry: Entry) -> Sample:
        """Read an image and its truth.

        Raises:
            FiguregroundError: one of them is broken, or their sizes differ.
        """
        image, targets = entry.read_image(), self.targets(entry)
        figure = targets[FIGURE]
        if image.shape[:2] != figure.shape:
            raise BadDataError(
                f"{'mask ' if isinstance(entry.truth, Path) else ''}{entry.truth} is {_size(figure)} pixels, its image "
                f"{entry.image} is {_size(image)}; expected the same. Export the mask at the image's size"
            )
        return Sample(entry.name, image, targets)

    def targets(self, entry: Entry) -> Targets:
        """The truth alone."""
        return self.read_targets(entry.truth)

    def stamp(self, entry: Entry) -> str:
        """Names, sizes and times of the files; what is no file as text."""
        return f"{self.settings} {_stamp(entry.image)} {_stamp(entry.truth)}"


class SplitDataset:
    """The samples of one split of a source, read anew each time."""

    def __init__(self, source: Source, split: Split, entries: Sequence[Entry]) -> None:
        self.name = source.name
        self.kind = source.kind
        self.split: Split = split
        self.foreground = source.foreground
        self.names: Sequence[str] = [entry.name for entry in entries]
        self.metadata: Sequence[Mapping[str, str]] = [entry.metadata for entry in entries]
        self._source = source
        self._entries = list(entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Raises:
            FiguregroundError: its image or truth is broken, or their sizes differ.
        """
        return self._source.read(self._entries[index])

    def fingerprint(self) -> str:
        """A hash of what the samples are made of."""
        return fingerprint(self._source, self._entries, self.split)


def fingerprint(source: Source, entries: Sequence[Entry], *settings: str) -> str:
    """A hash of samples of a source; it changes whenever one of them may have."""
    digest = hashlib.sha256(os.fsencode(f"{source.name} {source.foreground} {settings}"))
    for entry in entries:
        digest.update(os.fsencode(f"{entry.name} {source.stamp(entry)}\n"))
    return digest.hexdigest()


def _stamp(part: object) -> str:
    if not isinstance(part, Path):
        return repr(part)
    status = part.stat()
    return f"{part.resolve()} {status.st_size} {status.st_mtime_ns}"


def _size(pixels: NDArray[np.uint8]) -> str:
    return f"{pixels.shape[1]}×{pixels.shape[0]}"


def list_briefly(names: Sequence[str], most: int = 3, separator: str = ", ") -> str:
    """``a, b, c and 12 more``."""
    shown = separator.join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
