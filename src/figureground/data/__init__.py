"""Images with masks from any source, as ``open_dataset(spec, split)``."""

from __future__ import annotations

from pathlib import Path

from figureground.data.dataset import SPLITS, Dataset, Sample, Split
from figureground.data.sources.folder import open_folder
from figureground.data.sources.layouts import recognise
from figureground.data.sources.oxford_pet import BORDER_LABELS, open_oxford_pet
from figureground.data.sources.synthetic import open_synthetic
from figureground.errors import UsageError

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
        raise UsageError(f"there is no split {split!r}; expected one of: {', '.join(SPLITS)}")
    if foreground not in BORDER_LABELS:
        raise UsageError(f"border policy {foreground!r}; expected one of: {', '.join(BORDER_LABELS)}")
    kind, _, settings = str(spec).partition(":")
    if kind == "synthetic":
        return open_synthetic(settings, split)
    layout, root = recognise(Path(spec))
    if layout == "oxford-pet":
        return open_oxford_pet(root, split, foreground)
    return open_folder(root, split, mask_threshold)
