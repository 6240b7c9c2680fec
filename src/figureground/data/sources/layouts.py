"""Which layout a folder of images and masks has."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from figureground.data.sources.folder import SPLIT_FOLDERS
from figureground.data.sources.oxford_pet import find_root
from figureground.errors import FiguregroundError

Layout = Literal["folder", "oxford-pet"]


def recognise(folder: Path) -> tuple[Layout, Path]:
    """The layout of a folder, and the folder that has it, which may lie one below.

    Raises:
        FiguregroundError: no folder, or of no layout that is known.
    """
    if folder.is_file():
        raise FiguregroundError(
            f"{folder} is a file; expected a folder with images/ and masks/. Unpack it if an archive"
        )
    if not folder.is_dir():
        raise FiguregroundError(f"{folder}: no such folder; expected one with images/ and masks/, or 'synthetic'")
    pets = find_root(folder)
    if pets is not None:
        return "oxford-pet", pets
    splits = [name for names in SPLIT_FOLDERS.values() for name in names]
    if any((folder / name / "images").is_dir() for name in (".", *splits)):
        return "folder", folder
    found = sorted(path.name for path in folder.iterdir())[:5]
    raise FiguregroundError(
        f"{folder} {'holds ' + ', '.join(found) if found else 'is empty'}; expected images/ and masks/ "
        "(with or without train/ valid/ test/), or the Oxford-IIIT Pet layout (images/, annotations/trimaps/)"
    )
