"""The three values of a label map, (H, W) uint8: a mask together with the pixels that do not count.

Training has soft labels too, (H, W) uint8: how far a pixel is figure, from 0 to ``SOFT_FIGURE``, or ``LEFT_OUT``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BACKGROUND = 0
FIGURE = 1
LEFT_OUT = 255
"""Pixels that count neither in the loss nor in a score (the border, where its policy is ``ignore``)."""
SOFT_FIGURE = 254


def soft_labels(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A label map as soft labels."""
    values = np.zeros(256, np.uint8)
    values[FIGURE], values[LEFT_OUT] = SOFT_FIGURE, LEFT_OUT
    return values[labels]


def hard_labels(soft: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Soft labels as a label map: figure from one half on."""
    values = np.full(256, BACKGROUND, np.uint8)
    values[SOFT_FIGURE // 2 :], values[LEFT_OUT] = FIGURE, LEFT_OUT
    return values[soft]
