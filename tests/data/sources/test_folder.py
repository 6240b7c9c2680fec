import errno
import logging
import os

import numpy as np
import pytest
from PIL import Image

from figureground.data import SPLITS, open_dataset
from figureground.data.sources.folder import MaskReader, hashed_split, open_folder, pair_by_stem
from figureground.errors import FiguregroundError

MASK = np.array([[0, 0, 255], [0, 255, 255]], np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path)
    return path


def add_pair(images, masks, name, red=0, mask=MASK):
    save(images / f"{name}.png", np.full((*np.shape(mask), 3), (red, 0, 0), np.uint8))
    save(masks / f"{name}.png", mask)


# The split of a name never changes: the last decimal digit of its SHA-256, 8 valid, 9 test (by sha256sum and bc)
NAMES = {
    "cat": "train", "dog": "train", "owl": "train", "bee": "train", "elk": "test", "sow": "test",
    "photo-21": "valid", "photo-29": "valid", "photo-31": "valid", "photo-4": "test"
}  # fmt: skip


def test_the_hashed_split_is_fixed():
    assert {name: hashed_split(name) for name in NAMES} == NAMES


def test_hashed_split_is_about_80_10_10():
    splits = [hashed_split(f"photo-{index}") for index in range(2000)]
    shares = [splits.count(split) / 2000 for split in SPLITS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.03)


def test_undivided_folder(tmp_path):
    for red, name in enumerate(NAMES):
        add_pair(tmp_path / "images", tmp_path / "masks", name, red)
    for split in SPLITS:
        dataset = open_dataset(tmp_path, split)
        assert list(dataset.names) == sorted(name for name in NAMES if NAMES[name] == split)
        for index, name in enumerate(dataset.names):
            assert dataset[index].image[0, 0].tolist() == [list(NAMES).index(name), 0, 0]
            assert dataset[index].labels.tolist() == [[0, 0, 1], [0, 1, 1]]


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
    with pytest.raises(FiguregroundError, match="is divided into train, valid, but has no test; add a test folder"):
        open_dataset(tmp_path, "test")


def test_no_image_in_a_split(tmp_path):
    add_pair(tmp_path / "images", tmp_path / "masks", "cat")
    with pytest.raises(FiguregroundError, match="no image is in the split 'valid'"):
        open_dataset(tmp_path, "valid")


def test_pairs_are_made_by_stem_whatever_the_suffix(tmp_path):
    save(tmp_path / "images" / "b.JPG", np.zeros((2, 3, 3), np.uint8))
    save(tmp_path / "images" / "deep" / "a.v2.webp", np.zeros((2, 3, 3), np.uint8))
    save(tmp_path / "masks" / "b.png", MASK)
    save(tmp_path / "masks" / "deep" / "a.v2.tif", MASK)
    (tmp_path / "images" / "notes.txt").touch()
    (tmp_path / "images" / "._b.jpg").touch()
    pairs = pair_by_stem(tmp_path / "images", tmp_path / "masks")
    assert [(p.name, p.image.name, p.mask.name) for p in pairs] == [
        ("b", "b.JPG", "b.png"),
        ("deep/a.v2", "a.v2.webp", "a.v2.tif"),
    ]


def test_images_without_a_mask_are_named(tmp_path):
    add_pair(tmp_path / "images", tmp_path / "masks", "cat")
    save(tmp_path / "images" / "lonely.jpg", np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(FiguregroundError, match=r"1 of 2 images.*have no mask.*lonely\.jpg"):
        open_dataset(tmp_path, "train")


def test_masks_without_an_image_are_a_warning(tmp_path, caplog):
    add_pair(tmp_path / "images", tmp_path / "masks", "cat")
    save(tmp_path / "masks" / "spare.png", MASK)
    with caplog.at_level(logging.WARNING):
        assert list(open_dataset(tmp_path, "train").names) == ["cat"]
    assert "1 masks" in caplog.text
    assert "spare" in caplog.text


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_two_files_of_one_name(tmp_path, kind):
    add_pair(tmp_path / "images", tmp_path / "masks", "cat")
    save(tmp_path / kind / "cat.bmp", MASK)
    with pytest.raises(FiguregroundError, match=r"cat\.bmp and .*cat\.png have the same name"):
        open_dataset(tmp_path, "train")


def test_sizes_that_differ_are_both_told(tmp_path):
    save(tmp_path / "images" / "cat.png", np.zeros((4, 5, 3), np.uint8))
    save(tmp_path / "masks" / "cat.png", MASK)
    dataset = open_dataset(tmp_path, "train")
    with pytest.raises(FiguregroundError, match=r"masks/cat\.png is 3×2 pixels, its image .*images/cat\.png is 5×4"):
        _ = dataset[0]


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ([[[0, 255, 255]]], [[[0, 1, 1]]]),
        ([[[0, 1, 1]]], [[[0, 1, 1]]]),
        ([[[3, 9, 3]]], [[[0, 1, 0]]]),
        ([[[0, 38, 0]]], [[[0, 1, 0]]]),
        ([[[0, 0, 0]]], [[[0, 0, 0]]]),
        ([[[255, 255, 255]]], [[[1, 1, 1]]]),
        ([[[1, 1, 1]]], [[[1, 1, 1]]]),
        ([[[1, 1, 1]], [[1, 2, 1]]], [[[0, 0, 0]], [[0, 1, 0]]]),
        ([[[2, 2, 2]], [[1, 2, 1]]], [[[1, 1, 1]], [[0, 1, 0]]]),
        ([[[0, 0, 0]], [[0, 255, 0]], [[255, 255, 255]]], [[[0, 0, 0]], [[0, 1, 0]], [[1, 1, 1]]]),
    ],
)
def test_masks_with_two_values_or_one(tmp_path, masks, expected):
    paths = [save(tmp_path / f"{index}.png", np.array(mask, np.uint8)) for index, mask in enumerate(masks)]
    reader = MaskReader(paths)
    assert [reader(path).tolist() for path in paths] == expected
    assert reader(paths[0]).dtype == np.uint8


