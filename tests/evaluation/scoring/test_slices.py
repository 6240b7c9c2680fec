import math
from types import SimpleNamespace

import numpy as np
import pytest
from skimage.measure import perimeter_crofton

from figureground.data import open_dataset
from figureground.data.sources.oxford_pet import species_and_breed
from figureground.errors import FiguregroundError
from figureground.evaluation import Evaluation, compare, groups_of, metadata_of, read_metadata, slices_of
from figureground.evaluation.scoring.properties import PROPERTIES, perimeter, properties_of
from figureground.evaluation.scoring.scores import COLUMNS, Scores
from figureground.evaluation.scoring.slices import correlations_of, summary
from figureground.evaluation.statistics import group_differences

N = 90


def drawn(height=40, width=80, value=(0, 0, 0)):
    return np.full((height, width, 3), value, np.uint8), np.zeros((height, width), np.uint8)


def truth_of(labels):
    """From a label map of 0, 1 and 255, which is left out: what is figure, and what counts."""
    return labels == 1, labels != 255


def test_shape_by_hand():
    image, labels = drawn()
    labels[0:10, 0:30] = 1  # in the corner: 30 + 10 - 1 of 2 · (80 + 40) - 4 pixels of the rim
    found = properties_of(image, *truth_of(labels))
    assert found["area"] == 300 / 3200
    assert found["border"] == 39 / 236
    assert found["aspect"] == 3
    assert list(found) == list(PROPERTIES)


def test_light_by_hand():
    image, labels = drawn(value=(51, 51, 51))
    image[:, 40:] = 153
    labels[10:20, 10:20] = 1
    found = properties_of(image, *truth_of(labels))
    assert found["brightness"] == pytest.approx(0.4)
    assert found["contrast"] == pytest.approx(0.2)


def test_colours_that_figure_and_background_share():
    image, labels = drawn(value=(0, 0, 200))
    labels[:, :20] = 1
    image[:10, :20] = 255, 0, 0  # a quarter of the figure
    assert properties_of(image, *truth_of(labels))["similarity"] == pytest.approx(0.75)
    image[:, :20] = 255, 0, 0
    assert properties_of(image, *truth_of(labels))["similarity"] == 0


def test_clutter_is_that_of_the_background_alone():
    image, labels = drawn()
    labels[10:30, 10:70] = 1
    image[labels == 1] = 255  # an edge all around the figure, and noise within
    image[12:28, 12:68:2] = 0
    assert properties_of(image, *truth_of(labels))["clutter"] == 0
    image, labels = drawn()
    labels[30:] = 1
    image[:30, ::2] = 255  # every step to the side is 1, every step down 0
    assert properties_of(image, *truth_of(labels))["clutter"] == pytest.approx(30 * 79 / (30 * 79 + 29 * 80))


def test_what_is_left_out_is_neither_figure_nor_background():
    image, labels = drawn()
    labels[:, :20] = 1
    labels[:, 40:] = 255
    image[:, 40::2] = 255
    found = properties_of(image, *truth_of(labels))
    assert (found["area"], found["clutter"]) == (0.5, 0)


def test_the_complexity_of_a_disc_and_of_a_comb():
    y, x = np.mgrid[:200, :200]
    image, _ = drawn(200, 200)
    disc = (y - 100) ** 2 + (x - 100) ** 2 < 80**2
    assert properties_of(image, disc)["complexity"] == pytest.approx(1, abs=0.02)
    comb = disc & (x % 10 < 5)
    assert properties_of(image, comb)["complexity"] > 20


def test_the_perimeter_is_that_of_scikit_image():
    rng = np.random.default_rng(0)
    for share in (0.1, 0.5):
        mask = np.pad(rng.random((30, 50)) < share, 1)  # scikit-image does not count the image's own edge
        assert perimeter(mask) == pytest.approx(perimeter_crofton(mask, directions=4))


@pytest.mark.parametrize(("label", "missing"), [(0, {"aspect", "complexity", "similarity"}),
                                                (1, {"similarity", "clutter"})])  # fmt: skip
def test_what_does_not_exist_is_nan(label, missing):
    image, labels = drawn()
    found = properties_of(image, *truth_of(labels + np.uint8(label)))
    assert {name for name, value in found.items() if math.isnan(value)} == missing


def evaluation(dice, data="things", names=None, **values):
    rows = np.zeros((N, len(COLUMNS)))
    rows[:, COLUMNS.index("dice")] = dice
    properties = np.full((N, len(PROPERTIES)), np.nan)
    for name, column in values.items():
        properties[:, list(PROPERTIES).index(name)] = column
    names = names or tuple(f"image_{index}" for index in range(N))
    return Evaluation(
        data, "a", "test", "foreground", 0.5, (32, 32), names, Scores(rows, None), None,
        fitted=None, quality=None, properties=properties, estimates=None, scored_at="",
    )  # fmt: skip


NOISE = np.random.default_rng(0).normal(0, 0.02, N)
RAMP = np.arange(N) / N


