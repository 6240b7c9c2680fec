"""How many epochs fit into some minutes, start and test included."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

import lightning
import torch
from torch import Tensor, nn

from figureground.config import Phase, TrainConfig
from figureground.data import Dataset, Split, open_dataset
from figureground.data.dataset import FIGURE, FULL
from figureground.errors import BadSettingsError, FiguregroundError
from figureground.losses import LOSSES
from figureground.models import build
from figureground.models.blocks import channels_last
from figureground.models.depthwise import QuickDepthwise
from figureground.models.learning import parameter_groups
from figureground.models.rewriting import without_batch_norms
from figureground.training.loaders import Batch, loaders
from figureground.training.trainer import precision

WARM, TIMED = 1, 3
"""Steps before the clock starts, and those that it times."""
MOST_EPOCHS = 25
"""A validation behind each, and a point of the curves."""
VALIDATION = 0.12
"""The share of the time that validation may take."""
LATE = 0.05
"""The share of the minutes that a training may miss its end by."""
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

    steps: Mapping[tuple[int, int], float]
    """Of the optimiser, by height and width of the images, batch included."""
    shown: float
    """A window, or a whole image, through the network alone, in validation."""
    scored: float
    """The same in prediction, which computes in float32."""


def within_minutes(
    config: TrainConfig,
    datasets: tuple[Dataset, Dataset],
    started: float,
    on_gpu: bool,
    scored: Split | None = "test",
) -> tuple[TrainConfig, Deadline]:
    """The same settings with as many epochs, and images in each, as fit into ``config.minutes``, and what keeps them.

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
    pace, windows = measure_pace(config, datasets, on_gpu)
    valid = datasets[1]
    pixels = open_dataset(config.data, "valid")[0].image.size / 3e6  # of a photo, not of what is cached of it
    shown = PASSES * len(valid) + (_images(config, scored) if scored else 0)
    overlap = config.preprocessing.overlap if config.preprocessing.resize == "crops" else 0.0
    behind = REPORT + shown * (pace.scored * windows / len(valid) / (1 - overlap) ** 2)
    behind += shown * (SCORING[0] + SCORING[1] * pixels)
    seconds = 60 * config.minutes * (1 - SPARE) - (time.monotonic() - started) - behind
    slowest = max(pace.steps.values())
    if seconds < 10 * slowest:
        raise BadSettingsError(
            f"minutes is {config.minutes:g}, of which {max(seconds, 0):.0f} seconds are left to train, at "
            f"{slowest:.2f} seconds a step; expected enough for ten steps. Give more --minutes"
        )
    fitted = epochs_for(config, seconds, pace, windows)
    log.info(
        "%g minutes: %d steps of %d images (up to %.2f seconds each) in %d epochs, then about %.0f seconds to fit and "
        "score",
        *(config.minutes, fitted.epochs * (fitted.epoch_images or 0) // config.batch_size, config.batch_size),
        *(slowest, fitted.epochs, behind),
    )
    return fitted, Deadline(started + 60 * config.minutes - behind, LATE * 60 * config.minutes, pace, windows)


class Deadline(lightning.Callback):
    """Stops a training that would end too late or too early, at the end of an epoch: steps are not always as fast as
    the first. It then goes on with other ``epochs``.

    Args:
        until: when it shall end, by ``time.monotonic``.
        late: seconds that it may miss it by.
        pace: as it was measured.
        windows: of a validation.
    """

    def __init__(self, until: float, late: float, pace: Pace, windows: int) -> None:
        self.epochs: int | None = None
        """That fit into the time; none: as many as were planned."""
        self._until, self._late = until, late
        self._pace, self._windows = pace, windows
        self._begun = self._taken = self._planned = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Nothing is asked for yet."""
        self.epochs = None

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock."""
        self._begun = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Compare the time that all epochs took with the pace."""
        config, now, done = pl_module.config, time.monotonic(), trainer.current_epoch + 1
        assert isinstance(config, TrainConfig)
        self._taken += now - self._begun
        self._planned += self._seconds(config, done - 1, done)
        if done >= config.epochs or trainer.should_stop:
            return
        slower = self._taken / self._planned

        def over(epochs: int) -> float:
            """Seconds behind the deadline."""
            return now + slower * self._seconds(replace(config, epochs=epochs), done, epochs) - self._until

        if abs(over(config.epochs)) > self._late:
            fitting = min(range(done + 1, 2 * config.epochs), key=lambda epochs: abs(over(epochs)))
            if fitting != config.epochs:
                self.epochs, trainer.should_stop = fitting, True

    def _seconds(self, config: TrainConfig, begin: int, end: int) -> float:
        """Of some epochs, at the pace."""
        steps = (config.epoch_images or 0) // config.batch_size
        shown = self._windows * self._pace.shown
        return sum(steps * self._pace.steps[config.size_at(epoch)] + shown for epoch in range(begin, end))


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
    sized = replace(config, epochs=epochs)
    step = sum(pace.steps[sized.size_at(epoch)] for epoch in range(epochs)) / epochs
    steps = max(1, int((seconds - epochs * validation) / step))
    epochs = min(epochs, steps)
    return replace(config, minutes=None, epochs=epochs, epoch_images=steps // epochs * config.batch_size)


def measure_pace(config: TrainConfig, datasets: tuple[Dataset, Dataset], on_gpu: bool) -> tuple[Pace, int]:
    """Train a network of the same kind for a few steps at each size, and show it a batch.

    Returns:
        The pace, and how many windows a validation has.
    """
    device = torch.device("cuda" if on_gpu else "cpu")
    network = channels_last(build(config.model)).to(device).train()
    optimizer = torch.optim.AdamW(parameter_groups(network, 1e-6), fused=True)
    bfloat16 = precision(config, on_gpu) == "bf16-mixed"
    steps = {}
    for size in {config.preprocessing.size, *((phase.size, phase.size) for phase in config.phases)}:
        phases = () if size == config.preprocessing.size else (Phase(1.0, size[0]),)
        alone = replace(config, phases=phases, epochs=1, epoch_images=None)
        steps[size] = _seconds_of_step(network, optimizer, alone, datasets, bfloat16, on_gpu)
    full = replace(config, phases=(), epoch_images=None)
    checks = loaders(full, *datasets, on_gpu)[1]
    windows, images = len(checks.dataset), next(iter(checks))["image"].to(device)  # type: ignore[arg-type]
    network.eval()
    predicting = network if on_gpu else without_batch_norms(network)
    scored = _seconds_shown(predicting, images, False, on_gpu)
    return Pace(steps, _seconds_shown(network, images, bfloat16, on_gpu), scored), windows


def _seconds_of_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    datasets: tuple[Dataset, Dataset],
    bfloat16: bool,
    on_gpu: bool,
) -> float:
    """Its batch included; the batches are let go, and with them the workers, before those of another size come."""
    batches = _without_end(loaders(config, *datasets, on_gpu, drop_last=len(datasets[0]) > config.batch_size)[0])
    first = next(batches)  # starts the workers
    start = time.perf_counter()
    shown = [first, *islice(batches, WARM + TIMED - 1)]
    gathering = (time.perf_counter() - start) / (len(shown) - 1)
    device, times = next(network.parameters()).device, []
    for batch in shown:
        given = {name: tensor.to(device) for name, tensor in batch.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16), QuickDepthwise():
            value = LOSSES[config.loss](network(given["image"])[FIGURE], given[FIGURE].float() / FULL, None)
        torch.autograd.backward(value)
        optimizer.step()
        optimizer.zero_grad()
        _wait(on_gpu)
        times.append(time.perf_counter())
    step = (times[-1] - times[WARM - 1]) / (len(times) - WARM)
    return max(step, gathering) if on_gpu else step + gathering


def _seconds_shown(network: nn.Module, images: Tensor, bfloat16: bool, on_gpu: bool) -> float:
    """Of one image."""
    with torch.inference_mode(), torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
        network(images)
        start = time.perf_counter()
        network(images)
        _wait(on_gpu)
    return (time.perf_counter() - start) / len(images)


def _without_end(batches: Iterable[Batch]) -> Iterator[Batch]:
    while True:
        yield from batches


def _wait(on_gpu: bool) -> None:
    if on_gpu:
        torch.cuda.synchronize()
