"""Networks of others as bundles; rembg's published way to run them (2.0, MIT), written down anew here, is the judge."""

import os

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from figureground import load
from figureground.bundle import read_info
from figureground.config import DataConfig
from figureground.data import open_dataset
from figureground.errors import BadBundleError, FiguregroundError, UsageError
from figureground.evaluation import evaluate
from figureground.export import export, foreign, import_onnx
from figureground.files import digest_of
from figureground.metrics import counts, dice
from figureground.prediction import open_member
from figureground.prediction.photos.engines import ENGINES
from figureground.prediction.photos.verify import verify
from figureground.preprocessing import sigmoid

ENGINE_NAMES = list(ENGINES[".onnx"])
IMAGENET = foreign.IMAGENET
PHOTO = open_dataset(DataConfig("synthetic:n=10,size=90"), "train")[0].image
DIM = PHOTO // 2  # whose brightest value is not 255


def network(path, *, sides=(32, 48), batch=1, ends=("Sigmoid",), opset=13, domain="", fixed_inside=False):
    """A network (batch, 3, *sides): twelve channels of a convolution, their smooth sum, and each of ``ends`` of it."""
    rng = np.random.default_rng(3)
    constants = {
        "w": rng.normal(size=(12, 3, 3, 3)).astype(np.float32),
        "v": rng.normal(size=(1, 12, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], pads=[1] * 4),  # a name that is ours as well
        helper.make_node("Relu", ["c"], ["r"], domain=domain),
        helper.make_node("Conv", ["r", "v"], ["s"]),
        helper.make_node("AveragePool", ["s"], ["figure"], kernel_shape=[5, 5], pads=[2] * 4),
    ]
    last = "figure"
    if fixed_inside:
        constants["shape"] = np.array([1, 1, *sides])
        nodes.append(helper.make_node("Reshape", [last, "shape"], ["fixed"]))
        last = "fixed"
    outputs = []
    for number, end in enumerate(ends):
        outputs.append(f"d{number}")
        if end == "small":
            nodes.append(helper.make_node("AveragePool", [last], outputs[-1:], kernel_shape=[2, 2], strides=[2, 2]))
        elif end == "flat":
            constants["flat"] = np.array([0, *sides])
            nodes.append(helper.make_node("Reshape", [last, "flat"], outputs[-1:]))
        else:
            nodes.append(helper.make_node(end, [last], outputs[-1:]))
    ports = [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, *sides])]
    graph = helper.make_graph(
        nodes, "theirs", ports,
        [helper.make_tensor_value_info(f"d{i}", 1, "nhw" if end == "flat" else "nchw") for i, end in enumerate(ends)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=7), path)
    return path


def rembg(path, photo, mean, std, size, apply_sigmoid=False):
    """The mask of a photo as rembg makes it, 0 to 255."""
    picture = Image.fromarray(photo)
    pixels = np.asarray(picture.resize(size[::-1], Image.Resampling.LANCZOS), np.float64)
    pixels = (pixels / max(pixels.max(), 1e-6) - mean) / std
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {"images": pixels.transpose(2, 0, 1)[None].astype(np.float32)})[0][:, 0]
    if apply_sigmoid:
        found = 1 / (1 + np.exp(-found))
    found = (found - found.min()) / (found.max() - found.min())
    mask = Image.fromarray((found.squeeze() * 255).astype("uint8"), mode="L")
    return np.asarray(mask.resize(picture.size, Image.Resampling.LANCZOS))


