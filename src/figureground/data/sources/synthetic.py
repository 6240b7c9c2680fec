"""Furry figures with limbs on cluttered backgrounds, drawn on demand: data for demonstrations and tests.

It is meant to be learnable but not trivial: backgrounds hold shapes of their own, and a third of the figures share the
colours of what is behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from figureground.data.dataset import SPLITS, Entry, Sample, Split, Targets, targets_of
from figureground.errors import BadDataError

VERSION = 1  # part of the fingerprint: raise it when the same seed draws something else
DEFAULTS = {"n": 500, "size": 256, "seed": 0}
SIMILAR_SHARE = 1 / 3


class Synthetic:
    """``n`` drawn samples of ``size`` × ``size`` pixels, 80% train, 10% valid, 10% test; the same for the same seed."""

    kind = "synthetic"
    foreground = "foreground"

    def __init__(self, n: int = 500, size: int = 256, seed: int = 0) -> None:
        if n < 10 or size < 32:
            raise BadDataError(f"synthetic data with n={n}, size={size}; expected n of 10 and size of 32 or more")
        tenth = n // 10
        counts: dict[Split, int] = {"train": n - 2 * tenth, "valid": tenth, "test": tenth}
        self.name = f"synthetic:n={n},size={size},seed={seed}"
        self.entries: Sequence[Entry] = [
            Entry(f"{split}-{index:04d}", Path(), (seed, SPLITS.index(split), index), split)
            for split, count in counts.items()
            for index in range(count)
        ]
        self._size = size

    def read(self, entry: Entry) -> Sample:
        """Draw one sample; the same entry always gives the same."""
        image, mask = draw_sample(np.random.default_rng(entry.truth), self._size)
        return Sample(entry.name, image, targets_of(mask))

    def targets(self, entry: Entry) -> Targets:
        """The truth alone."""
        return self.read(entry).targets

    def stamp(self, entry: Entry) -> str:
        """The version of the drawing; the name of the data says the rest."""
        return f"{VERSION} {entry.truth}"


def open_synthetic(settings: str) -> Synthetic:
    """From the text behind ``synthetic:``, such as ``n=200,size=128,seed=3``.

    Raises:
        FiguregroundError: another setting, or a value that is not a whole number.
    """
    values = dict(DEFAULTS)
    for part in filter(None, settings.split(",")):
        name, _, value = part.partition("=")
        if name not in DEFAULTS or not value.isdecimal():
            raise BadDataError(
                f"synthetic data setting {part!r}; expected whole numbers for n, size, seed: synthetic:n=200,size=128"
            )
        values[name] = int(value)
    return Synthetic(**values)


def draw_sample(rng: np.random.Generator, size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """One image (size, size, 3) and its mask (size, size)."""
    behind = _palette(rng)
    fur = _palette(rng)
    if rng.random() < SIMILAR_SHARE:
        fur = np.clip(behind + rng.integers(-30, 31, (3, 3)), 0, 255)
    background = _clutter(_texture(rng, size, behind), rng, behind)
    mask = _figure(rng, size)
    figure = _texture(rng, size, fur, stripes=rng.random() < 0.4)
    soft = np.asarray(mask.filter(ImageFilter.GaussianBlur(size / 300)), np.float32)[..., None] / 255
    image = background * (1 - soft) + figure * soft
    image *= _light(rng, size)
    image += rng.normal(0, rng.uniform(2, 8), image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), np.asarray(mask) > 127


def _palette(rng: np.random.Generator) -> NDArray[np.int64]:
    """Three colours (3, 3), mostly muted, as fur and rooms are."""
    shades = rng.integers(30, 226, (3, 1))
    return np.asarray(np.clip(shades + rng.integers(-45, 46, (3, 3)) + rng.integers(-25, 26, (1, 3)), 0, 255))


def _texture(
    rng: np.random.Generator, size: int, palette: NDArray[np.int64], stripes: bool = False
) -> NDArray[np.float32]:
    """Smooth noise at three scales that mixes the three colours of a palette, (size, size, 3)."""
    mix = sum(_noise(rng, size, cells) * weight for cells, weight in ((3, 1.0), (12, 0.6), (48, 0.5)))
    if stripes:
        rows, columns = np.mgrid[0:size, 0:size] / size
        angle, count = rng.uniform(0, np.pi), rng.uniform(6, 14)
        mix = mix + np.sin(2 * np.pi * count * (rows * np.cos(angle) + columns * np.sin(angle)) + 3 * mix)
    position = np.clip((mix + 1.5) / 1.5, 0, 1.999)
    lower = position.astype(int)
    share = (position - lower)[..., None]
    return np.asarray(palette[lower] * (1 - share) + palette[lower + 1] * share, np.float32)


def _noise(rng: np.random.Generator, size: int, cells: int) -> NDArray[np.float32]:
    """Noise with a standard deviation near 1 that varies over 1/cells of the image, (size, size)."""
    coarse = Image.fromarray(rng.normal(0, 1, (cells + 1, cells + 1)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def _clutter(
    background: NDArray[np.float32], rng: np.random.Generator, palette: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Boxes, discs and bars over a background, some in its colours, some in others."""
    size = len(background)
    picture = Image.fromarray(np.clip(background, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(3, 14)):
        colour = palette[rng.integers(3)] + rng.integers(-40, 41, 3) if rng.random() < 0.5 else rng.integers(0, 256, 3)
        fill = tuple(int(value) for value in np.clip(colour, 0, 255))
        x, y = rng.uniform(-0.1, 1.0, 2) * size
        width, height = rng.uniform(0.04, 0.35, 2) * size
        shape = rng.integers(3)
        if shape == 0:
            draw.rectangle((x, y, x + width, y + height), fill)
        elif shape == 1:
            draw.ellipse((x, y, x + width, y + height), fill)
        else:
            draw.line((x, y, *(rng.uniform(0, 1, 2) * size)), fill, width=int(rng.uniform(0.01, 0.05) * size) + 1)
    blurred = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, size / 120)))
    return np.asarray(blurred, np.float32)


