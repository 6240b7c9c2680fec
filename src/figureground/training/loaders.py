"""Batches for training: augmented, the same for the same seed whatever the workers, resumable within an epoch."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from figureground.config import DataConfig, TrainConfig
from figureground.cores import usable_cores
from figureground.data import Dataset
from figureground.data.augmentation import Augmentation
from figureground.data.cache import Uncached, cached
from figureground.data.copy_paste import paste_figure
from figureground.data.crops import Cover, draw_crop
from figureground.data.dataset import FIGURE, FULL, WEIGHT, Sample, as_shown, targets_of
from figureground.data.negatives import negative
from figureground.errors import FiguregroundError
from figureground.files import CACHE_FOLDER
from figureground.preprocessing import Preprocessing
from figureground.training.carrying import CarryingLoader

Batch = dict[str, Tensor]
"""``image``: normalised (B, 3, H, W) float32 with channels last in memory. ``figure`` and, where something is left out,
``weight``: (B, H, W) uint8, 0 to 255 for 0 to 1. In validation ``number`` (B,): which image of the split each is of."""
BYTES_A_PIXEL = 3 * 4 + 2  # of channels in float32, and of figure and weight
SHARED_MEMORY = Path("/dev/shm")
MOST_WORKERS = 8
CHOICES, PASTED, CROPPED, ORDER = 1, 2, 3, 4  # streams of random numbers besides an image's own augmentation
ZOOMS = {"none": 1.0, "report": 1.0, "strong": 1.35, "heavy": 1.6}
"""By augmentation, how much more or less a crop shows in each direction, at most."""


def kept(dataset: Dataset, config: DataConfig, preprocessing: Preprocessing, progress: bool) -> Dataset:
    """A dataset from the cache, unless that is off."""
    found = dataset
    if config.cache != "off":
        folder = CACHE_FOLDER if config.cache == "auto" else Path(config.cache)
        found = cached(dataset, preprocessing, folder, progress=progress)
    # A photo that is stretched is augmented as it comes, as the report has it; the others are seen at their scale.
    return Uncached(dataset, preprocessing) if found is dataset and preprocessing.resize != "stretch" else found


class TrainingImages(TorchDataset[Sample]):
    """Augmented samples, by (epoch, turn, index): they decide what is done to an image, and which crop of it is shown.

    A turn is once through all images; it is the epoch unless ``epoch_images`` is set.
    """

    def __init__(self, dataset: Dataset, config: TrainConfig, preprocessing: Preprocessing) -> None:
        self._dataset = dataset
        self._config = config
        self._preprocessing = preprocessing
        self._augmentation: tuple[tuple[int, int], Augmentation] | None = None

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, key: tuple[int, int, int]) -> Sample:
        epoch, turn, index = key
        seed = (self._config.seed, turn, index)
        rng = np.random.default_rng((*seed, CHOICES))
        empty = rng.random() < self._config.negatives
        sample = self._augmented(self._negative(rng) if empty else self._dataset[index], epoch, seed)
        if rng.random() >= self._config.copy_paste:
            return sample
        other = self._augmented(self._dataset[self._any(rng)], epoch, (*seed, PASTED))
        return Sample(sample.name, *paste_figure(sample.image, sample.targets, other.image, other.targets, rng))

    def _any(self, rng: np.random.Generator) -> int:
        return int(rng.integers(len(self._dataset)))

    def _negative(self, rng: np.random.Generator) -> Sample:
        size = self._preprocessing.size
        image = negative(lambda: self._any_seen(rng), rng, size)
        return Sample("negative", image, targets_of(np.zeros(size, bool)))

    def _any_seen(self, rng: np.random.Generator) -> Sample:
        """An image, or of crops a window of one."""
        sample = self._dataset[self._any(rng)]
        whole = self._preprocessing.resize != "crops"
        return sample if whole else draw_crop(sample, self._preprocessing, 0.0, 1.0, rng)

    def _augmented(self, sample: Sample, epoch: int, seed: tuple[int, ...]) -> Sample:
        """A sample at the size of the epoch, changed as ``seed`` says."""
        size = self._config.size_at(epoch)
        at = replace(self._preprocessing, size=size)
        if at.resize == "crops":
            rng = np.random.default_rng((*seed, CROPPED))
            zoom = ZOOMS[self._config.augmentation]
            sample = draw_crop(sample, at, self._config.figure_crops, zoom, rng)
        changed = Sample(sample.name, *self._augmentation_for(size)(sample.image, sample.targets, seed))
        return changed if at.resize == "crops" else as_shown(at, changed)

    def _augmentation_for(self, size: tuple[int, int]) -> Augmentation:
        if self._augmentation is None or self._augmentation[0] != size:
            whole = self._preprocessing.resize != "crops"
            self._augmentation = size, Augmentation(self._config.augmentation, size, self._config.upright, whole)
        return self._augmentation[1]


class ValidImages(TorchDataset["Part"]):
    """What shows each image once and whole, at the network's size, and which image it is of."""

    def __init__(self, dataset: Dataset, preprocessing: Preprocessing) -> None:
        self._dataset = dataset
        self._preprocessing = preprocessing
        self._places = [(index, 0) for index in range(len(dataset))]
        if preprocessing.resize == "crops":
            self._places = [(index, part) for index, _ in self._places for part in range(len(self._cover(index)))]

    def _cover(self, index: int) -> Cover:
        return Cover(self._dataset[index], self._preprocessing)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: int) -> Part:
        index, part = self._places[place]
        if self._preprocessing.resize == "crops":
            return Part(self._cover(index)[part], index)
        return Part(as_shown(self._preprocessing, self._dataset[index]), index)