@pytest.mark.parametrize("engine", ENGINE_NAMES)
@pytest.mark.parametrize(
    ("preset", "ends"), [("u2net", ("Sigmoid", "Tanh")), ("isnet", ("Sigmoid",)), ("birefnet", ("Identity",))]
)
def test_the_mask_is_that_of_rembg(preset, ends, engine, tmp_path):
    theirs, ours = network(tmp_path / "theirs.onnx", ends=ends), tmp_path / "ours.onnx"
    info = import_onnx(theirs, ours, {}, preset)
    size = info.preprocessing.size
    assert size == (32, 48)  # the file's, not the preset's
    segmenter = load(ours, engine=engine)
    mean, std = info.preprocessing.normalisation
    small = np.asarray(Image.fromarray(DIM).resize(size[::-1]))
    for photo, most in ((small, 0), (DIM, 0.01)):  # the latter is resized twice: by them as 8 bits and sharper
        expected = rembg(theirs, photo, mean, std, size, preset == "birefnet")
        found = segmenter.predict(photo)
        assert 0.1 < (expected > 127).mean() < 0.9
        assert (found.mask != (expected > 127))[np.abs(expected - 127.5) > 1].mean() <= most
        if most == 0:
            np.testing.assert_allclose(found.probability, expected / 255, atol=1.01 / 255)


def test_the_graph_has_our_ports_and_the_file_proves_itself(tmp_path):
    theirs, ours = network(tmp_path / "theirs.onnx", batch="n", ends=("Sigmoid", "Tanh")), tmp_path / "ours.onnx"
    said = []
    changes = {"output_index": 1, "activation": "minmax", "licence": "MIT", "preprocessing": IMAGENET}
    info = import_onnx(theirs, ours, changes, say=said.append)
    model = onnx.load(ours)
    onnx.checker.check_model(model)
    (taken,), (given,) = model.graph.input, model.graph.output
    assert [(d.dim_param, d.dim_value) for d in taken.type.tensor_type.shape.dim] == [
        ("batch", 0), ("", 3), ("", 32), ("", 48)
    ]  # fmt: skip
    assert (taken.name, given.name) == ("images", "figure")
    assert read_info(ours) == info
    assert (info.licence, info.model.name, info.export["imported"]["output"]) == ("MIT", "imported", "d1")
    assert info.export["imported"]["sha256"] == digest_of(theirs)
    found = verify(ours)
    assert found.well
    assert [each.result for each in found.engines] == ["right"] * 2
    assert said == []


@pytest.mark.parametrize("engine", ENGINE_NAMES)
@pytest.mark.parametrize("photos", [None, 100])
@pytest.mark.parametrize(("batch", "fixed_inside"), [("n", False), (1, False), (1, True), ("n", True)])
def test_any_number_of_photos(batch, fixed_inside, photos, engine, tmp_path):
    """A network of one image at a time is shown one at a time, also one that says that it takes any number."""
    theirs = network(tmp_path / "theirs.onnx", batch=batch, fixed_inside=fixed_inside, ends=("Identity",))
    import_onnx(theirs, tmp_path / "ours.onnx", {"preprocessing": IMAGENET})
    first = onnx.load(tmp_path / "ours.onnx").graph.input[0].type.tensor_type.shape.dim[0]
    assert first.dim_value == (0 if (batch, fixed_inside) == ("n", False) else 1)
    member = open_member(tmp_path / "ours.onnx", engine, photos)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), np.uint8)
    session = onnxruntime.InferenceSession(theirs, providers=["CPUExecutionProvider"])
    alone = [session.run(None, {"images": member.preprocessing.normalise(image[None])})[0][0, 0] for image in images]
    np.testing.assert_allclose(member.logits(images), alone, rtol=1e-3, atol=1e-3)


def test_open_sides_take_the_size_that_is_said(tmp_path):
    theirs = network(tmp_path / "theirs.onnx", sides=("h", "w"))
    info = import_onnx(theirs, tmp_path / "ours.onnx", {"preprocessing": {"size": [64, 32]}}, "u2net")
    assert info.preprocessing.size == (64, 32)
    assert load(tmp_path / "ours.onnx").predict(PHOTO).mask.shape == PHOTO.shape[:2]


