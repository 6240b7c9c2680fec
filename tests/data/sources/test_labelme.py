"""Folders of labelme: masks are held to drawings by hand."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from figureground.config import DataConfig
from figureground.data import open_dataset, splits
from figureground.data.sources import labelme, open_source
from figureground.errors import FiguregroundError

from ..label_maps import labels

SIZE = (6, 8)  # height and width
TRIANGLE = [[0, 0], [4, 4], [0, 4]]
HAND = {
    ("polygon", ((0, 0), (4, 4), (0, 4))): """
        x.......
        xx......
        xxx.....
        xxxx....
        xxxxx...
        ........""",
    ("polygon", ((1, 1), (5, 1), (5, 3), (1, 3))): """
        ........
        .xxxxx..
        .xxxxx..
        .xxxxx..
        ........
        ........""",
    ("rectangle", ((4.4, 3.7), (1.6, 1.2))): """
        ........
        .xxxx...
        .xxxx...
        .xxxx...
        ........
        ........""",
    ("circle", ((3, 2), (3, 4))): """
        ..xxx...
        .xxxxx..
        .xxxxx..
        .xxxxx..
        ..xxx...
        ........""",
}  # fmt: skip


def drawn(text):
    return np.array([[sign == "x" for sign in line.strip()] for line in text.split()])


def shape(points=TRIANGLE, label="cat", kind="polygon", **other):
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **other}


def document(*shapes, name="a.png", **other):
    found = {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": name, "imageData": None}
    return {**found, "imageHeight": SIZE[0], "imageWidth": SIZE[1], **other}


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def add(root, content, name="a", image=".png", size=SIZE):
    """A labelme file, and its image beside it."""
    path = root / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    if image:
        Image.new("RGB", size[::-1], (len(name), 0, 0)).save(root / f"{name}{image}")
    return path


def entries(root, **settings):
    return list(open_source(DataConfig(str(root), **settings)).entries)


def mask(root, **settings):
    source = open_source(DataConfig(str(root), **settings))
    (entry,) = source.entries
    return labels(source.read(entry).targets)


@pytest.mark.parametrize(("kind", "points"), HAND)
def test_shapes_by_hand(tmp_path, kind, points):
    add(tmp_path, document(shape(points, kind=kind)))
    assert mask(tmp_path).tolist() == drawn(HAND[kind, points]).astype(int).tolist()


def test_a_shape_without_a_type_is_a_polygon(tmp_path):
    add(tmp_path, document({"label": "cat", "points": TRIANGLE}))
    assert mask(tmp_path).sum() == 15


def test_a_mask_among_the_shapes(tmp_path):
    pixels = np.array([[1, 0, 1], [0, 1, 0]], np.uint8)
    add(tmp_path, document(shape([[2, 3], [4, 4]], kind="mask", mask=png(pixels))))
    expected = np.zeros(SIZE, int)
    expected[3:5, 2:5] = pixels
    assert mask(tmp_path).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "........ .1111... .1??1... .1111... ........ ........"),
        ({"category": ("cat",)}, "........ .1000... .1??0... .1000... ........ ........"),
        ({"category": ("dog",)}, "........ .0111... .0??1... .0111... ........ ........"),
        ({"category": ("dog", "cat")}, "........ .1111... .1??1... .1111... ........ ........"),
    ],
)
def test_later_shapes_cover_those_before(tmp_path, settings, expected):
    boxes = [
        shape([[0, 0], [7, 5]], "_background_", "rectangle"),
        shape([[1, 1], [4, 3]], "cat", "rectangle"),
        shape([[2, 1], [4, 3]], "dog", "rectangle"),
        shape([[2, 2], [3, 2]], "__ignore__", "rectangle"),
    ]
    add(tmp_path, document(*boxes))
    values = {".": 0, "0": 0, "1": 1, "?": 255}
    assert mask(tmp_path, **settings).tolist() == [[values[sign] for sign in row] for row in expected.split()]


def test_what_is_not_used_is_said_once(tmp_path, caplog):
    caplog.set_level("INFO")
    add(tmp_path, document(shape(), shape([[0, 0], [3, 3]], kind="linestrip"), shape([[1, 1]], kind="point")))
    add(tmp_path, document(name="b.png"), "b")
    (tmp_path / "other.json").write_text('{"images": []}')
    Image.new("RGB", (8, 6)).save(tmp_path / "alone.png")
    for _ in range(2):
        assert [entry.name for entry in entries(tmp_path)] == ["a", "b"]
    for line in (
        "1 of 3 .json files are not labelme's and are not used",
        "1 images have no .json beside them and are not used: ",
        "1 of 2 images have no shape that is figure; their masks are empty",
        "2 lines and points have no area and are not used; draw polygons in their place",
    ):
        assert caplog.text.count(line) == 1


@pytest.mark.parametrize(
    ("told", "image"),
    [("a.png", ".png"), ("..\\photos\\a.png", ".png"), ("/home/me/a.png", ".png"), ("old.png", ".jpg"), (None, ".JPG")],
)
def test_images_lie_beside(tmp_path, told, image):
    add(tmp_path, document(shape(), name=told), image=image)
    (entry,) = entries(tmp_path)
    assert entry.image == tmp_path / f"a{image}"


def test_folders_below_and_splits(tmp_path):
    for name in ("train/x", "val/y", "test/z"):
        add(tmp_path, document(shape(), name=f"{name[-1]}.png"), name)
    assert {entry.name: entry.split for entry in entries(tmp_path)} == {
        "test/z": "test", "train/x": "train", "val/y": "valid",
    }  # fmt: skip
    assert list(open_dataset(tmp_path, "valid").names) == ["val/y"]


def test_a_picture_in_the_file(tmp_path):
    """Only where its image is not there."""
    pixels = np.full((*SIZE, 3), (7, 8, 9), np.uint8)
    for name in ("a", "b", "c"):
        add(tmp_path, document(shape(), name=f"{name}.png", imageData=png(pixels)), name, image=name == "a" and ".png")
    found = {entry.name: source_read(tmp_path, entry) for entry in entries(tmp_path)}
    assert found["a"].image[0, 0].tolist() == [1, 0, 0]
    assert (found["b"].image == pixels).all()
    assert found["b"].mask.sum() == 15
    assert sum(len(open_dataset(tmp_path, split)) for split in splits.SPLITS) == 3


def source_read(root, entry):
    return open_source(DataConfig(str(root))).read(entry)


def test_old_files_do_not_tell_the_size(tmp_path):
    content = document(shape())
    del content["imageHeight"], content["imageWidth"]
    add(tmp_path, content)
    assert mask(tmp_path).sum() == 15


GOOD = document(shape())
BROKEN = [
    (document(name="z.png"), None, {}, r"the images of 1 files are missing: .*a\.json\. Put each beside its file"),
    (document(imageHeight=7), ".png", {}, r"a\.json is 8×7 pixels, its image .*a\.png is 8×6; expected the same"),
    (document(imageHeight=-7), ".png", {}, r"a\.json has imageHeight -7 and imageWidth 8; expected the image's size"),
    (document(shape(kind="ellipse")), ".png", {}, "shape 1 is of the type 'ellipse'; expected one of: polygon, rect"),
    (document(shape(label=None)), ".png", {}, "shape 1 has the label None; expected a text"),
    (document(shape(), shape([[1, 2], [3, 4]])), ".png", {}, "shape 2, a polygon, has 2 points; expected 3 or more"),
    (document(shape(kind="circle")), ".png", {}, "shape 1, a circle, has 3 points; expected 2. Draw it anew"),
    (document(shape([[1]])), ".png", {}, r"shape 1, its points, is \[\[1\]\]; expected an outline"),
    (document(shape(None)), ".png", {}, r"shape 1, its points, is None; expected an outline"),
    (document(shape([[0, 0], [1e9, 0], [1, 1]])), ".png", {}, r"has a point at x=1e\+09 on an image of 8×6"),
    (document(7), ".png", {}, "shape 1 has the label None"),
    (document(shape([[2, 3], [4, 4]], kind="mask", mask="?")), ".png", {}, "a mask of cat is no base64"),
    (document(shape([[2, 3], [9, 4]], kind="mask", mask=png(np.ones((2, 8), np.uint8)))), ".png", {}, "a mask of cat "
     "is 8×2 pixels; expected 6×2"),
    (document(imageData="?"), None, {}, r"a\.json, its imageData, is no base64"),
    (document(imageData="aaaa"), None, {}, r"a\.json, its image: the image is not an image"),
    (GOOD, ".png", {"category": ("cta",)}, r"has no category 'cta'; did you mean 'cat'\? Its categories are: cat"),
]  # fmt: skip


def read_second(root, **settings):
    source = open_source(DataConfig(str(root), **settings))
    return source.read(source.entries[1])


@pytest.mark.parametrize(("content", "image", "settings", "message"), BROKEN)
def test_broken_files_are_refused_in_a_line(tmp_path, content, image, settings, message):
    add(tmp_path, content, image=image)
    add(tmp_path, document(name="_.png"), "_")  # by which the folder is known
    with pytest.raises(FiguregroundError, match=message) as refused:
        read_second(tmp_path, **settings)
    assert "\n" not in str(refused.value)


def test_no_json_beside_good_files(tmp_path):
    add(tmp_path, GOOD)
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(FiguregroundError, match=r"b\.json is no JSON .*; expected a labelme file"):
        entries(tmp_path)


def test_two_files_of_one_image(tmp_path):
    add(tmp_path, GOOD)
    add(tmp_path, GOOD, "b", image=None)
    with pytest.raises(FiguregroundError, match=r"a\.json and .*b\.json are both of the image .*a\.png; remove one"):
        entries(tmp_path)


def test_two_images_of_one_name(tmp_path):
    add(tmp_path, document(name="old.png"))
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg")
    with pytest.raises(FiguregroundError, match=r"a\.jpg and .*a\.png have the same name; rename or remove one"):
        entries(tmp_path)


def test_files_without_end(tmp_path, monkeypatch):
    add(tmp_path, GOOD)
    add(tmp_path, document(imageData="a" * 2000), "b")
    monkeypatch.setattr(labelme, "MOST_BYTES", 1000)
    with pytest.raises(FiguregroundError, match=r"b\.json has more than 1000 bytes; save it without imageData"):
        entries(tmp_path)
