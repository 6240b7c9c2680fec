import numpy as np
import pytest
from scipy import ndimage
from skimage.draw import polygon as fill

from figureground import Prediction
from figureground.errors import FiguregroundError
from figureground.prediction.pictures.polygons import find_polygons

RING_WITH_ISLAND = """
#####...
#...#.##
#.#.#.##
#...#...
#####...
"""


def drawn(picture):
    return np.array([[pixel == "#" for pixel in row] for row in picture.split()])


def random_masks(count, shapes=(1, 16)):
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.random(rng.integers(*shapes, 2)) < rng.choice([0.2, 0.5, 0.7, 0.9])


def filled(polygons, shape):
    """How many polygons cover each pixel, by scikit-image, whose coordinates are centres of pixels."""
    covered = np.zeros(shape, int)
    for polygon in polygons:
        for ring, value in [(polygon.outer, 1), *((hole, -1) for hole in polygon.holes)]:
            covered[fill(ring[:, 1] - 0.5, ring[:, 0] - 0.5, shape)] += value
    return covered


def as_lists(polygon):
    return [ring.tolist() for ring in polygon.rings]


def test_rings_drawn_by_hand():
    first, right, island = find_polygons(drawn(RING_WITH_ISLAND))
    assert as_lists(first) == [[[0, 0], [5, 0], [5, 5], [0, 5]], [[1, 1], [1, 4], [4, 4], [4, 1]]]
    assert as_lists(right) == [[[6, 1], [8, 1], [8, 3], [6, 3]]]
    assert as_lists(island) == [[[2, 2], [3, 2], [3, 3], [2, 3]]]


@pytest.mark.parametrize("picture", ["#. .#", ".# #."])
def test_pixels_that_touch_at_a_corner_are_two_polygons(picture):
    mask = drawn(picture)
    assert [filled([polygon], mask.shape).sum() for polygon in find_polygons(mask)] == [1, 1]


def test_a_ring_that_would_touch_itself_becomes_two():
    (polygon,) = find_polygons(drawn("### #.# ##."))
    assert as_lists(polygon) == [
        [[0, 0], [3, 0], [3, 2], [2, 2], [2, 3], [0, 3]],
        [[1, 1], [1, 2], [2, 2], [2, 1]],
    ]


def test_two_holes_that_touch_stay_two():
    (polygon,) = find_polygons(drawn("#### #.## ##.# ####"))
    assert as_lists(polygon)[1:] == [[[1, 1], [1, 2], [2, 2], [2, 1]], [[2, 2], [2, 3], [3, 3], [3, 2]]]


def test_filled_they_give_the_mask():
    for mask in random_masks(200):
        np.testing.assert_array_equal(filled(find_polygons(mask), mask.shape), mask)


def test_each_is_one_4_connected_part():
    for mask in random_masks(100):
        labels, count = ndimage.label(mask)
        parts = {(labels == label).tobytes() for label in range(1, count + 1)}
        polygons = find_polygons(mask)
        assert len(polygons) == count
        assert {filled([polygon], mask.shape).astype(bool).tobytes() for polygon in polygons} == parts


def signed_area(ring):
    x, y = ring.T
    return (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2  # above 0: clockwise, where y points down


def test_orientation_and_corners():
    for mask in random_masks(100):
        rings = [ring for polygon in find_polygons(mask) for ring in polygon.rings]
        assert sum(map(signed_area, rings)) == mask.sum()
        assert all(signed_area(polygon.outer) > 0 for polygon in find_polygons(mask))
        assert all(signed_area(hole) < 0 for polygon in find_polygons(mask) for hole in polygon.holes)
        for ring in rings:
            assert len(np.unique(ring, axis=0)) == len(ring)  # never twice at a corner
            step, next_step = np.roll(ring, -1, axis=0) - ring, np.roll(ring, -2, axis=0) - np.roll(ring, -1, axis=0)
            assert ((step == 0) != (next_step == 0)).all()  # horizontal and vertical by turns: no corner in a line


def test_simplified_by_hand():
    mask = np.zeros((11, 10), bool)
    mask[:10] = True
    mask[10, 4] = True  # a bump of one pixel on the lower edge
    exact, simple = [[0, 0], [10, 0], [10, 10], [5, 10], [5, 11], [4, 11], [4, 10], [0, 10]], [0, 1, 2, 7]
    for tolerance, expected in [(0, exact), (0.5, exact), (1, [exact[i] for i in simple])]:
        (polygon,) = find_polygons(mask, tolerance)
        assert polygon.outer.tolist() == expected


def test_what_is_narrower_than_the_tolerance_vanishes():
    mask = np.ones((9, 9), bool)
    mask[4, 4] = False
    mask = np.pad(mask, ((0, 0), (0, 3)))
    mask[2, 11] = True
    assert [len(polygon.rings) for polygon in find_polygons(mask)] == [2, 1]
    assert [len(polygon.rings) for polygon in find_polygons(mask, 0.8)] == [1]


def distance_to_ring(corner, ring):
    ends = np.roll(ring, -1, axis=0)
    chord = (ends - ring).astype(float)
    along = np.clip(((corner - ring) * chord).sum(1) / (chord**2).sum(1), 0, 1)
    return np.linalg.norm(ring + along[:, None] * chord - corner, axis=1).min()


@pytest.mark.parametrize(("tolerance", "share"), [(0.5, 0.95), (1.0, 0.5), (3.0, 0.2)])
def test_no_corner_is_farther_than_the_tolerance(tolerance, share):
    y, x = np.mgrid[:80, :90]
    roughness = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((80, 90)), 2)
    mask = np.hypot(x - 45, y - 40) + 20 * roughness < 25
    (exact, *_), (simple, *_) = find_polygons(mask), find_polygons(mask, tolerance)
    assert len(simple.outer) < share * len(exact.outer)
    assert max(distance_to_ring(corner, simple.outer) for corner in exact.outer) <= tolerance + 1e-9


@pytest.mark.parametrize("tolerance", [0.0, 1.0])
def test_empty_and_full(tolerance):
    assert find_polygons(np.zeros((3, 4), bool), tolerance) == []
    (polygon,) = find_polygons(np.ones((3, 4), bool), tolerance)
    assert as_lists(polygon) == [[[0, 0], [4, 0], [4, 3], [0, 3]]]


def test_of_a_prediction():
    prediction = Prediction(np.zeros((5, 8, 3), np.uint8), drawn(RING_WITH_ISLAND).astype(np.float32))
    assert [len(polygon.rings) for polygon in prediction.polygons()] == [2, 1, 1]
    assert len(prediction.polygons(tolerance=0.8)) == 2


@pytest.mark.parametrize(
    ("mask", "tolerance", "message"),
    [
        (np.zeros((3, 4, 1), bool), 0, r"shape \(3, 4, 1\), bool; expected \(H, W\) bool"),
        (np.zeros((3, 4), np.uint8), 0, "uint8; expected"),
        (np.zeros((3, 4), bool), -1, "tolerance is -1; expected"),
        (np.zeros((3, 4), bool), float("nan"), "tolerance is nan"),
    ],
)
def test_wrong_input(mask, tolerance, message):
    with pytest.raises(FiguregroundError, match=message):
        find_polygons(mask, tolerance)
