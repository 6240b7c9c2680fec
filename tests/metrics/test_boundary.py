import warnings

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from figureground.metrics import (
    average_surface_distance,
    band_counts,
    boundary,
    boundary_distances,
    boundary_f1,
    boundary_iou,
    complete_truth,
    hausdorff95,
    matches,
)


def drawn(*rows):
    return np.array([[character == "#" for character in row] for row in rows])


def square(top, left, side, shape=(9, 9)):
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def mean_distance(distances):
    return average_surface_distance(sum(d.sum() for d in distances), sum(map(len, distances)))


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (drawn(".....", ".###.", ".###.", ".###.", "....."), drawn(".....", ".###.", ".#.#.", ".###.", ".....")),
        (drawn("###", "###", "###"), drawn("###", "#.#", "###")),  # outside the image is background
        (drawn("..#..", ".###.", "#####", ".###.", "..#.."), drawn("..#..", ".#.#.", "#...#", ".#.#.", "..#..")),
        (drawn("#"), drawn("#")),
        (drawn("##", "##"), drawn("##", "##")),
        (drawn("...", "..."), drawn("...", "...")),
    ],
)
def test_boundary(mask, expected):
    np.testing.assert_array_equal(boundary(mask), expected)


# A column of ten pixels; the prediction has its last pixel three columns further.
TRUE_LINE = np.zeros((10, 10), bool)
TRUE_LINE[:, 2] = True
LINE = TRUE_LINE.copy()
LINE[9, [2, 5]] = False, True


def test_distances_by_hand():
    distances = boundary_distances(LINE, TRUE_LINE)
    assert sorted(distances.predicted) == [0] * 9 + [3]
    assert sorted(distances.true) == [0] * 9 + [1]
    assert hausdorff95(distances) == pytest.approx(0.55 * 3)  # the 95th percentile is 0.55 between the two highest
    assert mean_distance(distances) == pytest.approx((3 + 1) / 20)


@pytest.mark.parametrize(
    ("tolerance", "near", "expected"),
    [
        (0, (10, 9, 10, 9), 0.9),
        (1, (10, 9, 10, 10), 2 * 0.9 / 1.9),
        (2.99, (10, 9, 10, 10), 18 / 19),
        (3, (10,) * 4, 1),
    ],
)
def test_boundary_f1_by_hand(tolerance, near, expected):
    assert matches(boundary_distances(LINE, TRUE_LINE), tolerance) == near
    assert boundary_f1(*near) == pytest.approx(expected)


def test_two_pixels_at_a_distance_of_five():
    distances = boundary_distances(square(2, 2, 1), square(5, 6, 1))
    assert hausdorff95(distances) == mean_distance(distances) == 5
    assert boundary_f1(*matches(distances, 4.9)) == 0
    assert boundary_f1(*matches(distances, 5)) == 1


@pytest.mark.parametrize(("width", "both", "either"), [(1, 8, 24), (2, 18, 30), (3, 20, 30)])
def test_bands_by_hand(width, both, either):
    """Two squares of 5×5, one column apart; bands of width 1 are rings of 16 pixels, of 3 the squares."""
    assert band_counts(square(2, 2, 5), square(2, 3, 5), width) == (both, either)
    assert boundary_iou(both, either) == pytest.approx(both / either)


def test_the_band_runs_along_the_edge_of_the_image():
    full = np.ones((9, 9), bool)
    assert band_counts(full, full, 2) == (81 - 25, 81 - 25)


def test_both_empty_is_perfect():
    nothing = np.zeros((6, 8), bool)
    distances = boundary_distances(nothing, nothing)
    assert (hausdorff95(distances), mean_distance(distances)) == (0, 0)
    assert boundary_f1(*matches(distances, 2)) == 1
    assert boundary_iou(*band_counts(nothing, nothing, 1)) == 1


@pytest.mark.parametrize("swapped", [False, True])
def test_one_empty_is_the_worst(swapped):
    masks = [np.zeros((6, 8), bool), square(1, 1, 3, (6, 8))]
    distances = boundary_distances(*(masks[::-1] if swapped else masks))
    assert hausdorff95(distances) == mean_distance(distances) == 10  # the diagonal of 6×8
    assert boundary_f1(*matches(distances, 2)) == 0
    assert boundary_iou(*band_counts(*masks, 1)) == 0


@pytest.mark.parametrize(("columns", "farthest"), [(4, 0), (5, 0), (6, 0), (8, 2), (2, 2)])
def test_a_boundary_inside_the_left_out_border_costs_nothing(columns, farthest):
    """Four columns of figure, two that are left out; beyond them the distance is that from the border's edge."""
    figure, kept = np.zeros((10, 10), bool), np.ones((10, 10), bool)
    figure[:, :4], kept[:, 4:6] = True, False
    prediction = np.zeros((10, 10), bool)
    prediction[:, :columns] = True
    truth = complete_truth(prediction, figure, kept)
    assert max(map(max, boundary_distances(prediction, truth))) == farthest
    assert (boundary_iou(*band_counts(prediction, truth, 1)) == 1) == (farthest == 0)


def blobs(count=12, shape=(60, 80)):
    """Smooth random shapes in pairs that overlap partly, some with holes, some at the edge."""
    rng = np.random.default_rng(5)
    for _ in range(count):
        ground = gaussian_filter(rng.normal(size=shape), 6)
        other = ground + 0.5 * gaussian_filter(rng.normal(size=shape), 4)
        yield other > np.quantile(other, 0.7), ground > np.quantile(ground, 0.75)


def test_agreement_with_monai():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

        for prediction, truth in blobs():
            pair = [torch.as_tensor(mask)[None, None].float() for mask in (prediction, truth)]
            distances = boundary_distances(prediction, truth)
            theirs = compute_hausdorff_distance(*pair, include_background=True, percentile=95).item()
            assert hausdorff95(distances) == pytest.approx(theirs, abs=1e-4)
            theirs = compute_average_surface_distance(*pair, include_background=True, symmetric=True).item()
            assert mean_distance(distances) == pytest.approx(theirs, abs=1e-4)
            for tolerance in (0.0, 1.0, 2.5):
                theirs = compute_surface_dice(*pair, [tolerance], include_background=True).item()
                predicted, predicted_near, true, true_near = matches(distances, tolerance)
                assert (predicted_near + true_near) / (predicted + true) == pytest.approx(theirs, abs=1e-5)


def test_agreement_with_distance_transforms():
    from scipy.ndimage import distance_transform_edt

    for prediction, truth in blobs():
        found = boundary_distances(prediction, truth)
        np.testing.assert_allclose(found.predicted, distance_transform_edt(~boundary(truth))[boundary(prediction)])
        np.testing.assert_allclose(found.true, distance_transform_edt(~boundary(prediction))[boundary(truth)])


def test_bands_agree_with_repeated_erosion_by_scikit_image():
    """As the authors' code has it: a frame of background, then one pixel after the other."""
    from skimage.morphology import erosion

    for prediction, truth in blobs(6):
        bands = []
        for mask in (prediction, truth):
            eroded = np.pad(mask, 1)
            for _ in range(3):
                eroded = erosion(eroded, np.ones((3, 3), bool))
            bands.append(mask & ~eroded[1:-1, 1:-1])
        expected = ((bands[0] & bands[1]).sum(), (bands[0] | bands[1]).sum())
        assert band_counts(prediction, truth, 3) == expected
