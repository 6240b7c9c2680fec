import numpy as np

from figureground.labels import BACKGROUND, FIGURE, LEFT_OUT, SOFT_FIGURE, hard_labels, soft_labels


def test_soft_and_back():
    labels = np.array([[BACKGROUND, FIGURE, LEFT_OUT]], np.uint8)
    np.testing.assert_array_equal(soft_labels(labels), [[0, SOFT_FIGURE, LEFT_OUT]])
    np.testing.assert_array_equal(hard_labels(soft_labels(labels)), labels)


def test_figure_from_one_half_on():
    half = SOFT_FIGURE // 2
    soft = np.array([0, half - 1, half, SOFT_FIGURE, LEFT_OUT], np.uint8)
    np.testing.assert_array_equal(hard_labels(soft), [BACKGROUND, BACKGROUND, FIGURE, FIGURE, LEFT_OUT])
