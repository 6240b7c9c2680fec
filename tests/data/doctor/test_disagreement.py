from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.special import expit

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


def spoil(mask, how, other):
    """A mask (H, W) as hurried people leave it."""
    if how == "shifted":
        return np.roll(mask, 15, 1)
    if how == "half":
        return mask & (np.arange(mask.shape[1]) < np.nonzero(mask)[1].mean())
    return other if how == "another's" else ~mask


@pytest.fixture
def spoiled(tmp_path):
    """80 bright ellipses on noise; the masks of eight are spoiled. The folder, their names, masks by image."""
    rows, columns = np.ogrid[:120, :160]
    rng = np.random.default_rng(0)
    masks, images = [], []
    for _ in range(80):
        (y, x), (a, b) = rng.integers((40, 50), (80, 110)), rng.integers(18, 35, 2)
        masks.append(((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 < 1)
        images.append((rng.integers(0, 100, (120, 160, 3)) + 120 * masks[-1][..., None]).astype(np.uint8))
    kinds, names, by_image = ["shifted", "half", "another's", "inverted"] * 2, set(), {}
    for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
        if index % 10 == 3:
            left = spoil(mask, kinds[len(names)], masks[index - 1])
            names.add(f"{index}.png")
        else:
            left = mask
        by_image[image.tobytes()] = index, left
        for kind, pixels in (("images", image), ("masks", left.astype(np.uint8) * 255)):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / kind / f"{index}.png")
    return tmp_path, names, by_image


def network(by_image, held_out):
    """Finds what is bright, with a soft edge; the masks that it was trained on it knows by heart."""

    def predict(image):
        index, mask = by_image[image.tobytes()]
        if index % 2 != held_out:
            return mask.astype(np.float32)
        return expit((gaussian_filter(image.mean(2), 3) - 110) / 8).astype(np.float32)

    return predict


def test_spoiled_masks_come_first_where_networks_judge_what_they_have_not_seen(spoiled):
    folder, names, by_image = spoiled
    networks = [network(by_image, 0), network(by_image, 1)]
    held_out = {str(index): index % 2 for index in range(80)}
    report = check(folder, predictors=networks, held_out=held_out)
    ranking = [files[1] for files in ([path.name for path in each.case.files] for each in report.ranking)]
    assert len(ranking) == 80
    assert len(names & set(ranking[: round(1.5 * len(names))])) >= 0.9 * len(names)
    assert [case["dice"] for case in report.to_json()["ranking"]] == [each.dice for each in report.ranking]
    assert "2 folds judged the masks, each image by the network that has not seen it" in report.summary()
    by_heart = check(folder, predictors=networks, held_out={name: 1 - fold for name, fold in held_out.items()})
    assert all(each.dice == 1 for each in by_heart.ranking)


def test_without_models_nobody_judges(shifted):
    assert disagreements(check(shifted.root)) == []
