import albumentations
import cv2
import numpy as np
import pytest
from albumentations.augmentations.geometric.functional import warp_affine
from albumentations.augmentations.pixel import functional

from figureground.data import pixels


def noise(height=61, width=83):
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height=61, width=83):
    """Broad gradients of all hues, as in a photograph, with saturated and grey places."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9 + phase) + np.cos(y / 7 - phase) for phase in (0, 2, 4)]
    return np.clip(128 + 80 * np.stack(waves, axis=2), 0, 255).astype(np.uint8)


GREYS = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
BLACK = np.zeros((5, 4, 3), np.uint8)
IMAGES = {"noise": noise(), "smooth": smooth(), "dark": noise() // 12, "greys": GREYS, "black": BLACK}

# How far a level may be from Albumentations', and why.
STEPS = {
    "brightness": 0,
    "contrast": 1,  # the mean is of greys that are not rounded: a value near a whole number can fall to its other side
    "saturation": 1,  # the grey is not rounded either
    "hue": 0,
}
FACTORS = (0.6, 0.8, 0.93, 1.0, 1.07, 1.2, 1.4)
TURNS = (-0.5, -0.31, -0.04, -0.001, 0.0, 0.001, 0.25, 0.4999, 0.5)


def difference(first, second):
    assert (first.shape, first.dtype) == (second.shape, second.dtype)
    return int(np.abs(first.astype(int) - second.astype(int)).max())


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
@pytest.mark.parametrize("step", STEPS)
def test_steps_equal_those_of_albumentations(step, image):
    ours, theirs = getattr(pixels, step), getattr(functional, f"adjust_{step}_torchvision")
    before = image.copy()
    for amount in TURNS if step == "hue" else FACTORS:
        assert difference(ours(image, amount), theirs(image, amount)) <= STEPS[step], amount
    assert np.array_equal(image, before)


@pytest.mark.parametrize("border_mode", [cv2.BORDER_CONSTANT, cv2.BORDER_REFLECT_101])
@pytest.mark.parametrize("angle", [-15, -3.3, 0, 0.02, 7.5, 20])
def test_warps_equal_those_of_albumentations(angle, border_mode):
    image, labels = noise(), np.random.default_rng(1).choice(np.array([0, 1, 255], np.uint8), (61, 83))
    matrix = cv2.getRotationMatrix2D((41, 30), angle, 1.0)
    square = np.vstack([matrix, [0, 0, 1]])
    settings = {"fill": 0, "border_mode": border_mode, "output_shape": (61, 83)}
    expected = warp_affine(image, square, cv2.INTER_LINEAR, **settings)
    assert np.array_equal(pixels.warped(image, matrix, border_mode), expected)
    expected = warp_affine(labels, square, cv2.INTER_NEAREST, **settings)
    assert np.array_equal(pixels.warped_targets(labels, matrix, border_mode), expected)


def test_known_answers():
    image = np.array([[[200, 100, 0], [10, 10, 10]]], np.uint8)
    assert pixels.brightness(image, 1.5).tolist() == [[[255, 150, 0], [15, 15, 15]]]
    grey = 0.299 * 200 + 0.587 * 100
    mean = (grey + 10) / 2
    assert pixels.contrast(image, 0).tolist() == [[[int(mean)] * 3] * 2]
    assert pixels.contrast(image, 2)[0, 1].tolist() == [0, 0, 0]  # 20 - mean is below
    assert pixels.saturation(image, 0)[0, 0].tolist() == [round(grey)] * 3
    assert pixels.saturation(image, 2)[0, 1].tolist() == [10, 10, 10]
    red, green, blue = np.eye(3, dtype=np.uint8).reshape(3, 1, 1, 3) * 255
    assert np.array_equal(pixels.hue(red, 1 / 3), green)
    assert np.array_equal(pixels.hue(red, -1 / 3), blue)
    assert np.array_equal(pixels.hue(blue, 1 / 3), red)
    assert np.array_equal(pixels.hue(GREYS, 0.3), GREYS)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1)])
def test_images_a_pixel_wide(shape):
    image = noise(*shape)
    for step in STEPS:
        assert getattr(pixels, step)(image, 0.9).shape == image.shape
    matrix = cv2.getRotationMatrix2D(((shape[1] - 1) / 2, (shape[0] - 1) / 2), 0.0, 1.0)
    assert np.array_equal(pixels.warped(image, matrix, cv2.BORDER_CONSTANT), image)
    assert np.array_equal(pixels.warped_targets(image[..., 0], matrix, cv2.BORDER_CONSTANT), image[..., 0])


def test_an_image_that_may_not_be_written_is_read():
    image = noise()
    image.setflags(write=False)  # as those of the cache
    for step in STEPS:
        getattr(pixels, step)(image, 0.9)
    pixels.warped(image, np.eye(2, 3), cv2.BORDER_CONSTANT)


def test_the_library_is_the_one_that_was_measured():
    assert albumentations.__version__ == "2.0.8"