class Part(NamedTuple):
    """A window of an image, or all of it."""

    sample: Sample
    image: int
    """The image's index."""


class Shuffled(Sampler[tuple[int, int, int]]):
    """(epoch, turn, index) in an order that the seed and the turn decide; ``skip`` leaves out the first of an epoch.

    Args:
        length: how many images there are.
        seed: of the order.
        drawn: how many of them an epoch shows; the next goes on where it ended. None: all.
    """

    def __init__(self, length: int, seed: int, drawn: int | None = None) -> None:
        self._length = length
        self._seed = seed
        self._drawn = drawn or length
        self.epoch = 0
        self.skip = 0

    def __len__(self) -> int:
        return self._drawn  # of a whole epoch, also where a part is skipped: progress counts from its start

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        begin, end = self.epoch * self._drawn, (self.epoch + 1) * self._drawn
        for turn in range(begin // self._length, -(-end // self._length)):
            order = np.random.default_rng((self._seed, turn, 0, ORDER)).permutation(self._length)
            first, last = (place - turn * self._length for place in (begin + self.skip, end))
            for index in order[max(0, first) : max(0, last)]:
                yield self.epoch, turn, int(index)


class ResumableLoader(CarryingLoader):
    """A loader whose place within an epoch goes into a checkpoint (Lightning calls the two ``state_dict`` methods)."""

    def __init__(self, images: TorchDataset[Sample], order: Shuffled, collate: Collate, **settings: Any) -> None:
        super().__init__(images, collate, sampler=order, **settings)
        self._order = order
        self._resume_at = 0
        self._done = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # as above it
        self._done, self._resume_at = self._resume_at, 0
        self._order.skip = self._done * (self.batch_size or 1)
        for batch in super().__iter__():
            self._done += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """How many batches of the epoch are done."""
        return {"done": self._done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue behind the batches that are done; behind the last one, with the next epoch."""
        self._resume_at = state["done"] if state["done"] < len(self) else 0


class Collate:
    """Samples to a ``Batch``."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._preprocessing = preprocessing

    def __call__(self, given: Sequence[Sample | Part]) -> Batch:
        """Stack and normalise; only here do images become floats."""
        samples = [each.sample if isinstance(each, Part) else each for each in given]
        numbers = [each.image for each in given if isinstance(each, Part)]
        batch = {
            "image": self._normalised([sample.image for sample in samples]),
            FIGURE: torch.from_numpy(np.stack([sample.targets[FIGURE] for sample in samples])),
        }
        if any(WEIGHT in sample.targets for sample in samples):
            weights = [
                sample.targets.get(WEIGHT, np.full(sample.image.shape[:2], FULL, np.uint8)) for sample in samples
            ]
            batch[WEIGHT] = torch.from_numpy(np.stack(weights))
        if numbers:
            batch["number"] = torch.tensor(numbers)
        return batch

    def _normalised(self, images: list[NDArray[np.uint8]]) -> Tensor:
        """What ``Preprocessing.normalise`` gives, to the bit, in half the time: (B, 3, H, W), channels last in memory.

        One at a time and straight to its place: an image stays in the processor's cache between the passes.
        """
        height, width, channels = images[0].shape
        scale, shift = (torch.from_numpy(each).repeat(width) for each in self._preprocessing.scale_and_shift())
        # Of numpy, which asks for huge pages: a new batch in small ones, as torch has it, costs as much as normalising.
        batch = np.empty((len(images), height, width * channels), np.float32)
        for image, rows in zip(images, batch, strict=True):
            np.copyto(rows, image.reshape(height, -1))
            torch.from_numpy(rows).mul_(scale).add_(shift)
        return torch.from_numpy(batch).view(-1, height, width, channels).permute(0, 3, 1, 2)


def refuse_little_shared_memory(workers: int, batch: int) -> None:
    """Where it does not hold what worker processes hand on, they wait for ever (in Docker it has 64 MB).

    Args:
        workers: how many.
        batch: bytes of one; each worker has two under way, and the network has one.

    Raises:
        FiguregroundError: it is too small.
    """
    needed = (2 * workers + 1) * batch
    if workers and SHARED_MEMORY.is_dir() and (free := shutil.disk_usage(SHARED_MEMORY).free) < needed:
        raise FiguregroundError(
            f"{SHARED_MEMORY} has {free / 1e6:.1f} MB free, and {workers} worker processes need {needed / 1e6:.1f} MB "
            "there for their batches; use fewer --workers (0: none), a smaller --batch-size, or in Docker --shm-size 2g"
        )


def loaders(
    config: TrainConfig, train: Dataset, valid: Dataset, on_gpu: bool, *, drop_last: bool = False
) -> tuple[ResumableLoader, CarryingLoader]:
    """The two loaders of a training run; ``drop_last`` leaves out a last training batch that is smaller."""
    preprocessing = config.preprocessing
    default = min(MOST_WORKERS, usable_cores()) if on_gpu else 0
    workers = default if config.workers is None else config.workers
    refuse_little_shared_memory(workers, config.batch_size * math.prod(preprocessing.size) * BYTES_A_PIXEL)
    settings: dict[str, Any] = {
        "batch_size": config.batch_size,
        "num_workers": workers,
        "persistent_workers": workers > 0,  # started anew they would hold up every epoch
        "pin_memory": on_gpu,
    }
    images, collate = TrainingImages(train, config, preprocessing), Collate(preprocessing)
    return (
        ResumableLoader(
            images, Shuffled(len(train), config.seed, config.epoch_images), collate, drop_last=drop_last, **settings
        ),
        CarryingLoader(ValidImages(valid, preprocessing), collate, **settings),
    )
