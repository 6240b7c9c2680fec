"""How a photo becomes what a network sees: the settings of it, and what follows from them.

The settings are read by ``--help`` too: NumPy and Pillow are imported when a photo comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from figureground.settings import check, require, setting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from figureground.preprocessing.windows import Padding, Windows

Policy = Literal["stretch", "fit", "crops"]
Resample = Literal["bilinear", "lanczos"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
Channels = tuple[float, float, float]
"""Of red, green and blue."""
UNKNOWN: tuple[Channels, Channels] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Mean and deviation where nobody says them."""
TILE_OVERLAP = 0.5
"""Of neighbouring windows where a network of ``stretch`` or ``fit`` sees a photo enlarged."""


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of its input. Training, evaluation, prediction and export share one of these.

    A photo is first *scaled* (``seen_size`` says to what), and then shown in one or more *windows* of ``size``: by
    ``stretch`` it fills the one, by ``fit`` it is padded to it, and ``crops`` takes as many as cover it. The logits
    of a photo always have its seen size, without padding: scores are taken there, and masks restored from there.
    """

    size: tuple[int, int] = setting(
        (256, 256),
        "Height and width that the network sees at once, in pixels; one number for both.",
        at_least=32,
        at_most=8192,
    )
    resize: Policy = setting(
        "stretch",
        "How a photo gets there: stretch loses its aspect, fit keeps it and pads, crops shows windows.",
    )
    mean: Channels | None = setting(
        None, "Of each channel, on the scale 0 to 1; none: what the initial weights want, 0.5 for random ones."
    )
    std: Channels | None = setting(None, "Of each channel, on the scale 0 to 1; none: as for the mean.", at_least=1e-6)
    scale: float = setting(
        1.0,
        "Of crops: the share of a photo's height and width at which it is seen; 1 is its own size.",
        above=0,
        at_most=1,
    )
    overlap: float = setting(
        0.25, "Of crops: the share of a window that its neighbours see too, at least.", at_least=0, at_most=0.9
    )
    resample: Resample = setting("bilinear", "How pixels are made where a photo is resized, over the area they show.")

    def __post_init__(self) -> None:
        check(self)
        require(self.resize in POLICIES, f"resize is {self.resize!r}; expected one of: {', '.join(POLICIES)}")

    @property
    def normalisation(self) -> tuple[Channels, Channels]:
        """Mean and deviation of each channel, on the scale 0 to 1."""
        mean, std = UNKNOWN
        return self.mean or mean, self.std or std

    def settled(self, wanted: tuple[Channels, Channels] | None = None) -> Preprocessing:
        """With a mean and a deviation: where they are not said, those that weights want, or 0.5."""
        mean, std = wanted or UNKNOWN
        return replace(self, mean=self.mean or mean, std=self.std or std)

    def seen_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which the network sees a photo of a size, as a whole and without padding."""
        if self.resize == "stretch":
            return self.size
        share = self.scale if self.resize == "crops" else min(self.size[0] / height, self.size[1] / width)
        return max(1, round(share * height)), max(1, round(share * width))

    @property
    def scored_at(self) -> str:
        """The size at which scores compare prediction and truth, in words: equal where that is."""
        height, width = self.size
        if self.resize == "crops":
            return f"at {self.scale:g} times their size" if self.scale < 1 else "at their own size"
        return f"{'at' if self.resize == 'stretch' else 'within'} {width}×{height}"

    def scale_image(self, image: NDArray[np.uint8], times: float = 1.0) -> NDArray[np.uint8]:
        """A photo (H, W, 3) uint8 at its seen size, resized by ``resample``.

        Or at ``times`` that size, but no side longer than its own, which would show nothing new.
        """
        from PIL import Image

        from figureground.preprocessing.restoring import resized

        own = image.shape[0], image.shape[1]
        seen = self.seen_size(*own)
        height, width = (max(a, min(round(times * a), b)) for a, b in zip(seen, own, strict=True))
        return resized(image, height, width, Image.Resampling[self.resample.upper()])

    def scale_target(self, target: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A target (H, W) uint8 at its photo's seen size, by nearest pixel: no value is invented."""
        from PIL import Image

        from figureground.preprocessing.restoring import resized

        return resized(target, *self.seen_size(*target.shape), Image.Resampling.NEAREST)

    def resize_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A photo (H, W, 3) uint8 at the network's size, by ``stretch`` or ``fit``; of ``crops`` there are several."""
        from figureground.preprocessing.windows import padded

        return padded(self.scale_image(self._whole(image)), self.size, self._padding)

    def resize_target(self, target: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A target (H, W) uint8 at the network's size like its image, with 0 where there is no photo."""
        from figureground.preprocessing.windows import padded

        return padded(self.scale_target(self._whole(target)), self.size, 0)

    def _whole(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.resize == "crops":
            raise ValueError("crops have no one size of a whole photo; expected scale_image, and windows or cut")
        return pixels

    @property
    def _padding(self) -> Padding:
        """What a photo is padded with.

        By ``fit`` with the pixels of its edge: the mean would be a step along the whole edge, which first layers
        answer to, and mirrored, a figure would be there twice. A window that the photo does not fill is mirrored
        into: there, little is missing, and texture goes on as texture.
        """
        return "edge" if self.resize == "fit" else "reflect"

    def cut(self, pixels: NDArray[np.uint8], top: int, left: int, padding: int | None = None) -> NDArray[np.uint8]:
        """A window of a scaled photo (h, w, 3) or map (h, w), as training draws them.

        Args:
            pixels: at the seen size; where it is smaller than the window, it is padded first.
            top: 0 to max(0, h - H).
            left: 0 to max(0, w - W).
            padding: the value of what is padded; none, for a photo: as ``windows`` pads it.
        """
        from figureground.preprocessing.windows import padded

        whole = padded(pixels, self.size, self._padding if padding is None else padding)
        return whole[top : top + self.size[0], left : left + self.size[1]]

    def windows(self, pixels: NDArray[np.uint8], padding: int | None = None) -> Windows:
        """All that the network is shown of a photo (h, w, 3) that is scaled, or enlarged, or of a map (h, w) of its.

        Args:
            pixels: the photo or map; it is padded where it is smaller than a window.
            padding: the value of what is padded; none, for a photo: its edge or its mirror image.
        """
        from figureground.preprocessing.windows import Windows, padded, starts

        whole = padded(pixels, self.size, self._padding if padding is None else padding)
        overlap = self.overlap if self.resize == "crops" else TILE_OVERLAP
        tops, lefts = (starts(*sides, overlap) for sides in zip(whole.shape, self.size, strict=False))
        return Windows(whole, (pixels.shape[0], pixels.shape[1]), self.size, tops, lefts)

    def one_window(self, image: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        """One of the windows (H, W, 3) of a photo of any size, another for each ``number``: a sample of them all."""
        windows = self.windows(self.scale_image(image))
        return windows[number % len(windows)]

    def scale_and_shift(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What normalising multiplies the values 0 to 255 of each channel by, and then adds: (3,) each."""
        import numpy as np

        mean, std = map(np.asarray, self.normalisation)
        return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)

    def normalise(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Images (N, H, W, 3) uint8 as (N, 3, H, W) float32, (x / 255 - mean) / std, channels last in memory."""
        import numpy as np

        scale, shift = self.scale_and_shift()
        n, height, width, _ = images.shape
        # Whole rows at once: numpy is six times slower where its innermost loop has the length of three channels.
        rows = images.reshape(n, height, width * 3).astype(np.float32)
        rows *= np.tile(scale, width)
        rows += np.tile(shift, width)
        return rows.reshape(images.shape).transpose(0, 3, 1, 2)

    def denormalise(self, batch: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The inverse of ``normalise``, rounded: (N, 3, H, W) float32 to (N, H, W, 3) uint8."""
        import numpy as np

        mean, std = map(np.asarray, self.normalisation)
        images = batch.transpose(0, 2, 3, 1) * std + mean
        return np.asarray(np.clip(np.round(images * 255), 0, 255), np.uint8)

    def restore(self, logits: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
        """Logits (h, w) of any size as probabilities (height, width) float32 at the photo's own."""
        from figureground.preprocessing.restoring import Restored

        return Restored(logits, (height, width))[:]


def tensor_to_image(
    tensor: Any, mean: Sequence[float] = (0.5,) * 3, std: Sequence[float] = (0.5,) * 3
) -> NDArray[np.uint8]:
    """The image (H, W, 3) uint8 behind a normalised one (3, H, W), a torch tensor or an array."""
    import numpy as np

    pixels = tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else np.asarray(tensor)
    (red, green, blue), (of_red, of_green, of_blue) = mean, std
    preprocessing = Preprocessing(mean=(red, green, blue), std=(of_red, of_green, of_blue))
    image: NDArray[np.uint8] = preprocessing.denormalise(pixels[None])[0]
    return image
