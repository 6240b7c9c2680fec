import numpy as np
import pytest
from PIL import Image

from figureground.config import DataConfig
from figureground.data.masks import LOOKED_AT, MaskReader, MaskSettings
from figureground.errors import FiguregroundError, UsageError

from .label_maps import labels

MASK = np.array([[0, 0, 255], [0, 255, 255]], np.uint8)
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0]  # black, dark red and dark green, as in Pascal VOC
COLOURS = np.array([[[0, 0, 0], [255, 0, 0], [0, 128, 255], [254, 0, 0]]], np.uint8)


def save(path, pixels):
    Image.fromarray(np.asarray(pixels)).save(path)
    return path


def saved(tmp_path, *masks):
    """Files of masks, in order."""
    return [save(tmp_path / f"{index}.png", np.array(mask, np.uint8)) for index, mask in enumerate(masks)]


def save_palette(path, indices, palette=PALETTE):
    picture = Image.fromarray(np.array(indices, np.uint8))
    picture.putpalette(palette)
    picture.save(path)
    return path


def figure_of(*values):
    return MaskSettings(figure_values=values)


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
    assert [labels(reader(path)).tolist() for path in paths] == expected
    assert list(reader(paths[0])) == ["figure"]


def test_coloured_and_16_bit_masks(tmp_path):
    colour = np.zeros((1, 2, 3), np.uint8)
    colour[0, 1] = 128, 0, 0
    deep = np.array([[0, 65535]], np.uint16)
    for path in (save(tmp_path / "colour.png", colour), save(tmp_path / "deep.png", deep)):
        assert labels(MaskReader([path])(path)).tolist() == [[0, 1]]


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
    assert "more than one class? Say which are figure with --figure-value 9 or pass --mask-threshold 5." in str(
        caught.value
    )


# Two codings in one folder


@pytest.mark.parametrize("first", [[0, 1], [1, 2]])
def test_two_codings_in_one_folder_are_refused_and_both_named(tmp_path, first):
    second = [1, 2] if first == [0, 1] else [0, 1]
    paths = saved(tmp_path, [first], [second])
    reader = MaskReader(paths)
    assert labels(reader(paths[0])).tolist() == [[0, 1]]
    with pytest.raises(FiguregroundError) as caught:
        reader(paths[1])
    assert str(caught.value) == (
        f"mask '{paths[1]}' has the values {second[0]}, {second[1]}, other masks have {first[0]} and {first[1]}; "
        "re-save it with the others' values"
    )


def test_what_is_said_of_the_values_settles_two_codings(tmp_path):
    paths = saved(tmp_path, [[0, 1]], [[1, 2]])
    assert [labels(MaskReader(paths, MaskSettings(1))(path)).tolist() for path in paths] == [[[0, 1]], [[1, 1]]]
    reader = MaskReader(paths, figure_of("2"))
    assert [labels(reader(path)).tolist() for path in paths] == [[[0, 0]], [[0, 1]]]


def test_of_many_masks_some_are_looked_at_and_each_is_held_against_them(tmp_path):
    (pair, odd) = saved(tmp_path, [[3, 9]], [[3, 8]])
    masks = [pair] * (3 * LOOKED_AT) + [odd]
    reader = MaskReader(masks)
    assert reader.values == (3, 9)
    with pytest.raises(FiguregroundError, match="has the values 3, 8, other masks have 3 and 9"):
        reader(odd)


def test_masks_that_changed_are_looked_at_again(tmp_path):
    (path,) = saved(tmp_path, [[3, 9]])
    assert MaskReader([path]).values == (3, 9)
    save(path, np.array([[3, 9, 5, 7, 8]], np.uint8))
    assert MaskReader([path]).values is None
    save(path, np.array([[4, 4, 4, 4, 4, 4, 7]], np.uint8))
    assert MaskReader([path]).values == (4, 7)


def test_a_damaged_mask_does_not_decide(tmp_path):
    (good,) = saved(tmp_path, [[3, 9]])
    (tmp_path / "broken.png").write_bytes(b"PNG")
    reader = MaskReader([tmp_path / "broken.png", good])
    assert labels(reader(good)).tolist() == [[0, 1]]
    with pytest.raises(FiguregroundError, match=r"broken\.png"):
        reader(tmp_path / "broken.png")


# Values that are figure


@pytest.mark.parametrize(
    ("values", "expected"),
    [(("2",), [0, 0, 1, 0]), (("1", "3"), [0, 1, 0, 1]), (("0",), [1, 0, 0, 0]), (("2", "99"), [0, 0, 1, 0])],
)
def test_figure_values(tmp_path, values, expected):
    (path,) = saved(tmp_path, [[0, 1, 2, 3]])
    targets = MaskReader([path], figure_of(*values))(path)
    assert list(targets) == ["figure"]
    assert labels(targets).tolist() == [expected]


def test_figure_values_of_a_palette_are_its_indices(tmp_path):
    path = save_palette(tmp_path / "a.png", [[0, 1, 2]])
    assert labels(MaskReader([path], figure_of("2"))(path)).tolist() == [[0, 0, 1]]


