from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from figureground.data.doctor import check
from figureground.data.doctor.disagreement import Verdict, outliers
from figureground.data.doctor.findings import Case

from .conftest import draw_image, draw_mask

TRUTH = (np.asarray(draw_mask()) > 0).astype(np.float32)


def knows_the_truth(image):
    return TRUTH


def agrees_with_all(image):
    """As a model may that has learnt the wrong mask by heart."""
    return np.roll(TRUTH, 20, 1) if image[0, 0, 0] == 1 else TRUTH


def verdicts(split, scores, sure=1.0):
    return [Verdict(Case((Path(f"{split}-{index}"),)), split, score, sure) for index, score in enumerate(scores)]


def test_outliers_are_far_below_the_first_quartile():
    scores = [0.90, 0.92, 0.94, 0.96, 0.98]  # quartiles 0.92 and 0.96: the fence is at 0.80
    assert [v.dice for v in outliers(verdicts("train", [*scores * 9, 0.79]))] == [0.79]
    assert outliers(verdicts("train", [*scores * 9, 0.81])) == []


def test_an_unsure_model_contradicts_nothing():
    assert outliers(verdicts("train", [0.95] * 9 + [0.1], sure=0.4)) == []


def test_each_split_has_its_own_fence():
    train, test = verdicts("train", [0.98] * 9 + [0.9]), verdicts("test", [0.88, 0.9, 0.92] * 3)
    assert outliers([*test, *train]) == train[-1:]


@pytest.fixture
def shifted(folder):
    for index in range(6, 14):  # quartiles need more than a few
        draw_image(100 + index).save(folder.image.with_name(f"{index}.png"))
        draw_mask().save(folder.mask.with_name(f"{index}.png"))
    for path, by in ((folder.mask, 20), (folder.mask.with_name("3.png"), 30)):
        Image.fromarray(np.roll(TRUTH > 0, by, 1)).convert("L").save(path)
    return folder


def disagreements(report):
    return [case for finding in report.findings if finding.kind == "disagreement" for case in finding.cases]


def test_the_worst_comes_first(shifted):
    report = check(shifted.root, predictors=[knows_the_truth])
    assert [case.files[1].name for case in disagreements(report)] == ["3.png", "0.png"]
    assert report.clean
    assert "One model judged the masks. On images that it was trained on it may repeat" in report.summary()


def test_of_several_models_the_one_counts_that_agrees_least(shifted):
    with Image.open(shifted.image) as image:
        pixels = np.asarray(image).copy()
    pixels[0, 0, 0] = 1
    Image.fromarray(pixels).save(shifted.image)
    assert len(disagreements(check(shifted.root, predictors=[agrees_with_all]))) == 1
    report = check(shifted.root, predictors=[agrees_with_all, knows_the_truth])
    assert len(disagreements(report)) == 2
    assert report.caveat().startswith("2 models judged the masks")


def test_without_models_nobody_judges(shifted):
    assert disagreements(check(shifted.root)) == []
