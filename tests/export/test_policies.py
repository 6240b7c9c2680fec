"""Photos that are fitted or shown in windows, through an export and every engine."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from figureground import Views, load
from figureground.bundle import METADATA_KEY, read_info, replace_info
from figureground.config import DataConfig
from figureground.export import export
from figureground.onnx_metadata import read_onnx_metadata
from figureground.prediction.photos.engines import ENGINES

DATA = DataConfig("synthetic:n=20,size=80")
RNG = np.random.default_rng(0)
PHOTOS = [RNG.integers(0, 256, (*size, 3), np.uint8) for size in ((97, 131), (32, 48), (20, 200), (33, 49))]
POLICIES = {"fit": {"resize": "fit"}, "crops": {"resize": "crops", "scale": 0.8, "overlap": 0.4}}


@pytest.fixture(scope="module", params=POLICIES)
def bundle(request, narrow_bundle, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "bundle.safetensors"
    shutil.copy(narrow_bundle, path)
    info = read_info(path)
    replace_info(path, replace(info, preprocessing=replace(info.preprocessing, **POLICIES[request.param])))
    return path


@pytest.fixture(scope="module")
def exported(bundle):
    path = bundle.with_suffix(".onnx")
    export(bundle, path, DATA)  # the gate compares whole photos: nothing is lost
    return path


def test_an_exported_file_says_how_photos_are_seen(bundle, exported):
    assert read_info(exported).preprocessing == read_info(bundle).preprocessing
    given = json.loads(read_onnx_metadata(exported)[METADATA_KEY])["preprocessing"]
    expected = {"scale": 1.0, "overlap": 0.25} | POLICIES[given["resize"]]
    assert {name: given[name] for name in ("resize", "scale", "overlap")} == expected


@pytest.mark.parametrize("engine", ENGINES[".onnx"])
@pytest.mark.parametrize("views", [Views(), Views(True, (1.0, 1.25))], ids=["plain", "views"])
def test_every_engine_gives_the_same(bundle, exported, engine, views):
    original, other = load(bundle, engine="torch", views=views), load(exported, engine=engine, views=views)
    for expected, found, photo in zip(original.predict(PHOTOS), other.predict(PHOTOS), PHOTOS, strict=True):
        assert found.probability.shape == photo.shape[:2]
        np.testing.assert_allclose(found.probability, expected.probability, atol=1e-5)
        assert expected.probability.std() > 0.05  # a network that says something


@pytest.mark.parametrize("engine", ENGINES[".onnx"])
def test_int8_is_calibrated_on_what_the_network_is_shown(bundle, engine):
    path = bundle.with_name("int8.onnx")
    if not path.exists():
        info = export(bundle, path, DATA, precision="int8", accept_loss=True)
        assert all(row["flipped"] < 0.1 for row in info.export["gate"]["engines"])
    original, found = load(bundle), load(path, engine=engine)
    for photo in PHOTOS:
        assert (original.predict(photo).mask != found.predict(photo).mask).mean() < 0.15
