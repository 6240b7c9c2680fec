import numpy as np
import pytest

from figureground.data.crops import Cover, draw_crop
from figureground.data.dataset import Sample, targets_of
from figureground.preprocessing import Preprocessing

CROPS = Preprocessing((64, 64), "crops")


def sample(height, width, kept=None):
    """A picture that tells the place of each pixel, with a small figure in the lower right corner."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows % 256, columns % 256, (rows // 256) * 16 + columns // 256], axis=-1).astype(np.uint8)
    mask = np.zeros((height, width), bool)
    mask[-3:, -3:] = True
    return Sample("a", image, targets_of(mask, kept))


def draw(given, share=0.0, zoom=1.0, seed=0, preprocessing=CROPS):
    return draw_crop(given, preprocessing, share, zoom, np.random.default_rng(seed))


@pytest.mark.parametrize("size", [(200, 300), (64, 64), (65, 64)])
def test_a_crop_is_a_piece_of_the_photo_with_its_truth(size):
    given = sample(*size)
    for seed in range(20):
        found = draw(given, seed=seed)
        top, left = int(found.image[0, 0, 0]), int(found.image[0, 0, 1]) + 256 * int(found.image[0, 0, 2] % 16)
        assert np.array_equal(found.image, given.image[top : top + 64, left : left + 64])
        assert np.array_equal(found.mask, given.mask[top : top + 64, left : left + 64])
        assert found.kept is None


def test_crops_lie_all_over_the_photo():
    tops = {int(draw(sample(256, 64), seed=seed).image[0, 0, 0]) for seed in range(300)}
    assert min(tops) < 8
    assert max(tops) > 184


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0.1), (1.0, 1, 1), (0.5, 0.35, 0.65)])
def test_as_many_as_are_wanted_hold_some_figure(share, least, most):
    given = sample(400, 400)
    held = np.mean([draw(given, share, seed=seed).mask.any() for seed in range(100)])
    assert least <= held <= most


def test_without_a_figure_crops_lie_anywhere():
    given = Sample("a", np.zeros((100, 100, 3), np.uint8), targets_of(np.zeros((100, 100), bool)))
    assert draw(given, share=1.0).image.shape == (64, 64, 3)


def test_zoom_changes_how_much_is_seen():
    given = sample(250, 250)
    spans = [
        int(found.image[-1, 0, 0]) - int(found.image[0, 0, 0])
        for found in (draw(given, zoom=1.5, seed=s) for s in range(50))
    ]
    assert 40 <= min(spans) < 50
    assert 80 < max(spans) <= 96


def test_what_is_padded_is_left_out():
    found = draw(sample(40, 200))
    assert found.image.shape == (64, 64, 3)
    assert found.kept.sum() == 40 * 64
    assert not found.mask[~found.kept].any()


@pytest.mark.parametrize("size", [(64, 64), (65, 64), (200, 300), (40, 30), (40, 150)])
def test_a_cover_counts_every_pixel_once(size):
    kept = np.ones(size, bool)
    kept[5:9, 7:12] = False
    given = sample(*size, kept)
    cover = Cover(given, CROPS)
    parts = [cover[number] for number in range(len(cover))]
    assert all(part.image.shape == (64, 64, 3) for part in parts)
    assert sum(int(part.kept.sum()) for part in parts) == kept.sum()
    assert sum(int((part.mask & part.kept).sum()) for part in parts) == (given.mask & kept).sum()
    places = {tuple(pixel) for part in parts for pixel in part.image[part.kept]}
    assert places == {tuple(pixel) for pixel in given.image[kept]}
