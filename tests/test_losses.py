import math

import pytest
import torch

from figureground.losses import LOSSES, bce, bce_dice, soft_dice


def logit(probability):
    return math.log(probability / (1 - probability))


def test_bce_by_hand():
    logits = torch.tensor([[[[logit(0.8), logit(0.4)]]]])
    figure = torch.tensor([[[1.0, 0.0]]])
    assert bce(logits, figure).item() == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2, abs=1e-6)


def test_soft_dice_by_hand():
    logits = torch.tensor([[[[logit(0.8), logit(0.4)]]]])
    figure = torch.tensor([[[1.0, 0.0]]])
    assert soft_dice(logits, figure).item() == pytest.approx(1 - (2 * 0.8 + 1) / (1.2 + 1 + 1), abs=1e-6)
    assert bce_dice(logits, figure).item() == pytest.approx((bce(logits, figure) + soft_dice(logits, figure)).item())


@pytest.mark.parametrize("name", LOSSES)
def test_pixels_that_are_left_out_have_no_weight(name):
    figure, weight = torch.tensor([[[1.0, 0.0, 1.0, 0.0]]]), torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    logits = torch.tensor([[[[2.0, -1.0, 5.0, -7.0]]]], requires_grad=True)
    loss = LOSSES[name](logits, figure, weight)
    assert loss.item() == pytest.approx(LOSSES[name](logits[..., :2], figure[..., :2]).item(), abs=1e-6)
    loss.backward()
    assert logits.grad[..., 2:].abs().max() == 0
    assert logits.grad[..., :2].abs().min() > 0


def test_an_empty_mask_found_empty_costs_next_to_nothing():
    logits, figure = torch.full((2, 1, 8, 8), -20.0), torch.zeros(2, 8, 8)
    assert bce_dice(logits, figure).item() == pytest.approx(0, abs=1e-6)


def test_an_image_all_left_out_gives_a_finite_loss():
    logits, figure, weight = torch.zeros(1, 1, 4, 4), torch.ones(1, 4, 4), torch.zeros(1, 4, 4)
    assert math.isfinite(bce_dice(logits, figure, weight).item())


def test_a_soft_figure_by_hand():
    logits = torch.tensor([[[[logit(0.8), logit(0.4)]]]])
    figure = torch.tensor([[[0.5, 0.0]]])
    half = -(math.log(0.8) + math.log(0.2)) / 2
    assert bce(logits, figure).item() == pytest.approx((half - math.log(0.6)) / 2, abs=1e-6)
    assert soft_dice(logits, figure).item() == pytest.approx(1 - (2 * 0.8 * 0.5 + 1) / (1.2 + 0.5 + 1), abs=1e-6)
