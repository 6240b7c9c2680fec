"""Networks over encoders of timm leave torch as the report's do."""

import numpy as np
import onnx
import pytest

from figureground.export.onnx import to_onnx, write_info
from figureground.export.quantize import quantize
from figureground.prediction import open_member
from figureground.prediction.photos.engines import ENGINES
from figureground.preprocessing import sigmoid

SIZE = (64, 96)
IMAGES = np.random.default_rng(0).integers(0, 256, (4, *SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def exported(random_bundle):
    """A bundle that is ready to run, and what it was exported to; each is traced once, which takes seconds."""
    made = {}

    def make(name, encoder):
        if name not in made:
            bundle = random_bundle(name, encoder, SIZE)
            member, path = open_member(bundle), bundle.with_suffix(".onnx")
            to_onnx(member.engine.network, SIZE, path)
            write_info(path, member.info)
            made[name] = member, path
        return made[name]

    return make


LITE = ("compact_fpn", "efficientnet_lite0")


@pytest.mark.parametrize("engine", ENGINES[".onnx"])
@pytest.mark.parametrize("pair", [LITE, ("fpn", "mobilenetv3_small_050"), ("segformer", "resnet18")], ids="-".join)
def test_every_engine_gives_the_same(pair, engine, exported):
    reference, path = exported(*pair)
    expected = sigmoid(reference.logits(IMAGES))
    assert expected.std() > 0.1
    np.testing.assert_allclose(sigmoid(open_member(path, engine).logits(IMAGES)), expected, atol=1e-3)


def test_padding_is_part_of_the_convolution(exported):
    """TensorFlow pads unevenly before a stride; a node of its own is more than ONNX Runtime can quantize."""
    nodes = onnx.load(exported(*LITE)[1]).graph.node
    assert "Pad" not in {node.op_type for node in nodes}
    pads = [list(a.ints) for node in nodes if node.op_type == "Conv" for a in node.attribute if a.name == "pads"]
    assert [0, 0, 1, 1] in pads  # 3×3 at stride 2
    assert [1, 1, 2, 2] in pads  # 5×5


@pytest.mark.parametrize("engine", ENGINES[".onnx"])
def test_int8_stays_close(exported, engine, tmp_path):
    reference, float32 = exported(*LITE)
    path = tmp_path / "int8.onnx"
    quantize(float32, path, (reference.preprocessing.normalise(image[None]) for image in IMAGES))
    write_info(path, reference.info)
    found, expected = open_member(path, engine).logits(IMAGES), reference.logits(IMAGES)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.95
    assert ((found > 0) == (expected > 0)).mean() > 0.9
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert operators.count("Conv") == 62
    assert operators[-1] == "DepthToSpace"
