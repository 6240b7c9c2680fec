"""The lab report's training as its reader would write it: what the other benchmarks compare with, not to be used.

Every image is opened and decoded each time, augmented at its own size, resized and normalised by Albumentations; the
network runs in float32 with contiguous memory, under torch's plain Adam.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # read when it is imported; it would ask the network
import albumentations
from albumentations.pytorch import ToTensorV2

from figureground import create_model

BACKGROUND = 2  # of a trimap; 1 is the pet and 3 its border


class PlainPets(Dataset[tuple[Tensor, Tensor]]):
    """Images (3, size, size) float32 and masks (1, size, size) float32 of an Oxford-IIIT Pet folder."""

    def __init__(self, root: Path, names: list[str], size: int = 256) -> None:
        files = {path.stem: path for path in (root / "images").iterdir() if path.suffix != ".mat"}
        trimaps = root / "annotations" / "trimaps"
        self.pairs = [(files[name], trimaps / f"{name}.png") for name in names]
        self.transform = albumentations.Compose(
            [
                albumentations.HorizontalFlip(p=0.5),
                albumentations.RandomBrightnessContrast(p=0.5),
                albumentations.ColorJitter(p=0.5),
                albumentations.Rotate(limit=15, p=0.5),
                albumentations.Resize(size, size),
                albumentations.Normalize(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
                ToTensorV2(),
            ]
        )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image_path, trimap_path = self.pairs[index]
        image = np.array(Image.open(image_path).convert("RGB"))
        mask = (np.array(Image.open(trimap_path)) != BACKGROUND).astype(np.float32)
        changed = self.transform(image=image, mask=mask)
        return changed["image"], changed["mask"].unsqueeze(0)


def plain_loader(dataset: Dataset[tuple[Tensor, Tensor]], batch_size: int) -> DataLoader[tuple[Tensor, Tensor]]:
    return DataLoader(dataset, batch_size=batch_size, shuffle=True, num_workers=0)


def train_on(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[float]:
    """The loss of each step, after the step. Batches are (B, 3, H, W) images and (B, 1, H, W) masks, both float32."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network.to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    criterion = nn.BCEWithLogitsLoss()
    for images, masks in batches:
        optimizer.zero_grad()
        loss = criterion(network(images.to(device))["figure"], masks.to(device))
        loss.backward()
        optimizer.step()
        yield loss.item()


def steps(
    model_name: str,
    dataset: Dataset[tuple[Tensor, Tensor]],
    batch_size: int,
    seed: int,
    arguments: dict[str, object] | None = None,
) -> Iterator[float]:
    """Train a new network for ever, epoch after epoch; the loss of each step."""
    torch.manual_seed(seed)
    network = create_model(model_name, arguments)
    loader = plain_loader(dataset, batch_size)
    return train_on(network, itertools.chain.from_iterable(itertools.repeat(loader)))
