import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from figureground.data import open_dataset
from figureground.data.doctor.inspection import find_pinholes, find_specks, measure_figure
from figureground.data.doctor.masks import Reading, read_mask
from figureground.data.masks import MaskReader, MaskSettings
from figureground.images import write_image


def with_threshold(threshold):
    return Reading("folder", reader=MaskReader((), MaskSettings(threshold)))


FOLDER, PETS = Reading("folder"), Reading("oxford-pet")


def saved(tmp_path, pixels, name="mask.png"):
    path = tmp_path / name
    write_image(path, np.array(pixels, np.uint8))
    return path


@pytest.mark.parametrize(
    ("reading", "values", "coding", "figure"),
    [
        (FOLDER, [0, 0, 255], "plain", [0, 0, 1]),
        (FOLDER, [0, 0, 1], "0/1", [0, 0, 1]),
        (FOLDER, [38, 38, 200], "two values", [0, 0, 1]),
        (FOLDER, [1, 2, 3], "1/2/3", [1, 0, 1]),
        (FOLDER, [1, 2, 2], "1/2/3", [1, 0, 0]),
        (Reading("folder", "background"), [1, 2, 3], "1/2/3", [1, 0, 0]),
        (with_threshold(3), [1, 2, 3], "1/2/3", [0, 0, 1]),
        (FOLDER, [0, 128, 255], "classes", None),
        (with_threshold(200), [0, 128, 255], "classes", [0, 0, 1]),
        (FOLDER, [0, 0, 0], "plain", [0, 0, 0]),
        (FOLDER, [255, 255, 255], "plain", [1, 1, 1]),
        (PETS, [1, 2, 3], "plain", [1, 0, 1]),
        (Reading("oxford-pet", "background"), [1, 2, 3], "plain", [1, 0, 0]),
        (PETS, [0, 1, 2], "no trimap", None),
    ],
)
def test_codings(tmp_path, reading, values, coding, figure):
    mask = read_mask(saved(tmp_path, [values]), reading)
    assert mask.coding == coding
    assert mask.size == (3, 1)
    assert mask.figure is None if figure is None else mask.figure.tolist() == [[bool(value) for value in figure]]


@pytest.mark.parametrize("dark", [38, 100])
def test_a_mask_of_one_value_is_what_training_takes_it_for(tmp_path, dark):
    paths = [
        saved(tmp_path, [values], f"{index}.png") for index, values in enumerate(([dark, dark], [0, dark], [0, 0]))
    ]
    reader = MaskReader(paths)
    figures = [read_mask(path, Reading("folder", reader=reader)).figure for path in paths]
    assert [figure.tolist() for figure in figures] == [[[True, True]], [[False, True]], [[False, False]]]
    assert [(reader(path)["figure"] > 0).tolist() for path in paths] == [figure.tolist() for figure in figures]


def test_where_no_mask_has_two_values_any_but_0_is_figure(tmp_path):
    paths = [saved(tmp_path, [[value, value]], f"{value}.png") for value in (0, 38)]
    reader = MaskReader(paths)
    for path, full in zip(paths, (False, True), strict=True):
        assert read_mask(path, Reading("folder", reader=reader)).figure.all() == full
        assert (reader(path)["figure"] > 0).all() == full


def recompressed(mask, **settings):
    data = io.BytesIO()
    mask.save(data, **settings)
    return Image.open(data).convert("L")


@pytest.mark.parametrize("index", range(3))
def test_codec_and_smoothing_are_told_apart_on_furry_figures(tmp_path, index):
    pixels = open_dataset("synthetic:n=20,size=128", "train")[index].mask
    mask = Image.fromarray(pixels).convert("L")
    smaller = mask.resize((64, 64), Image.Resampling.BILINEAR)
    for quality in (30, 75, 95):
        found = read_mask(saved(tmp_path, recompressed(mask, format="JPEG", quality=quality)), FOLDER)
        assert found.coding == "jpeg"
        assert (found.figure == pixels).mean() > 0.98
    for smoothed in (mask.filter(ImageFilter.GaussianBlur(1)), mask.filter(ImageFilter.GaussianBlur(2)), smaller):
        assert read_mask(saved(tmp_path, smoothed), FOLDER).coding == "anti-aliased"


def test_many_classes_are_areas(tmp_path):
    bars = np.repeat(np.arange(8), 12)[None].repeat(64, 0)
    assert read_mask(saved(tmp_path, bars), FOLDER).coding == "classes"


def test_figures_in_numbers():
    figure = np.zeros((200, 200), bool)
    figure[50:150, 50:150] = True  # a quarter, and all of the middle
    figure[100, 100:104] = False  # a pinhole: 4 is 0.01% of 40,000 pixels
    figure[60:62, 60:63] = False  # 6 pixels are a hole
    figure[10, 10:14] = True  # a speck
    figure[20, 20:25] = True  # 5 pixels are a piece
    found = measure_figure(figure)
    assert found.share == pytest.approx((10_000 - 10 + 9) / 40_000)
    assert found.border_share == 0
    assert found.centre_share == pytest.approx((10_000 - 10) / 10_000)
    assert (found.specks, found.pinholes) == (1, 1)
    assert np.argwhere(find_specks(figure)).tolist() == [[10, x] for x in range(10, 14)]
    assert np.argwhere(find_pinholes(figure)).tolist() == [[100, x] for x in range(100, 104)]


def test_a_small_figure_is_no_speck():
    figure = np.zeros((200, 200), bool)
    figure[10, 10:13] = True
    assert not find_specks(figure).any()


def test_a_bay_is_no_pinhole():
    figure = np.ones((200, 200), bool)
    figure[0, 5] = False
    assert not find_pinholes(figure).any()
