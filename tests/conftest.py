import json
import tarfile
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from figureground.bundle import METADATA_KEY, BundleInfo
from figureground.config import PreprocessingConfig, plain

SHARED_DATA = Path(__file__).parents[1] / ".." / "shared" / "data"


def _unpacked(name, folder):
    archive = SHARED_DATA / f"{name}.tar.gz"
    if not archive.is_file():
        pytest.skip(f"{archive} is not there: this test reads the real photographs")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (root,) = [path.parent for path in folder.glob("*/annotations")]
    return root


@pytest.fixture(scope="session")
def pets_256(tmp_path_factory):
    return _unpacked("oxford-iiit-pet-256", tmp_path_factory.mktemp("pets-256"))


@pytest.fixture(scope="session")
def pets_native(tmp_path_factory):
    return _unpacked("oxford-iiit-pet-native", tmp_path_factory.mktemp("pets-native"))


@pytest.fixture(scope="session")
def bright_onnx(tmp_path_factory):
    """A bundle with a known answer at 32 × 32: ten times the mean of the normalised channels."""
    sides = ["batch", 32, 32]
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["images", "channels"], ["mean"]),
            helper.make_node("Mul", ["mean", "ten"], ["logits"]),
        ],
        "brightness",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [sides[0], 3, *sides[1:]])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [sides[0], 1, *sides[1:]])],
        [
            helper.make_tensor("channels", TensorProto.INT64, [1], [1]),
            helper.make_tensor("ten", TensorProto.FLOAT, [], [10.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    info = BundleInfo(preprocessing=PreprocessingConfig((32, 32)))
    helper.set_model_props(model, {METADATA_KEY: json.dumps(plain(info))})
    path = tmp_path_factory.mktemp("models") / "bright.onnx"
    onnx.save(model, path)
    return path
