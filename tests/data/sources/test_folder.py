import errno
import logging
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from figureground.config import DataConfig
from figureground.data import SPLITS, open_dataset
from figureground.data.sources.folder import pair_by_stem
from figureground.data.splits import split_by_name
from figureground.errors import FiguregroundError

from ..label_maps import labels

MASK = np.array([[0, 0, 255], [0, 255, 255]], np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path)
    return path


def add_three(root):
    """The fewest that can be divided."""
    for name in ("cat", "dog", "owl"):
        add_pair(root / "images", root / "masks", name)


def add_pair(images, masks, name, red=0, mask=MASK):
    save(images / f"{name}.png", np.full((*np.shape(mask), 3), (red, 0, 0), np.uint8))
    save(masks / f"{name}.png", mask)


# The split of a name never changes: the last decimal digit of its SHA-256, 8 valid, 9 test (by sha256sum and bc)
NAMES = {
    "cat": "train", "dog": "train", "owl": "train", "bee": "train", "elk": "test", "sow": "test",
    "photo-21": "valid", "photo-29": "valid", "photo-31": "valid", "photo-4": "test"
}  # fmt: skip


def test_the_split_by_name_is_fixed():
    assert {name: split_by_name(name) for name in NAMES} == NAMES


def test_the_split_by_name_is_about_80_10_10():
    splits = [split_by_name(f"photo-{index}") for index in range(2000)]
    shares = [splits.count(split) / 2000 for split in SPLITS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.03)


def test_undivided_folder_by_names(tmp_path):
    for red, name in enumerate(NAMES):
        add_pair(tmp_path / "images", tmp_path / "masks", name, red)
    for split in SPLITS:
        dataset = open_dataset(DataConfig(str(tmp_path), split="names"), split)
        assert list(dataset.names) == sorted(name for name in NAMES if NAMES[name] == split)
        for index, name in enumerate(dataset.names):
            assert dataset[index].image[0, 0].tolist() == [list(NAMES).index(name), 0, 0]
            assert labels(dataset[index].targets).tolist() == [[0, 0, 1], [0, 1, 1]]


@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize(
    "folders",
    [("train", "valid", "test"), ("train", "val", "test"), ("training", "validation", "testing")],
)
def test_divided_folders(tmp_path, folders, above):
    for red, folder in enumerate(folders):
        images, masks = (
            tmp_path / folder / kind if above else tmp_path / kind / folder for kind in ("images", "masks")
        )
        add_pair(images, masks, "same-name", red)
    for red, split in enumerate(SPLITS):
        dataset = open_dataset(tmp_path, split)
        assert list(dataset.names) == ["same-name"]
        assert dataset[0].image[0, 0].tolist() == [red, 0, 0]


def test_a_split_that_is_not_there(tmp_path):
    for folder in ("train", "val"):
        add_pair(tmp_path / folder / "images", tmp_path / folder / "masks", "a")
    with pytest.raises(FiguregroundError, match="is divided into train, valid, but has no test; add a test part"):
        open_dataset(tmp_path, "test")


def test_no_image_in_a_split(tmp_path):
    add_pair(tmp_path / "images", tmp_path / "masks", "cat")
    with pytest.raises(FiguregroundError, match="is divided into train, but has no valid; add a valid part"):
        open_dataset(DataConfig(str(tmp_path), split="names"), "valid")


def test_pairs_are_made_by_stem_whatever_the_suffix(tmp_path):
    save(tmp_path / "images" / "b.JPG", np.zeros((2, 3, 3), np.uint8))
    save(tmp_path / "images" / "deep" / "a.v2.webp", np.zeros((2, 3, 3), np.uint8))
    save(tmp_path / "masks" / "b.png", MASK)
    save(tmp_path / "masks" / "deep" / "a.v2.tif", MASK)
    (tmp_path / "images" / "notes.txt").touch()
    (tmp_path / "images" / "._b.jpg").touch()
    pairs = pair_by_stem(tmp_path / "images", tmp_path / "masks")
    assert [(name, image.name, mask.name) for name, image, mask in pairs] == [
        ("b", "b.JPG", "b.png"),
        ("deep/a.v2", "a.v2.webp", "a.v2.tif"),
    ]


