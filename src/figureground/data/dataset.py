"""What every source of images and masks looks like to the rest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from figureground.errors import FiguregroundError
from figureground.images import read_image
from figureground.labels import FIGURE

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class Sample:
    """One image with its truth."""

    name: str
    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    labels: NDArray[np.uint8]
    """(H, W): 0 background, 1 figure, 255 left out of loss and score."""

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W), True where the figure is."""
        return np.asarray(self.labels == FIGURE)


class Dataset(Protocol):
    """The samples of one split, by index."""

    name: str
    split: Split
    foreground: str
    """What the border of a trimap counts as."""
    names: Sequence[str]
    """One a sample, unique."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def fingerprint(self) -> str:
        """Changes whenever a sample may have changed."""
        ...


class Pair(NamedTuple):
    """An image file and the mask file that belongs to it."""

    name: str
    image: Path
    mask: Path


class FileDataset:
    """Images and masks in files, read anew each time.

    Args:
        name: of the data, for reports.
        split: train, valid or test.
        pairs: the files.
        read_labels: from a mask file to its label map.
        foreground: what the border of a trimap counts as.
        settings: everything else that decides what ``read_labels`` returns, as text.
    """

    def __init__(
        self,
        name: str,
        split: Split,
        pairs: Sequence[Pair],
        read_labels: Callable[[Path], NDArray[np.uint8]],
        foreground: str = "foreground",
        settings: str = "",
    ) -> None:
        self.name = name
        self.split: Split = split
        self.foreground = foreground
        self.names: Sequence[str] = [pair.name for pair in pairs]
        self._pairs = list(pairs)
        self._read_labels = read_labels
        self._settings = settings

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read one image and its mask.

        Raises:
            FiguregroundError: one of them is broken, or their sizes differ.
        """
        pair = self._pairs[index]
        image = read_image(pair.image)
        labels = self._read_labels(pair.mask)
        if image.shape[:2] != labels.shape:
            raise FiguregroundError(
                f"mask {pair.mask} is {_size(labels)} pixels, its image {pair.image} is {_size(image)}; "
                "expected the same. Export the mask at the image's size"
            )
        return Sample(pair.name, image, labels)

    def fingerprint(self) -> str:
        """A hash of the files' names, sizes and times."""
        digest = hashlib.sha256(f"{self.name} {self.split} {self.foreground} {self._settings}".encode())
        for pair in self._pairs:
            for path in (pair.image, pair.mask):
                status = path.stat()
                digest.update(os.fsencode(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}\n"))
        return digest.hexdigest()


def _size(pixels: NDArray[np.uint8]) -> str:
    return f"{pixels.shape[1]}×{pixels.shape[0]}"


def list_briefly(names: Sequence[str], most: int = 3, separator: str = ", ") -> str:
    """``a, b, c and 12 more``."""
    shown = separator.join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
