"""The whole of an export, and its command. The graph is that of ``narrow_onnx``, which is traced once for all tests."""

import os
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from figureground.bundle import read_info, read_tensors, write_bundle
from figureground.config import DataConfig, OperatingPoint, TrainConfig, to_yaml
from figureground.errors import FiguregroundError
from figureground.export import export, gate
from figureground.prediction import open_member
from figureground.version import __version__

DATA = DataConfig("synthetic:n=40,size=48")


class Nothing:
    """An engine that finds no figure."""

    name = "nothing"

    def run(self, batch):
        return {"figure": np.full((len(batch), 1, *batch.shape[2:]), -10, np.float32)}


@pytest.fixture
def traced(narrow_onnx, monkeypatch):
    model = onnx.load(narrow_onnx)
    del model.metadata_props[:]
    monkeypatch.setattr("figureground.export.to_onnx", lambda network, size, path: onnx.save(model, path))


@pytest.fixture
def spoilt(traced, monkeypatch):
    """The export has gone wrong: its engine finds nothing."""
    monkeypatch.setattr("figureground.export.open_engine", lambda bundle, info, name: Nothing())


@pytest.fixture
def run(narrow_bundle, tmp_path):
    """A run's folder."""
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(narrow_bundle, folder / "model.safetensors")
    (folder / "config.yaml").write_text(to_yaml(TrainConfig(DATA)))
    return folder


def test_a_file_with_its_figures(run, traced, tmp_path):
    lines = []
    bundle = (run / "model.safetensors").read_bytes()
    target = tmp_path / "new" / "model.onnx"
    info = export(run, target, DATA, say=lines.append)
    assert os.listdir(target.parent) == ["model.onnx"]
    assert read_info(target) == info
    before = read_info(run / "model.safetensors")
    assert (info.model, info.preprocessing, info.operating_point) == (
        before.model, before.preprocessing, before.operating_point,
    )  # fmt: skip
    assert info.figureground == __version__
    assert info.export["precision"] == "float32"
    figures = info.export["gate"]
    assert (figures["split"], figures["n"], figures["limit"]) == ("valid", 4, 0.0005)
    assert [row["engine"] for row in figures["engines"]] == ["torch", "openvino", "onnxruntime"]
    assert max(row["largest_difference"] for row in figures["engines"]) < 1e-5
    assert all(row["milliseconds"] > 0 for row in figures["engines"])
    assert lines[0].splitlines()[0].split() == ["engine", "Dice", "change", "flipped", "max", "diff", "ms/image", "MB"]
    assert len(lines[0].splitlines()) == 4
    assert (run / "model.safetensors").read_bytes() == bundle


