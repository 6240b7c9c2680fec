"""Data of one's own: ``images/`` and ``masks/``, paired by the name before the suffix.

``train/ valid/ test/`` may stand below them (``images/train``) or above (``train/images``). Without, the names' hashes
divide the images 80/10/10, so an image stays in its split however many are added.
"""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from figureground.data.dataset import SPLITS, FileDataset, Pair, Split, list_briefly
from figureground.errors import FiguregroundError
from figureground.files import files_below, is_hidden
from figureground.image_files import IMAGE_SUFFIXES
from figureground.images import read_levels
from figureground.labels import BACKGROUND, FIGURE

SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation"),
    "test": ("test", "testing"),
}
log = logging.getLogger(__name__)


def open_folder(root: Path, split: Split, mask_threshold: int | None = None) -> FileDataset:
    """One split of the images and masks in ``root``.

    Raises:
        FiguregroundError: images without a mask, two images of one name, a split without images.
    """
    own = {name: split_folders(root, name) for name in SPLITS}
    if any(own.values()):
        folders = own[split]
        if folders is None:
            there = ", ".join(name for name in SPLITS if own[name])
            raise FiguregroundError(f"{root} is divided into {there}, but has no {split}; add a {split} folder")
        pairs = pair_by_stem(*folders)
    else:
        pairs = [p for p in pair_by_stem(root / "images", root / "masks") if hashed_split(p.name) == split]
    if not pairs:
        raise FiguregroundError(
            f"{root}: no image is in the split {split!r}. Add images, or divide them yourself: "
            "images/train, images/valid, images/test, and the same below masks"
        )
    reader = MaskReader([pair.mask for pair in pairs], mask_threshold)
    return FileDataset(root.resolve().name, split, pairs, reader, settings=f"{mask_threshold}")


def split_folders(root: Path, split: Split) -> tuple[Path, Path] | None:
    """The folders of images and masks of a split that the user has made, if there are."""
    for name in SPLIT_FOLDERS[split]:
        for images, masks in (
            (root / "images" / name, root / "masks" / name),
            (root / name / "images", root / name / "masks"),
        ):
            if images.is_dir():
                return images, masks
    return None


def hashed_split(name: str) -> Split:
    """The split of an image by its name alone: 80% train, 10% valid, 10% test."""
    tenth = int(hashlib.sha256(os.fsencode(name)).hexdigest(), 16) % 10
    return "valid" if tenth == 8 else "test" if tenth == 9 else "train"


def pair_by_stem(images: Path, masks: Path) -> list[Pair]:
    """Every image file below ``images`` with the mask below ``masks`` that has its path up to the suffix."""
    if not masks.is_dir():
        raise FiguregroundError(f"{masks}: no such folder; expected the masks of {images} there")
    image_files, mask_files = _by_stem(images), _by_stem(masks)
    without = sorted(set(image_files) - set(mask_files))
    if without:
        raise FiguregroundError(
            f"{len(without)} of {len(image_files)} images in {images} have no mask in {masks}: "
            f"{list_briefly([image_files[name].name for name in without])}. "
            f"Add masks of that name (such as {without[0]}.png) or take the images out"
        )
    spare = sorted(set(mask_files) - set(image_files))
    if spare:
        log.warning("%d masks in %s have no image and are not used: %s", len(spare), masks, list_briefly(spare))
    return [Pair(name, image_files[name], mask_files[name]) for name in sorted(image_files)]


def _by_stem(folder: Path) -> dict[str, Path]:
    """Image files below a folder by name, each of which only one file may have."""
    found = files_by_stem(folder)
    for first, *others in found.values():
        if others:
            raise FiguregroundError(f"{first} and {others[0]} have the same name; rename or remove one of them")
    return {name: files[0] for name, files in found.items()}


def files_by_stem(folder: Path) -> dict[str, list[Path]]:
    """Image files below a folder by their relative path without the suffix; hidden ones do not count."""
    found: dict[str, list[Path]] = {}
    for path in files_below(folder):
        if path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path, folder) and path.is_file():
            found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
    return found


class MaskReader:
    """Mask file to label map. A mask has two values, the higher of which is the figure, or a threshold is given.

    A mask with a single value other than 0 can be empty or full; the other masks decide.
    """

    def __init__(self, masks: list[Path], threshold: int | None = None) -> None:
        self._masks = masks
        self._threshold = threshold

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """The label map (H, W) of a mask file.

        Raises:
            FiguregroundError: more than two values and no threshold.
        """
        levels = read_levels(path)
        if self._threshold is not None:
            return np.where(levels >= self._threshold, FIGURE, BACKGROUND).astype(np.uint8)
        low, high = levels.min(), levels.max()
        if low == high:
            return np.full(levels.shape, self._single(int(low), path), np.uint8)
        figure = levels == high
        if not np.all(figure | (levels == low)):
            raise FiguregroundError(_too_many_values(path, levels))
        return np.where(figure, FIGURE, BACKGROUND).astype(np.uint8)

    def _single(self, value: int, path: Path) -> int:
        """The label of a mask that has only one value."""
        full = self.is_full(value)
        if full is None:
            low, high = self._both or (0, value)
            raise FiguregroundError(
                f"mask '{path}' has only the value {value}, other masks have {low} and {high}; "
                "is it empty or full? Re-save it with the others' values"
            )
        return FIGURE if full else BACKGROUND

    def is_full(self, value: int) -> bool | None:
        """Whether a mask that has only this value is all figure; None where the others have two different ones."""
        if value == 0:
            return False
        low, high = self._both or (0, value)
        return value == high if value in (low, high) else None

    @cached_property
    def _both(self) -> tuple[int, int] | None:
        """The values of the first mask that has two."""
        for path in self._masks:
            with suppress(FiguregroundError):  # of a damaged one, which will be named when its turn comes
                values = np.unique(read_levels(path))
                if len(values) == 2:
                    return int(values[0]), int(values[1])
        return None


def _too_many_values(path: Path, levels: NDArray[np.generic]) -> str:
    """The message for a mask with more than two values, with the likely cause and what to do."""
    values, areas = np.unique(levels, return_counts=True)
    shown = ", ".join(map(str, values[:6])) + (", ..." if len(values) > 6 else "")
    between = areas[1:-1]
    share = between.sum() / levels.size
    what = f"{values[1]} covers" if len(between) == 1 else f"The {len(between)} values between cover"
    guess = " an anti-aliased edge?" if share < 0.1 else " more than one class?"
    remedy = "Re-save it without smoothing" if share < 0.1 else "Keep one class"
    half = (int(values[0]) + int(values[-1]) + 1) // 2
    return (
        f"mask '{path}' has values {{{shown}}}; expected two. {what} {share:.1%} of it:{guess} "
        f"{remedy} or pass --mask-threshold {half}."
    )
