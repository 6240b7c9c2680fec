import numpy as np
import pytest

from figureground.data.copy_paste import SMALLEST, paste_figure
from figureground.labels import BACKGROUND, LEFT_OUT, SOFT_FIGURE

SIDE = 64


@pytest.fixture
def black():
    """A black image whose left quarter is figure."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[:, :16] = SOFT_FIGURE
    return np.zeros((SIDE, SIDE, 3), np.uint8), labels


@pytest.fixture
def white():
    """A white image with a square figure in its middle, a quarter of the area."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[16:48, 16:48] = SOFT_FIGURE
    return np.full((SIDE, SIDE, 3), 255, np.uint8), labels


@pytest.mark.parametrize("seed", range(5))
def test_the_figure_and_nothing_else_is_pasted(black, white, seed):
    image, labels = paste_figure(*black, *white, np.random.default_rng(seed))
    pasted = image[..., 0] > 127
    rows, columns = np.flatnonzero(pasted.any(1)), np.flatnonzero(pasted.any(0))
    side = rows[-1] - rows[0] + 1
    assert SMALLEST * 32 - 1 <= side <= 33
    assert abs(columns[-1] - columns[0] + 1 - side) <= 1  # it stays a square ...
    inside = np.s_[rows[0] + 3 : rows[-1] - 2, columns[0] + 3 : columns[-1] - 2]
    assert (image[inside] == 255).all()  # ... and white
    assert (labels[inside] == SOFT_FIGURE).all()
    outside = np.ones((SIDE, SIDE), bool)
    outside[max(0, rows[0] - 4) : rows[-1] + 5, max(0, columns[0] - 4) : columns[-1] + 5] = False
    assert (image[outside] == 0).all()
    np.testing.assert_array_equal(labels[outside], black[1][outside])
    edge = image[..., 0][(image[..., 0] > 0) & (image[..., 0] < 255)]
    assert len(edge) > side  # it fades


def test_what_is_left_out_stays_left_out(black, white):
    white[1][16:20] = np.where(white[1][16:20] == SOFT_FIGURE, LEFT_OUT, BACKGROUND)
    _, labels = paste_figure(*black, *white, np.random.default_rng(0))
    assert set(np.unique(labels)) == {BACKGROUND, SOFT_FIGURE, LEFT_OUT}


def test_the_given_arrays_stay_as_they_are(black, white):
    before = [array.copy() for array in (*black, *white)]
    for array in (*black, *white):
        array.flags.writeable = False  # as those of the cache
    paste_figure(*black, *white, np.random.default_rng(0))
    for array, copy in zip((*black, *white), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_without_a_figure_nothing_changes(black, white):
    white[1][:] = BACKGROUND
    image, labels = paste_figure(*black, *white, np.random.default_rng(0))
    np.testing.assert_array_equal(image, black[0])
    np.testing.assert_array_equal(labels, black[1])


def test_what_is_less_than_half_a_figure_is_not_pasted(black, white):
    white[1][16:32][white[1][16:32] > 0] = SOFT_FIGURE // 2
    white[1][32:48][white[1][32:48] > 0] = SOFT_FIGURE // 2 - 1
    _, labels = paste_figure(*black, *white, np.random.default_rng(0))
    rows, columns = np.nonzero(labels == SOFT_FIGURE // 2)
    assert np.ptp(columns) > 1.5 * np.ptp(rows) > 0
    assert set(np.unique(labels)) == {BACKGROUND, SOFT_FIGURE // 2, SOFT_FIGURE}
