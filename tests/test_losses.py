import math

import pytest
import torch

from figureground.labels import SOFT_FIGURE
from figureground.losses import LOSSES, bce, bce_dice, soft_dice


def logit(probability):
    return math.log(probability / (1 - probability))


def test_bce_by_hand():
    logits = torch.tensor([[[[logit(0.8), logit(0.4)]]]])
    labels = torch.tensor([[[SOFT_FIGURE, 0]]], dtype=torch.uint8)
    assert bce(logits, labels).item() == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2, abs=1e-6)


def test_soft_dice_by_hand():
    logits = torch.tensor([[[[logit(0.8), logit(0.4)]]]])
    labels = torch.tensor([[[SOFT_FIGURE, 0]]], dtype=torch.uint8)
    assert soft_dice(logits, labels).item() == pytest.approx(1 - (2 * 0.8 + 1) / (1.2 + 1 + 1), abs=1e-6)
    assert bce_dice(logits, labels).item() == pytest.approx((bce(logits, labels) + soft_dice(logits, labels)).item())


@pytest.mark.parametrize("name", LOSSES)
def test_pixels_that_are_left_out_have_no_weight(name):
    labels = torch.tensor([[[SOFT_FIGURE, 0, 255, 255]]], dtype=torch.uint8)
    logits = torch.tensor([[[[2.0, -1.0, 5.0, -7.0]]]], requires_grad=True)
    loss = LOSSES[name](logits, labels)
    assert loss.item() == pytest.approx(LOSSES[name](logits[..., :2], labels[..., :2]).item(), abs=1e-6)
    loss.backward()
    assert logits.grad[..., 2:].abs().max() == 0
    assert logits.grad[..., :2].abs().min() > 0


def test_an_empty_mask_found_empty_costs_next_to_nothing():
    logits, labels = torch.full((2, 1, 8, 8), -20.0), torch.zeros(2, 8, 8, dtype=torch.uint8)
    assert bce_dice(logits, labels).item() == pytest.approx(0, abs=1e-6)


def test_an_image_all_left_out_gives_a_finite_loss():
    logits, labels = torch.zeros(1, 1, 4, 4), torch.full((1, 4, 4), 255, dtype=torch.uint8)
    assert math.isfinite(bce_dice(logits, labels).item())


def test_soft_labels_by_hand():
    logits = torch.tensor([[[[logit(0.8), logit(0.4)]]]])
    labels = torch.tensor([[[SOFT_FIGURE // 2, 0]]], dtype=torch.uint8)
    half = -(math.log(0.8) + math.log(0.2)) / 2
    assert bce(logits, labels).item() == pytest.approx((half - math.log(0.6)) / 2, abs=1e-6)
    assert soft_dice(logits, labels).item() == pytest.approx(1 - (2 * 0.8 * 0.5 + 1) / (1.2 + 0.5 + 1), abs=1e-6)
