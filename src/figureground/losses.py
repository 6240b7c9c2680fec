"""Losses of logits (B, 1, H, W) against soft labels (B, H, W) uint8; pixels that are left out have no weight."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from figureground.labels import LEFT_OUT, SOFT_FIGURE


def bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over all pixels that count."""
    figure, kept = _figure_and_kept(labels)
    loss = functional.binary_cross_entropy_with_logits(logits.float(), figure, weight=kept, reduction="sum")
    return loss / kept.sum().clamp(min=1)


def soft_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """One minus the Dice of the probabilities (Milletari et al., V-Net, 2016), per image and then the mean.

    One pixel is added to numerator and denominator, so that an empty mask predicted as empty costs nothing.
    """
    figure, kept = _figure_and_kept(labels)
    probability = logits.float().sigmoid() * kept
    overlap = (probability * figure).sum((1, 2, 3))
    total = probability.sum((1, 2, 3)) + figure.sum((1, 2, 3))
    return (1 - (2 * overlap + 1) / (total + 1)).mean()


def bce_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum of ``bce`` and ``soft_dice``: the first gives smooth gradients, the second looks at small figures."""
    return bce(logits, labels) + soft_dice(logits, labels)


def _figure_and_kept(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Two float maps (B, 1, H, W): how far a pixel is figure, 0 to 1, and where pixels count."""
    labels = labels.unsqueeze(1)
    kept = (labels != LEFT_OUT).float()
    return labels.float() / SOFT_FIGURE * kept, kept


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"bce": bce, "bce_dice": bce_dice}