def test_images_without_a_mask_are_named(tmp_path):
    add_pair(tmp_path / "images", tmp_path / "masks", "cat")
    save(tmp_path / "images" / "lonely.jpg", np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(FiguregroundError, match=r"1 of 2 images.*have no mask.*lonely\.jpg"):
        open_dataset(tmp_path, "train")


def test_images_and_masks_without_a_suffix_are_used_and_others_said(tmp_path, caplog):
    images, masks = tmp_path / "images", tmp_path / "masks"
    add_pair(images, masks, "cat")
    for folder in (images, masks):
        (folder / "cat.png").rename(folder / "cat")
    (images / "notes.txt").write_text("no picture")
    with caplog.at_level(logging.WARNING):
        assert pair_by_stem(images, masks) == [("cat", images / "cat", masks / "cat")]
    assert [record.getMessage() for record in caplog.records] == [
        f"left out of {images}, as no pictures or copies of others: 1 files (notes.txt)"
    ]


def test_copies_that_programs_keep_are_left_out(tmp_path, caplog):
    images, masks = tmp_path / "images", tmp_path / "masks"
    add_pair(images, masks, "cat")
    for name in ("cat.png~", "cat.png_original", "cat.bak", "cat.png.orig"):
        shutil.copy(images / "cat.png", images / name)
    with caplog.at_level(logging.WARNING):
        assert pair_by_stem(images, masks) == [("cat", images / "cat.png", masks / "cat.png")]
    assert "copies of others: 4 files (cat.bak, cat.png.orig, cat.png_original" in caplog.text


def test_masks_without_an_image_are_a_warning(tmp_path, caplog):
    add_three(tmp_path)
    save(tmp_path / "masks" / "spare.png", MASK)
    with caplog.at_level(logging.WARNING):
        names = [name for split in SPLITS for name in open_dataset(tmp_path, split).names]
    assert sorted(names) == ["cat", "dog", "owl"]
    assert "1 masks" in caplog.text
    assert "spare" in caplog.text


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_two_files_of_one_name(tmp_path, kind):
    add_pair(tmp_path / "images", tmp_path / "masks", "cat")
    save(tmp_path / kind / "cat.bmp", MASK)
    with pytest.raises(FiguregroundError, match=r"cat\.bmp and .*cat\.png have the same name"):
        open_dataset(tmp_path, "train")


def test_sizes_that_differ_are_both_told(tmp_path):
    save(tmp_path / "images" / "train" / "cat.png", np.zeros((4, 5, 3), np.uint8))
    save(tmp_path / "masks" / "train" / "cat.png", MASK)
    dataset = open_dataset(tmp_path, "train")
    with pytest.raises(
        FiguregroundError, match=r"masks/train/cat\.png is 3×2 pixels, its image .*images/train/cat\.png is 5×4"
    ):
        _ = dataset[0]


@pytest.mark.parametrize(("threshold", "figure"), [(38, 504), (39, 500), (128, 500), (255, 500), (1, 504), (0, 1000)])
def test_threshold(tmp_path, threshold, figure):
    add_pair(tmp_path / "images" / "train", tmp_path / "masks" / "train", "cat", mask=smoothed())
    dataset = open_dataset(DataConfig(str(tmp_path), mask_threshold=threshold), "train")
    found = labels(dataset[0].targets)
    assert found.sum() == figure
    assert set(np.unique(found)) <= {0, 1}


SETTINGS = [
    {},
    {"mask_threshold": 100},
    {"figure_values": ("255",)},
    {"figure_values": ("0",)},
    {"figure_values": ("#ffffff",)},
    {"ignore_value": 7},
]


def test_what_is_said_of_masks_is_part_of_the_fingerprint(tmp_path):
    add_pair(tmp_path / "images" / "train", tmp_path / "masks" / "train", "cat")

    def fingerprint(settings):
        return open_dataset(DataConfig(str(tmp_path), **settings), "train").fingerprint()

    prints = [fingerprint(settings) for settings in SETTINGS]
    assert len(set(prints)) == len(SETTINGS)
    assert [fingerprint(settings) for settings in SETTINGS] == prints


def smoothed():
    """Of 1000 pixels 500 are 255, and 4 are 38."""
    mask = np.zeros((10, 100), np.uint8)
    mask[:5] = 255
    mask[5, :4] = 38
    return mask


def _file(root):
    root.write_bytes(b"PK")


def _empty(root):
    root.mkdir()


def _unknown(root):
    for name in ("a.jpg", "b.jpg"):
        (root / "pictures").mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def _no_masks(root):
    save(root / "images" / "cat.png", np.zeros((2, 3, 3), np.uint8))


def _no_images(root):
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, "no such folder or file; expected a folder in the Oxford"),
        (_file, "is a file; expected a folder"),
        (_empty, "is empty; expected a folder"),
        (_unknown, "holds a.jpg, b.jpg, pictures; expected a folder"),
        (_no_masks, "masks: no such folder; expected the masks of"),
        (_no_images, "images; expected images there and their masks beside it"),
    ],
)
def test_what_is_no_dataset(tmp_path, make, words):
    root = tmp_path / "mine"
    make(root)
    for given in (root, str(root)):
        with pytest.raises(FiguregroundError) as caught:
            open_dataset(given, "train")
        assert str(root) in str(caught.value)
        assert words in str(caught.value)


def test_unknown_split():
    with pytest.raises(FiguregroundError) as caught:
        open_dataset("synthetic", "dev")
    assert str(caught.value) == "there is no split 'dev'; expected one of: train, valid, test"


@pytest.mark.parametrize("settings", [{"foreground": "border"}, {"split": "nmaes"}])
def test_unknown_policies(tmp_path, settings):
    add_three(tmp_path)
    (value,) = settings.values()
    with pytest.raises(FiguregroundError, match=f"'{value}'; expected one of: "):
        open_dataset(DataConfig(str(tmp_path), **settings), "train")


def test_a_folder_that_may_not_be_read_is_not_left_out(tmp_path, monkeypatch):
    """Its images would be missing without a word (root may read everything, so the refusal is staged)."""
    for folder in ("images", "masks"):
        (tmp_path / folder / "locked").mkdir(parents=True)
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(FiguregroundError, match=r"locked cannot be looked through \(Permission denied\)"):
        open_dataset(tmp_path, "train")


@pytest.mark.skipif(os.name != "posix", reason="names of files are bytes on POSIX only")
def test_names_that_are_not_utf8(tmp_path):
    names = [os.fsdecode(f"caf{index}".encode() + b"\xe9") for index in range(40)]
    for name in names:
        add_pair(tmp_path / "images", tmp_path / "masks", name)
    found = [open_dataset(tmp_path, split) for split in SPLITS]
    assert sorted(name for dataset in found for name in dataset.names) == sorted(names)
    assert len({dataset.fingerprint() for dataset in found}) == 3


@pytest.mark.skipif(os.name != "posix", reason="names of files are bytes on POSIX only")
def test_a_folder_whose_name_is_not_utf8(tmp_path):
    root = tmp_path / os.fsdecode(b"caf\xe9")
    add_three(root)
    assert [len(open_dataset(root, split).fingerprint()) for split in SPLITS] == [64] * 3
