"""What a reader of segmentation_models.pytorch's README would write for images with masks, to be compared with.

U-Net over the same encoder with the same ImageNet weights, Dice loss, Adam 1e-4, batches of 8, images squashed to
256×256 and mirrored half of the time, float32; the best by Dice on valid is kept. The masks of the test images are
written at the photos' own size.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from figureground.config import ModelConfig
from figureground.data import Dataset as Ours
from figureground.data import open_dataset
from figureground.models.encoder_weights import encoder_state

SIDE, BATCH = 256, 8


class Squashed(Dataset[tuple[Tensor, Tensor]]):
    """Images (3, 256, 256) and masks (1, 256, 256), float32."""

    def __init__(self, dataset: Ours, mirrored: bool) -> None:
        self.dataset, self.mirrored = dataset, mirrored

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sample = self.dataset[index]
        image, mask = normalised(sample.image), Image.fromarray(sample.mask).resize((SIDE, SIDE))
        truth = torch.from_numpy(np.asarray(mask, np.float32))[None]
        if self.mirrored and torch.rand(()) < 0.5:
            image, truth = image.flip(-1), truth.flip(-1)
        return image, truth


def normalised(image: np.ndarray) -> Tensor:
    small = np.asarray(Image.fromarray(image).resize((SIDE, SIDE)), np.float32)
    return torch.from_numpy((small - 127.5) / 127.5).permute(2, 0, 1)


def valid_dice(network: nn.Module, batches: DataLoader[tuple[Tensor, Tensor]]) -> float:
    network.eval()
    scores: list[float] = []
    with torch.inference_mode():
        for images, truth in batches:
            found, true = network(images) > 0, truth > 0.5
            both, total = (found & true).sum((1, 2, 3)), found.sum((1, 2, 3)) + true.sum((1, 2, 3))
            scores += torch.where(total == 0, 1.0, 2 * both / total.clamp(min=1)).tolist()
    network.train()
    return float(np.mean(scores))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="folder for the masks of the test images")
    given = parser.parse_args()
    end = time.monotonic() + 60 * given.minutes
    torch.manual_seed(given.seed)
    train, valid, test = (open_dataset(given.data, split) for split in ("train", "valid", "test"))
    network = smp.Unet("tu-tf_efficientnet_lite0", encoder_weights=None, classes=1)
    network.encoder.load_state_dict(
        encoder_state(network.encoder, ModelConfig("unet", {}, "efficientnet_lite0"), "imagenet")
    )
    loss = smp.losses.DiceLoss("binary", from_logits=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    batches = DataLoader(Squashed(train, True), BATCH, shuffle=True, drop_last=len(train) > BATCH)
    checks = DataLoader(Squashed(valid, False), BATCH)
    best, kept, epochs, cost = -1.0, copy.deepcopy(network.state_dict()), 0, 0.0
    while time.monotonic() + cost < end:
        start = time.monotonic()
        for images, truth in batches:
            optimizer.zero_grad()
            loss(network(images), truth).backward()
            optimizer.step()
            if time.monotonic() > end:
                break
        epochs += 1
        dice = valid_dice(network, checks)
        if dice > best:
            best, kept = dice, copy.deepcopy(network.state_dict())
        cost = time.monotonic() - start
    network.load_state_dict(kept)
    network.eval()
    given.output.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        for index, name in enumerate(test.names):
            image = test[index].image
            logits = network(normalised(image)[None])
            own = nn.functional.interpolate(logits, image.shape[:2], mode="bilinear")[0, 0] > 0
            path = given.output / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(own.numpy().astype(np.uint8) * 255).save(path)
    print(f"{epochs} epochs, best valid Dice {best:.4f}")


if __name__ == "__main__":
    main()
