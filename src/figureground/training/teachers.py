"""Distillation (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015): what other models see in an image
becomes a part of the truth that a network is trained on.

It is made once, of whole images and their mirror images, and then augmented as labels are: however slow the teachers,
they cost nothing in an epoch, and what they say of an image does not change with how it is shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np

from figureground.data import Dataset
from figureground.data.dataset import FIGURE, FULL, Derived, Sample
from figureground.prediction import Segmenter, Views, load
from figureground.runs import bundle_path, members_of


class Taught(Derived):
    """The samples of ``dataset``, their figure soft: ``share`` of it is what the teachers see, the rest the truth.

    It is there to be cached: read in every epoch, teachers would cost more than the training.

    Args:
        dataset: images with truth.
        teachers: run folders, bundle files or names; of several the mean, as in ``figureground.load``.
        share: 0 to 1.

    Raises:
        FiguregroundError: a teacher that is not there.
    """

    def __init__(self, dataset: Dataset, teachers: Sequence[str], share: float) -> None:
        super().__init__(dataset)
        self._paths = [bundle_path(member) for teacher in teachers for member in members_of(teacher)]
        self._share = share
        self._segmenter: Segmenter | None = None
        self._lock = Lock()  # the cache reads in threads; an engine uses all cores by itself

    def __getstate__(self) -> dict[str, Any]:
        """Without what is made when a sample is first asked for: engines stay in their process."""
        return {name: value for name, value in vars(self).items() if name not in ("_segmenter", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _segmenter=None, _lock=Lock())

    def __getitem__(self, index: int) -> Sample:
        sample = self._source[index]
        with self._lock:
            if self._segmenter is None:
                self._segmenter = load(*self._paths, views=Views(flip=True))
            probability = self._segmenter.predict(sample.image).probability
        mixed = np.rint((1 - self._share) * sample.targets[FIGURE] + self._share * FULL * probability)
        return Sample(sample.name, sample.image, {**sample.targets, FIGURE: mixed.astype(np.uint8)})

    def fingerprint(self) -> str:
        """Changes with the data, the teachers and their share."""
        digest = hashlib.sha256(f"{self._source.fingerprint()} taught {self._share}".encode())
        for path in self._paths:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()
