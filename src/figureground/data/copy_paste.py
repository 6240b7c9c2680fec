"""Copy-paste (Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method", CVPR 2021): the figure of one
training image on another.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from figureground.labels import SOFT_FIGURE
from figureground.preprocessing import resized

SMALLEST = 0.4  # of the pasted image, as a share of its side
EDGE = 1.0  # standard deviation in pixels over which a pasted edge fades: a hard one would give the figure away


def paste_figure(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    other_image: NDArray[np.uint8],
    other_labels: NDArray[np.uint8],
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """``image`` (H, W, 3) and its soft ``labels`` (H, W) with the figure of another pair on top, smaller and moved.

    Both pairs have one size. The new arrays hold both figures; what the other leaves out of the loss stays left out.
    """
    height, width = labels.shape
    scale = rng.uniform(SMALLEST, 1.0)
    h, w = max(1, round(scale * height)), max(1, round(scale * width))
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    place = np.s_[top : top + h, left : left + w]
    pasted_labels = resized(other_labels, h, w, Image.Resampling.NEAREST)
    pasted = pasted_labels >= SOFT_FIGURE // 2
    cover = Image.fromarray(pasted.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(EDGE))
    alpha = np.asarray(cover, np.float32)[..., None] / 255
    image, labels = image.copy(), labels.copy()
    image[place] = np.rint(image[place] * (1 - alpha) + resized(other_image, h, w) * alpha)
    labels[place][pasted] = pasted_labels[pasted]
    return image, labels
