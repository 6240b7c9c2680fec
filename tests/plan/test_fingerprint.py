import numpy as np
import pytest

from figureground.data import Sample
from figureground.data.dataset import targets_of
from figureground.plan import fingerprint


def drawn(*samples):
    """A dataset of images (H, W, 3) and masks (H, W)."""
    return [Sample(str(number), image, targets_of(mask)) for number, (image, mask) in enumerate(samples)]


def blank(height=60, width=100, level=128):
    return np.full((height, width, 3), level, np.uint8), np.zeros((height, width), bool)


def test_a_band():
    image, mask = blank()
    mask[20:26, :] = True
    found = fingerprint(drawn((image, mask)))
    assert (found.images, found.height, found.width, found.longest) == (1, 60, 100, (100, 100))
    assert found.share == found.mean_share == pytest.approx(0.1)
    assert found.parts == 1
    assert found.thickness == pytest.approx(6)  # 2 · 600 pixels over 2 · 100 sides
    assert (found.colour, found.empty) == (False, 0)


def test_many_parts_and_an_empty_image():
    image, mask = blank()
    mask[::10, ::10] = True
    found = fingerprint(drawn((image, mask), blank()))
    assert found.parts == 60
    assert found.thickness == pytest.approx(0.5, abs=0.05)  # 2 · 1 pixel over 4 sides
    assert found.empty == 0.5
    assert found.share == pytest.approx(0.01)
    assert found.mean_share == pytest.approx(0.005)


def test_colour_is_noticed():
    image, mask = blank()
    image[:30, :50] = 255, 0, 0
    assert fingerprint(drawn((image, mask))).colour


@pytest.mark.parametrize(("upper", "upright"), [(200, True), (100, False)])
def test_a_sky_says_where_up_is(upper, upright):
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(20):
        image, mask = blank(level=100)
        image[:30] = upper
        samples.append((np.clip(image + rng.integers(-20, 21, (60, 1, 1)), 0, 255).astype(np.uint8), mask))
    assert fingerprint(drawn(*samples)).upright is upright


def test_legs_say_where_up_is():
    """A body in the middle, a head and two legs: as much figure above the middle as below it."""
    rng = np.random.default_rng(0)
    image, mask = blank()
    mask[20:40, 30:70] = mask[0:20, 60:80] = True
    mask[40:60, 30:40] = mask[40:60, 50:60] = True
    standing = [np.roll(mask[:, :: rng.choice([-1, 1])], rng.integers(-10, 11, 2), (0, 1)) for _ in range(30)]
    assert fingerprint(drawn(*((image, each) for each in standing))).upright
    turned = [np.rot90(each, 2) if rng.random() < 0.5 else each for each in standing]
    assert not fingerprint(drawn(*((image, each) for each in turned))).upright


def test_no_figure_at_all():
    found = fingerprint(drawn(blank(), blank()))
    assert (found.share, found.parts, found.thickness, found.empty) == (0, 0, 0, 1)
