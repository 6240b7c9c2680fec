"""Pictures of a prediction beside its truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from figureground.files import replacing
from figureground.prediction.photos.result import lay_over
from figureground.preprocessing import tensor_to_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL = 2.6  # inches
FALLBACK = "prediction.png"


class Case(NamedTuple):
    """One image with its truth and what was predicted."""

    name: str
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    prediction: NDArray[np.bool_]
    dice: float


def draw_cases(
    cases: Sequence[Case], path: str | Path | None = None, *, fallback: str | Path = FALLBACK
) -> Path | None:
    """A row a case: the photo, the predicted mask with its Dice, the true mask.

    Args:
        cases: the rows.
        path: write a PNG here; none: show a window or, without a screen, write ``fallback``.
        fallback: see ``path``.

    Returns:
        The file, if one was written.
    """
    figure = _figure(len(cases), 3)
    axes = figure.subplots(len(cases), 3, squeeze=False)
    for (photo, predicted, true), case in zip(axes, cases, strict=True):
        _picture(photo, case.image, case.name)
        _picture(predicted, case.prediction, f"prediction, Dice {case.dice:.4f}")
        _picture(true, case.mask, "truth")
    return _show_or_save(figure, path, fallback)


def show_prediction(image: Any, mask: Any, path: str | Path | None = None, *, title: str = "") -> Path | None:
    """An image with its mask laid over it in transparent red.

    Args:
        image: (H, W, 3) uint8, or a normalised tensor (3, H, W), which ``tensor_to_image`` turns back.
        mask: (H, W) or (1, H, W), bool or 0 and 1, an array or a tensor.
        path: write a PNG here; none: show a window or, without a screen, write ``prediction.png``.
        title: above the picture.

    Returns:
        The file, if one was written.
    """
    pixels = image if isinstance(image, np.ndarray) and image.dtype == np.uint8 else tensor_to_image(image)
    flat = np.asarray(mask).reshape(pixels.shape[:2]) > 0.5
    figure = _figure(1, 1, 2 * PANEL)
    _picture(figure.subplots(), lay_over(pixels, flat), title)
    return _show_or_save(figure, path, FALLBACK)


def _figure(rows: int, columns: int, panel: float = PANEL) -> Figure:
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(columns * panel, rows * (panel + 0.25)), dpi=120, layout="constrained")


def _picture(axes: Any, pixels: NDArray[Any], title: str) -> None:
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.axis("off")


def has_screen() -> bool:
    """Whether pictures can be shown in a window."""
    import matplotlib.pyplot as plt

    return plt.get_backend().lower() != "agg"  # what matplotlib falls back to without a screen


def _show_or_save(figure: Figure, path: str | Path | None, fallback: str | Path) -> Path | None:
    import matplotlib.pyplot as plt

    try:
        if path is None and has_screen():
            plt.show()
            return None
        target = Path(path or fallback)
        with replacing(target) as partial:
            figure.savefig(partial, format="png")
        return target
    finally:
        plt.close(figure)
