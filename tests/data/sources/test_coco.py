"""COCO files: masks are held to those of pycocotools, and what is broken is said in a line."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as judge

from figureground.config import DataConfig
from figureground.data import SPLITS, open_dataset
from figureground.data.sources import open_source
from figureground.errors import FiguregroundError

from ..label_maps import labels

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools, numpy 2
WIDTH, HEIGHT = 60, 40
SQUARE = [10, 10, 30, 10, 30, 25, 10, 25]
CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


def image(number, **other):
    return {"id": number, "file_name": f"{number}.png", "height": HEIGHT, "width": WIDTH, **other}


def annotation(number, image_id=1, segmentation=(SQUARE,), category=1, **other):
    found = {"id": number, "image_id": image_id, "category_id": category, "segmentation": segmentation, **other}
    return {**found, "segmentation": list(segmentation) if isinstance(segmentation, tuple) else segmentation}


def write(root, images, annotations, *, categories=CATEGORIES, folder=".", size=(WIDTH, HEIGHT)):
    """A COCO file, and its images as files."""
    path = root / "set.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    for record in images:
        file = root / folder / record["file_name"]
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (record["id"] % 256, 0, 0)).save(file)
    return path


def masks(path, **settings):
    """Label map of each image, by name."""
    source = open_source(DataConfig(str(path), **settings))
    return {entry.name: labels(source.read(entry).targets) for entry in source.entries}


def drawn(segmentation, height=HEIGHT, width=WIDTH):
    """What pycocotools makes of an annotation, as its ``annToMask`` does."""
    coded = segmentation
    if isinstance(segmentation, list):
        coded = judge.merge(judge.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        coded = judge.frPyObjects(segmentation, height, width)
    return judge.decode(coded)


def compressed(mask):
    coded = judge.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": coded["size"], "counts": coded["counts"].decode()}


def uncompressed(mask):
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    ends = [*([0] if flat[0] else []), *changes, flat.size]
    return {"size": list(mask.shape), "counts": np.diff([0, *ends]).tolist()}


def polygon(rng, height, width, points):
    return (rng.uniform(-0.1, 1.1, (points, 2)) * (width, height)).round(2).ravel().tolist()


@pytest.mark.parametrize("size", [(40, 60), (1, 1), (7, 300), (333, 5)])
@pytest.mark.parametrize("points", [3, 4, 12])
def test_polygons_are_those_of_pycocotools(tmp_path, size, points):
    rng = np.random.default_rng(points)
    images = [image(number, height=size[0], width=size[1]) for number in range(1, 21)]
    annotations = [
        annotation(number, number, [polygon(rng, *size, points) for _ in range(1 + number % 3)])
        for number in range(1, 21)
    ]
    found = masks(write(tmp_path, images, annotations, size=size[::-1]))
    for each in annotations:
        assert (found[str(each["id"])] == drawn(each["segmentation"], *size)).all()


@pytest.mark.parametrize("form", [compressed, uncompressed])
@pytest.mark.parametrize("size", [(40, 60), (1, 1), (7, 300), (1000, 3)])
def test_run_lengths_are_those_of_pycocotools(tmp_path, form, size):
    rng = np.random.default_rng(0)
    shares = [0, 0.003, 0.1, 0.5, 0.9, 1]
    drawings = [rng.random(size) < share for share in shares]
    drawings.append(np.repeat(rng.random((size[0], 1)) < 0.5, size[1], axis=1))
    images = [image(number, height=size[0], width=size[1]) for number in range(len(drawings))]
    annotations = [annotation(number, number, form(mask)) for number, mask in enumerate(drawings)]
    found = masks(write(tmp_path, images, annotations, size=size[::-1]))
    for number, mask in enumerate(drawings):
        assert (found[str(number)] == mask).all()
        assert (drawn(annotations[number]["segmentation"], *size) == mask).all()


def test_annotations_are_united_and_crowds_left_out(tmp_path):
    crowd = np.zeros((HEIGHT, WIDTH), bool)
    crowd[5:15, 5:50] = True
    right = [40, 20, 50, 20, 50, 30, 40, 30]
    annotations = [
        annotation(1, 1, [SQUARE, right]),
        annotation(2, 1, compressed(crowd), iscrowd=1),
        annotation(3, 1, [[0, 30, 5, 30, 5, 40, 0, 40]], category=2),
    ]
    path = write(tmp_path, [image(1)], annotations)
    cats = drawn([SQUARE, right]).astype(bool)
    dogs = drawn(annotations[2]["segmentation"]).astype(bool)
    assert (masks(path)["1"] == np.where(cats | dogs, 1, np.where(crowd, 255, 0))).all()
    assert (masks(path, category=("cat",))["1"] == np.where(cats, 1, np.where(crowd, 255, 0))).all()
    assert (masks(path, category=("dog",))["1"] == dogs).all()  # the crowd is one of cats
    assert cats.sum() == 20 * 15 + 10 * 10


@pytest.mark.parametrize("folder", [".", "images", "set"])
def test_where_images_lie(tmp_path, folder):
    path = write(tmp_path, [image(1, file_name="deep/a.jpg")], [annotation(1)], folder=folder)
    (entry,) = open_source(DataConfig(str(path))).entries
    assert entry.image == tmp_path / folder / "deep" / "a.jpg"
    assert entry.name == "deep/a"


def test_names_keep_their_suffix_where_they_would_be_the_same(tmp_path):
    files = ["a.jpg", "a.png", "b.png"]
    path = write(tmp_path, [image(number, file_name=name) for number, name in enumerate(files)], [])
    assert [entry.name for entry in open_source(DataConfig(str(path))).entries] == files


def test_ten_images_are_divided_and_groups_kept(tmp_path, caplog):
    caplog.set_level("INFO")
    files = [f"patient{number // 2}/{number}.png" for number in range(10)]
    images = [image(number, file_name=name) for number, name in enumerate(files)]
    path = write(tmp_path, images, [annotation(number, number) for number in range(7)])
    config = DataConfig(str(path), group="folder", split="shares")
    parts = {split: open_dataset(config, split) for split in SPLITS}
    assert sorted(name for part in parts.values() for name in part.names) == [name[:-4] for name in files]
    groups = [{name.split("/")[0] for name in part.names} for part in parts.values()]
    assert sum(map(len, groups)) == 5
    assert caplog.text.count("3 of 10 images have no annotation of any category; their masks are empty") == 1
    assert parts["train"].kind == "coco"
    before = [part.fingerprint() for part in parts.values()]
    moved = [annotation(number, number, [[value + 0.01 for value in SQUARE]]) for number in range(10)]
    write(tmp_path, images, moved)
    assert all(open_dataset(config, split).fingerprint() not in before for split in SPLITS)


@pytest.mark.parametrize(("annotations", "share"), [([], 0), ([annotation(1, 1, [[0, 0, 60, 0, 60, 40, 0, 40]])], 1)])
def test_all_background_and_all_figure(tmp_path, annotations, share):
    assert masks(write(tmp_path, [image(1)], annotations))["1"].mean() == share


def test_many_sizes(tmp_path):
    sizes = {1: (40, 40), 2: (2000, 3000)}
    images = [image(number, height=size[0], width=size[1]) for number, size in sizes.items()]
    path = write(tmp_path, images, [annotation(number, number) for number in sizes])
    for number, (height, width) in sizes.items():
        Image.new("RGB", (width, height)).save(tmp_path / f"{number}.png")
    assert {name: mask.shape for name, mask in masks(path).items()} == {"1": (40, 40), "2": (2000, 3000)}


def change(*, images=None, annotations=None, categories=CATEGORIES):
    return {"images": images or [image(1)], "annotations": annotations or [annotation(1)], "categories": categories}


RUNS = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}
BROKEN = [
    ("{", {}, r"set\.json is no JSON \(.*\); expected a COCO file.*Export it again"),
    ([{"image_id": 1}], {}, "holds a list; expected a COCO file"),
    ({"shapes": []}, {}, "is a labelme file; give the folder that it is in"),
    ({"images": [], "annotations": []}, {}, "has no list 'categories'; expected a COCO file"),
    ({"images": [], "annotations": [], "categories": []}, {}, "lists no image"),
    (change(images=[{"file_name": "1.png"}]), {}, "among the images has no id"),
    (change(images=[image(1), image(1)]), {}, "two images have the id 1; give each its own"),
    (change(images=[image(1), image(2, file_name="1.png")]), {}, r"two images with the file name '1\.png'"),
    (change(images=[image(1, file_name="../1.png")]), {}, r"file_name is '\.\./1\.png'; expected a name below"),
    (change(images=[image(1, file_name="/etc/passwd")]), {}, "expected a name below"),
    (change(images=[image(1, file_name="a\\..\\..\\1.png")]), {}, "expected a name below"),
    (change(images=[image(1, file_name="C:\\1.png")]), {}, "expected a name below"),
    (change(images=[image(1, file_name=7)]), {}, "has the file_name 7"),
    (change(images=[image(1, height=None)]), {}, r"image 1 of .* has height None and width 60; expected the image's"),
    (change(images=[image(1, height=10**6, width=10**6)]), {}, "expected at most 178956970 pixels"),
    (change(images=[image(1, height=41)]), {}, r"image 1 of .*set\.json is 60×41 pixels, its image .*1\.png is 60×40"),
    (change(images=[image(1), image(5)]), {}, r"lists 1 images that are missing: .*5\.png\. Put them beside it, into"),
    (change(annotations=[annotation(1), annotation(1)]), {}, "two annotations have the id 1"),
    (change(annotations=[annotation(1, 9)]), {}, "annotation 1 is of image 9, which the file does not list"),
    (change(annotations=[annotation(1, [9])]), {}, r"annotation 1 is of image \[9\]"),
    (change(annotations=[annotation(1, category=3)]), {}, "annotation 1 is of category 3"),
    (change(annotations=[annotation(1), annotation(2, segmentation=[])]), {}, r"1 of 2 annotations have no outline, "
     r"but boxes or key points alone: 2\. Expected polygons or run lengths: draw them"),
    (change(annotations=[annotation(1, segmentation=[], segments_info=[])]), {}, "segments of a panoptic file"),
    (change(annotations=[annotation(1, segmentation="text")]), {}, "annotation 1 has the segmentation 'text'"),
    (change(annotations=[annotation(1, segmentation=[[]])]), {}, "expected an outline as numbers in pairs"),
    (change(annotations=[annotation(1, segmentation=[[1, 2, 3]])]), {}, "expected an outline as numbers in pairs"),
    (change(annotations=[annotation(1, segmentation=[[[1, 2], [3, 4]]])]), {}, "expected an outline as numbers in"),
    (change(annotations=[annotation(1, segmentation=[SQUARE, [1, 2, 3, 4]])]), {}, "a polygon of 2 points"),
    (change(annotations=[annotation(1, segmentation=[[1e9, 0, 1, 1, 2, 2]])]), {}, r"a point at x=1e\+09 on an image"),
    (change(annotations=[annotation(1, segmentation=[[0, float("nan"), 1, 1, 2, 2]])]), {}, "a point at y=nan"),
    (change(annotations=[annotation(1, segmentation=[[10**400, 0, 1, 1, 2, 2]])]), {}, "expected an outline as"),
    (change(annotations=[annotation(1, segmentation={**RUNS, "size": [60, 40]})]), {}, "run lengths of the size"),
    (change(annotations=[annotation(1, segmentation={**RUNS, "counts": [1, 2]})]), {}, "of 3 pixels; expected 40 "),
    (change(annotations=[annotation(1, segmentation={**RUNS, "counts": [2401, -1]})]), {}, r"has the run lengths \["),
    (change(annotations=[annotation(1, segmentation={**RUNS, "counts": "zzz"})]), {}, "has the run lengths 'zzz'"),
    (change(annotations=[annotation(1, segmentation={**RUNS, "counts": "é"})]), {}, "has the run lengths 'é'"),
    (change(annotations=[annotation(1, segmentation={**RUNS, "counts": None})]), {}, "has the run lengths None"),
    (change(), {"category": ("dgo",)}, r"has no category 'dgo'; did you mean 'dog'\? Its categories are: cat, dog"),
    (change(categories=[]), {}, "annotation 1 is of category 1, which the file does not list"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "settings", "message"), BROKEN)
def test_broken_files_are_refused_in_a_line(tmp_path, document, settings, message):
    path = write(tmp_path, [image(1)], [])
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(FiguregroundError, match=message) as refused:
        masks(path, **settings)
    assert "\n" not in str(refused.value)


def test_annotations_of_other_categories_need_no_outline(tmp_path):
    path = write(tmp_path, [image(1)], [annotation(1), annotation(2, segmentation=[], category=2)])
    assert masks(path, category=("cat",))["1"].sum() == 20 * 15


def test_categories_of_data_that_have_none(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(FiguregroundError, match=r"category cat was given, but .* has none \(its kind is folder"):
        open_dataset(DataConfig(str(tmp_path), category=("cat",)), "train")


def test_one_image_cannot_be_divided(tmp_path):
    path = write(tmp_path, [image(1)], [annotation(1)])
    with pytest.raises(FiguregroundError, match="set has 1 images; expected at least 3, one each to train, choose and"):
        open_dataset(str(path), "train")


def test_sixteen_bits_are_scaled_to_eight(tmp_path):
    path = write(tmp_path, [image(1)], [annotation(1)])
    levels = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    Image.fromarray(levels).save(tmp_path / "1.png")
    source = open_source(DataConfig(str(path)))
    assert (source.read(source.entries[0]).image == np.round(levels / 257)[..., None]).all()
