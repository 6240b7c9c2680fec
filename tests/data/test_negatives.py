import numpy as np
import pytest

from figureground.data.dataset import FIGURE, Sample
from figureground.data.negatives import DRAWN, negative

from .label_maps import targets

SIZE = (64, 96)


def red_figure_on_blue(rng):
    """A photo (50, 70) with a rectangle of pure red figure on shades of blue."""
    image = np.zeros((50, 70, 3), np.uint8)
    image[..., 2] = rng.integers(100, 256, (50, 70))
    labels = np.zeros((50, 70), np.uint8)
    top, left = rng.integers(0, 20, 2)
    labels[top : top + 30, left : left + 30] = 1
    image[labels == 1] = 255, 0, 0
    return Sample("red", image, targets(labels))


def negatives_of(draw, n):
    rng = np.random.default_rng(0)
    return [negative(draw, rng, SIZE) for _ in range(n)]


def test_they_hold_background_only():
    photos = np.random.default_rng(1)
    made = negatives_of(lambda: red_figure_on_blue(photos), 300)
    assert {(*picture.shape, picture.dtype.name) for picture in made} == {(*SIZE, 3, "uint8")}
    of_photos = [picture for picture in made if not picture[..., :2].any()]  # blue only
    drawn = [picture for picture in made if picture[..., 1].any()]  # no photo has any green
    assert len(of_photos) + len(drawn) == len(made)
    assert len(drawn) / len(made) == pytest.approx(DRAWN, abs=3 * np.sqrt(DRAWN * (1 - DRAWN) / 300))


def test_photos_without_any_background_give_grey():
    full = Sample("full", np.full((50, 70, 3), 255, np.uint8), targets(np.ones((50, 70))))
    grey = [picture for picture in negatives_of(lambda: full, 20) if (picture == 128).all()]
    assert len(grey) > 10
    assert not any((picture == 255).all() for picture in negatives_of(lambda: full, 20))


def test_what_is_left_out_is_no_background():
    """Half of the photo is figure, the other half does not count."""
    halves = targets(np.full((50, 70), 255))
    halves[FIGURE][:25] = 255
    photo = Sample("border", np.full((50, 70, 3), 255, np.uint8), halves)
    assert not any((picture == 255).all() for picture in negatives_of(lambda: photo, 20))


def test_the_generator_decides():
    def made():
        photos = np.random.default_rng(1)
        return negatives_of(lambda: red_figure_on_blue(photos), 10)

    for first, second in zip(made(), made(), strict=True):
        np.testing.assert_array_equal(first, second)
