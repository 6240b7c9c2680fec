"""Which files a dataset has and what they are there for, in any state of order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from figureground.config import DataConfig
from figureground.data.dataset import SPLITS, Entry, Split, Targets
from figureground.data.sources import coco, find, labelme, manifest
from figureground.data.sources.folder import files_by_stem, split_folders
from figureground.data.sources.oxford_pet import image_files, split_names
from figureground.files import files_below
from figureground.image_files import is_picture


@dataclass(frozen=True)
class Item:
    """What ought to be an image and its mask."""

    name: str
    split: Split | None
    """None where the folder is not divided: training then keeps near duplicates in one split."""
    image: Path | None
    mask: Path | None
    """None also where ``targets`` draws it."""
    entry: Entry | None = None
    targets: Callable[[], Targets] | None = None
    """Draws the truth of ``entry``, which no file holds as a picture."""

    @property
    def picture(self) -> Path | bytes | None:
        """What functions that read images take."""
        return self.entry.picture if self.entry and self.image else self.image


@dataclass(frozen=True)
class Survey:
    """All files of a dataset, sorted by what they are."""

    layout: str
    """A key of ``SOURCES``."""
    root: Path
    items: tuple[Item, ...]
    same_name: tuple[tuple[Path, ...], ...]
    """Files of which only the first is in ``items``, as they differ in their suffix only."""
    unlisted: tuple[Path, ...]
    """Images and masks that belong to no split."""
    stray: tuple[Path, ...]
    """Files that are neither image nor mask."""


def survey(config: DataConfig) -> Survey:
    """Look through data of any kind that lies in files.

    Raises:
        FiguregroundError: of no kind that is known, or without the lists that its layout has, or a list is broken.
    """
    layout, root = find(config)
    return SURVEYS[layout](root, config)


def _survey_pets(root: Path, config: DataConfig) -> Survey:
    images = image_files(root)
    folder = root / "annotations" / "trimaps"
    trimaps = {path.stem: path for path in sorted(folder.glob("*.png")) if not path.name.startswith(".")}
    items = [
        Item(name, split, images.get(name), trimaps.get(name)) for split in SPLITS for name in split_names(root, split)
    ]
    unlisted, stray = _rest([root / "images", folder], items, ())
    return Survey("oxford-pet", root, tuple(items), (), unlisted, stray)


def _survey_folder(root: Path, config: DataConfig) -> Survey:
    folders = {split: split_folders(root, split) for split in SPLITS}
    own: list[tuple[Split | None, Path, Path]] = [(split, *both) for split, both in folders.items() if both]
    places = own or [(None, root / "images", root / "masks")]
    items: list[Item] = []
    same_name: list[tuple[Path, ...]] = []
    for split, images, masks in places:
        image_files, mask_files = (files_by_stem(place) if place.is_dir() else {} for place in (images, masks))
        for name in sorted({*image_files, *mask_files}):
            image, mask = (next(iter(files.get(name, ())), None) for files in (image_files, mask_files))
            items.append(Item(name, split, image, mask))
        same_name += [tuple(files) for found in (image_files, mask_files) for files in found.values() if len(files) > 1]
    ours = {root / "images", root / "masks", *(place for _, *both in places for place in both)}
    unlisted, stray = _rest([place for place in ours if place.is_dir()], items, same_name)
    return Survey("folder", root, tuple(items), tuple(same_name), unlisted, stray)


def _survey_coco(path: Path, config: DataConfig) -> Survey:
    items = _drawn_items(coco.list_entries(path, config), coco.read_regions)
    folder = coco.image_folder(path, [item.entry.truth.file_name for item in items if item.entry])
    unlisted, _ = _rest([folder], items, ())
    return Survey("coco", path.parent, tuple(items), (), unlisted, ())


def _survey_labelme(root: Path, config: DataConfig) -> Survey:
    items = _drawn_items(labelme.list_entries(root, config), labelme.read_drawing)
    unlisted, stray = _rest([root], items, ())
    return Survey(
        "labelme", root, tuple(items), (), unlisted, tuple(path for path in stray if path.suffix.lower() != ".json")
    )


def _drawn_items(entries: Sequence[Entry], read: Callable[[Any], Targets]) -> list[Item]:
    """Of entries whose truth is no picture."""
    return [
        Item(entry.name, entry.split, _if_there(entry.image), None, entry, partial(read, entry.truth))
        for entry in entries
    ]


def _survey_manifest(path: Path, config: DataConfig) -> Survey:
    items = [
        Item(entry.name, entry.split, _if_there(entry.image), _if_there(entry.truth))
        for entry in manifest.list_entries(path, config)
    ]
    return Survey("manifest", path.parent, tuple(items), (), (), ())


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _rest(
    folders: list[Path], items: list[Item], same_name: list[tuple[Path, ...]] | tuple[()]
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The files below some folders that are not used: images and masks, and others."""
    used = {path for item in items for path in (item.image, item.mask)} | {path for same in same_name for path in same}
    rest = sorted({path for folder in folders for path in files_below(folder) if path.is_file()} - used)
    unlisted = [path for path in rest if not path.name.startswith(".") and is_picture(path)]
    return tuple(unlisted), tuple(path for path in rest if path not in set(unlisted))


SURVEYS: dict[str, Callable[[Path, DataConfig], Survey]] = {
    "oxford-pet": _survey_pets,
    "folder": _survey_folder,
    "coco": _survey_coco,
    "manifest": _survey_manifest,
    "labelme": _survey_labelme,
}