@pytest.mark.parametrize("end", ["flat", "small"])
def test_maps_without_a_channel_and_smaller_ones(end, tmp_path):
    theirs, ours = network(tmp_path / "theirs.onnx", ends=(end,)), tmp_path / "ours.onnx"
    import_onnx(theirs, ours, {"preprocessing": IMAGENET})
    member = open_member(ours, "onnxruntime")
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    session = onnxruntime.InferenceSession(theirs, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"images": member.preprocessing.normalise(image[None])})
    if end == "small":  # half-pixel bilinear, as everywhere
        expected = Image.fromarray(expected[0, 0]).resize((48, 32), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(member.logits([image])[0], np.squeeze(expected), rtol=1e-3, atol=1e-3)


def test_logits_of_probabilities_are_finite_and_right(tmp_path):
    theirs, ours = network(tmp_path / "theirs.onnx", ends=("Sigmoid",)), tmp_path / "ours.onnx"
    import_onnx(theirs, ours, {"activation": "sigmoid", "preprocessing": {"mean": [0] * 3, "std": [0.001] * 3}})
    member = open_member(ours, "onnxruntime")
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    session = onnxruntime.InferenceSession(theirs, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"images": member.preprocessing.normalise(image[None])})
    assert (expected.min(), expected.max()) == (0, 1)
    logits = member.logits([image])[0]
    assert np.abs(logits).max() == pytest.approx(np.log(1e6), abs=0.1)
    np.testing.assert_allclose(sigmoid(logits), expected[0, 0], atol=1e-5)


def test_a_network_of_smp_as_torch_exports_it(tmp_path):
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    theirs = smp.Unet("resnet18", encoder_weights=None, decoder_channels=(64, 32, 16, 8, 8)).eval()
    path, ours = tmp_path / "smp.onnx", tmp_path / "ours.onnx"
    torch.onnx.export(theirs, (torch.zeros(1, 3, 64, 64),), path, dynamo=True, verbose=False, external_data=False)
    info = import_onnx(path, ours, {}, "smp")
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(np.ascontiguousarray(info.preprocessing.normalise(images))))[:, 0].numpy()
    for engine in ENGINE_NAMES:
        np.testing.assert_allclose(open_member(ours, engine).logits(images), expected, atol=1e-3)


def test_it_is_evaluated_and_exported_like_ours(tmp_path):
    theirs, ours = network(tmp_path / "theirs.onnx", opset=11, ends=("Sigmoid",)), tmp_path / "ours.onnx"
    import_onnx(theirs, ours, {}, "u2net")
    data = DataConfig("synthetic:n=40,size=48")
    scores = evaluate(load(ours), open_dataset(data, "valid")).to_json()
    assert 0 < scores["dice"]["mean"] < 1
    for precision in ("float16", "int8"):
        small = tmp_path / f"{precision}.onnx"
        info = export(ours, small, data, precision=precision, accept_loss=True)
        assert info.export["precision"] == precision
        assert info.export["imported"] == read_info(ours).export["imported"]
        found, expected = load(small).predict(PHOTO).mask, load(ours).predict(PHOTO).mask
        assert dice(*counts(found[None], expected[None]))[0] > 0.9
        with pytest.raises(BadBundleError, match="exported already"):
            export(small, tmp_path / "again.onnx", data, precision="int8")
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node}
    with pytest.raises(UsageError, match="in float32 already"):
        export(ours, tmp_path / "again.onnx", data)


def spoilt(path, spoil):
    model = onnx.load(network(path))
    spoil(model)
    path.write_bytes(model.SerializeToString())
    return path


