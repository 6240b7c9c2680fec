import shutil

import numpy as np
import pytest
from PIL import Image, ImageDraw

SIZE = WIDTH, HEIGHT = 96, 64
SPLITS = {"train": 6, "valid": 3, "test": 3}


def draw_image(seed):
    """Smooth noise that is another for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)


def draw_mask(size=SIZE):
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).ellipse((size[0] * 0.2, size[1] * 0.2, size[0] * 0.8, size[1] * 0.7), 255)
    return mask


class Folder:
    """A dataset of one's own, with names for the files that the tests damage."""

    def __init__(self, root):
        self.root = root
        self.image = root / "images" / "train" / "0.png"
        self.mask = root / "masks" / "train" / "0.png"
        self.test_image = root / "images" / "test" / "0.png"

    @property
    def masks(self):
        return sorted(self.root.glob("masks/*/*.png"))

    def draw_on_mask(self, *box, value=255):
        mask = Image.open(self.mask)
        ImageDraw.Draw(mask).rectangle(box, value)
        mask.save(self.mask)


@pytest.fixture(scope="session")
def clean_folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("clean")
    seed = 0
    for split, count in SPLITS.items():
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for index in range(count):
            draw_image(seed).save(root / "images" / split / f"{index}.png")
            draw_mask().save(root / "masks" / split / f"{index}.png")
            seed += 1
    return root


@pytest.fixture
def folder(clean_folder, tmp_path):
    return Folder(shutil.copytree(clean_folder, tmp_path / "data"))


@pytest.fixture
def pets(tmp_path):
    """The Oxford-IIIT Pet layout: 20 names for train and valid, 5 for test."""
    root = tmp_path / "pets"
    (root / "images").mkdir(parents=True)
    (root / "annotations" / "trimaps").mkdir(parents=True)
    names = [f"cat_{index}" for index in range(25)]
    for seed, name in enumerate(names):
        draw_image(seed).save(root / "images" / f"{name}.jpg")
        trimap = np.where(np.asarray(draw_mask()) > 0, 1, 2).astype(np.uint8)
        trimap[30:34, 19:21] = 3
        Image.fromarray(trimap).save(root / "annotations" / "trimaps" / f"{name}.png")
    (root / "annotations" / "trainval.txt").write_text("\n".join(f"{name} 1 1 1" for name in names[:20]))
    (root / "annotations" / "test.txt").write_text("\n".join(f"{name} 1 1 1" for name in names[20:]))
    return root
