"""Tables of images and masks, as spreadsheets write them."""

import numpy as np
import pytest
from PIL import Image

from figureground.config import DataConfig
from figureground.data import SPLITS, open_dataset
from figureground.data.sources import open_source
from figureground.errors import FiguregroundError

from ..label_maps import labels

MASK = np.array([[0, 0, 255], [0, 255, 255]], np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path)


def add_pairs(root, count, mask=MASK):
    for number in range(count):
        save(root / "photos" / f"{number}.png", np.full((*np.shape(mask), 3), (number, 0, 0), np.uint8))
        save(root / "truth" / f"{number}.png", mask)


def row(number, *more, separator=","):
    return separator.join([f"photos/{number}.png", f"truth/{number}.png", *map(str, more)])


def write(root, *lines, name="set.csv", encoding="utf-8", end="\n"):
    path = root / name
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return path


def entries(path, **settings):
    return list(open_source(DataConfig(str(path), **settings)).entries)


@pytest.mark.parametrize(
    ("separator", "name", "encoding", "end"),
    [
        (",", "set.csv", "utf-8", "\n"),
        (",", "set.CSV", "utf-8-sig", "\r\n"),
        (";", "set.csv", "utf-8-sig", "\r\n"),
        ("\t", "set.tsv", "utf-8", "\n"),
        ("\t", "set.csv", "utf-16", "\r\n"),
        ("|", "set.csv", "utf-8", "\r"),
    ],
)
def test_tables_as_programs_write_them(tmp_path, separator, name, encoding, end):
    add_pairs(tmp_path, 2)
    heading = separator.join([" Mask", "IMAGE", "Split", "camera", "Group"])
    lines = [
        separator.join(
            [f"truth/{number}.png", f"photos/{number}.png", split, camera, "g,1" if separator != "," else "g"]
        )
        for number, split, camera in ((0, "Validation", "é"), (1, "TEST", ""))
    ]
    path = write(tmp_path, heading, *lines, "", name=name, encoding=encoding, end=end)
    first, second = entries(path)
    assert (first.name, first.split, first.metadata) == ("photos/0", "valid", {"camera": "é"})
    assert (second.name, second.split, second.metadata) == ("photos/1", "test", {"camera": ""})
    assert first.group == ("g,1" if separator != "," else "g")
    assert (first.image, first.truth) == (tmp_path / "photos" / "0.png", tmp_path / "truth" / "0.png")
    sample = open_dataset(str(path), "test")[0]
    assert sample.image[0, 0].tolist() == [1, 0, 0]
    assert labels(sample.targets).tolist() == [[0, 0, 1], [0, 1, 1]]


def test_quoted_cells(tmp_path):
    save(tmp_path / "a, b.png", np.zeros((2, 3, 3), np.uint8))
    save(tmp_path / "m.png", MASK)
    (entry,) = entries(write(tmp_path, "image,mask,note", '"a, b.png",m.png,"two\nlines, ""quoted"""'))
    assert entry.name == "a, b"
    assert entry.metadata == {"note": 'two\nlines, "quoted"'}


@pytest.mark.parametrize("form", ["../photos/0.png", "./../photos/0.png", "{root}/photos/0.png"])
def test_files_elsewhere(tmp_path, form):
    add_pairs(tmp_path, 1)
    (tmp_path / "tables").mkdir()
    path = write(tmp_path / "tables", "image,mask", f"{form.format(root=tmp_path)},../truth/0.png")
    (entry,) = entries(path)
    assert entry.image == tmp_path / "photos" / "0.png"
    assert entry.name == "photos/0"  # nothing that leads out of a folder where results are written


def test_names_keep_their_suffix_where_they_would_be_the_same(tmp_path):
    for name in ("a.png", "a.jpg", "b.png", "m.png"):
        save(tmp_path / name, MASK)
    path = write(tmp_path, "image,mask", "a.png,m.png", "a.jpg,m.png", "b.png,m.png")
    assert [entry.name for entry in entries(path)] == ["a.png", "a.jpg", "b.png"]


