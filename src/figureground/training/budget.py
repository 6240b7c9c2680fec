"""How many epochs fit into some minutes, start and test included."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import nn

from figureground.config import TrainConfig
from figureground.data import Dataset, Split, open_dataset
from figureground.data.dataset import FIGURE, FULL
from figureground.errors import BadSettingsError, FiguregroundError
from figureground.losses import LOSSES
from figureground.models import build
from figureground.models.depthwise import QuickDepthwise
from figureground.models.learning import parameter_groups
from figureground.training.loaders import Batch, loaders
from figureground.training.trainer import precision

WARM, TIMED = 2, 6
"""Steps before the clock starts, and those that it times."""
MOST_EPOCHS = 25
"""A validation behind each, and a point of the curves."""
VALIDATION = 0.12
"""The share of the time that validation may take."""
SPARE = 0.04
"""The share of all minutes that is kept back, as steps are not always as fast as the first."""
REPORT = 8.0
"""Seconds for figures, curves and the report behind a training."""
PASSES = 2
"""Over valid, to fit what turns logits into masks."""
SCORING = 0.005, 0.06
"""Seconds to score an image besides the network: for each, and for each million of its pixels."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """Seconds that this machine takes."""

    step: float
    """Of the optimiser, at the full size, batch included."""
    shown: float
    """A window, or a whole image, through the network alone."""


def within_minutes(
    config: TrainConfig,
    datasets: tuple[Dataset, Dataset],
    started: float,
    on_gpu: bool,
    scored: Split | None = "test",
) -> TrainConfig:
    """The same settings with as many epochs, and images in each, as fit into ``config.minutes``.

    Args:
        config: all settings.
        datasets: train and valid, from the cache.
        started: when the minutes began, by ``time.monotonic``.
        on_gpu: whether the network is trained there.
        scored: what the model is scored on in these minutes; none: nothing.

    Raises:
        BadSettingsError: the minutes are not enough for a few steps.
    """
    assert config.minutes is not None
    full = replace(config, phases=(), epoch_images=None)
    batches, checks = loaders(full, *datasets, on_gpu, drop_last=len(datasets[0]) > config.batch_size)
    pace = measure_pace(config, batches, on_gpu)
    valid = datasets[1]
    windows = len(checks.dataset)  # type: ignore[arg-type]
    pixels = valid[0].image.size / 3e6
    shown = PASSES * len(valid) + (_images(config, scored) if scored else 0)
    overlap = config.preprocessing.overlap if config.preprocessing.resize == "crops" else 0.0
    behind = REPORT + shown * (pace.shown * windows / len(valid) / (1 - overlap) ** 2)
    behind += shown * (SCORING[0] + SCORING[1] * pixels)
    seconds = 60 * config.minutes * (1 - SPARE) - (time.monotonic() - started) - behind
    if seconds < 10 * pace.step:
        raise BadSettingsError(
            f"minutes is {config.minutes:g}, of which {max(seconds, 0):.0f} seconds are left to train, at "
            f"{pace.step:.2f} seconds a step; expected enough for ten steps. Give more --minutes"
        )
    fitted = epochs_for(config, seconds, pace, windows)
    log.info(
        "%g minutes: %d steps of %d images (%.2f seconds each) in %d epochs, then about %.0f seconds to fit and score",
        *(config.minutes, fitted.epochs * (fitted.epoch_images or 0) // config.batch_size, config.batch_size),
        *(pace.step, fitted.epochs, behind),
    )
    return fitted


def _images(config: TrainConfig, split: Split) -> int:
    """How many are scored behind the training."""
    try:
        return len(open_dataset(config.data, split))
    except FiguregroundError:  # there is no such split
        return 0


def epochs_for(config: TrainConfig, seconds: float, pace: Pace, windows: int) -> TrainConfig:
    """As many epochs as fit into ``seconds``, with ``windows`` shown in each validation."""
    validation = windows * pace.shown
    epochs = max(1, min(MOST_EPOCHS, int(VALIDATION * seconds / max(validation, 1e-3))))
    step = pace.step * _share_of_pixels(replace(config, epochs=epochs))
    steps = max(1, int((seconds - epochs * validation) / step))
    epochs = min(epochs, steps)
    return replace(config, minutes=None, epochs=epochs, epoch_images=steps // epochs * config.batch_size)


def _share_of_pixels(config: TrainConfig) -> float:
    """What an image costs on average, as phases show smaller ones, by the pixels of the full size."""
    pixels = [math.prod(config.size_at(epoch)) for epoch in range(config.epochs)]
    return sum(pixels) / len(pixels) / math.prod(config.preprocessing.size)


def measure_pace(config: TrainConfig, batches: Iterable[Batch], on_gpu: bool) -> Pace:
    """Train a network of the same kind for a few steps at the full size, and show it a batch."""
    device = torch.device("cuda" if on_gpu else "cpu")
    network = build(config.model).to(memory_format=torch.channels_last).to(device).train()
    optimizer = torch.optim.AdamW(parameter_groups(network, 1e-6), fused=True)
    loss = LOSSES[config.loss]
    fast = precision(config, on_gpu) == "bf16-mixed"
    given_batches = iter(_without_end(batches))
    first = next(given_batches)  # starts the workers
    times = [time.perf_counter()]
    shown = [first, *islice(given_batches, WARM + TIMED - 1)]
    gathering = (time.perf_counter() - times[0]) / (len(shown) - 1)
    times = []
    for batch in shown:
        given = {name: tensor.to(device) for name, tensor in batch.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=fast), QuickDepthwise():
            value = loss(network(given["image"])[FIGURE], given[FIGURE].float() / FULL, None)
        torch.autograd.backward(value)
        optimizer.step()
        optimizer.zero_grad()
        _wait(on_gpu)
        times.append(time.perf_counter())
    step = (times[-1] - times[WARM - 1]) / (len(times) - WARM)
    return Pace(max(step, gathering) if on_gpu else step + gathering, _seconds_shown(network, shown, fast, on_gpu))


def _seconds_shown(network: nn.Module, batches: Sequence[Batch], bfloat16: bool, on_gpu: bool) -> float:
    """Of one image, in the mode that validation has."""
    device = next(network.parameters()).device
    network.eval()
    images = batches[0]["image"].to(device)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        network(images)
        start = time.perf_counter()
        network(images)
        _wait(on_gpu)
    return (time.perf_counter() - start) / len(images)


def _without_end(batches: Iterable[Batch]) -> Iterable[Batch]:
    while True:
        yield from batches


def _wait(on_gpu: bool) -> None:
    if on_gpu:
        torch.cuda.synchronize()
