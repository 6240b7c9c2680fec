"""The Oxford-IIIT Pet dataset (Parkhi, Vedaldi, Zisserman, Jawahar, "Cats and Dogs", CVPR 2012).

Its folder holds ``images/NAME.*``, ``annotations/trimaps/NAME.png`` (1 pet, 2 background, 3 border) and the lists
``annotations/trainval.txt`` and ``annotations/test.txt``. Every tenth name of the first list is ``valid``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from figureground.config import DataConfig
from figureground.data.dataset import SPLITS, Entry, FileSource, Split, Targets, list_briefly, targets_of
from figureground.errors import BadDataError, FiguregroundError
from figureground.files import read_list
from figureground.images import read_indices

PET, BEYOND, BORDER = 1, 2, 3
NOT_IMAGES = {".mat", ".txt", ".xml"}


def find_root(folder: Path) -> Path | None:
    """The folder with the official layout, ``folder`` itself or the one that torchvision's download makes below it."""
    for root in (folder, folder / "oxford-iiit-pet"):
        if (root / "images").is_dir() and (root / "annotations" / "trimaps").is_dir():
            return root
    return None


def open_oxford_pet(root: Path, config: DataConfig) -> FileSource:
    """The dataset in ``root``, the folder with ``images`` and ``annotations``, in its official splits.

    ``train`` and ``valid`` divide the official trainval list, ``test`` is the official test list.

    Raises:
        FiguregroundError: a list, images or trimaps are missing.
    """
    files = image_files(root)
    trimaps = root / "annotations" / "trimaps"
    by_split = {split: split_names(root, split) for split in SPLITS}
    for split, names in by_split.items():
        if not names:
            raise BadDataError(
                f"{root / 'annotations'}: no name in the list of the split {split!r}; get annotations.tar.gz again"
            )
    listed = [(split, name) for split, names in by_split.items() for name in names]
    entries = [
        Entry(name, files[name], trimaps / f"{name}.png", split, metadata=species_and_breed(name))
        for split, name in listed
        if name in files
    ]
    _refuse_missing([name for _, name in listed if name not in files], root / "images")
    _refuse_missing([entry.name for entry in entries if not entry.truth.is_file()], trimaps)
    return FileSource(
        "oxford-pet",
        "oxford-iiit-pet",
        entries,
        partial(read_trimap, foreground=config.foreground),
        config.foreground,
    )


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
        raise BadDataError(f"{path}: no such file; the Oxford-IIIT Pet layout has it. Get annotations.tar.gz again")
    lines = [line.split() for line in read_list(path.read_bytes(), str(path))]
    names = [words[0] for words in lines if words and not words[0].startswith("#")]
    if split == "test":
        return names
    return [name for index, name in enumerate(names) if (index % 10 == 0) == (split == "valid")]


def read_trimap(path: Path, foreground: str) -> Targets:
    """The targets of a trimap file; ``foreground`` is what its border counts as."""
    trimap = read_indices(path)
    if trimap.min() < PET or trimap.max() > BORDER:
        raise BadDataError(
            f"trimap {path} has values from {trimap.min()} to {trimap.max()}; "
            "expected 1 (pet), 2 (background) and 3 (border)"
        )
    figure = trimap != BEYOND if foreground == "foreground" else trimap == PET
    return targets_of(figure, trimap != BORDER if foreground == "ignore" else None)


def _refuse_missing(missing: list[str], folder: Path) -> None:
    if missing:
        raise BadDataError(
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
        raise BadDataError(
            f"the Oxford-IIIT Pet archives could not be downloaded into {root} ({error}). Give the same command "
            "again to continue: whole archives are kept. Without a network, put images.tar.gz and "
            f"annotations.tar.gz into {root / 'oxford-iiit-pet'} and give it again"
        ) from error
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether no file of any split is missing: unpacking may have been interrupted."""
    try:
        open_oxford_pet(folder, DataConfig())
    except FiguregroundError:
        return False
    return True


def species_and_breed(name: str) -> dict[str, str]:
    """What an image's name tells, of ``Maine_Coon_12`` that it is a cat, a Maine Coon; dogs are not capitalised."""
    breed = name.rpartition("_")[0]
    return {"species": "cat" if breed[:1].isupper() else "dog", "breed": breed.replace("_", " ")}
