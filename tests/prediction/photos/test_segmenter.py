from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from figureground import Prediction, load
from figureground.bundle import BundleInfo, write_bundle
from figureground.config import ModelConfig, OperatingPoint
from figureground.errors import FiguregroundError
from figureground.models import create_model
from figureground.models.weights import read_state_dict
from figureground.prediction import Member, Segmenter, load_state_dict
from figureground.prediction.photos.engines.torch_engine import TorchEngine
from figureground.prediction.photos.result import PICTURES, lay_over
from figureground.preprocessing import Preprocessing, Restored

from ...stubs import Brightness

DEFAULT = OperatingPoint()


def brightness(point=DEFAULT):
    info = BundleInfo(preprocessing=Preprocessing((32, 32)), operating_point=point)
    return Segmenter(Member(info, Brightness(), "brightness"))


@pytest.fixture
def segmenter():
    return brightness()


@pytest.fixture
def bundle(tmp_path):
    torch.manual_seed(0)
    network = create_model("unet", {"base_width": 4})
    info = BundleInfo(ModelConfig("unet", {"base_width": 4}), Preprocessing((32, 32)))
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    write_bundle(tmp_path / "model.safetensors", weights, info)
    return tmp_path / "model.safetensors"


def halves(height, width):
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :] = 255
    return image


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (1, 1), (250, 10), (500, 333)])
def test_a_prediction_has_the_size_of_the_photo(segmenter, size):
    prediction = segmenter.predict(halves(*size))
    assert prediction.probability.shape == prediction.mask.shape == size
    assert prediction.probability.dtype == np.float32


def test_known_answer(segmenter):
    mask = segmenter.predict(halves(64, 100)).mask
    assert mask[:, 52:].all()
    assert not mask[:, :48].any()


def test_every_kind_of_source_gives_the_same(segmenter, tmp_path):
    image = halves(40, 60)
    picture = Image.fromarray(image)
    picture.save(tmp_path / "a.png")
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    sources = [image, picture, buffer.getvalue(), tmp_path / "a.png", str(tmp_path / "a.png")]
    expected = segmenter.predict(image).probability
    for source in sources:
        np.testing.assert_array_equal(segmenter.predict(source).probability, expected)
    for prediction in segmenter.predict(sources):
        np.testing.assert_array_equal(prediction.probability, expected)


def test_an_iterator_streams(segmenter):
    asked = []

    def photos():
        for index in range(20):
            asked.append(index)
            yield halves(10 + index, 20)

    predictions = segmenter.predict(photos())
    assert next(predictions).mask.shape == (10, 20)
    assert len(asked) == 8
    assert [p.mask.shape[0] for p in predictions] == list(range(11, 30))
    assert [batch[0] for batch in segmenter.members[0].engine.batches] == [8, 8, 4]


def test_a_camera_may_use_its_buffer_again(segmenter):
    def frames():
        buffer = np.zeros((8, 8, 3), np.uint8)
        for share in (1, 2, 3):
            buffer[:] = 0
            buffer[:share] = 255
            yield buffer

    assert [round(float(p.image.mean()) * 8 / 255) for p in segmenter.predict(frames())] == [1, 2, 3]


def test_photos_before_a_broken_one_are_not_lost(segmenter):
    predictions = segmenter.predict([halves(10, 20), halves(11, 20), b"broken"])
    assert [next(predictions).mask.shape[0] for _ in range(2)] == [10, 11]
    with pytest.raises(FiguregroundError, match="the image is not an image"):
        next(predictions)


@pytest.mark.parametrize("source", [BytesIO(b"x"), None, 5, bytearray(b"x"), memoryview(b"x")])
def test_what_is_no_photo_is_named(segmenter, source):
    with pytest.raises(FiguregroundError, match=f"given as {type(source).__name__}; expected a file's name, bytes"):
        segmenter.predict(source)
    if source is None:
        with pytest.raises(FiguregroundError, match="given as NoneType"):
            list(segmenter.predict([source]))


def test_the_operating_point_decides(segmenter):
    grey = np.full((8, 8, 3), 140, np.uint8)  # logit 10 * (140 / 255 * 2 - 1) = 0.980, probability 0.727
    assert segmenter.predict(grey).probability[0, 0] == pytest.approx(0.7272, abs=1e-4)
    for point, inside in [
        (OperatingPoint(0.7), True),
        (OperatingPoint(0.75), False),
        (OperatingPoint(0.7, temperature=2.0), False),  # 0.980 / 2: probability 0.620
        (OperatingPoint(0.6, temperature=2.0), True),
    ]:
        assert brightness(point).predict(grey).mask.all() == inside


