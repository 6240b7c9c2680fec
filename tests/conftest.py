import json
import os
import sys
import tarfile
from pathlib import Path

import onnx
import pytest
from filelock import FileLock
from onnx import TensorProto, helper

from figureground.bundle import METADATA_KEY, BundleInfo
from figureground.config import plain
from figureground.data import dataset, splits
from figureground.preprocessing import Preprocessing

SHARED_DATA = Path(__file__).parents[1] / ".." / "shared" / "data"


def _unpacked(name, folder):
    archive = SHARED_DATA / f"{name}.tar.gz"
    if not archive.is_file():
        pytest.skip(f"{archive} is not there: this test reads the real photographs")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (root,) = [path.parent for path in folder.glob("*/annotations")]
    return root


@pytest.fixture(autouse=True)
def divisions(tmp_path_factory, monkeypatch):
    """Where divisions of folders are stored: not in the user's own cache."""
    folder = tmp_path_factory.mktemp("divisions")
    monkeypatch.setattr(splits, "CACHE_FOLDER", folder)
    monkeypatch.setattr(dataset, "_said", set())
    return folder / "splits"


@pytest.fixture(scope="session")
def pets_256(tmp_path_factory):
    return _unpacked("oxford-iiit-pet-256", tmp_path_factory.mktemp("pets-256"))


@pytest.fixture(scope="session")
def pets_native(tmp_path_factory):
    return _unpacked("oxford-iiit-pet-native", tmp_path_factory.mktemp("pets-native"))


@pytest.fixture
def in_process(monkeypatch, capsys):
    """Run the command without a new process, whose imports take seconds: exit status, stdout and stderr."""
    from figureground.cli import main

    def figureground(*arguments):
        monkeypatch.setattr(sys, "argv", ["figureground", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, *capsys.readouterr()

    return figureground


def _random_bundle(path, name, arguments, size, encoder=None):
    """A network of random weights whose logits have mean 0 and deviation 3 on a noisy image."""
    import numpy as np
    import torch

    from figureground.bundle import BundleInfo, write_bundle
    from figureground.config import ModelConfig, OperatingPoint
    from figureground.models import create_model

    torch.manual_seed(0)
    network = create_model(name, arguments, encoder=encoder).eval()
    last = [layer for layer in network.head.modules() if isinstance(layer, torch.nn.Conv2d)][-1]
    with torch.inference_mode():
        logits = network(torch.randn(4, 3, *size))["figure"]
        deviation, mean = torch.std_mean(logits)
        last.weight *= 3 / deviation
        last.bias.copy_((last.bias - mean) * 3 / deviation)
    info = BundleInfo(
        ModelConfig(name, arguments, encoder),
        Preprocessing(size, mean=(0.4, 0.5, 0.6), std=(0.3, 0.25, 0.2)),
        OperatingPoint(0.4, 1.5, "valid"),
        licence="CC BY-SA 4.0 – ©",
    )
    write_bundle(path, {key: np.asarray(value) for key, value in network.state_dict().items()}, info)
    return path


@pytest.fixture(scope="session")
def narrow_bundle(tmp_path_factory):
    """A U-Net of 0.5 million parameters that sees 32×48 pixels, as a .safetensors file."""
    path = tmp_path_factory.mktemp("narrow") / "narrow.safetensors"
    return _random_bundle(path, "unet", {"base_width": 8}, (32, 48))


@pytest.fixture(scope="session")
def resnet_bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("resnet") / "resnet.safetensors"
    return _random_bundle(path, "resnet34_unet", {}, (64, 64))


@pytest.fixture(scope="session")
def compact_bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("compact") / "compact.safetensors"
    return _random_bundle(path, "compact_fpn", {}, (64, 64))


@pytest.fixture(scope="session")
def random_bundle(tmp_path_factory):
    """Make a bundle of any network."""

    def make(name, encoder, size):
        path = tmp_path_factory.mktemp(name) / f"{name}.safetensors"
        return _random_bundle(path, name, {}, size, encoder)

    return make


def _exported(bundle, tmp_path_factory):
    """The same as .onnx: traced once for all tests and processes, which takes seconds."""
    from figureground.config import DataConfig
    from figureground.export import export

    own = tmp_path_factory.getbasetemp()
    target = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / f"{bundle.stem}.onnx"
    with FileLock(f"{target}.lock"):
        if not target.exists():  # weights that know nothing may lose
            export(bundle, target, DataConfig("synthetic:n=10,size=32"), accept_loss=True)
    return target


@pytest.fixture(scope="session")
def narrow_onnx(narrow_bundle, tmp_path_factory):
    return _exported(narrow_bundle, tmp_path_factory)


@pytest.fixture(scope="session")
def resnet_onnx(resnet_bundle, tmp_path_factory):
    return _exported(resnet_bundle, tmp_path_factory)


@pytest.fixture(scope="session")
def compact_onnx(compact_bundle, tmp_path_factory):
    return _exported(compact_bundle, tmp_path_factory)


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
    info = BundleInfo(preprocessing=Preprocessing((32, 32)))
    helper.set_model_props(model, {METADATA_KEY: json.dumps(plain(info))})
    path = tmp_path_factory.mktemp("models") / "bright.onnx"
    onnx.save(model, path)
    return path
