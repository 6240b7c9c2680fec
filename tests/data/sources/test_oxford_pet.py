from urllib.error import URLError

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from figureground.config import DataConfig
from figureground.data import SPLITS, open_dataset
from figureground.data.sources.oxford_pet import download, find_root, read_trimap, split_names
from figureground.errors import FiguregroundError

from ..label_maps import labels as labels_of

TRAINVAL = [f"Birman_{index}" for index in range(12)]
TEST = ["pug_1", "pug_2"]
TRIMAP = np.array([[1, 2, 3], [2, 2, 1]], np.uint8)


@pytest.fixture
def layout(tmp_path):
    """Like the official one, with all that is odd about it."""
    images, trimaps = tmp_path / "images", tmp_path / "annotations" / "trimaps"
    images.mkdir()
    trimaps.mkdir(parents=True)
    for index, name in enumerate([*TRAINVAL, *TEST]):
        picture = Image.new("RGB", (3, 2), (index, 0, 0))
        if name == "pug_2":
            picture.save(images / "pug_2.webp", lossless=True)
        elif name == "Birman_10":
            picture.save(images / "Birman_10.jpg", "PNG")
        else:
            picture.save(images / f"{name}.jpg")
        Image.fromarray(TRIMAP).save(trimaps / f"{name}.png")
    (images / "Birman_1.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    (images / "._Birman_2.jpg").write_bytes(b"\x00\x05\x16\x07")
    (trimaps / "._Birman_2.png").write_bytes(b"\x00\x05\x16\x07")
    Image.new("RGB", (3, 2)).save(images / "in_no_list.jpg")
    lines = ["#Image CLASS-ID SPECIES BREED ID", *(f"{name} 1 1 1" for name in TRAINVAL), ""]
    (tmp_path / "annotations" / "trainval.txt").write_text("\n".join(lines))
    (tmp_path / "annotations" / "test.txt").write_text("".join(f"{name} 2 2 2\n" for name in TEST))
    return tmp_path


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", [name for name in TRAINVAL if name not in ("Birman_0", "Birman_10")]),
        ("valid", ["Birman_0", "Birman_10"]),
        ("test", ["pug_1", "pug_2"]),
    ],
)
def test_every_tenth_of_trainval_is_valid(layout, split, names):
    assert split_names(layout, split) == names
    dataset = open_dataset(layout, split)
    assert list(dataset.names) == names
    assert len(dataset) == len(names)
    assert (dataset.name, dataset.split, dataset.foreground) == ("oxford-iiit-pet", split, "foreground")
    for index, name in enumerate(names):
        sample = dataset[index]
        assert sample.name == name
        assert sample.image.shape == (2, 3, 3)
        assert abs(int(sample.image[0, 0, 0]) - [*TRAINVAL, *TEST].index(name)) <= 2


@pytest.mark.parametrize(
    ("foreground", "labels", "mask"),
    [
        ("foreground", [[1, 0, 1], [0, 0, 1]], [[1, 0, 1], [0, 0, 1]]),
        ("background", [[1, 0, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, 1]]),
        ("ignore", [[1, 0, 255], [0, 0, 1]], [[1, 0, 0], [0, 0, 1]]),
    ],
)
def test_border_policies(layout, foreground, labels, mask):
    dataset = open_dataset(DataConfig(str(layout), foreground), "test")
    assert dataset.foreground == foreground
    assert labels_of(dataset[0].targets).tolist() == labels
    assert (dataset[0].kept is None) == (foreground != "ignore")
    assert dataset[0].mask.tolist() == np.array(mask, bool).tolist()


def test_border_policy_and_split_are_part_of_the_fingerprint(layout):
    def fingerprint(split, policy="foreground"):
        return open_dataset(DataConfig(str(layout), policy), split).fingerprint()

    prints = {fingerprint("train", policy) for policy in ("foreground", "ignore")} | {fingerprint("test")}
    assert len(prints) == 3
    assert fingerprint("test") in prints


def test_palette_trimap_is_read_by_index(tmp_path):
    picture = Image.fromarray(TRIMAP)
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.save(tmp_path / "a.png")
    assert labels_of(read_trimap(tmp_path / "a.png", "ignore")).tolist() == [[1, 0, 255], [0, 0, 1]]


def test_downloads_own_folder_is_found(layout, tmp_path_factory):
    above = tmp_path_factory.mktemp("above")
    (above / "oxford-iiit-pet").symlink_to(layout)
    assert find_root(above) == above / "oxford-iiit-pet"
    assert find_root(layout) == layout
    assert find_root(layout / "images") is None
    assert len(open_dataset(above, "valid")) == 2


