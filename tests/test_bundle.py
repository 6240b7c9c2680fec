import json
import os

import numpy as np
import pytest
from safetensors.numpy import save_file

from figureground.bundle import BundleInfo, DataSummary, parse_info, read_info, read_tensors, write_bundle
from figureground.config import ModelConfig, OperatingPoint, plain
from figureground.errors import BadBundleError, FiguregroundError
from figureground.preprocessing import Preprocessing
from figureground.runs import BUNDLE_IN_RUN, CHECKPOINT, CONFIG, HISTORY_TABLE, bundle_path, is_model

INFO = BundleInfo(
    model=ModelConfig("unet", {"base_width": 16}),
    preprocessing=Preprocessing((64, 96), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)),
    operating_point=OperatingPoint(0.4, 1.5, "valid"),
    data=DataSummary("pets", {"train": 80, "valid": 10}, "ignore"),
    scores={"valid": {"dice": 0.875, "images": 10}},
    licence="CC BY-SA 4.0 – ©",
    figureground="0.1.0",
)
TENSORS = {
    "stem.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "stem.count": np.array(7, np.int64),
    "half": np.array([1.5, -2], np.float16),
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # not contiguous
}


def test_round_trip(tmp_path):
    path = tmp_path / "models" / "cat.safetensors"
    write_bundle(path, TENSORS, INFO)
    assert read_info(path) == INFO
    tensors = read_tensors(path)
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert np.array_equal(tensors[name], tensor)
    assert os.listdir(path.parent) == ["cat.safetensors"]


def test_defaults_round_trip(tmp_path):
    write_bundle(tmp_path / "m.safetensors", {}, BundleInfo())
    assert read_info(tmp_path / "m.safetensors") == BundleInfo()


def test_another_bundle_is_replaced(tmp_path):
    path = tmp_path / "m.safetensors"
    write_bundle(path, TENSORS, INFO)
    write_bundle(path, {"only": np.zeros(1, np.float32)}, BundleInfo(licence="MIT"))
    assert list(read_tensors(path)) == ["only"]
    assert read_info(path).licence == "MIT"


def _nothing(path):
    pass


def _text(path):
    path.write_text("these are no weights, but a few words that somebody has saved here")


def _empty(path):
    path.touch()


def _truncated(path):
    write_bundle(path, TENSORS, INFO)
    path.write_bytes(path.read_bytes()[:-10])


