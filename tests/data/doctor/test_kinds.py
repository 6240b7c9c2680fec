"""Data whose truth lies in lists: COCO, labelme, tables."""

import base64
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from figureground.cli import app
from figureground.config import DataConfig
from figureground.data.doctor import check, require_repairable
from figureground.errors import FiguregroundError

from .conftest import HEIGHT, WIDTH, draw_image, draw_mask

BOX = [20, 15, 70, 15, 70, 50, 20, 50]


def write_coco(root, outlines, **other):
    """A file with an image for each list of polygons."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    for number in range(len(outlines)):
        draw_image(number).save(root / "images" / f"{number}.png")
    images = [
        {"id": number, "file_name": f"{number}.png", "height": HEIGHT, "width": WIDTH, **other}
        for number in range(len(outlines))
    ]
    annotations = [
        {"id": number, "image_id": number, "category_id": 1, "segmentation": polygons}
        for number, polygons in enumerate(outlines)
        if polygons
    ]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    path = root / "set.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def write_labelme(root, outlines, embedded=False, **other):
    root.mkdir(parents=True, exist_ok=True)
    for number, polygons in enumerate(outlines):
        image = root / f"{number}.png"
        draw_image(number).save(image)
        shapes = [{"label": "cat", "points": np.reshape(polygon, (-1, 2)).tolist()} for polygon in polygons]
        found = {"shapes": shapes, "imagePath": image.name, "imageHeight": HEIGHT, "imageWidth": WIDTH, **other}
        if embedded:
            found["imageData"] = base64.b64encode(image.read_bytes()).decode()
            image.unlink()
        (root / f"{number}.json").write_text(json.dumps(found))
    return root


def write_table(root, outlines):
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number, polygons in enumerate(outlines):
        draw_image(number).save(root / "images" / f"{number}.png")
        mask = draw_mask() if polygons else draw_mask().point(lambda value: 0)
        mask.save(root / "masks" / f"{number}.png")
    (root / "tables").mkdir()
    path = root / "tables" / "set.csv"
    rows = [f"../images/{number}.png;../masks/{number}.png" for number in range(len(outlines))]
    path.write_text("\n".join(["image;mask", *rows]))
    return path


WRITERS = [write_coco, write_labelme, write_table]


def found(path, predictors=(), **settings):
    return {
        finding.kind: [[file.name for file in case.files] for case in finding.cases]
        for finding in check(DataConfig(str(path), **settings), predictors=predictors).findings
    }


@pytest.mark.parametrize("write", WRITERS)
def test_good_data_give_nothing(tmp_path, write):
    report = check(write(tmp_path / "set", [[BOX]] * 4))
    assert report.findings == ()
    assert report.splits == {"no split": 4}
    assert "4 no split" in report.heading()


@pytest.mark.parametrize("write", WRITERS)
def test_empty_masks_and_copies(tmp_path, write):
    path = write(tmp_path / "set", [[BOX], [BOX], [], [BOX]])
    folder = next((tmp_path / "set").rglob("0.png")).parent
    (folder / "1.png").write_bytes((folder / "0.png").read_bytes())
    mask = "2.png"
    assert found(path) == {"empty_mask": [[mask]], "exact_duplicate": [["0.png", "1.png"]]}


def test_full_masks_and_specks(tmp_path):
    whole, speck = [0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT], [2, 2, 3, 2, 3, 3, 2, 3]
    assert found(write_coco(tmp_path, [[BOX], [whole], [BOX, speck]])) == {
        "full_mask": [["1.png"]], "specks": [["2.png"]],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("write", "size"), [(write_coco, {"height": HEIGHT + 1}), (write_labelme, {"imageHeight": HEIGHT + 1})]
)
def test_a_size_that_differs(tmp_path, write, size):
    assert found(write(tmp_path, [[BOX], [BOX]], **size)) == {"off_by_one": [["0.png"], ["1.png"]]}


@pytest.mark.parametrize("write", WRITERS)
def test_images_that_are_missing_are_findings(tmp_path, write):
    path = write(tmp_path / "set", [[BOX], [BOX], [BOX]])
    next((tmp_path / "set").rglob("1.png")).unlink()
    kind = "mask_without_image" if write is write_table else "missing"
    assert list(found(path)) == [kind]


def test_images_that_nothing_lists(tmp_path):
    for write in (write_coco, write_labelme):
        path = write(tmp_path / write.__name__, [[BOX], [BOX]])
        draw_image(9).save(next((tmp_path / write.__name__).rglob("0.png")).with_name("spare.png"))
        assert found(path) == {"unlisted": [["spare.png"]]}


def test_pictures_within_the_files(tmp_path):
    path = write_labelme(tmp_path, [[BOX], [BOX], []], embedded=True)
    assert found(path) == {"empty_mask": [["2.json"]]}


def test_a_category(tmp_path):
    path = write_coco(tmp_path, [[BOX], [BOX]])
    assert found(path, category=("cat",)) == {}
    assert found(path, category=("dog",)) == {"empty_mask": [["0.png"], ["1.png"]]}
    with pytest.raises(FiguregroundError, match="has no category 'cta'; did you mean 'cat'"):
        check(DataConfig(str(path), category=("cta",)))


def test_models_judge_what_is_drawn(tmp_path):
    path = write_coco(tmp_path, [[BOX]] * 11 + [[[0, 0, 12, 0, 12, 9, 0, 9]]])
    truth = np.zeros((HEIGHT, WIDTH), np.float32)
    truth[15:50, 20:70] = 1
    assert found(path, predictors=[lambda image: truth]) == {"disagreement": [["11.png"]]}


def test_what_is_drawn_cannot_be_repaired(tmp_path):
    with pytest.raises(FiguregroundError, match="which data of the kind coco do not have; leave out --fix"):
        require_repairable(tmp_path / "out", False, "coco")


def test_the_command_repairs_a_table(tmp_path):
    path = write_table(tmp_path / "set", [[BOX], [], [BOX]])
    arguments = ["data", "check", str(path), "--fix", str(tmp_path / "out"), "--html", str(tmp_path / "a.html")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "empty masks: 1" in done.output
    assert (tmp_path / "a.html").is_file()
    assert check(tmp_path / "out").clean
    assert len(list((tmp_path / "out" / "images").rglob("*.png"))) == 2


def test_the_command_shows_a_coco_file(tmp_path):
    path = write_coco(tmp_path / "set", [[BOX], []])
    arguments = ["data", "check", str(path), "--html", str(tmp_path / "a.html"), "--json", str(tmp_path / "a.json")]
    done = CliRunner().invoke(app, [*arguments, "--category", "cat", "--accept", "empty_mask"])
    assert done.exit_code == 0
    assert json.loads((tmp_path / "a.json").read_text())["layout"] == "coco"
