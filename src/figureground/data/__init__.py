"""Images with truth from any source, as ``open_dataset(config, split)``."""

from __future__ import annotations

from pathlib import Path

from figureground.config import DataConfig
from figureground.data.dataset import SPLITS, Dataset, Sample, Split, SplitDataset
from figureground.data.sources import open_source
from figureground.data.splits import divide_source
from figureground.errors import BadDataError, UsageError

__all__ = ["SPLITS", "Dataset", "Sample", "Split", "open_dataset"]


def open_dataset(data: DataConfig | str | Path, split: Split) -> Dataset:
    """The samples of one split.

    Args:
        data: which images, and how their masks are read; a folder or the text of ``DataConfig.source`` alone stands
            for the defaults.
        split: ``train``, ``valid`` or ``test``.

    Raises:
        FiguregroundError: nothing that can be read, with what was found and what is expected; no sample in the split.
    """
    if split not in SPLITS:
        raise UsageError(f"there is no split {split!r}; expected one of: {', '.join(SPLITS)}")
    config = data if isinstance(data, DataConfig) else DataConfig(source=str(data))
    source = open_source(config)
    by_split = divide_source(source, config, split)
    entries = by_split.get(split, [])
    if not entries and config.cross_validates:
        raise BadDataError(
            f"{config.source} has no {split} beside its {config.folds} folds, all of whose images some of the networks "
            f"have seen; name a fold (--fold 1), or add a {split if split == 'test' else 'part'} part"
        )
    if not entries:
        there = ", ".join(name for name in SPLITS if by_split.get(name))
        raise BadDataError(f"{config.source} is divided into {there}, but has no {split}; add a {split} part")
    return SplitDataset(source, split, entries)