def test_the_model_it_is_compared_with_stays_as_it_was(run, narrow_onnx, monkeypatch):
    def trace(network, size, path):
        network.to(memory_format=torch.contiguous_format)  # as the real one does, in place
        shutil.copy(narrow_onnx, path)

    reference = open_member(run)
    monkeypatch.setattr("figureground.export.open_member", lambda bundle: reference)
    monkeypatch.setattr("figureground.export.to_onnx", trace)
    export(run, run / "model.onnx", DATA)
    assert reference.engine.network.down2[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_only_int8_takes_other_operations(run, traced, monkeypatch, precision):
    called = []
    for name in ("untranspose", "enlarge_by_products"):
        monkeypatch.setattr(f"figureground.export.{name}", lambda network, name=name: called.append(name))
    export(run, run / "model.onnx", DATA, precision=precision, accept_loss=True)
    assert called == (["untranspose", "enlarge_by_products"] if precision == "int8" else [])


def test_a_loss_leaves_nothing(run, spoilt):
    before = sorted(os.listdir(run))
    with pytest.raises(FiguregroundError) as refused:
        export(run, run / "model.onnx", DATA, precision="float32")
    assert "the mean Dice on valid (n = 4) falls by 0." in str(refused.value)
    assert "more than the 0.0005 that float32 is allowed; no file was written" in str(refused.value)
    assert sorted(os.listdir(run)) == before


def test_a_loss_leaves_the_file_that_was_there(run, spoilt):
    (run / "model.onnx").write_bytes(b"earlier")
    with pytest.raises(FiguregroundError, match="no file was written"):
        export(run, run / "model.onnx", DATA)
    assert (run / "model.onnx").read_bytes() == b"earlier"


def test_an_accepted_loss_is_in_the_metadata(run, spoilt):
    export(run, run / "model.onnx", DATA, accept_loss=True)
    rows = read_info(run / "model.onnx").export["gate"]["engines"]
    assert [row["engine"] for row in rows] == ["torch", "nothing", "nothing"]
    assert rows[1]["dice_change"] == pytest.approx(rows[1]["dice"] - rows[0]["dice"])
    assert rows[1]["dice_change"] < -gate.LIMITS["float32"]


@pytest.mark.parametrize(
    ("source", "target", "precision", "message"),
    [
        ("run", "model.onnx", "float64", "precision 'float64'; expected one of: float32, float16, int8"),
        ("run", "model.pt", "float32", "model.pt: expected a name that ends in .onnx"),
        ("nowhere", "model.onnx", "float32", "nowhere: no such model"),
        ("done.onnx", "model.onnx", "float32", "done.onnx is exported already; give the run or the .safetensors"),
    ],
)
def test_what_cannot_be_exported(run, narrow_onnx, tmp_path, monkeypatch, source, target, precision, message):
    monkeypatch.chdir(tmp_path)
    shutil.copy(narrow_onnx, "done.onnx")
    before = sorted(os.listdir())
    with pytest.raises(FiguregroundError, match=message.replace(".", r"\.")):
        export(source, tmp_path / target, DATA, precision=precision)
    assert sorted(os.listdir()) == before


def test_the_command_makes_an_int8_file(run, traced, in_process):
    bundle = run / "model.safetensors"
    point = OperatingPoint(1e-9)  # every pixel is figure, so that no engine can differ from another in a mask
    write_bundle(bundle, read_tensors(bundle), replace(read_info(bundle), operating_point=point))
    status, output, errors = in_process("export", run, "--precision", "int8")
    assert status == 0, errors
    assert "onnxruntime" in output
    assert f"written: {run}/model-int8.onnx (0." in output
    assert sorted(os.listdir(run)) == ["config.yaml", "model-int8.onnx", "model.safetensors"]
    assert read_info(run / "model-int8.onnx").export["precision"] == "int8"
    types = {node.op_type for node in onnx.load(run / "model-int8.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= types


def test_the_command_refuses_a_loss(run, spoilt, in_process):
    before = sorted(os.listdir(run))
    status, output, errors = in_process("export", run)
    assert status == 1
    assert "nothing" in output  # the table, which says why
    assert errors.startswith("error: the mean Dice on valid (n = 4) falls by")
    assert len(errors.splitlines()) == 1
    assert sorted(os.listdir(run)) == before
    status, output, _ = in_process("export", run, "--accept-loss")
    assert status == 0
    assert "written" in output


@pytest.mark.parametrize(
    ("arguments", "expected", "message"),
    [
        (["run/model.safetensors"], 2, "does not say which data it was trained on; name a folder with --data"),
        (["nowhere"], 1, "nowhere: no such model"),
        (["run/model.onnx"], 1, "run/model.onnx is exported already"),
        (["run"], 1, "run/model.onnx exists; choose another name or replace it with --overwrite"),
        (["run", "--overwrite", "--data", "nowhere"], 1, "nowhere: no such folder"),
        (["run", "-o", "a.engine"], 2, "a.engine: expected a name that ends in .onnx"),
        (["run", "--precision", "int4"], 2, "precision 'int4'; expected one of: float32, float16, int8"),
        (["run", "-o", "a.onnx", "--foreground", "both"], 2, "foreground is 'both'; expected one of"),
    ],
)
def test_the_command_says_what_is_wrong(
    run, traced, narrow_onnx, monkeypatch, in_process, arguments, expected, message
):
    monkeypatch.chdir(run.parent)
    shutil.copy(narrow_onnx, run / "model.onnx")
    if arguments[0].endswith(".safetensors"):
        arguments = [*arguments, "-o", "other.onnx"]
    status, _, errors = in_process("export", *arguments)
    assert status == expected
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert sorted(os.listdir(run)) == ["config.yaml", "model.onnx", "model.safetensors"]
    assert sorted(os.listdir()) == ["run"]
