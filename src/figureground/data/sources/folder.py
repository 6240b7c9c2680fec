"""Data of one's own: ``images/`` and ``masks/``, paired by the name before the suffix.

``train/ valid/ test/`` may stand below them (``images/train``) or above (``train/images``).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

from figureground.config import DataConfig
from figureground.data.dataset import SPLITS, Entry, FileSource, Split, list_briefly
from figureground.data.masks import MaskReader, MaskSettings
from figureground.errors import BadDataError, UsageError
from figureground.files import files_below, is_hidden
from figureground.image_files import copies_among, is_picture

SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation"),
    "test": ("test", "testing"),
}
SPLIT_NAMES: dict[str, Split] = {name: split for split, names in SPLIT_FOLDERS.items() for name in names}
log = logging.getLogger(__name__)


def find_root(path: Path) -> Path | None:
    """The folder itself, if it has the layout."""
    return path if any((path / name / "images").is_dir() for name in (".", *SPLIT_NAMES)) else None


def open_folder(root: Path, config: DataConfig) -> FileSource:
    """The images and masks in ``root``.

    Raises:
        FiguregroundError: images without a mask, two images of one name, no image at all.
    """
    own = {split: folders for split in SPLITS if (folders := split_folders(root, split))}
    undivided: tuple[Split | None, tuple[Path, Path]] = None, (root / "images", root / "masks")
    group_of = grouping(config.group)
    entries = [
        Entry(name, image, mask, split, group_of(name), {})
        for split, folders in (own.items() or [undivided])
        for name, image, mask in pair_by_stem(*folders)
    ]
    if not entries:
        raise BadDataError(f"{root}: no image in {root / 'images'}; expected images there and their masks beside it")
    masks = [entry.truth for entry in entries]
    reader = MaskReader(masks, MaskSettings.of(config))
    return FileSource("folder", root.resolve().name, entries, reader, settings=repr(reader.settings))


def grouping(pattern: str | None) -> Callable[[str], str | None]:
    """From a sample's name, such as ``patient1/slice03``, to its group.

    Args:
        pattern: a regular expression that is looked for in the name: its first group, or all that matches;
            ``folder`` for the folder that the name begins with; none: no groups.

    Raises:
        UsageError: no regular expression.
    """
    if pattern is None:
        return lambda name: None
    if pattern == "folder":
        return lambda name: name.rpartition("/")[0] or None
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"group {pattern!r} is no regular expression ({error}); expected one such as '^[^_]+'"
        ) from None

    def group_of(name: str) -> str | None:
        found = expression.search(name)
        return found[found.re.groups and 1] if found else None

    return group_of


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


def pair_by_stem(images: Path, masks: Path) -> list[tuple[str, Path, Path]]:
    """Name, image and mask of every image file below ``images``; a mask has its path up to the suffix."""
    if not masks.is_dir():
        raise BadDataError(f"{masks}: no such folder; expected the masks of {images} there")
    image_files, mask_files = _by_stem(images), _by_stem(masks)
    without = sorted(set(image_files) - set(mask_files))
    if without:
        raise BadDataError(
            f"{len(without)} of {len(image_files)} images in {images} have no mask in {masks}: "
            f"{list_briefly([image_files[name].name for name in without])}. "
            f"Add masks of that name (such as {without[0]}.png) or take the images out"
        )
    spare = sorted(set(mask_files) - set(image_files))
    if spare:
        log.warning("%d masks in %s have no image and are not used: %s", len(spare), masks, list_briefly(spare))
    return [(name, image_files[name], mask_files[name]) for name in sorted(image_files)]


def _by_stem(folder: Path) -> dict[str, Path]:
    """Image files below a folder by name, each of which only one file may have; what is left out is said."""
    found = files_by_stem(folder)
    used = {path for files in found.values() for path in files}
    others = [path.name for path in files_below(folder) if path not in used and not is_hidden(path, folder)]
    if others:
        shown = list_briefly(others)
        log.warning("left out of %s, as no pictures or copies of others: %d files (%s)", folder, len(others), shown)
    for first, *more in found.values():
        if more:
            raise BadDataError(f"{first} and {more[0]} have the same name; rename or remove one of them")
    return {name: files[0] for name, files in found.items()}


def files_by_stem(folder: Path) -> dict[str, list[Path]]:
    """Image files below a folder by their relative path without the suffix; hidden ones do not count, nor
    ``copies_among`` them.
    """
    files = [path for path in files_below(folder) if not is_hidden(path, folder)]
    pictures = [path for path in files if is_picture(path) and path.is_file()]
    copies, found = copies_among(pictures), dict[str, list[Path]]()
    for path in pictures:
        if path not in copies:
            found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
    return found
