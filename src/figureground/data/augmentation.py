"""Random changes to training images, by Albumentations. No other module knows that library.

It says what is drawn and in which order; where its own way to the pixels is slow, ``pixels`` has another.

``report`` is the lab report's: on the image as it comes, which is the cached one unless the cache is off, before it is
resized and normalised. ``strong`` works on the cache and gives images of the size that is trained; ``heavy`` is more of
it, for trainings of many epochs.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # read when it is imported; it would ask the network
import albumentations
import cv2

from figureground.data import pixels
from figureground.data.dataset import FULL, WEIGHT, Targets

cv2.setNumThreads(0)  # its threads cost more than they gain on images of this size, and fight with torch's

Transforms = Sequence[albumentations.BasicTransform | albumentations.OneOf]


class ColorJitter(albumentations.ColorJitter):  # type: ignore[misc]  # untyped library
    """Albumentations', faster: the same draws, the same steps in the same order."""

    def apply(self, img: NDArray[np.uint8], order: Sequence[int], **drawn: Any) -> NDArray[np.uint8]:
        """``order`` is of the four steps."""
        steps = (
            (pixels.brightness, drawn["brightness"]),
            (pixels.contrast, drawn["contrast"]),
            (pixels.saturation, drawn["saturation"]),
            (pixels.hue, drawn["hue"]),
        )
        for index in order:
            step, amount = steps[index]
            img = step(img, amount)
        return img


class Rotate(albumentations.Rotate):  # type: ignore[misc]  # untyped library
    """Albumentations', faster, for an image and its targets; ``fill`` is black and background."""

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """The matrix about the image's centre; there are no boxes, whose own matrix took most of the time."""
        height, width = params["shape"][:2]
        angle = self.py_random.uniform(*self.limit)
        return {"matrix": cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)}

    def apply(self, img: NDArray[np.uint8], matrix: NDArray[np.float64], **params: Any) -> NDArray[np.uint8]:
        """The image, bilinear."""
        return pixels.warped(img, matrix, self.border_mode)

    def apply_to_mask(self, mask: NDArray[np.uint8], matrix: NDArray[np.float64], **params: Any) -> NDArray[np.uint8]:
        """The targets, by nearest pixel."""
        return pixels.warped_targets(mask, matrix, self.border_mode)


def _none(size: tuple[int, int]) -> Transforms:
    return [albumentations.NoOp()]


def _report(size: tuple[int, int]) -> Transforms:
    return [
        albumentations.HorizontalFlip(p=0.5),
        albumentations.RandomBrightnessContrast(p=0.5),
        ColorJitter(p=0.5),
        Rotate(limit=(-15, 15), p=0.5),
    ]


def _strong(size: tuple[int, int]) -> Transforms:
    jitter = ColorJitter((0.7, 1.3), (0.7, 1.3), (0.6, 1.4), (-0.04, 0.04), p=0.7)
    turn = Rotate(limit=(-20, 20), border_mode=cv2.BORDER_REFLECT_101, p=0.3)
    crop = albumentations.RandomResizedCrop(
        size, scale=(0.4, 1.0), ratio=(0.75, 1.33), area_for_downscale="image", p=0.75
    )
    return _on_the_cache(size, turn, crop, jitter, albumentations.GaussianBlur(blur_limit=(3, 5)), rare=0.15)


def _heavy(size: tuple[int, int]) -> Transforms:
    jitter = ColorJitter((0.15, 1.4), (0.6, 1.4), (0.5, 1.5), (-0.06, 0.06), p=0.8)  # down to the dark
    turn = Rotate(limit=(-30, 30), border_mode=cv2.BORDER_REFLECT_101, p=0.4)
    crop = albumentations.RandomResizedCrop(
        size, scale=(0.3, 1.0), ratio=(0.67, 1.5), area_for_downscale="image", p=0.75
    )
    blur = albumentations.GaussianBlur(blur_limit=0, sigma_limit=(0.5, 4.0))
    return _on_the_cache(size, turn, crop, jitter, blur, rare=0.25)


def _on_the_cache(
    size: tuple[int, int],
    turn: albumentations.BasicTransform,
    crop: albumentations.BasicTransform,
    jitter: albumentations.BasicTransform,
    blur: albumentations.BasicTransform,
    rare: float,
) -> Transforms:
    """Flip, ``turn``, ``crop``, resize, ``jitter``, and with the probability ``rare`` one of grey, ``blur``, noise."""
    return [
        albumentations.HorizontalFlip(p=0.5),
        turn,
        crop,
        albumentations.Resize(*size, area_for_downscale="image"),  # those that were not cropped
        jitter,
        albumentations.OneOf(
            [
                albumentations.ToGray(),
                blur,
                albumentations.GaussNoise(std_range=(0.02, 0.08)),
            ],
            p=rare,
        ),
    ]


AUGMENTATIONS: dict[str, Callable[[tuple[int, int]], Transforms]] = {
    "none": _none,
    "report": _report,
    "strong": _strong,
    "heavy": _heavy,
}


class Augmentation:
    """One of ``AUGMENTATIONS`` for training images of ``size`` (height, width).

    Args:
        name: of it.
        size: height and width that come out.
        upright: up and down matter; otherwise images are also turned by quarters.
        whole: images are whole photos; crops have that size already, and are not cropped once more.
    """

    def __init__(self, name: str, size: tuple[int, int], upright: bool = True, whole: bool = True) -> None:
        transforms = list(AUGMENTATIONS[name](size))
        if not whole:
            spare = (albumentations.RandomResizedCrop, albumentations.Resize)
            transforms = [each for each in transforms if not isinstance(each, spare)]
        if not upright:
            transforms.insert(0, albumentations.VerticalFlip(p=0.5))
            if size[0] == size[1]:
                transforms.insert(0, albumentations.RandomRotate90(p=0.5))
        self._compose = albumentations.Compose(transforms)

    def __call__(
        self, image: NDArray[np.uint8], targets: Targets, seed: Sequence[int]
    ) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.uint8]]]:
        """Change an image (H, W, 3) and its targets (H, W) alike; the same ``seed`` always does the same."""
        rng = np.random.default_rng(seed)
        # Shared generators: ``set_random_seed`` would give every transform the same stream, so that all or none apply.
        self._compose.set_random_state(rng, random.Random(int(rng.integers(2**63))))
        maps = [_filled_with_zeros(name, each) for name, each in targets.items()]
        changed = self._compose(image=image, mask=maps[0] if len(maps) == 1 else np.dstack(maps))
        mask = changed["mask"]
        turned = [mask] if len(maps) == 1 else [np.ascontiguousarray(mask[..., place]) for place in range(len(maps))]
        return changed["image"], {
            name: _filled_with_zeros(name, each) for name, each in zip(targets, turned, strict=True)
        }


def _filled_with_zeros(name: str, target: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A target as, and from, what transforms are shown: they fill with zeros, and what they fill counts in full."""
    return FULL - target if name == WEIGHT else target
