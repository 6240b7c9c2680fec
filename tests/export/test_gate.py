import math

import numpy as np
import pytest

from figureground.bundle import BundleInfo
from figureground.config import OperatingPoint
from figureground.data import Sample
from figureground.data.dataset import targets_of
from figureground.export.gate import EngineRow, compare_engines, table, to_json, worst_change
from figureground.prediction import Member
from figureground.preprocessing import Preprocessing


class Brightness:
    """An engine with a known answer: the logit of a grey level v is 0.04 v - 5.1, plus a shift."""

    def __init__(self, name, shift=0.0):
        self.name = name
        self.shift = shift

    def run(self, batch):
        return {"figure": 5.1 * batch.mean(axis=1, keepdims=True) + np.float32(self.shift)}


class ThreeImages:
    """32×32: a half, all, and a quarter of the pixels are figure; the figure is grey 130, all of it 255, the rest 0."""

    name, split, foreground = "three", "valid", "foreground"
    names = ("half", "all", "quarter")

    def __len__(self):
        return 3

    def __getitem__(self, index):
        grey, mask = np.zeros((32, 32), np.uint8), np.zeros((32, 32), bool)
        rows, level = ((16, 130), (32, 255), (8, 130))[index]
        grey[:rows], mask[:rows] = level, True
        return Sample(self.names[index], np.repeat(grey[..., None], 3, axis=2), targets_of(mask))

    def fingerprint(self):
        return "three"


def compared(*shifts, threshold=0.5, temperature=1.0):
    info = BundleInfo(preprocessing=Preprocessing((32, 32)), operating_point=OperatingPoint(threshold, temperature))
    members = [Member(info, Brightness(f"shift {shift}", shift), "stub") for shift in (0.0, *shifts)]
    return compare_engines(members[0], members[1:], ThreeImages(), batch_size=2)


def test_the_same_answer_passes():
    first, second = compared(0.0)
    assert (first.dice, first.dice_change, first.flipped, first.largest_difference) == (1, 0, 0, 0)
    assert (second.dice, second.dice_change, second.flipped, second.largest_difference) == (1, 0, 0, 0)
    assert worst_change([first, second]) == 0


def test_a_shift_by_hand():
    """The logit 0.1 of grey 130 becomes -0.1: half of one image and a quarter of another change sides."""
    reference, shifted, more = compared(-0.2, 0.2)
    assert reference.dice == 1
    assert shifted.engine == "shift -0.2"
    assert shifted.dice == pytest.approx(1 / 3)
    assert shifted.dice_change == pytest.approx(-2 / 3)
    assert shifted.flipped == pytest.approx((1 / 2 + 0 + 1 / 4) / 3)
    assert shifted.largest_difference == pytest.approx(math.tanh(0.05), abs=1e-6)  # sigmoid(0.1) - sigmoid(-0.1)
    assert (more.dice, more.flipped) == (1, 0)
    assert worst_change([reference, shifted, more]) == pytest.approx(-2 / 3)


def test_the_threshold_of_the_model_counts():
    """Above the probability 0.55, the logit 0.2007, grey 130 is not figure before the shift and is behind it."""
    reference, shifted = compared(0.2, threshold=0.55)
    assert reference.dice == pytest.approx(1 / 3)
    assert shifted.dice == 1
    assert shifted.flipped == pytest.approx(1 / 4)
    assert worst_change([reference, shifted]) == 0  # a gain is no loss


def test_the_temperature_of_the_model_counts():
    _, shifted = compared(-0.2, temperature=2.0)
    assert shifted.largest_difference == pytest.approx(math.tanh(0.025), abs=1e-6)


ROWS = [
    EngineRow("torch", 0.8622, 0.0, 0.0, 0.0, 200.07),
    EngineRow("openvino", 0.8620, -0.00019, 0.00285, 0.0962, 42.0),
]


def test_the_table():
    assert table(ROWS, [135_588_660, 34_129_176]).splitlines() == [
        "engine          Dice    change   flipped  max diff  ms/image      MB",
        "torch         0.8622  +0.00000    0.000%    0.0000     200.1   135.6",
        "openvino      0.8620  -0.00019    0.285%    0.0962      42.0    34.1",
    ]


def test_the_figures_for_the_metadata():
    figures = to_json(ROWS, [135_588_660, 34_129_176], ThreeImages(), "int8")
    assert figures["engines"][1] == {
        "engine": "openvino", "dice": 0.8620, "dice_change": -0.00019, "flipped": 0.00285,
        "largest_difference": 0.0962, "milliseconds": 42.0, "bytes": 34_129_176,
    }  # fmt: skip
    del figures["engines"]
    assert figures == {"data": "three", "split": "valid", "n": 3, "foreground": "foreground", "limit": 0.005}
