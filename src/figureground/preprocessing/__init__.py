"""Photo to network input, and logits back to the photo's own size. The only place that knows how."""

from figureground.preprocessing.policy import Preprocessing, tensor_to_image
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
