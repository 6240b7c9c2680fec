"""A target and the pixels that do not count as one map, in which a truth is shortest to write down and to compare."""

import numpy as np

from figureground.data.dataset import FIGURE, WEIGHT, targets_of

LEFT_OUT = 255


def targets(labels):
    """Targets of a map (H, W) of 0 background, 1 figure, 255 left out."""
    labels = np.asarray(labels)
    return targets_of(labels == 1, labels != LEFT_OUT)


def labels(targets):
    """The map of targets that are hard."""
    assert set(targets) <= {FIGURE, WEIGHT}
    figure, weight = targets[FIGURE], targets.get(WEIGHT, np.full_like(targets[FIGURE], 255))
    for target in (figure, weight):
        assert target.dtype == np.uint8
        assert set(np.unique(target)) <= {0, 255}
    return np.where(weight == 0, LEFT_OUT, figure // 255).astype(np.uint8)
