import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from figureground.bundle import BundleInfo
from figureground.config import ModelConfig
from figureground.export.onnx import to_onnx, write_info
from figureground.export.quantize import quantize
from figureground.metrics import counts, dice
from figureground.models import create_model
from figureground.models.rewriting import enlarge_by_products
from figureground.prediction import open_member
from figureground.prediction.photos.engines import ENGINES, open_engine
from figureground.preprocessing import Preprocessing

IMAGES = np.random.default_rng(1).integers(0, 256, (8, 32, 48, 3), np.uint8)


@pytest.fixture(scope="module")
def reference(narrow_bundle):
    return open_member(narrow_bundle)


@pytest.fixture(scope="module")
def quantized(reference, narrow_onnx, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    quantize(narrow_onnx, path, (reference.preprocessing.normalise(image[None]) for image in IMAGES))
    write_info(path, reference.info)
    return path


def test_the_file_is_about_a_quarter(quantized, narrow_onnx):
    assert quantized.stat().st_size / narrow_onnx.stat().st_size == pytest.approx(0.26, abs=0.03)


def test_nothing_of_this_machine_is_in_the_file(quantized):
    content = quantized.read_bytes()
    for trace in (tempfile.gettempdir(), str(Path.cwd()), ".py", "prepared.onnx"):
        assert trace.encode() not in content, trace


def test_the_operators_are_those_of_onnx(quantized):
    model = onnx.load(quantized)
    onnx.checker.check_model(model)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]


def test_weights_are_int8_with_a_scale_for_each_channel(quantized, narrow_onnx):
    model = onnx.load(quantized)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    made_by = {name: node for node in model.graph.node for name in node.output}
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    assert len(layers) == 23  # 18 convolutions of 3×3, the head, 4 that enlarge
    for layer in layers:
        assert made_by[layer.input[0]].op_type == "DequantizeLinear"  # of the activations
        weights = made_by[layer.input[1]]
        assert weights.op_type == "DequantizeLinear"
        values, scales, zeros = (constants[name] for name in weights.input)
        (axis,) = (attribute.i for attribute in weights.attribute if attribute.name == "axis")
        assert axis == (1 if layer.op_type == "ConvTranspose" else 0)
        assert values.dtype == np.int8
        assert scales.shape == (values.shape[axis],)
        assert not zeros.any()


def test_a_scale_is_the_largest_weight_over_64(quantized, narrow_onnx):
    before = {t.name: numpy_helper.to_array(t) for t in onnx.load(narrow_onnx).graph.initializer}
    after = {t.name: numpy_helper.to_array(t) for t in onnx.load(quantized).graph.initializer}
    weights = before["down2.3.weight"]
    largest = np.abs(weights).max(axis=(1, 2, 3))
    scales = after["down2.3.weight_scale"]
    np.testing.assert_allclose(scales, largest / 64, rtol=1e-2)
    restored = after["down2.3.weight_quantized"] * scales[:, None, None, None]
    assert np.abs(restored - weights).max() <= 0.51 * scales.max()


def test_logits_are_enlarged_in_float32(tmp_path):
    network, path = create_model("compact_fpn").eval(), tmp_path / "int8.onnx"
    enlarge_by_products(network)
    to_onnx(network, (64, 64), path)
    quantize(path, path, (np.random.default_rng(seed).random((1, 3, 64, 64), np.float32) for seed in range(4)))
    nodes = onnx.load(path).graph.node
    assert [node.op_type for node in nodes[-4:]] == ["QuantizeLinear", "DequantizeLinear", "MatMul", "MatMul"]
    engine = open_engine(path, BundleInfo(ModelConfig("compact_fpn"), Preprocessing((64, 64))), "onnxruntime")
    found = engine.run(np.random.default_rng(5).random((1, 3, 64, 64), np.float32))["figure"]
    assert len(np.unique(found)) > 256


@pytest.mark.parametrize("engine", ENGINES[".onnx"])
def test_a_bright_area_does_not_saturate(engine, tmp_path):
    """Where a processor adds pairs of products in 16 bits, 27 would become 14 with weights of 8 bits."""
    ones = numpy_helper.from_array(np.ones((1, 3, 3, 3), np.float32), "weight")
    layer = helper.make_node("Conv", ["images", "weight"], ["logits"], pads=[1, 1, 1, 1])
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", channels, 32, 32])
        for name, channels in (("images", 3), ("logits", 1))
    ]
    graph = helper.make_graph([layer], "sum", ports[:1], ports[1:], [ones])
    path = tmp_path / "sum.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    white = np.ones((1, 3, 32, 32), np.float32)
    quantize(path, path, iter([white]))
    info = BundleInfo(ModelConfig("compact_fpn"), Preprocessing((32, 32)))
    found = open_engine(path, info, engine).run(white)["figure"]
    np.testing.assert_allclose(found[0, 0, 1:-1, 1:-1], 27, rtol=0.02)


@pytest.mark.parametrize("engine", ENGINES[".onnx"])
def test_masks_stay_nearly_the_same(quantized, reference, engine):
    expected = reference.logits(IMAGES) > 0
    found = open_member(quantized, engine).logits(IMAGES) > 0
    assert 0.2 < expected.mean() < 0.8
    assert dice(*counts(found, expected)).min() > 0.95
    assert not np.array_equal(found, expected)