def outside(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def giant(model):
    model.graph.initializer[0].dims[:] = [10**6, 10**6]


def constant(model):
    """Of 10^12 numbers, which a node makes of two."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([10**6, 10**6]), "sides"))
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["sides"], ["all"]))


def hidden(model):
    """In a branch."""
    inner = helper.make_graph(
        [], "inner", [], [helper.make_tensor_value_info("t", TensorProto.FLOAT, [1])],
        [TensorProto(name="t", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)],
    )  # fmt: skip
    model.graph.node.append(helper.make_node("If", ["c"], ["x"], then_branch=inner, else_branch=inner))


def two_inputs(model):
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def batch_of_four(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4


def in_bytes(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def two_channels(model):
    model.graph.node.append(helper.make_node("Concat", ["d0", "d0"], ["both"], axis=1))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("both", 1, list("abcd")))


def no_numbers(model):
    model.graph.node.append(helper.make_node("Log", ["figure"], ["nan"]))
    model.graph.output[0].name = "nan"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (outside, "keeps the weights 'w' in another file, which is not opened"),
        (hidden, "keeps the weights 't' in another file, which is not opened"),
        (giant, "is damaged: its weights 'w' should be \\[1000000, 1000000\\], and hold 1296"),
        (constant, "makes a tensor of 1000000000000 numbers"),
        (two_inputs, "expected one input \\(N, 3, H, W\\) of float32"),
        (in_bytes, "takes UINT8 \\[1, 3, 32, 48\\]; expected one input"),
        (batch_of_four, "takes 4 images at a time; expected one, or any number"),
        (two_channels, "gives float32 \\(1, 2, 32, 48\\) for an image"),
        (no_numbers, "values that are not finite"),
    ],
)
def test_what_a_file_may_not_do(spoil, message, tmp_path):
    path = spoilt(tmp_path / "theirs.onnx", spoil)
    with pytest.raises(BadBundleError, match=message) as refused:
        import_onnx(path, tmp_path / "ours.onnx", {}, "u2net")
    assert len(str(refused.value).splitlines()) == 1
    assert os.listdir(tmp_path) == ["theirs.onnx"]


@pytest.mark.parametrize(
    ("made", "changes", "preset", "message"),
    [
        ({"domain": "com.somebody"}, {}, "u2net", "needs operators of com.somebody; expected those of ONNX alone"),
        ({"opset": 9}, {}, "u2net", "has ONNX opset 9; expected 11 or later"),
        ({}, {}, "u3net", "preset 'u3net'; expected one of: u2net, isnet, birefnet, smp"),
        ({}, {}, None, "does not say how it sees photos; expected --mean, --std, or --preset"),
        ({"sides": ("h", "w")}, {}, "smp", "expected --size, or --preset"),
        ({}, {"preprocessing": {"size": [64, 64]}}, "u2net", "takes 32×48 pixels only"),
        ({}, {"output_index": 1}, "u2net", "has 1 outputs; --output-index is 1, from 0"),
        ({"ends": ("Identity",)}, {"activation": "sigmoid"}, "u2net", "which are no probabilities"),
    ],
)
def test_what_is_said_of_a_file_must_be_right(made, changes, preset, message, tmp_path):
    path = network(tmp_path / "theirs.onnx", **made)
    with pytest.raises(FiguregroundError, match=message):
        import_onnx(path, tmp_path / "ours.onnx", changes, preset)
    assert os.listdir(tmp_path) == ["theirs.onnx"]


def test_what_is_no_network(tmp_path, narrow_onnx):
    (tmp_path / "a.onnx").write_bytes(b"no network at all")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for path, message in [
        (tmp_path / "a.onnx", "is no readable .onnx network"),
        (tmp_path / "empty.onnx", "expected 11 or later"),
        (tmp_path / "b.onnx", "no such file"),
        (narrow_onnx, "is a bundle already"),
    ]:
        with pytest.raises(BadBundleError, match=message):
            import_onnx(path, tmp_path / "ours.onnx", {}, "u2net")


def test_probabilities_that_are_taken_for_logits_are_noticed(tmp_path):
    said = []
    import_onnx(network(tmp_path / "theirs.onnx"), tmp_path / "ours.onnx", {}, "smp", say=said.append)
    assert len(said) == 1
    assert "if these are probabilities, say --activation sigmoid" in said[0]


def test_the_command(tmp_path, in_process):
    path = network(tmp_path / "theirs.onnx")
    status, output, errors = in_process("import", path, "--preset", "u2net", "--licence", "Apache-2.0")
    assert status == 0, errors
    ours = tmp_path / "theirs-figureground.onnx"
    assert output.startswith(f"written: {ours} (0.0 MB)")
    assert read_info(ours).preprocessing.resample == "lanczos"
    status, _, errors = in_process("import", path, "--preset", "u2net")
    assert (status, len(errors.splitlines())) == (1, 1)
    assert "exists" in errors
    arguments = ["--mean", "0.5", "--std", "0.5", "--size", "32,48", "--activation", "sigmoid", "--overwrite"]
    assert in_process("import", path, *arguments)[0] == 0
    assert read_info(ours).preprocessing.mean == (0.5, 0.5, 0.5)
