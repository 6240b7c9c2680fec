import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from figureground import load
from figureground.bundle import BundleInfo, DataSummary, read_info
from figureground.config import ModelConfig, OperatingPoint, PostProcessingConfig
from figureground.export.onnx import FLOAT16_FROM, store_in_float16, write_info
from figureground.prediction import open_member
from figureground.prediction.photos.engines import ENGINES
from figureground.preprocessing import Preprocessing, sigmoid

ON_ONNX = list(ENGINES[".onnx"])
PARITY = {"narrow": 1e-5, "resnet": 1e-5, "compact": 5e-5}
"""Of a probability. The random weights of the deepest make more of rounding; the promise is 1e-3."""
RNG = np.random.default_rng(0)
PHOTOS = {size: RNG.integers(0, 256, (*size, 3), np.uint8) for size in [(1, 1), (33, 47), (250, 333), (1, 200)]}


@pytest.fixture(scope="module", params=PARITY)
def pair(request):
    """A bundle, what it was exported to, and how far apart their probabilities may be."""
    name = request.param
    return request.getfixturevalue(f"{name}_bundle"), request.getfixturevalue(f"{name}_onnx"), PARITY[name]


@pytest.fixture(scope="module", params=ON_ONNX)
def segmenters(request, pair):
    bundle, exported, _ = pair
    return load(bundle, engine="torch"), load(exported, engine=request.param)


@pytest.fixture(scope="module")
def parity(pair):
    return pair[2]


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_every_engine_gives_the_same_for_every_batch_size(segmenters, parity, count):
    size = segmenters[0].preprocessing.size
    images = RNG.integers(0, 256, (count, *size, 3), np.uint8)
    expected, found = (sigmoid(segmenter.members[0].logits(images)) for segmenter in segmenters)
    assert found.shape == (count, *size)
    assert expected.std() > 0.1  # a network that says something
    np.testing.assert_allclose(found, expected, atol=parity)


@pytest.mark.parametrize("size", PHOTOS)
def test_every_engine_gives_the_same_for_every_photo(segmenters, parity, size):
    expected, found = (segmenter.predict(PHOTOS[size]) for segmenter in segmenters)
    assert found.probability.shape == size
    np.testing.assert_allclose(found.probability, expected.probability, atol=parity)


def test_a_list_of_photos_gives_the_same_as_each_alone(segmenters, parity):
    exported = segmenters[1]
    for prediction, photo in zip(exported.predict(PHOTOS.values()), PHOTOS.values(), strict=True):
        np.testing.assert_allclose(prediction.probability, exported.predict(photo).probability, atol=parity)


def test_the_graph_is_named_and_takes_any_batch(narrow_onnx):
    model = onnx.load(narrow_onnx)
    onnx.checker.check_model(model)
    (taken,), (given,) = model.graph.input, model.graph.output
    assert (taken.name, given.name) == ("images", "figure")
    for port, channels in ((taken, 3), (given, 1)):
        batch, *sides = port.type.tensor_type.shape.dim
        assert batch.dim_param
        assert [side.dim_value for side in sides] == [channels, 32, 48]
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]


def test_the_metadata_come_back(narrow_onnx, tmp_path):
    info = BundleInfo(
        ModelConfig("unet", {"base_width": 8}),
        Preprocessing((32, 48), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)),
        OperatingPoint(0.37, 1.25, "valid"),
        PostProcessingConfig(0.01, True, True),
        data=DataSummary("Katzen – 猫", {"train": 80, "valid": 10}, "ignore"),
        scores={"valid": {"dice": {"mean": 0.875, "ci95": [0.85, 0.9]}}},
        licence="CC BY-SA 4.0 – ©",
        export={"precision": "float32"},
        figureground="0.1.0",
    )
    path = shutil.copy(narrow_onnx, tmp_path / "a.onnx")
    write_info(path, info)
    write_info(path, info)  # replaces the first
    assert read_info(path) == info
    model = onnx.load(path)
    assert [entry.key for entry in model.metadata_props] == ["figureground", "figureground.proof"]
    assert (model.producer_name, model.producer_version) == ("figureground", "0.1.0")


def test_nothing_of_this_machine_is_in_the_file(narrow_onnx, narrow_bundle):
    content = narrow_onnx.read_bytes()
    here = [Path.cwd(), Path(__file__).parents[2], Path.home(), narrow_bundle.parent, onnx.__file__]
    for trace in [*map(str, here), ".py", "site-packages", "Traceback", "torch.", "aten"]:
        assert trace == "/" or trace.encode() not in content, trace


@pytest.fixture(scope="module")
def half(narrow_onnx, tmp_path_factory):
    path = shutil.copy(narrow_onnx, tmp_path_factory.mktemp("half") / "half.onnx")
    store_in_float16(path)
    write_info(path, read_info(path))
    return path


def test_float16_halves_the_file(half, narrow_onnx):
    assert half.stat().st_size / narrow_onnx.stat().st_size == pytest.approx(0.5, abs=0.02)
    model, before = onnx.load(half), onnx.load(narrow_onnx)
    onnx.checker.check_model(model)
    large = {tensor.name for tensor in before.graph.initializer if np.prod(tensor.dims) >= FLOAT16_FROM}
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    assert {name.removesuffix(".float16") for name, t in stored.items() if t.data_type == TensorProto.FLOAT16} == large
    casts = [node.output[0] for node in model.graph.node if node.op_type == "Cast"]
    assert set(casts) == large
    original = next(tensor for tensor in before.graph.initializer if tensor.name in large)
    np.testing.assert_array_equal(
        numpy_helper.to_array(stored[f"{original.name}.float16"]), numpy_helper.to_array(original).astype(np.float16)
    )


@pytest.mark.parametrize("engine", ON_ONNX)
def test_float16_stays_close(half, narrow_bundle, narrow_onnx, engine):
    images = RNG.integers(0, 256, (3, 32, 48, 3), np.uint8)
    expected = sigmoid(open_member(narrow_bundle).logits(images))
    exported = open_member(half, engine)
    found = sigmoid(exported.logits(images))
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert not np.array_equal(found, expected)
    assert exported.info == read_info(narrow_onnx)  # the metadata stay