@pytest.mark.parametrize(
    ("path", "split", "words"),
    [
        ("images/Birman_3.jpg", "train", ["images lacks 1 files", "Birman_3", "data oxford-pet"]),
        ("annotations/trimaps/pug_1.png", "test", ["trimaps lacks 1 files", "pug_1"]),
        ("annotations/trainval.txt", "valid", ["trainval.txt: no such file", "annotations.tar.gz"]),
        ("annotations/test.txt", "test", ["test.txt: no such file"]),
    ],
)
def test_missing_files_are_named(layout, path, split, words):
    (layout / path).unlink()
    with pytest.raises(FiguregroundError) as caught:
        open_dataset(layout, split)
    for word in words:
        assert word in str(caught.value)


def test_many_missing_files_are_listed_briefly(layout):
    for path in (layout / "images").glob("Birman_*.jpg"):
        path.unlink()
    with pytest.raises(FiguregroundError, match=r"lacks 12 files.*: Birman_1, Birman_2, Birman_3 and 9 more"):
        open_dataset(layout, "train")


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_trimap_with_another_value_is_refused(layout, value):
    trimap = TRIMAP.copy()
    trimap[0, 1] = value
    Image.fromarray(trimap).save(layout / "annotations" / "trimaps" / "pug_1.png")
    dataset = open_dataset(layout, "test")
    with pytest.raises(FiguregroundError, match=r"pug_1\.png has values from \d+ to \d+; expected 1 \(pet\)") as caught:
        _ = dataset[0]
    assert str(value) in str(caught.value).split(";")[0]
    assert labels_of(dataset[1].targets).tolist() == [[1, 0, 1], [0, 0, 1]]


@pytest.mark.parametrize("error", [URLError("no route to host"), RuntimeError("File not found or corrupted.")])
def test_download_without_network(tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(torchvision.datasets, "OxfordIIITPet", fail)
    with pytest.raises(FiguregroundError, match="could not be downloaded") as caught:
        download(tmp_path)
    assert str(error) in str(caught.value)
    assert str(tmp_path / "oxford-iiit-pet") in str(caught.value)
    assert "images.tar.gz" in str(caught.value)


def test_download_returns_the_layouts_folder(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(torchvision.datasets, "OxfordIIITPet", lambda *given, **named: calls.append((given, named)))
    assert download(tmp_path) == tmp_path / "oxford-iiit-pet"
    assert calls == [((tmp_path,), {"download": True})]


def test_download_unpacks_again_what_was_interrupted(layout, tmp_path, monkeypatch):
    """torchvision would take the folders that are there for whole ones."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "oxford-iiit-pet").symlink_to(layout)
    (layout / "images" / "pug_2.webp").rename(layout / "images" / "pug_2.jpg")
    (layout / "annotations" / "list.txt").write_text("#Image CLASS-ID\npug_1 1 1 1\npug_2 1 1 1\n")
    unpacked = []
    monkeypatch.setattr(
        torchvision.datasets.utils, "download_and_extract_archive", lambda url, *_, **__: unpacked.append(url)
    )
    monkeypatch.setattr(torchvision.datasets.OxfordIIITPet, "__init__", lambda *_, **__: None)
    download(root)
    assert unpacked == []
    (layout / "annotations" / "trimaps" / "pug_2.png").unlink()
    download(root)
    assert [url.rpartition("/")[2] for url in unpacked] == ["images.tar.gz", "annotations.tar.gz"]


def test_sizes_of_the_real_splits(pets_256):
    datasets = [open_dataset(pets_256, split) for split in SPLITS]
    assert [len(dataset) for dataset in datasets] == [3312, 368, 3669]
    assert len({name for dataset in datasets for name in dataset.names}) == 3312 + 368 + 3669
    sample = datasets[1][0]
    assert sample.image.shape == (256, 256, 3)
    assert sample.mask.shape == (256, 256)


def test_every_original_file_decodes(pets_native):
    datasets = [open_dataset(DataConfig(str(pets_native), "ignore"), split) for split in SPLITS]
    assert [len(dataset) for dataset in datasets] == [180, 20, 198]
    decoded = 0
    for dataset in datasets:
        for index in range(len(dataset)):
            sample = dataset[index]
            assert sample.image.shape == (*labels_of(sample.targets).shape, 3)
            assert 0 < sample.mask.mean() < 1
            decoded += 1
    assert decoded == 398


def test_a_name_in_two_lists_is_in_both_splits(layout):
    """A leak, which ``data check`` names; nobody is moved without a word."""
    with (layout / "annotations" / "test.txt").open("a") as file:
        file.write("Birman_1 2 2 2\n")
    assert "Birman_1" in open_dataset(layout, "train").names
    assert list(open_dataset(layout, "test").names) == ["pug_1", "pug_2", "Birman_1"]


def test_an_empty_list_is_refused(layout):
    (layout / "annotations" / "test.txt").write_text("#Image CLASS-ID SPECIES BREED ID\n")
    with pytest.raises(FiguregroundError, match=r"no name in the list of the split 'test'"):
        open_dataset(layout, "test")