def test_coloured_and_16_bit_masks(tmp_path):
    colour = np.zeros((1, 2, 3), np.uint8)
    colour[0, 1] = 128, 0, 0
    deep = np.array([[0, 65535]], np.uint16)
    for path in (save(tmp_path / "colour.png", colour), save(tmp_path / "deep.png", deep)):
        assert MaskReader([path])(path).tolist() == [[0, 1]]


def test_a_single_value_that_no_other_mask_has(tmp_path):
    paths = [save(tmp_path / "a.png", np.full((1, 2), 7, np.uint8)), save(tmp_path / "b.png", MASK)]
    with pytest.raises(FiguregroundError, match=r"a\.png' has only the value 7, other masks have 0 and 255"):
        MaskReader(paths)(paths[0])


def _smoothed():
    mask = np.zeros((10, 100), np.uint8)
    mask[:5] = 255
    mask[5, :4] = 38
    return mask


def test_three_values_name_the_cause_and_the_remedy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "a.png", _smoothed()).relative_to(tmp_path)
    with pytest.raises(FiguregroundError) as caught:
        MaskReader([path])(path)
    assert str(caught.value) == (
        "mask 'a.png' has values {0, 38, 255}; expected two. 38 covers 0.4% of it: an anti-aliased edge? "
        "Re-save it without smoothing or pass --mask-threshold 128."
    )


def test_more_values_are_counted_together(tmp_path):
    path = save(tmp_path / "a.png", np.arange(10, dtype=np.uint8).reshape(1, 10))
    with pytest.raises(FiguregroundError) as caught:
        MaskReader([path])(path)
    assert "has values {0, 1, 2, 3, 4, 5, ...}; expected two. The 8 values between cover 80.0% of it" in str(
        caught.value
    )
    assert "more than one class? Keep one class or pass --mask-threshold 5." in str(caught.value)


@pytest.mark.parametrize(("threshold", "figure"), [(38, 504), (39, 500), (128, 500), (255, 500), (1, 504), (0, 1000)])
def test_threshold(tmp_path, threshold, figure):
    add_pair(tmp_path / "images", tmp_path / "masks", "cat", mask=_smoothed())
    dataset = open_dataset(tmp_path, "train", mask_threshold=threshold)
    assert dataset[0].labels.sum() == figure
    assert set(np.unique(dataset[0].labels)) <= {0, 1}


def test_threshold_is_part_of_the_fingerprint(tmp_path):
    add_pair(tmp_path / "images", tmp_path / "masks", "cat")
    prints = [open_folder(tmp_path, "train", threshold).fingerprint() for threshold in (None, 100, 100)]
    assert prints[0] != prints[1] == prints[2]


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
        (lambda root: None, "no such folder; expected one with images/ and masks/"),
        (_file, "is a file; expected a folder"),
        (_empty, "is empty; expected images/ and masks/"),
        (_unknown, "holds a.jpg, b.jpg, pictures; expected images/ and masks/"),
        (_no_masks, "masks: no such folder; expected the masks of"),
        (_no_images, "no image is in the split 'train'"),
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


@pytest.mark.parametrize(
    ("split", "foreground", "words"),
    [
        ("dev", "foreground", "there is no split 'dev'; expected one of: train, valid, test"),
        ("train", "border", "border policy 'border'; expected one of: foreground, background, ignore"),
    ],
)
def test_unknown_split_and_policy(split, foreground, words):
    with pytest.raises(FiguregroundError) as caught:
        open_dataset("synthetic", split, foreground=foreground)
    assert str(caught.value) == words


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
