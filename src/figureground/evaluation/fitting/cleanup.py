"""Which clean-up of the masks is worth having, measured."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from figureground.config import PostProcessingConfig, require
from figureground.data.dataset import Truth
from figureground.evaluation.statistics import ROUNDED_TO, Mean, cross_fitted_gain
from figureground.metrics import counts, dice
from figureground.prediction.photos.cleanup import post_process

MIN_AREAS = (0.0, 0.001, 0.003, 0.01)
CANDIDATES = tuple(PostProcessingConfig(*values) for values in product(MIN_AREAS, (False, True), (False, True)))
"""The first does nothing."""


class CleanUp(NamedTuple):
    """What was chosen, and what choosing gains."""

    settings: PostProcessingConfig
    gain: Mean
    """In Dice over no clean-up, on images that did not choose it; ``settings`` do nothing where it may be chance."""


def choose_post_processing(pairs: Iterable[tuple[NDArray[np.bool_], Truth]]) -> CleanUp:
    """The clean-up with the best mean Dice on the split ``valid``; of equals the one that does less.

    There is none unless the 95% interval of its gain is above 0.

    Args:
        pairs: mask (H, W), as predicted, and truth (H, W) of each image, gone through once.

    Raises:
        FiguregroundError: fewer than two pairs.
    """
    scores = np.array(
        [[dice(*counts(post_process(mask, settings), *truth)) for settings in CANDIDATES] for mask, truth in pairs]
    )
    require(len(scores) > 1, f"{len(scores)} masks to choose a clean-up by; expected those of the split valid")
    gain = cross_fitted_gain(scores)
    best = int(scores.mean(axis=0).round(ROUNDED_TO).argmax())
    return CleanUp(CANDIDATES[best if gain.ci95[0] > 0 else 0], gain)