def test_outputs(tmp_path):
    image = np.full((2, 2, 3), 100, np.uint8)
    prediction = Prediction(image, np.array([[0.9, 0.5], [0.4, 0.51]], np.float32))
    assert prediction.mask.tolist() == [[True, False], [False, True]]
    overlay = np.asarray(prediction.overlay())
    assert overlay[0, 0].tolist() == [170, 55, 55]  # 55% of the photo and 45% of red
    assert overlay[0, 1].tolist() == [100, 100, 100]
    prediction.save(tmp_path / "sub" / "mask.png")
    with Image.open(tmp_path / "sub" / "mask.png") as saved:
        assert (saved.mode, np.asarray(saved).tolist()) == ("L", [[255, 0], [0, 255]])


def test_a_bundle_predicts_as_its_network(bundle):
    torch.manual_seed(0)
    network = create_model("unet", {"base_width": 4}).eval()
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1)["figure"].sigmoid()[0, 0].numpy()
    np.testing.assert_allclose(load(bundle).predict(image).probability, expected, atol=1e-5)
    np.testing.assert_array_equal(
        load(bundle.parent).predict(image).probability, load(bundle).predict(image).probability
    )


def test_models_that_are_not_there(tmp_path, bundle):
    (tmp_path / "run").mkdir()
    (tmp_path / "x.pth").write_bytes(b"")
    (tmp_path / "half.safetensors").write_bytes(bundle.read_bytes()[:1000])
    for source, message in [
        (tmp_path / "none", "no such model"),
        (tmp_path / "run", "holds no model.safetensors"),
        (tmp_path / "x.pth", "is a checkpoint"),
        (tmp_path / "half.safetensors", r"half.safetensors is not a readable .safetensors bundle"),
    ]:
        with pytest.raises(FiguregroundError, match=message):
            load(source)


def test_weights_of_another_model_are_refused(tmp_path):
    torch.save(create_model("unet", {"base_width": 4}).state_dict(), tmp_path / "narrow.pth")
    with pytest.raises(FiguregroundError, match=r"narrow.pth does not fit the model 'unet'.*another width"):
        load_state_dict(tmp_path / "narrow.pth", "unet")
    with pytest.raises(FiguregroundError, match=r"does not fit the model 'resnet34_unet': \d+ weights are missing"):
        load_state_dict(tmp_path / "narrow.pth", "resnet34_unet")


class Code:
    def __reduce__(self):
        return (print, ("this must never be printed",))


def test_a_pickle_that_runs_code_is_refused(tmp_path, capsys):
    torch.save({"weight": Code()}, tmp_path / "evil.pth")
    with pytest.raises(FiguregroundError, match=r"evil.pth holds more than weights and could run code"):
        read_state_dict(tmp_path / "evil.pth")
    assert "never" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 cut short"])
def test_a_broken_state_dict_is_refused(tmp_path, content):
    (tmp_path / "broken.pth").write_bytes(content)
    with pytest.raises(FiguregroundError, match=r"broken.pth is not a readable state dict"):
        read_state_dict(tmp_path / "broken.pth")


def test_something_else_than_a_state_dict_is_refused(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(FiguregroundError, match="is not a state dict"):
        read_state_dict(tmp_path / "list.pth")


def test_the_engine_takes_other_widths():
    torch.manual_seed(1)
    model = ModelConfig("unet", {"base_width": 4})
    engine = TorchEngine.of_weights(create_model("unet", {"base_width": 4}).state_dict(), model, "here")
    assert engine.run(np.zeros((2, 3, 40, 56), np.float32))["figure"].shape == (2, 1, 40, 56)


@pytest.mark.parametrize("kind", ["mask", "overlay", "cutout", "probability"])
def test_pictures_from_rows_equal_those_of_the_whole(kind, tmp_path):
    """What makes its probability by rows, and what has all of it."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (300, 530, 3), np.uint8)
    logits = np.linspace(-9, 9, 48 * 48, dtype=np.float32).reshape(48, 48)
    by_rows = Prediction(image, Restored(logits, image.shape[:2]))
    whole = Prediction(image, by_rows.probability)
    np.testing.assert_allclose(by_rows.picture(kind).astype(int), whole.picture(kind), atol=1)
    by_rows.write(kind, tmp_path / f"picture{PICTURES[kind]}")
    if PICTURES[kind] == ".png":
        with Image.open(tmp_path / "picture.png") as written:
            np.testing.assert_array_equal(np.asarray(written), by_rows.picture(kind))


def test_an_overlay_by_hand():
    """115 of 256 parts red, rounded: 100 * 141 + 255 * 115 is 170 * 256 and less than half; 150 * 141 is 83 * 256."""
    image = np.full((2, 2, 3), (100, 150, 200), np.uint8)
    laid = lay_over(image, np.eye(2, dtype=bool))
    assert laid.tolist() == [[[170, 83, 110], [100, 150, 200]], [[100, 150, 200], [170, 83, 110]]]


def test_an_overlay_is_the_same_as_an_array_and_as_a_picture():
    image = np.random.default_rng(0).integers(0, 256, (300, 530, 3), np.uint8)
    prediction = Prediction(image, np.linspace(0, 1, 530, dtype=np.float32)[None].repeat(300, 0))
    np.testing.assert_array_equal(np.asarray(prediction.overlay()), prediction.picture("overlay"))
