"""What Albumentations 2.0.8 does to the pixels of an RGB image (H, W, 3) uint8, in less time.

Each function stands for one of its steps and gives the same picture, up to the rounding that is named there. None
changes the image it is given.
"""

from __future__ import annotations

import albucore
import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
LEVELS = np.arange(256, dtype=np.float32)
GREY = np.array([0.299, 0.587, 0.114])  # what OpenCV weighs red, green and blue with
HUES = 180  # of OpenCV, two degrees each, so that they fit a byte


def brightness(image: Image, factor: float) -> Image:
    """``factor`` times the image."""
    return _mapped(image, factor * LEVELS)


def contrast(image: Image, factor: float) -> Image:
    """``factor`` times the distance to the mean grey, which is not of rounded greys: a level can differ by one."""
    mean = float(GREY @ cv2.mean(image)[:3])
    return _mapped(image, factor * LEVELS + (1 - factor) * mean)


def saturation(image: Image, factor: float) -> Image:
    """``factor`` times the distance to a pixel's grey, which is not rounded before: a level can differ by one."""
    return np.asarray(cv2.transform(image, factor * np.eye(3) + (1 - factor) * GREY), np.uint8)


def hue(image: Image, turns: float) -> Image:
    """The colours turned by so many full circles."""
    if turns == 0:
        return image  # free of the rounding to OpenCV's hues
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    # A plane of its own: tables over every third byte, and numpy's copies of them, take three times as long.
    plane = _mapped(np.asarray(cv2.extractChannel(hsv, 0), np.uint8), np.mod(LEVELS + HUES * turns, HUES))
    return np.asarray(cv2.cvtColor(cv2.insertChannel(plane, hsv, 0), cv2.COLOR_HSV2RGB), np.uint8)


def warped(image: Image, matrix: NDArray[np.float64], border_mode: int) -> Image:
    """The image under an affine ``matrix`` (2, 3), bilinear."""
    height, width = image.shape[:2]
    # With a fourth channel OpenCV takes half the time for the same three.
    rgba = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    rgba = cv2.warpAffine(rgba, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=border_mode)
    return np.asarray(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), np.uint8)


def warped_targets(targets: Image, matrix: NDArray[np.float64], border_mode: int) -> Image:
    """Targets (H, W) or (H, W, n) under an affine ``matrix`` (2, 3), by nearest pixel."""
    height, width = targets.shape[:2]
    turned = cv2.warpAffine(targets, matrix, (width, height), flags=cv2.INTER_NEAREST, borderMode=border_mode)
    return np.asarray(turned, np.uint8)


def _mapped(pixels: Image, table: NDArray[np.floating]) -> Image:
    """Every value replaced by its entry in ``table``, cut to 0 to 255 and rounded down, as Albumentations does."""
    levels = np.clip(table, 0, 255).astype(np.uint8)
    return np.asarray(albucore.sz_lut(pixels, levels, inplace=False), np.uint8)
