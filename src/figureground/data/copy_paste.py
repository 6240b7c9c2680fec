"""Copy-paste (Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method", CVPR 2021): the figure of one
training image on another.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from figureground.data.dataset import FIGURE, FULL, WEIGHT, Targets
from figureground.preprocessing import resized

SMALLEST = 0.15  # of the pasted image, as a share of its side
EDGE = 1.0  # standard deviation in pixels over which a pasted edge fades: a hard one would give the figure away


def paste_figure(
    image: NDArray[np.uint8],
    targets: Targets,
    other_image: NDArray[np.uint8],
    other_targets: Targets,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.uint8]]]:
    """``image`` (H, W, 3) and its ``targets`` (H, W) with the figure of another pair on top, smaller and moved.

    Both pairs have one size. The new arrays hold both figures; what the other leaves out of the loss stays left out.
    """
    height, width = image.shape[:2]
    scale = rng.uniform(SMALLEST, 1.0)
    h, w = max(1, round(scale * height)), max(1, round(scale * width))
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    place = np.s_[top : top + h, left : left + w]
    smaller = {name: resized(each, h, w, Image.Resampling.NEAREST) for name, each in other_targets.items()}
    left_out = smaller.get(WEIGHT, np.full((h, w), FULL, np.uint8)) == 0
    pasted = (smaller[FIGURE] > FULL // 2) | left_out
    cover = Image.fromarray(pasted.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(EDGE))
    alpha = np.asarray(cover, np.float32)[..., None] / 255
    image = image.copy()
    image[place] = np.rint(image[place] * (1 - alpha) + resized(other_image, h, w) * alpha)
    changed = {name: each.copy() for name, each in targets.items()}
    changed[FIGURE][place][pasted] = smaller[FIGURE][pasted]
    if left_out.any() or WEIGHT in changed:
        weight = changed.setdefault(WEIGHT, np.full((height, width), FULL, np.uint8))
        weight[place][pasted] = np.where(left_out, 0, FULL)[pasted]
    return image, changed
