import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from figureground import load
from figureground.bundle import METADATA_KEY, BundleInfo
from figureground.config import ModelConfig, OperatingPoint, plain
from figureground.errors import FiguregroundError
from figureground.prediction import open_member
from figureground.prediction.photos.engines import ENGINES, FEW_PHOTOS, open_engine
from figureground.preprocessing import Preprocessing

INFO = BundleInfo(preprocessing=Preprocessing((32, 48)))
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), np.uint8)
ON_ONNX = list(ENGINES[".onnx"])


def write_onnx(
    path,
    metadata=None,
    *,
    taken=("n", 3, 32, 48),
    given=("n", 1, 32, 48),
    inputs=1,
    named=("out",),
    of=TensorProto.FLOAT,
):
    """A network whose logits are the mean of the channels, by hand."""
    nodes = [helper.make_node("ReduceMean", ["in0", "axes"], [name], keepdims=1) for name in named]
    graph = helper.make_graph(
        nodes,
        "by_hand",
        [helper.make_tensor_value_info(f"in{i}", of, taken) for i in range(inputs)],
        [helper.make_tensor_value_info(name, of, given) for name in named],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    metadata = {METADATA_KEY: json.dumps(plain(INFO))} if metadata is None else metadata
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


@pytest.fixture
def by_hand(tmp_path):
    return write_onnx(tmp_path / "by-hand.onnx")


def install(monkeypatch, *names):
    """As if these alone of the engines' packages were installed."""
    monkeypatch.setattr(
        "figureground.prediction.photos.engines.find_spec", lambda name: object() if name in names else None
    )


@pytest.mark.parametrize("engine", ON_ONNX)
def test_a_known_answer(by_hand, engine):
    member = open_member(by_hand, engine)
    assert member.engine.name == engine
    np.testing.assert_allclose(member.logits(IMAGES), IMAGES.mean(axis=3) / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize("engine", ON_ONNX)
def test_an_answer_is_not_overwritten_by_the_next(by_hand, engine):
    running = open_member(by_hand, engine).engine
    black, white = (np.full((1, 3, 32, 48), value, np.float32) for value in (-1, 1))
    first = running.run(black)["figure"]
    running.run(white)
    assert (first == -1).all()


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [
        (("torch", "openvino", "onnxruntime"), "openvino"),
        (("openvino",), "openvino"),
        (("torch", "onnxruntime"), "onnxruntime"),
    ],
)
def test_the_fastest_that_is_installed_is_chosen(by_hand, monkeypatch, installed, chosen):
    install(monkeypatch, *installed)
    assert load(by_hand).engine == chosen


@pytest.mark.parametrize(
    ("installed", "name", "engine", "message"),
    [
        (("torch", "openvino"), "a.onnx", "onnxruntime", "a.onnx needs onnxruntime, .*: pip install onnxruntime"),
        (("onnxruntime",), "a.onnx", "openvino", r"a.onnx needs openvino, .*: pip install 'figureground\[openvino\]'"),
        ((), "a.onnx", None, "a.onnx needs onnxruntime, which is not installed: pip install onnxruntime"),
        ((), "a.safetensors", None, r"a.safetensors needs torch, .*: pip install 'figureground\[train\]'"),
        (("torch", "onnxruntime"), "a.onnx", "torch", "runs with openvino or onnxruntime, .*; leave it out"),
        (("onnxruntime",), "a.onnx", "tensorrt", "a.onnx runs with openvino or onnxruntime, not with 'tensorrt'"),
        (("torch",), "a.safetensors", "openvino", "runs with torch, not with 'openvino'; export the model first"),
        (("torch",), "a.pth", None, "a.pth is no bundle; expected a file that ends in: .safetensors, .onnx"),
    ],
)  # fmt: skip
def test_engines_that_cannot_run_it(tmp_path, monkeypatch, installed, name, engine, message):
    install(monkeypatch, *installed)
    with pytest.raises(FiguregroundError, match=message):
        open_engine(tmp_path / name, INFO, engine)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "edited.onnx is not a figureground bundle (no metadata); make one with: figureground export"),
        ({"author": "somebody"}, "edited.onnx is not a figureground bundle (no metadata)"),
        ({METADATA_KEY: ""}, "its metadata is damaged"),
        ({METADATA_KEY: '{"model": '}, "its metadata is damaged"),
        ({METADATA_KEY: "[1]"}, "expected settings by name"),
        ({METADATA_KEY: '{"colour": "new"}'}, "unknown setting 'colour'"),
        ({METADATA_KEY: '{"format_version": 3, "colour": "new"}'}, "bundle format 3; this version reads up to 2"),
        ({METADATA_KEY: '{"operating_point": {"threshold": 2}}'}, "threshold is 2.0; expected above 0 and below 1"),
        ({METADATA_KEY: '{"preprocessing": {"size": [32]}}'}, "expected 2 values"),
        ({METADATA_KEY: '{"preprocessing": {"size": [64, 48]}}'},
         "its network takes (N, 3, 32, 48), its metadata says (N, 3, 64, 48); the file was changed after its export"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("engine", ON_ONNX)
def test_edited_metadata(tmp_path, engine, metadata, message):
    path = write_onnx(tmp_path / "edited.onnx", metadata)
    with pytest.raises(FiguregroundError) as refused:
        load(path, engine=engine)
    assert str(path) in str(refused.value)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"taken": ("n", 4, 32, 48)}, "takes (N, 4, 32, 48), its metadata says (N, 3, 32, 48)"),
        ({"taken": (4, 3, 32, 48), "given": (4, 1, 32, 48)}, "takes (4, 3, 32, 48), its metadata says (N, 3, 32, 48)"),
        ({"taken": ("n", 3, "h", "w"), "given": ("n", 1, "h", "w")}, "takes (N, 3, N, N), its metadata says"),
        ({"inputs": 2}, "takes (N, 3, 32, 48), (N, 3, 32, 48), its metadata says (N, 3, 32, 48)"),
        ({"named": ("out", "edge")}, "gives as figure nothing, its metadata says (N, 1, 32, 48)"),
    ],
)
@pytest.mark.parametrize("engine", ON_ONNX)
def test_a_network_of_other_shapes(tmp_path, engine, changes, message):
    path = write_onnx(tmp_path / "other.onnx", **changes)
    with pytest.raises(FiguregroundError) as refused:
        load(path, engine=engine)
    assert message in str(refused.value)


