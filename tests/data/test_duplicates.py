import tracemalloc

import numpy as np
import pytest

from figureground.data.duplicates import CHUNK, join, near_pairs


@pytest.fixture(scope="module")
def thumbnails():
    coarse = np.random.default_rng(0).integers(0, 256, (40, 8, 8))
    return coarse.repeat(4, 1).repeat(4, 2).astype(np.uint8)


def test_other_pictures_are_no_pairs(thumbnails):
    assert near_pairs(thumbnails) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture,
        lambda picture: picture * 0.6 + 60,
        lambda picture: picture[:, ::-1],
        lambda picture: np.clip(picture + np.random.default_rng(1).normal(0, 12, picture.shape), 0, 255),
    ],
    ids=["same", "paler", "mirrored", "noise"],
)
def test_changed_pictures_are_pairs(thumbnails, change):
    changed = thumbnails.copy()
    changed[31] = change(thumbnails[7].astype(float)).astype(np.uint8)
    assert near_pairs(changed) == [(7, 31)]


def test_pairs_across_chunks():
    coarse = np.random.default_rng(0).integers(0, 256, (CHUNK + 100, 8, 8))
    pictures = coarse.repeat(4, 1).repeat(4, 2).astype(np.uint8)
    pictures[CHUNK + 50] = pictures[3]
    assert near_pairs(pictures) == [(3, CHUNK + 50)]


def test_pictures_of_one_grey_are_no_pairs():
    assert near_pairs(np.full((3, 32, 32), 77, np.uint8)) == []


def test_join():
    assert join(9, [(1, 5), (5, 7), (2, 8)]) == [[1, 5, 7], [2, 8]]
    assert join(9, []) == []


def test_memory_for_pictures_that_are_all_alike():
    count = 400
    still = np.random.default_rng(0).integers(0, 256, (8, 8)).repeat(4, 0).repeat(4, 1)
    pictures = np.broadcast_to(still.astype(np.uint8), (count, 32, 32))
    tracemalloc.start()
    try:
        found = near_pairs(pictures)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found) == count * (count - 1) // 2
    assert peak < 200e6  # all pairs of thumbnails at once: three times 330 MB