def test_what_masks_mean_is_decided_for_the_table(tmp_path):
    add_pairs(tmp_path, 2)
    save(tmp_path / "truth" / "1.png", np.full((2, 3), 255, np.uint8))
    source = open_source(DataConfig(str(write(tmp_path, "image,mask", row(0), row(1)))))
    assert labels(source.read(source.entries[1]).targets).tolist() == [[1, 1, 1], [1, 1, 1]]
    save(tmp_path / "truth" / "1.png", np.full((2, 3), 7, np.uint8))
    with pytest.raises(FiguregroundError, match="only the value 7"):
        source.read(source.entries[1])


def test_groups_with_holes(tmp_path, caplog):
    caplog.set_level("INFO")
    add_pairs(tmp_path, 20)
    groups = ["a"] * 6 + ["b"] * 5 + [""] * 9
    path = write(tmp_path, "image,mask,group", *(row(number, group) for number, group in enumerate(groups)))
    assert [entry.group or "" for entry in entries(path)] == groups
    assert caplog.text.count("9 of 20 images have no group; each of them is one of its own") == 1
    parts = [set(open_dataset(str(path), split).names) for split in SPLITS]
    for members in (range(6), range(6, 11)):
        assert sum(bool(part & {f"photos/{number}" for number in members}) for part in parts) == 1


def test_a_group_that_is_set_goes_before_the_column(tmp_path):
    add_pairs(tmp_path, 3)
    path = write(tmp_path, "image,mask,group", *(row(number, "a") for number in range(3)))
    assert [entry.group for entry in entries(path, group=r"\d$")] == ["0", "1", "2"]


def test_masks_of_another_size(tmp_path):
    add_pairs(tmp_path, 1)
    save(tmp_path / "truth" / "0.png", MASK.T)
    path = write(tmp_path, "image,mask,split", row(0, "train"))
    with pytest.raises(FiguregroundError, match=r"mask .*truth/0\.png is 2×3 pixels, its image .*photos/0\.png is 3×2"):
        _ = open_dataset(str(path), "train")[0]


BROKEN = [
    (["", ""], "has no column 'image'; expected image and mask, found"),
    (["image,truth", row(0)], r"has no column 'mask'; expected image and mask, found 'image', 'truth'\. Add a heading"),
    ([row(0)], r"has no column 'image'.* found 'photos/0\.png', 'truth/0\.png'"),
    (["image,mask,Image", row(0, "a")], "has two columns 'image'; rename one"),
    (["image,mask"], "has no row below its heading"),
    (["image,mask", "photos/0.png"], r"set\.csv, line 2, has 1 cells; expected 2"),
    (["image,mask", "photos/0.png,"], "line 2, has no mask; expected the name of its file"),
    (["image,mask", row(0), "", row(9)], r"names 1 images that are missing: .*photos/9\.png\. Names count from"),
    (["image,mask", "photos/0.png,m.png"], r"names 1 masks that are missing: .*/m\.png"),
    (
        ["image,mask", row(0), "./photos/../photos/0.png,truth/1.png"],
        r"image .*0\.png in the lines 2 and 3; expected one",
    ),
    (
        ["image,mask,split", row(0, "training"), row(1, "dev")],
        "line 3: unknown split 'dev'; expected one of: train, tr",
    ),
    (["image,mask,split", row(0, "train"), row(1, "")], "1 of 2 samples have no split: photos/1; give all of them one"),
    (["image,mask", '"photos/0.png,truth/0.png'], r"line 2: unexpected end of data; expected a table as CSV"),
]


@pytest.mark.parametrize(("lines", "message"), BROKEN)
def test_broken_tables_are_refused_in_a_line(tmp_path, lines, message):
    add_pairs(tmp_path, 2)
    with pytest.raises(FiguregroundError, match=message) as refused:
        open_dataset(str(write(tmp_path, *lines)), "train")
    assert "\n" not in str(refused.value)


def test_another_encoding(tmp_path):
    with pytest.raises(FiguregroundError, match=r"set\.csv is no text in UTF-8 .*; save it as UTF-8"):
        entries(write(tmp_path, "image,mask", "é.png,m.png", encoding="latin-1"))
