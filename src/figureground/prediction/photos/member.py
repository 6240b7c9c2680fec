"""One trained model of a segmenter: what runs it, and how photos reach it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from figureground.bundle import BundleInfo, read_info
from figureground.prediction.origins import Source
from figureground.prediction.photos.engines import FIGURE, Engine, open_engine
from figureground.preprocessing import Preprocessing
from figureground.runs import bundle_path


@dataclass(frozen=True)
class Member:
    """A model that is ready to run."""

    info: BundleInfo
    """Preprocessing and operating point."""
    engine: Engine
    name: str
    """Where it came from, for messages and reports."""
    digest: str | None = None
    """Of its file as it was before it was read, if it has one."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How photos become the network's input."""
        return self.info.preprocessing

    def logits(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Images (H, W, 3) uint8 at the network's size to calibrated logits (N, H, W), temperature applied."""
        logits = self.engine.run(self.preprocessing.normalise(np.stack(images)))[FIGURE][:, 0]
        return logits / np.float32(self.info.operating_point.temperature)


def open_member(source: str | Path, engine: str | None = None, photos: int | None = None) -> Member:
    """The model in a run folder or a bundle file, or the one of that name in the package.

    ``engine`` and ``photos`` are as in ``open_engine``.

    Raises:
        FiguregroundError: there is none, it is another kind of file, or the engine is not installed.
    """
    path = bundle_path(source)
    digest = Source(path).digest  # a training may replace the file at any time
    info = read_info(path)
    return Member(info, open_engine(path, info, engine, photos), str(source), digest)
