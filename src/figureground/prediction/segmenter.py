"""A model that is ready to predict: engine, preprocessing and operating point in one object."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from figureground.bundle import BundleInfo, read_info, read_tensors
from figureground.config import ModelConfig
from figureground.errors import FiguregroundError
from figureground.images import ImageSource, read_image
from figureground.prediction.engines import Engine
from figureground.prediction.outputs import Prediction
from figureground.preprocessing import Preprocessing

BUNDLE_IN_RUN = "model.safetensors"
BATCH_SIZE = 8


class Segmenter:
    """Masks from photos.

    Args:
        info: the bundle's metadata: preprocessing and operating point.
        engine: what runs the network.
        name: where it came from, for messages and reports.
    """

    def __init__(self, info: BundleInfo, engine: Engine, name: str) -> None:
        self.info = info
        self.engine = engine
        self.name = name
        settings = info.preprocessing
        self.preprocessing = Preprocessing(settings.size, settings.resize, settings.mean, settings.std)

    @overload
    def predict(self, source: ImageSource) -> Prediction: ...  # type: ignore[overload-overlap]  # str is iterable
    @overload
    def predict(self, source: Iterable[ImageSource]) -> Iterator[Prediction]: ...
    def predict(self, source: ImageSource | Iterable[ImageSource]) -> Prediction | Iterator[Prediction]:
        """The figure in one photo, or, for a list or an iterator, in each as it is asked for.

        Args:
            source: a file, its bytes, a PIL image or an array (H, W, 3) uint8; or several of these.

        Raises:
            FiguregroundError: a photo that cannot be read, with its name.
        """
        if isinstance(source, str | Path | bytes | Image.Image | np.ndarray):
            return next(self._stream([source]))
        return self._stream(source)

    def _stream(self, sources: Iterable[ImageSource]) -> Iterator[Prediction]:
        sources = iter(sources)
        while chunk := list(itertools.islice(sources, BATCH_SIZE)):
            images = [read_image(source) for source in chunk]
            for image, logits in zip(images, self.logits(images), strict=True):
                yield self._prediction(image, logits)

    def _prediction(self, image: NDArray[np.uint8], logits: NDArray[np.float32]) -> Prediction:
        point = self.info.operating_point
        height, width = image.shape[:2]
        probability = self.preprocessing.restore(logits, height, width, point.temperature)
        return Prediction(image, probability, point.threshold)

    def logits(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Images of any sizes, each (H, W, 3) uint8, to logits (N, h, w) at the network's size."""
        resized = np.stack([self.preprocessing.resize_image(image) for image in images])
        return self.engine.logits(self.preprocessing.normalise(resized))

    @property
    def logit_threshold(self) -> float:
        """The operating point on the scale of the logits: a pixel is figure above it."""
        point = self.info.operating_point
        return point.temperature * math.log(point.threshold / (1 - point.threshold))


def load(source: str | Path) -> Segmenter:
    """A segmenter from a run folder or a bundle file.

    Raises:
        FiguregroundError: there is none, or it is another kind of file.
    """
    path = bundle_path(Path(source))
    info = read_info(path)
    from figureground.prediction.engines.torch_engine import TorchEngine, as_tensors

    return Segmenter(info, TorchEngine(info.model, as_tensors(read_tensors(path)), str(path)), str(source))


def bundle_path(path: Path) -> Path:
    """The bundle that ``path`` is, or that the run folder ``path`` holds."""
    if path.is_dir():
        if not (path / BUNDLE_IN_RUN).is_file():
            raise FiguregroundError(
                f"{path} holds no {BUNDLE_IN_RUN}; expected a run folder behind its first epoch, or a bundle file"
            )
        return path / BUNDLE_IN_RUN
    if not path.is_file():
        raise FiguregroundError(f"{path}: no such model; expected a run folder or a bundle (.safetensors)")
    if path.suffix in (".pth", ".pt", ".ckpt"):
        raise FiguregroundError(
            f"{path} is a checkpoint, for resuming only; give the run's folder or its {BUNDLE_IN_RUN}"
        )
    return path


def load_state_dict(path: str | Path, model: str) -> Segmenter:
    """A segmenter from a bare state dict (``.pth``) of ``model``, as the lab report saves it, with its preprocessing.

    Raises:
        FiguregroundError: missing, damaged, of another model, or a file that could run code.
    """
    from figureground.prediction.engines.torch_engine import TorchEngine, read_state_dict

    settings = ModelConfig(model)
    return Segmenter(BundleInfo(settings), TorchEngine(settings, read_state_dict(Path(path)), str(path)), str(path))
