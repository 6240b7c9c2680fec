"""Where images and their truth come from, a file for each kind of source; ``SOURCES`` is the list of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from figureground.config import DataConfig
from figureground.data.dataset import Source
from figureground.data.sources import coco, folder, labelme, manifest, oxford_pet
from figureground.data.sources.synthetic import open_synthetic
from figureground.errors import BadDataError, UsageError

__all__ = ["SOURCES", "Kind", "find", "open_source", "recognise"]


@dataclass(frozen=True)
class Kind:
    """A kind of source that lies in files."""

    find: Callable[[Path], Path | None]
    """The folder or file that has this layout, at a path or right below it; none: it has another."""
    open: Callable[[Path, DataConfig], Source]
    layout: str
    """What it looks like, for the message where nothing is recognised."""
    has_categories: bool = False


SOURCES: dict[str, Kind] = {
    "oxford-pet": Kind(
        oxford_pet.find_root,
        oxford_pet.open_oxford_pet,
        "a folder in the Oxford-IIIT Pet layout (images/, annotations/trimaps/)",
    ),
    "folder": Kind(
        folder.find_root, folder.open_folder, "a folder with images/ and masks/ (with or without train/ valid/ test/)"
    ),
    "coco": Kind(coco.find_file, coco.open_coco, "a COCO .json file beside its images", has_categories=True),
    "manifest": Kind(manifest.find_file, manifest.open_manifest, "a .csv table with the columns image and mask"),
    "labelme": Kind(
        labelme.find_root, labelme.open_labelme, "a folder of images with labelme's .json files", has_categories=True
    ),
}
"""The first that recognises a path opens it."""
LAYOUTS = ", or ".join(kind.layout for kind in SOURCES.values())


def open_source(config: DataConfig) -> Source:
    """All samples that a configuration names.

    Raises:
        FiguregroundError: nothing that can be read, with what was found and what is expected.
    """
    kind, _, settings = config.source.partition(":")
    if kind == "synthetic":
        return open_synthetic(settings)
    found, root = find(config)
    return SOURCES[found].open(root, config)


def find(config: DataConfig) -> tuple[str, Path]:
    """As ``recognise``, of a configuration whose settings this kind of source has.

    Raises:
        FiguregroundError: nothing that is known, or a setting of another kind.
    """
    found, root = recognise(Path(config.source))
    if config.category and not SOURCES[found].has_categories:
        raise UsageError(
            f"category {', '.join(config.category)} was given, but {config.source} has none (its kind is {found}); "
            "leave it out. Which values of masks are figure, --figure-value says"
        )
    return found, root


def recognise(path: Path) -> tuple[str, Path]:
    """The kind of source at a path, a key of ``SOURCES``, and the folder or file that has its layout.

    Raises:
        FiguregroundError: nothing there, or of no layout that is known.
    """
    for name, kind in SOURCES.items():
        root = kind.find(path)
        if root is not None:
            return name, root
    if path.exists() and not path.is_dir():
        what = "a file" if path.is_file() else "a pipe or a device, which cannot be read twice"
        raise BadDataError(f"{path} is {what}; expected {LAYOUTS}. Unpack it if it is an archive")
    if not path.is_dir():
        raise BadDataError(f"{path}: no such folder or file; expected {LAYOUTS}, or 'synthetic'")
    found = sorted(entry.name for entry in path.iterdir())[:5]
    raise BadDataError(f"{path} {'holds ' + ', '.join(found) if found else 'is empty'}; expected {LAYOUTS}")
