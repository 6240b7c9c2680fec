"""From photos to predictions: one or more models, how they look at a photo, and the operating point."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from figureground.bundle import BundleInfo
from figureground.config import ModelConfig, PostProcessingConfig, plain
from figureground.errors import UnreadableImageError, UsageError
from figureground.image_files import DEFAULT_LIMITS, ReadLimits
from figureground.images import ImageSource
from figureground.prediction.ahead import Budget, batched
from figureground.prediction.origins import Source
from figureground.prediction.photos.member import Member, open_member
from figureground.prediction.photos.reading import pixels_of, read_photo
from figureground.prediction.photos.result import Prediction
from figureground.prediction.photos.views import BATCH_SIZE, Views, least_size, logit_maps, mean_map
from figureground.preprocessing import Preprocessing, Restored
from figureground.pretrained import DEFAULT
from figureground.runs import members_of

PHOTOS_AT_ONCE = Budget(BATCH_SIZE, 2**25)
"""That are read before the network sees them."""


class Segmenter:
    """Masks from photos. It does not change after it is made, so that threads may share it.

    Args:
        members: one model, or several whose logits are averaged (an ensemble).
        views: how each looks at a photo.
        post_processing: how masks are cleaned up; none: as the first model's bundle says.
        limits: what the file of a photo may be.

    Raises:
        FiguregroundError: no model, or views that one of them has no use for.

    Attributes:
        quality: how the Dice of a mask is estimated, as the first model's bundle says.
    """

    def __init__(
        self,
        *members: Member,
        views: Views = Views(),  # noqa: B008 (frozen)
        post_processing: PostProcessingConfig | None = None,
        limits: ReadLimits = DEFAULT_LIMITS,
    ) -> None:
        if not members:
            raise UsageError("a segmenter needs a model; expected at least one")
        for member in members:
            views.expect(member.preprocessing)
        self.members: Final = members
        self.views: Final = views
        self.post_processing: Final = post_processing or members[0].info.post_processing
        self.quality: Final = members[0].info.quality
        self.limits: Final = limits

    @property
    def name(self) -> str:
        """The models' names."""
        return " + ".join(member.name for member in self.members)

    @property
    def engine(self) -> str:
        """The engines' names."""
        return " + ".join(dict.fromkeys(member.engine.name for member in self.members))

    @property
    def lanes(self) -> int:
        """How many batches it works on at once when asked by so many threads."""
        return min(member.engine.lanes for member in self.members)

    @property
    def preprocessing(self) -> Preprocessing:
        """Of the first model: it decides at which size scores are taken."""
        return self.members[0].preprocessing

    @property
    def least_size(self) -> tuple[int, int]:
        """Height and width below which reduced photos would show less; see ``views.least_size``."""
        return least_size((member.preprocessing for member in self.members), self.views)

    @property
    def threshold(self) -> float:
        """A pixel is figure above this probability: the models' own, of several their mean."""
        return sum(member.info.operating_point.threshold for member in self.members) / len(self.members)

    @property
    def temperature(self) -> float:
        """What the model's own logits were divided by; 1 for several, which are calibrated before they are averaged."""
        return self.members[0].info.operating_point.temperature if len(self.members) == 1 else 1.0

    @cached_property
    def making(self) -> dict[str, Any]:
        """What masks depend on besides the photo, ready for JSON; not the engine, whose rounding changes few pixels."""
        return {
            "model": [member.digest or member.name for member in self.members],
            "views": plain(self.views),
            "threshold": self.threshold,
            "clean-up": plain(self.post_processing),
        }

    @overload
    def predict(self, source: ImageSource) -> Prediction: ...  # type: ignore[overload-overlap]  # str is iterable
    @overload
    def predict(self, source: Iterable[ImageSource]) -> Iterator[Prediction]: ...
    def predict(self, source: ImageSource | Iterable[ImageSource]) -> Prediction | Iterator[Prediction]:
        """The figure in one photo, or, for a list or an iterator, in each as it is asked for.

        Args:
            source: a file, its bytes, a PIL image or an array (H, W, 3) uint8; or several of these. Up to eight of
                several are held at once, arrays as copies, so that a camera may use its buffer again.

        Raises:
            UnreadableImageError: a photo that cannot be read, with its name.
        """
        if isinstance(source, str | Path | bytes | Image.Image | np.ndarray):
            return next(self._stream([source]))
        if hasattr(source, "read") or not isinstance(source, Iterable) or isinstance(source, bytearray | memoryview):
            raise UnreadableImageError(
                f"a photo was given as {type(source).__name__}; expected a file's name, bytes, a PIL image, an array "
                "(H, W, 3) uint8, or several of these"
            )
        return self._stream(source)

    def _stream(self, sources: Iterable[ImageSource]) -> Iterator[Prediction]:
        read = (read_photo(source, self.least_size, self.limits) for source in sources)
        for photos in batched(read, pixels_of, PHOTOS_AT_ONCE):
            maps = self.logit_maps([photo.seen for photo in photos])
            while photos:  # each is let go before the next is made: photos can be large
                yield self.prediction(photos.pop(0).image, maps.pop(0))

    def prediction(
        self, image: NDArray[np.uint8], logits: NDArray[np.float32], size: tuple[int, int] | None = None
    ) -> Prediction:
        """What the logits (h, w) of an image (H, W, 3) say, at the image's own size.

        Or at ``size``, height and width of the photo that the image is a reduced version of; an overlay or a cut-out
        cannot be made of that.
        """
        height, width = size or image.shape[:2]
        return Prediction(image, Restored(logits, (height, width)), self.threshold, self.post_processing, self.quality)

    def logit_maps(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Images of any sizes, each (H, W, 3) uint8, to maps of logits (h, w): of all models and views, averaged."""
        by_member = [logit_maps(member, images, self.views) for member in self.members]
        return [mean_map(maps) for maps in zip(*by_member, strict=True)]


def load(
    source: str | Path = DEFAULT,
    *more: str | Path,
    engine: str | None = None,
    views: Views = Views(),  # noqa: B008 (frozen)
    photos: int | None = None,
    post_processing: PostProcessingConfig | None = None,
    limits: ReadLimits = DEFAULT_LIMITS,
) -> Segmenter:
    """A segmenter from a run folder, a bundle file or a name, or from several, which are averaged.

    Args:
        source: a run folder (of folds, all of them), a ``.safetensors`` or an ``.onnx`` file, or a model of the
            package, such as ``pets``.
        more: further ones, also of other architectures and sizes.
        engine: ``torch``, ``openvino`` or ``onnxruntime``; none: the fastest that is installed for each.
        views: how each model looks at a photo.
        photos: how many it will be shown, if that is known: for a few, the fastest is the one that starts first, and
            for many it is prepared to work on several batches at once (``predict_files`` asks it to).
        post_processing: how masks are cleaned up; none: as the first model's bundle says.
        limits: what the file of a photo may be.

    Raises:
        FiguregroundError: there is none, or it is another kind of file.
    """
    members = [open_member(path, engine, photos) for given in (source, *more) for path in members_of(given)]
    return Segmenter(*members, views=views, post_processing=post_processing, limits=limits)


def load_state_dict(path: str | Path, model: str) -> Segmenter:
    """A segmenter from a bare state dict (``.pth``) of ``model``, as the lab report saves it, with its preprocessing.

    Raises:
        FiguregroundError: missing, damaged, of another model, or a file that could run code.
    """
    from figureground.models.weights import read_state_dict
    from figureground.prediction.photos.engines.torch_engine import TorchEngine

    settings, digest = ModelConfig(model), Source(Path(path)).digest
    engine = TorchEngine.of_weights(read_state_dict(Path(path)), settings, str(path))
    return Segmenter(Member(BundleInfo(settings), engine, str(path), digest))
