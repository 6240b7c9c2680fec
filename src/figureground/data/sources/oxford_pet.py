"""The Oxford-IIIT Pet dataset (Parkhi, Vedaldi, Zisserman, Jawahar, "Cats and Dogs", CVPR 2012).

Its folder holds ``images/NAME.*``, ``annotations/trimaps/NAME.png`` (1 pet, 2 background, 3 border) and the lists
``annotations/trainval.txt`` and ``annotations/test.txt``. Every tenth name of the first list is ``valid``.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from figureground.data.dataset import SPLITS, FileDataset, Pair, Split, list_briefly
from figureground.errors import FiguregroundError
from figureground.images import read_indices
from figureground.labels import BACKGROUND, FIGURE, LEFT_OUT

PET, BEYOND, BORDER = 1, 2, 3
BORDER_LABELS = {"foreground": FIGURE, "background": BACKGROUND, "ignore": LEFT_OUT}
NOT_IMAGES = {".mat", ".txt", ".xml"}


def find_root(folder: Path) -> Path | None:
    """The folder with the official layout, ``folder`` itself or the one that torchvision's download makes below it."""
    for root in (folder, folder / "oxford-iiit-pet"):
        if (root / "images").is_dir() and (root / "annotations" / "trimaps").is_dir():
            return root
    return None


def open_oxford_pet(root: Path, split: Split, foreground: str = "foreground") -> FileDataset:
    """One split of the dataset in ``root``.

    Args:
        root: the folder with ``images`` and ``annotations``.
        split: ``train`` and ``valid`` divide the official trainval list, ``test`` is the official test list.
        foreground: what the border counts as: ``foreground``, ``background`` or ``ignore``.

    Raises:
        FiguregroundError: a list, images or trimaps are missing.
    """
    names = split_names(root, split)
    if not names:
        raise FiguregroundError(
            f"{root / 'annotations'}: no name in the list of the split {split!r}; get annotations.tar.gz again"
        )
    files = image_files(root)
    trimaps = root / "annotations" / "trimaps"
    pairs = [Pair(name, files[name], trimaps / f"{name}.png") for name in names if name in files]
    _refuse_missing([name for name in names if name not in files], root / "images")
    _refuse_missing([pair.name for pair in pairs if not pair.mask.is_file()], trimaps)

    def read_labels(trimap: Path) -> NDArray[np.uint8]:
        return read_trimap(trimap, foreground)

    return FileDataset("oxford-iiit-pet", split, pairs, read_labels, foreground)


def image_files(root: Path) -> dict[str, Path]:
    """The images by name; annotations that lie among them and hidden files do not count."""
    return {
        path.stem: path
        for path in sorted((root / "images").iterdir())
        if path.suffix.lower() not in NOT_IMAGES and not path.name.startswith(".")
    }


def split_names(root: Path, split: Split) -> list[str]:
    """The names of a split, in the order of the official lists."""
    path = root / "annotations" / ("test.txt" if split == "test" else "trainval.txt")
    if not path.is_file():
        raise FiguregroundError(
            f"{path}: no such file; the Oxford-IIIT Pet layout has it. Get annotations.tar.gz again"
        )
    lines = [line.split() for line in os.fsdecode(path.read_bytes()).splitlines()]
    names = [words[0] for words in lines if words and not words[0].startswith("#")]
    if split == "test":
        return names
    return [name for index, name in enumerate(names) if (index % 10 == 0) == (split == "valid")]


def read_trimap(path: Path, foreground: str) -> NDArray[np.uint8]:
    """A trimap file as a label map (H, W); ``foreground`` is the border's policy."""
    trimap = read_indices(path)
    lookup = np.zeros(256, np.uint8)
    lookup[[PET, BEYOND, BORDER]] = FIGURE, BACKGROUND, BORDER_LABELS[foreground]
    if trimap.min() < PET or trimap.max() > BORDER:
        raise FiguregroundError(
            f"trimap {path} has values from {trimap.min()} to {trimap.max()}; "
            "expected 1 (pet), 2 (background) and 3 (border)"
        )
    return lookup[trimap]


def _refuse_missing(missing: list[str], folder: Path) -> None:
    if missing:
        raise FiguregroundError(
            f"{folder} lacks {len(missing)} files that the lists name: {list_briefly(missing)}. "
            "Get the archive again: figureground data oxford-pet --root DIR --download"
        )


def download(root: Path) -> Path:
    """Fetch the official archives into ``root`` with torchvision, which checks their sums and keeps whole ones.

    Returns:
        The folder with the official layout.

    Raises:
        FiguregroundError: no network, or an archive that does not have its sum.
    """
    from torchvision.datasets import OxfordIIITPet
    from torchvision.datasets.utils import download_and_extract_archive

    folder = root / "oxford-iiit-pet"
    try:
        if folder.is_dir() and not _is_whole(folder):  # torchvision takes folders that are there for whole ones
            for url, md5 in OxfordIIITPet._RESOURCES:
                download_and_extract_archive(url, str(folder), md5=md5)
        OxfordIIITPet(root, download=True)
    except (OSError, RuntimeError, EOFError) as error:  # no network, wrong sums, a full disk
        raise FiguregroundError(
            f"the Oxford-IIIT Pet archives could not be downloaded into {root} ({error}). Give the same command "
            "again to continue: whole archives are kept. Without a network, put images.tar.gz and "
            f"annotations.tar.gz into {root / 'oxford-iiit-pet'} and give it again"
        ) from error
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether no file of any split is missing: unpacking may have been interrupted."""
    try:
        for split in SPLITS:
            open_oxford_pet(folder, split)
    except FiguregroundError:
        return False
    return True


def species_and_breed(name: str) -> tuple[str, str]:
    """What an image's name tells, ``Maine_Coon_12``: (cat, Maine Coon); cats are spelt with a capital, dogs are not."""
    breed = name.rpartition("_")[0]
    return "cat" if breed[:1].isupper() else "dog", breed.replace("_", " ")
