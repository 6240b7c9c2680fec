import pytest

from figureground import load
from figureground.config import ServeConfig
from figureground.image_files import ReadLimits
from figureground.serving.app import create_app

from .running import running


@pytest.fixture
def serving(bright_onnx):
    """Serve the model of known answers as ``bright``; what is given are settings."""
    started = []

    def start(key=None, before=lambda: None, **given):
        settings = ServeConfig(**given)
        limits = ReadLimits(pixels=settings.max_pixels, bytes=settings.max_bytes)
        segmenter = load(bright_onnx, engine="onnxruntime", limits=limits)
        maps = segmenter.logit_maps
        segmenter.logit_maps = lambda images: (before(), maps(images))[1]
        context = running(create_app({"bright": segmenter}, settings, key), settings)
        started.append(context)
        return context.__enter__()

    yield start
    for context in started:
        context.__exit__(None, None, None)
