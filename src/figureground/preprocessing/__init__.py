"""Photo to network input, and logits back to the photo's own size. The only place that knows how."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from figureground.preprocessing.policy import Preprocessing, tensor_to_image

if TYPE_CHECKING:
    from figureground.preprocessing.restoring import Restored, resized, resized_above, resized_strips, sigmoid
    from figureground.preprocessing.windows import Windows, blended

__all__ = [
    "Preprocessing",
    "Restored",
    "Windows",
    "blended",
    "resized",
    "resized_above",
    "resized_strips",
    "sigmoid",
    "tensor_to_image",
]


def __getattr__(name: str) -> object:
    """What needs NumPy, when it is used: settings, of which ``Preprocessing`` are some, do not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "windows" if name in ("Windows", "blended") else "restoring"
    return getattr(import_module(f"{__name__}.{home}"), name)