def _cut_in_the_header(path):
    write_bundle(path, TENSORS, INFO)
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("read", [read_info, read_tensors])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_nothing, "no such file"),
        (_text, "not a readable .safetensors bundle"),
        (_empty, "not a readable .safetensors bundle"),
        (_truncated, "not a readable .safetensors bundle"),
        (_cut_in_the_header, "not a readable .safetensors bundle"),
    ],
)
def test_broken_files_are_named(tmp_path, make, words, read):
    path = tmp_path / "cat.safetensors"
    make(path)
    with pytest.raises(FiguregroundError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, "not a figureground bundle (no metadata)"),
        ({"format": "pt"}, "not a figureground bundle (no metadata)"),
        ({"figureground": '{"model": '}, "its metadata is damaged"),
        ({"figureground": "[1, 2]"}, "expected settings by name"),
        ({"figureground": json.dumps({"format_version": 3})}, "bundle format 3; this version reads up to 2. Update"),
        ({"figureground": json.dumps({"format_version": 3, "colour": "new"})}, "Update figureground"),
        ({"figureground": json.dumps({"colour": "new"})}, "unknown setting 'colour'"),
        ({"figureground": json.dumps({"preprocessing": {"size": [1, 1]}})}, "expected 32 to 8192"),
        ({"figureground": json.dumps({"format_version": "one"})}, "format_version is 'one'"),
    ],
)
def test_other_metadata_is_refused(tmp_path, metadata, words):
    path = tmp_path / "cat.safetensors"
    save_file({"a": np.zeros(1, np.float32)}, path, metadata=metadata)
    with pytest.raises(FiguregroundError) as caught:
        read_info(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        '{"operating_point": {"threshold": 1' + "0" * 400 + "}}",
        '{"operating_point": {"threshold": ' + "1" * 5000 + "}}",
        '{"operating_point": {"threshold": "' + "1" * 5000 + '"}}',
        '{"operating_point": {"threshold": NaN}}',
        '{"operating_point": {"threshold": "nan"}}',
        '{"operating_point": {"temperature": Infinity}}',
        '{"operating_point": {"temperature": 1e-320}}',
        '{"operating_point": {"temperature": 1e999}}',
        '{"quality": {"weights": {"area": NaN}}}',
        '{"quality": {"weights": {"area": "inf"}}}',
        '{"quality": {"intercept": -Infinity}}',
        '{"quality": {"dice": [0, NaN]}}',
        '{"quality": {"review_below": NaN}}',
        '{"quality": {"review_below": "nan"}}',
        '{"preprocessing": {"size": [1' + "0" * 9 + ", 256]}}",
        '{"preprocessing": {"size": [' + "9" * 4000 + ", 256]}}",
        '{"preprocessing": {"std": [1e-320, 1, 1]}}',
        '{"preprocessing": {"mean": [-Infinity, 1, 1]}}',
        '{"model": {"arguments": {"base_width": ' + "9" * 4400 + "}}}",
        '{"scores": {"test": {"dice": NaN}}}',
        '{"scores": {"test": {"n": ' + "9" * 400 + "}}}",
        '{"export": {"loss": 1e400}}',
        '{"format_version": ' + "9" * 4400 + "}",
        '{"data": {"splits": {"train": 1' + "0" * 400 + "}}}",
        '{"colour' + "r" * 100_000 + '": 1}',
        '{"scores": ' + "[" * 200_000 + "]" * 200_000 + "}",
    ],
    ids=lambda text: text[:50],
)
def test_numbers_that_are_none_are_one_line(text):
    with pytest.raises(BadBundleError) as caught:
        parse_info(text, "cat.onnx")
    assert str(caught.value).startswith("cat.onnx")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_weights_of_a_type_that_numpy_does_not_have(tmp_path):
    head = json.dumps({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    (tmp_path / "cat.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + b"\0\0")
    with pytest.raises(BadBundleError, match="holds weights of BF16; expected float32"):
        read_tensors(tmp_path / "cat.safetensors")


def test_info_from_json_text():
    assert parse_info(json.dumps(plain(INFO)), "cat.onnx") == INFO


@pytest.mark.parametrize("name", [CONFIG, CHECKPOINT, HISTORY_TABLE])
@pytest.mark.parametrize("folder", ["run", "pets"])
def test_a_run_without_a_model_is_no_other_model(tmp_path, monkeypatch, name, folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / folder).mkdir()
    (tmp_path / folder / name).touch()
    assert is_model(folder)
    with pytest.raises(BadBundleError, match=f"{folder} holds no model.safetensors; expected a run folder behind its"):
        bundle_path(folder)


def test_photos_with_the_name_of_a_model_are_no_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_model("pets")
    (tmp_path / "pets").mkdir()
    assert not is_model("pets")
    assert bundle_path("pets").name == "pets.onnx"  # asked for as a model


def test_a_link_to_a_bundle_keeps_its_name(tmp_path):
    """Stores of models keep the content under its checksum, and the name as a link to it."""
    (tmp_path / "4f5e").write_bytes(b"")
    (tmp_path / "cat.onnx").symlink_to("4f5e")
    assert bundle_path(tmp_path / "cat.onnx") == tmp_path / "cat.onnx"


def test_a_link_to_a_run_is_followed(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / BUNDLE_IN_RUN).touch()
    (tmp_path / "latest").symlink_to("a")
    assert bundle_path(tmp_path / "latest") == tmp_path / "a" / BUNDLE_IN_RUN
    assert bundle_path(tmp_path / "latest" / BUNDLE_IN_RUN) == tmp_path / "a" / BUNDLE_IN_RUN
