import re

from figureground.config import ModelConfig
from figureground.models import MODELS, catalogue
from figureground.models.encoder_decoder import DECODERS


def test_operations_counted_by_hand():
    """Of the U-Net, k² × in × out × places of each convolution, and those of transposed ones from their input."""

    def convolution(side, kernel, channels_in, channels_out):
        return side**2 * kernel**2 * channels_in * channels_out

    def double(side, channels_in, channels):
        return convolution(side, 3, channels_in, channels) + convolution(side, 3, channels, channels)

    down = double(256, 3, 64) + double(128, 64, 128) + double(64, 128, 256) + double(32, 256, 512)
    enlarged = [convolution(side, 2, 2 * width, width) for side, width in ((16, 512), (32, 256), (64, 128), (128, 64))]
    up = double(32, 1024, 512) + double(64, 512, 256) + double(128, 256, 128) + double(256, 128, 64)
    expected = down + double(16, 512, 1024) + sum(enlarged) + up + convolution(256, 1, 64, 1)
    found = catalogue.measured(ModelConfig("unet"))
    assert (found.parameters, found.multiply_adds) == (31_043_521, expected)


def test_encoders_with_weights_at_hand(monkeypatch, tmp_path):
    monkeypatch.setattr(catalogue, "measured", lambda model, weights: catalogue.Buildable(model, 0, 0, weights))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "models--timm--convnext_atto.d2_in1k").mkdir()
    (tmp_path / "models--timm--of-another-version.in1k").mkdir()
    found = {row.model.encoder: (row.model.name, row.weights) for row in catalogue.encoders()}
    assert found["efficientnet_lite0"] == ("compact_fpn", "installed")
    assert found["convnext_atto"] == ("fpn", "in timm's cache")
    assert "of-another-version" not in found
    monkeypatch.setattr("figureground.models.encoder_weights.find_spec", lambda name: None)
    assert [row.model.encoder for row in catalogue.encoders()] == ["convnext_atto"]


def test_the_command_lists_them(in_process):
    status, out, err = in_process("models", "--all")
    assert (status, err) == (0, "")
    names = [line.split()[0] for line in out.splitlines() if line.split()[2:3] == ["M"]]
    assert names[: len(MODELS) + len(DECODERS) + 1] == [*MODELS, *DECODERS, "compact_fpn"]
    assert re.search(r"\nresnet34_unet +33\.9 M +7\.37 G\n", out)
    assert re.search(r"\nefficientnet_lite0 +3\.2 M +0\.82 G  below compact_fpn, installed\n", out)
