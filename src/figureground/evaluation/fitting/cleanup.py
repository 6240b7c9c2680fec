"""Which clean-up of the masks is worth having, measured."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from figureground.config import PostProcessingConfig, require
from figureground.data.dataset import Truth
from figureground.metrics import counts, dice
from figureground.prediction.photos.cleanup import post_process

MIN_AREAS = (0.0, 0.001, 0.003, 0.01)
CANDIDATES = tuple(PostProcessingConfig(*values) for values in product(MIN_AREAS, (False, True), (False, True)))


def choose_post_processing(pairs: Iterable[tuple[NDArray[np.bool_], Truth]]) -> PostProcessingConfig:
    """The clean-up with the best mean Dice on the split ``valid``; of equals the one that does less.

    Args:
        pairs: mask (H, W), as predicted, and truth (H, W) of each image, gone through once.

    Raises:
        FiguregroundError: no pair at all.
    """
    scores = [[dice(*counts(post_process(mask, settings), *truth)) for settings in CANDIDATES] for mask, truth in pairs]
    require(len(scores) > 0, "no masks to choose a clean-up by; expected those of the split valid")
    means = np.round(np.mean(scores, axis=0), 6)  # what the order of the sum changes is no difference
    return CANDIDATES[int(means.argmax())]