def test_a_network_that_takes_float16(tmp_path):
    path = write_onnx(tmp_path / "half.onnx", of=TensorProto.FLOAT16)
    with pytest.raises(FiguregroundError, match=r"half.onnx: its network takes tensor\(float16\), expected float"):
        load(path, engine="onnxruntime")


def _cut(content):
    return content[: len(content) // 2]


def _cut_behind_the_graph(content):
    return content[: content.index(b"figureground") - 5]  # the tags and lengths of the entry and its key


def _unknown_operator(content):
    return content.replace(b"ReduceMean", b"ReduceMode")


def _no_utf8(content):
    return content.replace(b"ReduceMean", b"Reduce\xff\xfe\xfd\xfc")


@pytest.mark.parametrize("engine", ON_ONNX)
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: b"", "is not a readable .onnx file"),
        (lambda content: b"these are a few words that somebody has saved here", "is not a readable .onnx file"),
        (_cut, "is not a readable .onnx file"),
        (_cut_behind_the_graph, "not a figureground bundle"),
        (_unknown_operator, "cannot be run by"),
        (_no_utf8, "cannot be run by"),
    ],
)
def test_damaged_files(by_hand, engine, damage, message, capfd):
    by_hand.write_bytes(damage(by_hand.read_bytes()))
    with pytest.raises(FiguregroundError) as refused:
        load(by_hand, engine=engine)
    assert str(by_hand) in str(refused.value)
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert capfd.readouterr().out == ""