def _figure(rng: np.random.Generator, size: int) -> Image.Image:
    """A body with head, ears, legs, tail and fur, as a grey picture of 0 and 255."""
    mask = Image.new("L", (size, size))
    draw = ImageDraw.Draw(mask)
    scale = size * rng.uniform(0.16, 0.32)
    centre = np.array([rng.uniform(0.3, 0.7), rng.uniform(0.35, 0.65)]) * size
    facing = rng.choice([-1, 1])
    along = np.array([facing, rng.uniform(-0.4, 0.4)])
    parts = [(centre, scale, scale * rng.uniform(0.5, 0.8))]
    head = centre + along * scale + np.array([0, -scale * rng.uniform(0.3, 0.9)])
    head_size = scale * rng.uniform(0.4, 0.6)
    parts.append((head, head_size, head_size * rng.uniform(0.8, 1.0)))
    for (x, y), width, height in parts:
        draw.ellipse((x - width, y - height, x + width, y + height), 255)
        _fur(draw, rng, (x, y), width, height)
    draw.line((*centre, *head), 255, width=int(scale * rng.uniform(0.35, 0.55)) + 1)  # neck
    for side in (-1, 1):  # ears
        tip = head + np.array([side * head_size * 0.7, -head_size * rng.uniform(1.2, 1.8)])
        base = [head + np.array([side * head_size * share, -head_size * 0.5]) for share in (0.1, 0.95)]
        draw.polygon([tuple(point) for point in (tip, *base)], 255)
    for _ in range(rng.integers(2, 5)):  # legs
        hip = centre + np.array([rng.uniform(-0.8, 0.8), 0.3]) * scale
        foot = hip + np.array([rng.uniform(-0.4, 0.4), rng.uniform(0.7, 1.5)]) * scale
        draw.line((*hip, *foot), 255, width=int(scale * rng.uniform(0.18, 0.32)) + 1)
    tail = [centre - along * scale * 0.9]
    for _ in range(3):
        tail.append(tail[-1] + np.array([-facing * rng.uniform(0, 0.5), rng.uniform(-0.6, 0.1)]) * scale)
    draw.line([tuple(point) for point in tail], 255, width=int(scale * rng.uniform(0.1, 0.2)) + 1, joint="curve")
    return mask


def _fur(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, centre: tuple[float, float], width: float, height: float
) -> None:
    """Hairs that stand out of an ellipse."""
    length = rng.uniform(0.04, 0.22)
    for angle in rng.uniform(0, 2 * np.pi, 90):
        root = np.array([np.cos(angle) * width, np.sin(angle) * height])
        tip = root * (1 + length * rng.uniform(0.3, 1)) + rng.normal(0, 0.04, 2) * width
        draw.line((*(root * 0.95 + centre), *(tip + centre)), 255, width=max(1, int(width * 0.03)))


def _light(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """A slope of brightness over the image, (size, size, 1)."""
    rows, columns = np.mgrid[-0.5 : 0.5 : size * 1j, -0.5 : 0.5 : size * 1j]
    slope = rng.uniform(-0.5, 0.5, 2)
    return np.asarray(1 + rows * slope[0] + columns * slope[1], np.float32)[..., None]
