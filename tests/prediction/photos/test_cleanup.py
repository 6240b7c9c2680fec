import numpy as np
import pytest
from scipy import ndimage

from figureground import Prediction
from figureground.config import PostProcessingConfig, parse, plain
from figureground.errors import FiguregroundError
from figureground.prediction.photos.cleanup import post_process
from figureground.prediction.pictures.polygons import find_polygons


def drawn(picture):
    return np.array([[pixel == "#" for pixel in row] for row in picture.split()])


def picture_of(mask):
    return "\n".join("".join(".#"[pixel] for pixel in row) for row in mask.astype(int))


# 10 × 6 pixels: a part of 15 with a hole that holds one pixel, a part of 4, a part of 1
MASK = """
#####...##
#...#...##
#.#.#.....
#...#.....
#####.....
.........#
"""


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (PostProcessingConfig(), MASK),
        (PostProcessingConfig(keep_largest=True), "#####..... #...#..... #...#..... #...#..... #####..... .........."),
        (PostProcessingConfig(fill_holes=True), "#####...## #####...## #####..... #####..... #####..... .........#"),
        (
            PostProcessingConfig(min_area=4 / 60),
            "#####...## #...#...## #...#..... #...#..... #####..... ..........",
        ),
        (
            PostProcessingConfig(min_area=5 / 60),
            "#####..... #...#..... #...#..... #...#..... #####..... ..........",
        ),
        (
            PostProcessingConfig(keep_largest=True, fill_holes=True),
            "#####..... #####..... #####..... #####..... #####..... ..........",
        ),
        (PostProcessingConfig(keep_largest=True, min_area=0.5), "..........\n" * 6),
    ],
)
def test_by_hand(settings, expected):
    assert picture_of(post_process(drawn(MASK), settings)) == "\n".join(expected.split())


def test_parts_hold_together_at_corners():
    mask = drawn("#.... .#... ..#.# ....#")
    assert picture_of(post_process(mask, PostProcessingConfig(keep_largest=True))) == "#....\n.#...\n..#..\n....."


def test_of_parts_as_large_the_upper_one_is_kept():
    mask = drawn("..... ...## ..... ##...")
    assert picture_of(post_process(mask, PostProcessingConfig(keep_largest=True))) == ".....\n...##\n.....\n....."


def test_background_that_reaches_the_outside_at_a_corner_alone_is_a_hole():
    mask = drawn("### #.# ##.")
    assert picture_of(post_process(mask, PostProcessingConfig(fill_holes=True))) == "###\n###\n##."


def test_background_at_the_edge_of_the_photo_is_no_hole():
    mask = drawn("#.# #.# ###")
    np.testing.assert_array_equal(post_process(mask, PostProcessingConfig(fill_holes=True)), mask)


@pytest.mark.parametrize("density", [0.3, 0.5, 0.7])
def test_against_scipy(density):
    mask = np.random.default_rng(0).random((60, 70)) < density
    np.testing.assert_array_equal(
        post_process(mask, PostProcessingConfig(fill_holes=True)), ndimage.binary_fill_holes(mask)
    )
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    large = [labels == part for part in range(1, count + 1) if (labels == part).sum() >= 8]
    np.testing.assert_array_equal(
        post_process(mask, PostProcessingConfig(min_area=8 / mask.size)), np.any(large, axis=0)
    )


def test_filled_masks_have_polygons_without_holes():
    for seed in range(20):
        mask = np.random.default_rng(seed).random((30, 30)) < 0.65
        polygons = find_polygons(post_process(mask, PostProcessingConfig(fill_holes=True)))
        assert not any(polygon.holes for polygon in polygons)


@pytest.mark.parametrize("value", [False, True])
def test_empty_and_full_stay(value):
    mask = np.full((4, 5), value)
    settings = PostProcessingConfig(min_area=0.1, keep_largest=True, fill_holes=True)
    np.testing.assert_array_equal(post_process(mask, settings), mask)


def test_a_prediction_keeps_its_probabilities():
    probability = np.where(drawn(MASK), 0.9, 0.1).astype(np.float32)
    image = np.zeros((*probability.shape, 3), np.uint8)
    cleaned = Prediction(image, probability, post_processing=PostProcessingConfig(keep_largest=True, fill_holes=True))
    assert cleaned.mask.sum() == 25
    assert cleaned.probability[2, 2] == np.float32(0.9)
    assert cleaned.probability[1, 1] == np.float32(0.1)
    np.testing.assert_array_equal(Prediction(image, probability).mask, drawn(MASK))


@pytest.mark.parametrize("share", [-0.1, 1.0, 40.0, float("nan")])
def test_wrong_shares_are_refused(share):
    with pytest.raises(FiguregroundError, match=r"min_area is .*; expected at least 0 and below 1"):
        PostProcessingConfig(min_area=share)


def test_settings_are_plain():
    settings = PostProcessingConfig(0.01, keep_largest=True)
    assert plain(settings) == {"min_area": 0.01, "keep_largest": True, "fill_holes": False}
    assert parse(PostProcessingConfig, plain(settings)) == settings
