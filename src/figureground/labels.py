"""The three values of a label map, (H, W) uint8: a mask together with the pixels that do not count."""

from __future__ import annotations

BACKGROUND = 0
FIGURE = 1
LEFT_OUT = 255
"""Pixels that count neither in the loss nor in a score (the border, where its policy is ``ignore``)."""
