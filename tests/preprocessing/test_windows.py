import tracemalloc
from itertools import product

import numpy as np
import pytest

from figureground.preprocessing import Preprocessing, blended, resized
from figureground.preprocessing.windows import coverage, ramp, starts

RNG = np.random.default_rng(0)
SIZE = 32, 48
POLICIES = {
    "stretch": Preprocessing(SIZE),
    "fit": Preprocessing(SIZE, "fit"),
    "crops": Preprocessing(SIZE, "crops"),
    "crops without overlap": Preprocessing(SIZE, "crops", overlap=0.0),
    "crops of much overlap": Preprocessing(SIZE, "crops", overlap=0.9),
    "crops at a third": Preprocessing(SIZE, "crops", scale=1 / 3),
}
PHOTOS = [(40, 40), (32, 48), (33, 49), (31, 47), (1, 1), (1000, 37), (37, 1000), (64, 96), (97, 131)]


def brightness(windows):
    """A network that looks at each pixel alone: its logit is its first channel."""
    assert all(window.shape == (*SIZE, 3) for window in windows)
    return np.stack(windows)[..., 0].astype(np.float32)


def noise(height, width):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("length", "tile", "overlap", "expected"),
    [
        (32, 32, 0.5, (0,)),
        (33, 32, 0.5, (0, 1)),
        (48, 32, 0.5, (0, 16)),
        (49, 32, 0.5, (0, 8, 17)),  # three, for two would overlap by less than half
        (64, 32, 0.5, (0, 16, 32)),
        (100, 10, 0.5, tuple(range(0, 91, 5))),
        (64, 32, 0.0, (0, 32)),
        (65, 32, 0.0, (0, 16, 33)),
        (56, 32, 0.25, (0, 24)),
        (57, 32, 0.25, (0, 12, 25)),
    ],
)
def test_where_windows_begin(length, tile, overlap, expected):
    assert starts(length, tile, overlap) == expected


def test_the_ramp_by_hand():
    np.testing.assert_allclose(ramp(3), [0.5, 1, 0.5])
    np.testing.assert_allclose(ramp(4), [0.4, 0.8, 0.8, 0.4])
    assert ramp(256).min() > 0


def test_the_coverage_by_hand():
    np.testing.assert_allclose(coverage([0, 2], 3, 5), [0.5, 1, 0.5 + 0.5, 1, 0.5])
    for length, overlap in product(range(32, 130), (0, 0.25, 0.9)):
        assert coverage(starts(length, 32, overlap), 32, length).min() > 0


@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize("policy", POLICIES)
def test_logits_come_back_to_where_they_were_seen(policy, photo):
    preprocessing = POLICIES[policy]
    image = noise(*photo)
    scaled = preprocessing.scale_image(image)
    (logits,) = blended(brightness, [preprocessing.windows(scaled)], 8)
    assert logits.shape == preprocessing.seen_size(*photo)
    np.testing.assert_allclose(logits, scaled[..., 0], rtol=1e-5)
    if preprocessing.resize == "crops" and preprocessing.scale == 1:  # and so at the photo's own size
        np.testing.assert_allclose(resized(logits, *photo), image[..., 0], rtol=1e-5)


@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_smooth_photo_comes_back_at_its_own_size(policy, photo):
    """Brightness that rises by straight lines survives every policy but for the last seen pixel at either end."""
    preprocessing, (height, width) = POLICIES[policy], photo
    plane = np.linspace(0, 100, height)[:, None] + np.linspace(0, 100, width)
    image = plane.round().astype(np.uint8)[..., None].repeat(3, axis=2)
    (logits,) = blended(brightness, [preprocessing.windows(preprocessing.scale_image(image))], 8)
    h, w = logits.shape
    tolerance = 2 + 100 * (1 / h if h < height else 0) + 100 * (1 / w if w < width else 0)
    np.testing.assert_allclose(resized(logits, *photo), image[..., 0], atol=tolerance)


@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize("policy", POLICIES)
def test_weights_sum_to_one(policy, photo):
    preprocessing = POLICIES[policy]
    windows = preprocessing.windows(preprocessing.scale_image(noise(*photo)))
    (ones,) = blended(lambda seen: np.ones((len(seen), *SIZE), np.float32), [windows], 8)
    np.testing.assert_allclose(ones, 1, rtol=1e-6)


def test_a_window_counts_less_towards_its_edge():
    """Two windows of 48 that share 24: in the middle of what they share both count the same."""
    windows = POLICIES["crops without overlap"].windows(noise(32, 72))
    (logits,) = blended(lambda seen: np.stack([np.full(SIZE, i, np.float32) for i in range(len(seen))]), [windows], 8)
    assert (np.diff(logits[0]) > -1e-6).all()
    assert logits[0, 23] == 0
    assert logits[0, 48] == pytest.approx(1)
    np.testing.assert_allclose(logits[0, 35:37].mean(), 0.5, atol=1e-6)
    assert 0 < logits[0, 24] < 0.06


@pytest.mark.parametrize("photo", [(100, 60), (33, 48), (32, 2000), (97, 131)])
def test_windows_lie_within_a_photo_that_is_large_enough(photo):
    image = noise(*photo)
    windows = POLICIES["crops"].windows(image)
    assert windows.whole is image  # nothing is padded, nothing copied
    for index, window in enumerate(windows):
        rows, columns = windows.place(index)
        np.testing.assert_array_equal(window, image[rows, columns])
        assert window.shape[:2] == SIZE


def test_windows_of_several_photos_go_together():
    photos = [noise(*size) for size in ((32, 48), (40, 48), (20, 20), (64, 96))]
    batches = []

    def look(seen):
        batches.append(len(seen))
        return brightness(seen)

    maps = blended(look, map(POLICIES["crops"].windows, photos), 4)
    assert batches == [4, 4, 4, 1]  # 1 + 2 + 1 + 9
    for logits, photo in zip(maps, photos, strict=True):
        np.testing.assert_allclose(logits, photo[..., 0], rtol=1e-5)


def test_a_large_photo_needs_its_map_and_a_few_windows():
    """Of 3000×2000 pixels: the map takes 24 MB; products of windows and what a batch holds take no more than 1."""
    crops = Preprocessing((64, 64), "crops")
    photo = np.zeros((2000, 3000, 3), np.uint8)
    tracemalloc.start()
    try:
        (logits,) = blended(lambda seen: np.zeros((len(seen), 64, 64), np.float32), [crops.windows(photo)], 8)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert logits.nbytes == 24_000_000
    assert logits.nbytes <= most <= logits.nbytes + 1_000_000
