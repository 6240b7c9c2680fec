"""The models that come with the package, by name."""

from __future__ import annotations

from pathlib import Path

PRETRAINED = {"pets": "cats and dogs"}
"""What each finds in a photo; its bundle is ``NAME.onnx`` in this folder, its card ``docs/models/NAME.md``."""
DEFAULT = "pets"
"""What predicts where no model is named."""


def pretrained_bundle(name: str) -> Path:
    """The file of one of ``PRETRAINED``."""
    return Path(__file__).with_name(f"{name}.onnx")


EXAMPLE = Path(__file__).with_name("cat.jpg")
"""A photograph to try them on: Chelsea, by Stéfan van der Walt, who has put it into the public domain (CC0)."""