def test_a_model_that_is_no_longer_known_runs_all_the_same(tmp_path):
    """An .onnx file holds its network: the model's name is for people."""
    text = json.dumps(plain(BundleInfo(ModelConfig("of-2019"), INFO.preprocessing, OperatingPoint(0.9))))
    segmenter = load(write_onnx(tmp_path / "old.onnx", {METADATA_KEY: text}))
    assert segmenter.threshold == 0.9
    assert segmenter.predict(IMAGES[0]).mask.shape == (32, 48)


@pytest.mark.parametrize(
    ("photos", "name", "chosen"),
    [
        (None, None, "openvino"),
        (1, None, "onnxruntime"),
        (FEW_PHOTOS, None, "onnxruntime"),
        (FEW_PHOTOS + 1, None, "openvino"),
        (1, "openvino", "openvino"),
    ],
)
def test_for_a_few_photos_the_engine_that_starts_first(by_hand, photos, name, chosen):
    assert load(by_hand, engine=name, photos=photos).engine == chosen


def test_for_a_few_photos_any_engine_that_is_installed(by_hand, monkeypatch):
    install(monkeypatch, "openvino")
    assert open_engine(by_hand, INFO, photos=1).name == "openvino"


@pytest.mark.parametrize("photos", [1, 100])
@pytest.mark.parametrize("engine", ON_ONNX)
def test_threads_get_their_own_answers(by_hand, engine, photos):
    """Of each of many batches, of several sizes, asked for by more threads than the engine has lanes."""
    running = open_member(by_hand, engine, photos).engine
    assert running.lanes >= 1
    batches = [np.full((1 + index % 3, 3, 32, 48), index, np.float32) for index in range(200)]
    with ThreadPoolExecutor(running.lanes + 2) as threads:
        answers = list(threads.map(running.run, batches))
    for index, answer in enumerate(answers):
        np.testing.assert_array_equal(answer["figure"], np.full((1 + index % 3, 1, 32, 48), index, np.float32))


FIRST_AT_ONCE = """
import sys, threading
from pathlib import Path
import openvino
from figureground.prediction.photos.engines.openvino_engine import OpenVinoEngine
OpenVinoEngine(Path(sys.argv[1]), (32, 48), many=True)
sys.setswitchinterval(1e-6)
barrier = threading.Barrier(4)
def first():
    barrier.wait()
    openvino.Type.f32.to_dtype()
threads = [threading.Thread(target=first) for _ in range(4)]
[thread.start() for thread in threads]
"""


@pytest.mark.parametrize("attempt", range(4))
def test_threads_do_not_wait_for_each_other_for_ever(by_hand, attempt):
    """Without what the engine does beforehand, 12 of 25 attempts hung."""
    subprocess.run([sys.executable, "-c", FIRST_AT_ONCE, str(by_hand)], check=True, timeout=60)


@pytest.mark.parametrize("engine", ON_ONNX)
def test_outputs_have_their_names(tmp_path, engine):
    path = write_onnx(tmp_path / "two.onnx", named=("edge", "figure"))
    outputs = open_member(path, engine).engine.run(np.ones((2, 3, 32, 48), np.float32))
    assert {name: output.shape for name, output in outputs.items()} == {
        "edge": (2, 1, 32, 48),
        "figure": (2, 1, 32, 48),
    }


@pytest.mark.parametrize("engine", ON_ONNX)
def test_an_output_that_is_alone_is_the_figure(tmp_path, engine):
    """Version 0.1 called it ``logits``, as the model in the box does."""
    path = write_onnx(tmp_path / "old.onnx", named=("logits",))
    assert list(open_member(path, engine).engine.run(np.ones((1, 3, 32, 48), np.float32))) == ["figure"]