def test_thirds_of_a_property():
    found = slices_of(evaluation(0.8 + NOISE - 0.2 * (RAMP >= 2 / 3), clutter=RAMP))
    assert [(s.attribute, s.n) for s in found] == [("clutter", 30)] * 3
    plain, _, cluttered = found
    assert plain.label.startswith("plain: up to 0.33")
    assert cluttered.mean.mean == pytest.approx(0.6, abs=0.01)
    assert cluttered.difference.mean == pytest.approx(-0.2, abs=0.01)
    assert cluttered.difference.ci95[0] < -0.2 < cluttered.difference.ci95[1]
    assert cluttered.differs
    assert cluttered.p == pytest.approx(3 / 10_001)  # Holm: the smallest p three times
    lines = summary(found)
    assert lines[0] == "1 of 3 slices are harder than the other images; the hardest:"
    assert lines[1].startswith("  clutter, cluttered: above 0.65")


def test_where_nothing_differs():
    found = slices_of(evaluation(0.8 + NOISE, area=np.random.default_rng(1).random(N)))
    assert not any(s.differs for s in found)
    assert summary(found) == ["none of 3 slices is found to be harder than the other images"]


def test_groups_that_say_nothing_are_left_out():
    contact = np.where(np.arange(N) < 45, 0.0, RAMP)  # half of the images do not touch the border
    kinds = ["rare"] * 9 + ["common"] * 50 + [""] * 31
    groups = groups_of(evaluation(RAMP, border=contact, aspect=np.ones(N)), {"kind": kinds})
    assert [(g.attribute, int(g.members.sum())) for g in groups] == [("border", 45), ("border", 15), ("border", 30),
                                                                     ("kind", 50)]  # fmt: skip


def test_numbers_are_cut_into_thirds_and_words_are_not():
    groups = groups_of(evaluation(RAMP), {"year": [str(1990 + i % 30) for i in range(N)], "code": ["1", "2"] * 45})
    assert [g.label.split(":")[0] for g in groups] == ["low", "medium", "high", "1", "2"]


def test_rank_correlation():
    (found,) = correlations_of(evaluation(RAMP**2, area=-RAMP))
    assert found.rho == pytest.approx(-1)
    (found,) = correlations_of(evaluation(np.tile([0.2, 0.8], N // 2), area=RAMP))
    assert found.ci95[0] < 0 < found.ci95[1]


def test_differences_of_groups_by_hand():
    values = np.array([0.0, 0.0, 1.0, 1.0])
    members = np.array([[True, True, False, False], [True, False, True, False]]).T
    far, near = group_differences(values, members)
    assert (far.mean.mean, far.difference.mean, near.difference.mean) == (0, -1, 0)
    assert far.p == pytest.approx(1 / 3, abs=0.02)  # 2 of the 6 ways to choose two of four are as far
    assert near.p == 1


def test_what_pets_are_called():
    assert species_and_breed("Maine_Coon_12") == {"species": "cat", "breed": "Maine Coon"}
    assert species_and_breed("great_pyrenees_1") == {"species": "dog", "breed": "great pyrenees"}


def test_what_the_source_tells_of_the_images():
    rows = [species_and_breed("Sphynx_1"), {}, {**species_and_breed("pug_2"), "room": "hall"}]
    pets = SimpleNamespace(metadata=rows)
    assert metadata_of(pets) == {
        "species": ["cat", "", "dog"],
        "breed": ["Sphynx", "", "pug"],
        "room": ["", "", "hall"],
    }
    assert metadata_of(open_dataset("synthetic:n=10,size=32", "test")) == {}


def test_a_table_of_metadata(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("room,name\nkitchen,b\n,a\n")
    assert read_metadata(table, ["a", "b"]) == {"room": ["", "kitchen"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no column 'name'; found: nothing"), ("room\nkitchen\n", "no column 'name'; found: room"),
     pytest.param('name,room\na,"kitchen' + "x" * 200_000, r"cannot be read \(field larger than field", id="no end"),
     ("name\na.jpg\n", r"lacks 2 of 2 images: a, b. Its column 'name' holds such as 'a.jpg'")],
)  # fmt: skip
def test_a_table_that_does_not_fit(tmp_path, text, message):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(FiguregroundError, match=message):
        read_metadata(tmp_path / "table.csv", ["a", "b"])
    with pytest.raises(FiguregroundError, match="cannot be read"):
        read_metadata(tmp_path / "none.csv", ["a"])


def test_which_slices_changed():
    better = evaluation(0.8 + 0.1 * (RAMP < 1 / 3), area=RAMP)
    worse = evaluation(0.8 + NOISE / 100, area=RAMP)
    worse = Evaluation(**{**vars(worse), "model": "b"})
    comparison = compare([better, worse], slices=groups_of(better))
    small, _, large = comparison.pairs[0].slices
    assert small.difference.mean == pytest.approx(0.1, abs=0.001)
    assert small.p == pytest.approx(3 / 10_001)
    assert large.p > 0.05
    assert "1 of 3 slices differ, a minus b:\n    area, small: up to 0.33" in comparison.summary()
    assert comparison.to_json()["pairs"][0]["slices"][0]["n"] == 30
    assert "slices differ" not in compare([better, worse]).summary()
