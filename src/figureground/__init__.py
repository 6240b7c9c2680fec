"""Figure-ground segmentation: masks from photographs, and models from photographs with masks.

Names are imported when they are first used, so importing the package loads neither torch nor anything
else that is slow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from figureground.version import __version__

if TYPE_CHECKING:
    from figureground.bundle import BundleInfo
    from figureground.config import DataConfig, ModelConfig, TrainConfig
    from figureground.data import Dataset, Sample, open_dataset
    from figureground.errors import FiguregroundError
    from figureground.evaluation import Evaluation, evaluate, show_prediction
    from figureground.image_files import ReadLimits
    from figureground.metrics import dice_score
    from figureground.models import MODELS, create_model
    from figureground.prediction import Prediction, Segmenter, Views, load
    from figureground.preprocessing import Preprocessing, tensor_to_image
    from figureground.training import Run, resume, train

_HOMES = {
    name: home
    for home, names in {
        "bundle": ["BundleInfo"],
        "config": ["DataConfig", "ModelConfig", "TrainConfig"],
        "data": ["Dataset", "Sample", "open_dataset"],
        "errors": ["FiguregroundError"],
        "evaluation": ["Evaluation", "evaluate", "show_prediction"],
        "image_files": ["ReadLimits"],
        "metrics": ["dice_score"],
        "models": ["MODELS", "create_model"],
        "prediction": ["Prediction", "Segmenter", "Views", "load"],
        "preprocessing": ["Preprocessing", "tensor_to_image"],
        "training": ["Run", "resume", "train"],
    }.items()
    for name in names
}

__all__ = [
    "MODELS",
    "BundleInfo",
    "DataConfig",
    "Dataset",
    "Evaluation",
    "FiguregroundError",
    "ModelConfig",
    "Prediction",
    "Preprocessing",
    "ReadLimits",
    "Run",
    "Sample",
    "Segmenter",
    "TrainConfig",
    "Views",
    "__version__",
    "create_model",
    "dice_score",
    "evaluate",
    "load",
    "open_dataset",
    "resume",
    "show_prediction",
    "tensor_to_image",
    "train",
]


def __getattr__(name: str) -> object:
    """Import a public name from its home, once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'figureground' has no attribute {name!r}")
    value = getattr(import_module(f"figureground.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, also those that are not imported yet."""
    return __all__