def test_a_mask_without_the_figure_value_is_empty(tmp_path):
    paths = saved(tmp_path, [[0, 1]], [[0, 2]])
    assert labels(MaskReader(paths, figure_of("2"))(paths[0])).tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("colours", "expected"),
    [
        (("#ff0000",), [0, 1, 0, 0]),
        (("#FF0000",), [0, 1, 0, 0]),
        (("#0080ff", "#fe0000"), [0, 0, 1, 1]),
        (("#000000",), [1, 0, 0, 0]),
    ],
)
def test_figure_colours(tmp_path, colours, expected):
    (path,) = saved(tmp_path, COLOURS)
    assert labels(MaskReader([path], figure_of(*colours))(path)).tolist() == [expected]


def test_figure_colours_of_a_palette(tmp_path):
    path = save_palette(tmp_path / "a.png", [[0, 1, 2]])
    assert labels(MaskReader([path], figure_of("#008000"))(path)).tolist() == [[0, 0, 1]]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("7", "no mask holds 7; the first 2 hold 0, 1, 2. Give one of these as --figure-value"),
        ("#00ff00", "no mask holds #00ff00; the first 2 hold #000000, #010101, #020202. Give one of these"),
    ],
)
def test_a_value_that_no_mask_holds_is_refused_with_those_that_they_hold(tmp_path, value, message):
    paths = saved(tmp_path, [[0, 1]], [[0, 2]])
    with pytest.raises(FiguregroundError) as caught:
        MaskReader(paths, figure_of(value))(paths[0])
    assert str(caught.value).startswith(message)


def test_many_values_are_listed_briefly(tmp_path):
    (path,) = saved(tmp_path, [range(0, 40)])
    with pytest.raises(FiguregroundError, match="hold 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 28 more"):
        MaskReader([path], figure_of("200"))(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"figure_values": ("1", "#ff0000")}, "figure values are numbers and colours; expected all of one kind"),
        ({"figure_values": ("red",)}, "figure value 'red'; expected a whole number, or a colour such as #ff0000"),
        ({"figure_values": ("-1",)}, "figure value '-1'; expected"),
        ({"figure_values": ("#ff00",)}, "figure value '#ff00'; expected"),
        ({"figure_values": ("#ff00000",)}, "figure value '#ff00000'; expected"),
        ({"figure_values": ("1",), "threshold": 3}, "mask_threshold and figure_values both say what is figure"),
    ],
)
def test_settings_that_contradict_themselves(settings, message):
    with pytest.raises(UsageError, match=message):
        MaskSettings(**settings)


# A value that is left out


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0, 1, 255, 0]),
        ({"threshold": 1}, [0, 1, 255, 0]),
        ({"figure_values": ("1",)}, [0, 1, 255, 0]),
        ({"figure_values": ("0",)}, [1, 0, 255, 1]),
    ],
)
def test_a_value_that_is_left_out(tmp_path, settings, expected):
    (path,) = saved(tmp_path, [[0, 1, 255, 0]])
    targets = MaskReader([path], MaskSettings(ignore_value=255, **settings))(path)
    assert list(targets) == ["figure", "weight"]
    assert np.where(targets["weight"] == 0, 255, targets["figure"] // 255).tolist() == [expected]


def test_a_mask_without_the_value_that_is_left_out_has_no_weight(tmp_path):
    paths = saved(tmp_path, [[0, 1, 255]], [[0, 1, 1]], [[1, 1, 1]], [[255, 255, 255]])
    reader = MaskReader(paths, MaskSettings(ignore_value=255))
    found = [reader(path) for path in paths]
    assert [list(targets) for targets in found] == [["figure", "weight"], ["figure"], ["figure"], ["figure", "weight"]]
    assert [labels(targets).tolist() for targets in found] == [[[0, 1, 255]], [[0, 1, 1]], [[1, 1, 1]], [[255] * 3]]


def test_a_third_value_beside_the_one_that_is_left_out_is_refused(tmp_path):
    paths = saved(tmp_path, [[0, 1, 255]], [[0, 7, 255]])
    reader = MaskReader(paths, MaskSettings(ignore_value=255))
    with pytest.raises(FiguregroundError, match=r"1\.png"):
        reader(paths[1])


def test_the_value_that_is_left_out_is_an_index_in_a_palette_file(tmp_path):
    """As in Pascal VOC: 0 background, 1 an object, 255 its border."""
    palette = [*PALETTE, *[0] * (3 * 252), 224, 224, 192]
    path = save_palette(tmp_path / "a.png", [[0, 1, 255]], palette)
    assert labels(MaskReader([path], MaskSettings(ignore_value=255))(path)).tolist() == [[0, 1, 255]]
    settings = MaskSettings(ignore_value=255, figure_values=("1",))
    assert labels(MaskReader([path], settings)(path)).tolist() == [[0, 1, 255]]


def test_values_are_given_one_by_one_or_with_commas():
    given = [DataConfig(figure_values=values) for values in (("3", "4"), ("3,4",), ("3, 4",))]
    assert {MaskSettings.of(config).figure_values for config in given} == {("3", "4")}
