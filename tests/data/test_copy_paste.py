import numpy as np
import pytest

from figureground.data.copy_paste import SMALLEST, paste_figure
from figureground.data.dataset import FIGURE, FULL, WEIGHT

from .label_maps import labels as labels_of

SIDE = 64


@pytest.fixture
def black():
    """A black image whose left quarter is figure."""
    figure = np.zeros((SIDE, SIDE), np.uint8)
    figure[:, :16] = FULL
    return np.zeros((SIDE, SIDE, 3), np.uint8), {FIGURE: figure}


@pytest.fixture
def white():
    """A white image with a square figure in its middle, a quarter of the area."""
    figure = np.zeros((SIDE, SIDE), np.uint8)
    figure[16:48, 16:48] = FULL
    return np.full((SIDE, SIDE, 3), 255, np.uint8), {FIGURE: figure}


def arrays(*pairs):
    """All arrays of some images with targets."""
    return [array for image, targets in pairs for array in (image, *targets.values())]


@pytest.mark.parametrize("seed", range(5))
def test_the_figure_and_nothing_else_is_pasted(black, white, seed):
    image, targets = paste_figure(*black, *white, np.random.default_rng(seed))
    figure = targets[FIGURE]
    assert list(targets) == [FIGURE]
    pasted = image[..., 0] > 127
    rows, columns = np.flatnonzero(pasted.any(1)), np.flatnonzero(pasted.any(0))
    side = rows[-1] - rows[0] + 1
    assert SMALLEST * 32 - 1 <= side <= 33
    assert abs(columns[-1] - columns[0] + 1 - side) <= 1  # it stays a square ...
    inside = np.s_[rows[0] + 3 : rows[-1] - 2, columns[0] + 3 : columns[-1] - 2]
    assert (image[inside] == 255).all()  # ... and white
    assert (figure[inside] == FULL).all()
    outside = np.ones((SIDE, SIDE), bool)
    outside[max(0, rows[0] - 4) : rows[-1] + 5, max(0, columns[0] - 4) : columns[-1] + 5] = False
    assert (image[outside] == 0).all()
    np.testing.assert_array_equal(figure[outside], black[1][FIGURE][outside])
    edge = image[..., 0][(image[..., 0] > 0) & (image[..., 0] < 255)]
    assert len(edge) > side  # it fades


def test_what_is_left_out_stays_left_out(black, white):
    _, before = paste_figure(*black, *white, np.random.default_rng(0))
    white[1][WEIGHT] = np.full((SIDE, SIDE), FULL, np.uint8)
    white[1][WEIGHT][16:20, 16:48] = 0
    white[1][FIGURE][16:20] = 0
    _, targets = paste_figure(*black, *white, np.random.default_rng(0))
    labels = labels_of(targets)
    assert set(np.unique(labels)) == {0, 1, 255}
    pasted = labels_of(before) != labels_of(black[1])
    rows = np.flatnonzero(pasted.any(1))
    left_out = np.flatnonzero((labels == 255).any(1))
    assert left_out[0] == rows[0]  # of the square the upper eighth, and it is not figure
    assert len(left_out) / len(rows) == pytest.approx(1 / 8, abs=0.06)
    assert not targets[FIGURE][targets[WEIGHT] == 0].any()


def test_what_is_pasted_counts_where_nothing_did(black, white):
    black[1][WEIGHT] = np.zeros((SIDE, SIDE), np.uint8)
    image, targets = paste_figure(*black, *white, np.random.default_rng(0))
    assert list(targets) == [FIGURE, WEIGHT]
    assert set(np.unique(targets[WEIGHT])) == {0, FULL}
    assert (targets[WEIGHT][image[..., 0] == 255] == FULL).all()
    assert (targets[WEIGHT][image[..., 0] == 0] == 0).all()


def test_the_given_arrays_stay_as_they_are(black, white):
    white[1][WEIGHT] = np.full((SIDE, SIDE), FULL, np.uint8)
    white[1][WEIGHT][16:20, 16:48] = 0
    before = [array.copy() for array in arrays(black, white)]
    for array in arrays(black, white):
        array.flags.writeable = False  # as those of the cache
    paste_figure(*black, *white, np.random.default_rng(0))
    for array, copy in zip(arrays(black, white), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_without_a_figure_nothing_changes(black, white):
    white[1][FIGURE][:] = 0
    image, targets = paste_figure(*black, *white, np.random.default_rng(0))
    np.testing.assert_array_equal(image, black[0])
    np.testing.assert_array_equal(targets[FIGURE], black[1][FIGURE])


def test_what_is_less_than_half_a_figure_is_not_pasted(black, white):
    white[1][FIGURE][16:32, 16:48] = 128
    white[1][FIGURE][32:48, 16:48] = 127
    _, targets = paste_figure(*black, *white, np.random.default_rng(0))
    rows, columns = np.nonzero(targets[FIGURE] == 128)
    assert np.ptp(columns) > 1.5 * np.ptp(rows) > 0
    assert set(np.unique(targets[FIGURE])) == {0, 128, FULL}
