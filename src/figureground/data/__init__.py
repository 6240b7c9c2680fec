"""Images with masks from any source, as ``open_dataset(spec, split)``."""

from __future__ import annotations

from pathlib import Path

from figureground.data.dataset import SPLITS, Dataset, Sample, Split
from figureground.data.folder import SPLIT_FOLDERS, open_folder
from figureground.data.oxford_pet import BORDER_LABELS, find_root, open_oxford_pet
from figureground.data.synthetic import open_synthetic
from figureground.errors import FiguregroundError

__all__ = ["SPLITS", "Dataset", "Sample", "Split", "open_dataset"]


def open_dataset(
    spec: str | Path, split: Split, *, foreground: str = "foreground", mask_threshold: int | None = None
) -> Dataset:
    """The samples of one split.

    Args:
        spec: a folder in the Oxford-IIIT Pet layout or with ``images/`` and ``masks/``, which is recognised, or
            ``synthetic[:n=...,size=...,seed=...]``.
        split: ``train``, ``valid`` or ``test``.
        foreground: what the border of a trimap counts as: ``foreground``, ``background`` or ``ignore``.
        mask_threshold: for masks with more than two values: this one and above is figure.

    Raises:
        FiguregroundError: nothing that can be read, with what was found and what is expected.
    """
    if split not in SPLITS:
        raise FiguregroundError(f"there is no split {split!r}; expected one of: {', '.join(SPLITS)}")
    if foreground not in BORDER_LABELS:
        raise FiguregroundError(f"border policy {foreground!r}; expected one of: {', '.join(BORDER_LABELS)}")
    kind, _, settings = str(spec).partition(":")
    if kind == "synthetic":
        return open_synthetic(settings, split)
    root = Path(spec)
    _refuse_no_folder(root)
    pets = find_root(root)
    if pets is not None:
        return open_oxford_pet(pets, split, foreground)
    if (root / "images").is_dir() or any(
        (root / name / "images").is_dir() for names in SPLIT_FOLDERS.values() for name in names
    ):
        return open_folder(root, split, mask_threshold)
    found = sorted(path.name for path in root.iterdir())[:5]
    raise FiguregroundError(
        f"{root} {'holds ' + ', '.join(found) if found else 'is empty'}; expected images/ and masks/ "
        "(with or without train/ valid/ test/), or the Oxford-IIIT Pet layout (images/, annotations/trimaps/)"
    )


def _refuse_no_folder(root: Path) -> None:
    if root.is_file():
        raise FiguregroundError(f"{root} is a file; expected a folder with images/ and masks/. Unpack it if an archive")
    if not root.is_dir():
        raise FiguregroundError(f"{root}: no such folder; expected one with images/ and masks/, or 'synthetic'")
