import json
import tracemalloc

import numpy as np
import pytest
from pycocotools import mask as judge
from pycocotools.coco import COCO

from figureground.prediction.pictures.coco import annotation_record, encode_rle, write_document
from figureground.prediction.pictures.polygons import find_polygons
from figureground.prediction.records import Records

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools, numpy 2


def random_masks(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        shape = rng.integers(1, 60, 2) * rng.choice([1, 1, 4], 2)
        yield rng.random(shape) < rng.choice([0, 0.01, 0.5, 0.99, 1])


def ring_and_dot():
    mask = np.zeros((12, 20), bool)
    mask[2:9, 3:10] = True
    mask[4:6, 5:8] = False
    mask[10, 15] = True
    return mask


def document(folder, records):
    """The COCO document of some records."""
    kept = Records(folder / ".coco.jsonl")
    for record in records:
        kept.add(record)
    write_document(kept, folder / "coco.json")
    return json.loads((folder / "coco.json").read_text())


def test_run_lengths_by_hand():
    mask = np.array([[False, True, True], [True, True, False]])  # by columns: 1 of background, 4 of figure, 1
    assert encode_rle(mask) == {"size": [2, 3], "counts": "141"}
    assert encode_rle(np.ones((2, 3), bool)) == {"size": [2, 3], "counts": "06"}
    assert encode_rle(np.zeros((2, 3), bool)) == {"size": [2, 3], "counts": "6"}
    long = np.zeros((100, 1), bool)
    long[40:50] = True  # 40 = 8 + 32·1: "X", "1"; 10: ":"; 50 = 18 + 32·1: "b", "1"
    assert encode_rle(long) == {"size": [100, 1], "counts": "X1:b1"}


def test_run_lengths_are_those_of_pycocotools():
    for mask in random_masks(200):
        encoded = encode_rle(mask)
        assert encoded["counts"] == judge.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
        np.testing.assert_array_equal(judge.decode(encoded), mask)


def test_a_record():
    record = annotation_record("a.jpg", ring_and_dot(), 0.75)
    annotation = record.pop("annotation")
    assert record == {"file_name": "a.jpg", "height": 12, "width": 20}
    encoded = annotation.pop("segmentation")
    assert encoded == encode_rle(ring_and_dot())
    assert annotation == {
        "bbox": [3, 2, 13, 9],
        "area": 7 * 7 - 6 + 1,
        "iscrowd": 0,
        "score": 0.75,
        "polygons": [
            [[3, 2, 10, 2, 10, 9, 3, 9], [5, 4, 5, 6, 8, 6, 8, 4]],
            [[15, 10, 16, 10, 16, 11, 15, 11]],
        ],
    }
    assert judge.area(encoded) == annotation["area"]
    assert judge.toBbox(encoded).tolist() == annotation["bbox"]


def test_tolerance_simplifies_the_polygons_alone():
    exact, simple = (annotation_record("a", ring_and_dot(), 1, tolerance)["annotation"] for tolerance in (0, 1))
    assert simple["segmentation"] == exact["segmentation"]
    assert len(simple["polygons"]) == 1


def test_pycocotools_reads_every_mask_back(tmp_path):
    masks = {f"sub/{index}.jpg": mask for index, mask in enumerate(random_masks(60))}
    masks["hole.jpg"] = ring_and_dot()
    records = [annotation_record(name, mask, 0.5) for name, mask in masks.items()]
    document(tmp_path, records)
    coco = COCO(tmp_path / "coco.json")
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == ["figure"]
    assert len(coco.imgs) == len(masks)
    for image in coco.imgs.values():
        annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
        mask = masks[image["file_name"]]
        assert len(annotations) == mask.any()
        for annotation in annotations:
            np.testing.assert_array_equal(coco.annToMask(annotation), mask)


def test_outer_rings_may_stand_in_where_there_are_no_holes():
    for mask in random_masks(60):
        height, width = mask.shape
        polygons = find_polygons(mask)
        if polygons and not any(polygon.holes for polygon in polygons):
            rings = [polygon.outer.ravel().tolist() for polygon in polygons]
            read = judge.decode(judge.merge(judge.frPyObjects(rings, height, width)))
            np.testing.assert_array_equal(read, mask)


def test_a_resumed_batch_gives_the_same_document(tmp_path):
    masks = [("b.jpg", ring_and_dot()), ("a.jpg", np.zeros((3, 4), bool)), ("c.jpg", np.ones((3, 4), bool))]
    records = [annotation_record(name, mask, 0.5) for name, mask in masks]
    (tmp_path / "again").mkdir()
    whole = document(tmp_path, records)
    assert document(tmp_path / "again", [records[2], *records[:2]]) == whole
    assert list(whole) == ["info", "licenses", "images", "annotations", "categories"]
    assert [image["file_name"] for image in whole["images"]] == ["a.jpg", "b.jpg", "c.jpg"]
    ids = [(annotation["id"], annotation["image_id"], annotation["category_id"]) for annotation in whole["annotations"]]
    assert ids == [(1, 2, 1), (2, 3, 1)]


def test_of_two_records_of_a_name_the_later_counts(tmp_path):
    empty, full = (annotation_record("a.jpg", mask, 1) for mask in (np.zeros((2, 2), bool), np.ones((2, 2), bool)))
    assert document(tmp_path, [full, empty])["annotations"] == []
    assert [annotation["area"] for annotation in document(tmp_path, [full])["annotations"]] == [4]


def test_a_document_of_many_photos_needs_the_memory_of_one(tmp_path):
    record = annotation_record("photo.jpg", np.random.default_rng(0).random((60, 100)) < 0.5, 1)
    peaks = []
    for count in (2, 40):
        records = Records(tmp_path / f"{count}.jsonl")
        for index in range(count):
            records.add({**record, "file_name": f"{index}.jpg"})
        tracemalloc.start()
        try:
            write_document(records, tmp_path / "coco.json")
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert (tmp_path / "coco.json").stat().st_size > count * len(json.dumps(record))
    assert peaks[1] < 1.5 * peaks[0]
