import numpy as np
import pytest
import torch
from PIL import Image

from figureground.errors import FiguregroundError
from figureground.preprocessing import Preprocessing, tensor_to_image

IMAGENET = Preprocessing((32, 48), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (64, 48, 3), np.uint8)


@pytest.mark.parametrize(("value", "expected"), [(0, -1.0), (255, 1.0), (51, -0.6), (204, 0.6)])
def test_normalise_known_values(value, expected):
    batch = Preprocessing().normalise(np.full((2, 3, 5, 3), value, np.uint8))
    assert batch.shape == (2, 3, 3, 5)
    assert batch.dtype == np.float32
    assert batch == pytest.approx(np.full((2, 3, 3, 5), expected), abs=1e-6)


def test_each_channel_has_its_own_mean_and_deviation():
    batch = IMAGENET.normalise(np.array([[[[0, 51, 255]]]], np.uint8))
    expected = [-0.485 / 0.229, (0.2 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert batch[0, :, 0, 0] == pytest.approx(expected, abs=1e-5)


def test_normalised_batches_are_channels_last_in_memory():
    batch = torch.from_numpy(Preprocessing().normalise(np.zeros((2, 4, 5, 3), np.uint8)))
    assert batch.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("preprocessing", [Preprocessing(), IMAGENET])
def test_denormalise_is_the_inverse(preprocessing):
    images = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    images = np.concatenate([images, images[:, ::-1, :, ::-1]])
    images[1, ..., 1] = 255 - images[1, ..., 1]
    back = preprocessing.denormalise(preprocessing.normalise(images))
    assert back.dtype == np.uint8
    assert np.array_equal(back, images)


def test_denormalise_clips():
    assert Preprocessing().denormalise(np.full((1, 3, 1, 1), 9, np.float32)).tolist() == [[[[255, 255, 255]]]]
    assert Preprocessing().denormalise(np.full((1, 3, 1, 1), -9, np.float32)).tolist() == [[[[0, 0, 0]]]]


@pytest.mark.parametrize("as_tensor", [np.asarray, torch.as_tensor])
def test_tensor_to_image(as_tensor):
    normalised = as_tensor(np.array([-1.0, 0.0, 1.0], np.float32).reshape(3, 1, 1))
    assert tensor_to_image(normalised).tolist() == [[[0, 128, 255]]]
    assert tensor_to_image(normalised, (0.2, 0.4, 0.6), (0.1, 0.1, 0.2)).tolist() == [[[26, 102, 204]]]


def test_tensor_to_image_takes_a_tensor_with_a_gradient():
    assert tensor_to_image(torch.zeros(3, 2, 4, requires_grad=True)).shape == (2, 4, 3)


@pytest.mark.parametrize("shape", [(20, 90), (64, 64), (1, 1), (32, 48), (97, 31)])
def test_resize_target_invents_no_value(shape):
    labels = np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), shape)
    resized = Preprocessing((32, 48)).resize_target(labels)
    assert resized.shape == (32, 48)
    assert set(np.unique(resized)) <= set(np.unique(labels))


def test_resize_target_keeps_halves():
    labels = np.zeros((64, 64), np.uint8)
    labels[:, 32:] = 1
    resized = Preprocessing((32, 48)).resize_target(labels)
    assert resized[:, :24].max() == 0
    assert resized[:, 24:].min() == 1


def test_resize_image_averages_over_the_area():
    image = np.zeros((64, 64, 3), np.uint8)
    image[::2] = 200  # stripes of one pixel: half of it everywhere
    resized = Preprocessing((32, 32)).resize_image(image)
    assert resized.shape == (32, 32, 3)
    assert np.abs(resized[2:-2].astype(int) - 100).max() <= 1


def test_what_has_the_size_is_left_alone():
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    assert np.array_equal(IMAGENET.resize_image(image), image)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resize": "letterbox"}, "resize is 'letterbox'; expected one of: stretch, fit, crops"),
        ({"size": (31, 64)}, "size is .31, 64.; expected 32 to 8192"),
        ({"std": (0.5, float("nan"), 0.5)}, "std is .*expected at least 1e-06"),
        ({"scale": 0.0}, "scale is 0.0; expected above 0 and at most 1"),
        ({"scale": 1.5}, "scale is 1.5"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"overlap": -0.1}, "overlap is -0.1; expected 0 to 0.9"),
        ({"overlap": 1.0}, "overlap is 1.0"),
    ],
)
def test_settings_that_are_refused(settings, message):
    with pytest.raises(FiguregroundError, match=message):
        Preprocessing(**settings)


@pytest.mark.parametrize(
    ("settings", "photo", "seen"),
    [
        ({}, (1000, 37), (64, 96)),
        ({"resize": "fit"}, (64, 96), (64, 96)),
        ({"resize": "fit"}, (65, 97), (64, 96)),
        ({"resize": "fit"}, (40, 40), (64, 64)),
        ({"resize": "fit"}, (1000, 37), (64, 2)),
        ({"resize": "fit"}, (37, 1000), (4, 96)),
        ({"resize": "fit"}, (10, 9000), (1, 96)),  # a tenth of a pixel has one
        ({"resize": "crops"}, (1000, 37), (1000, 37)),
        ({"resize": "crops", "scale": 0.5}, (1000, 37), (500, 18)),
        ({"resize": "crops", "scale": 0.01}, (1000, 37), (10, 1)),
    ],
)
def test_the_size_at_which_a_photo_is_seen(settings, photo, seen):
    preprocessing = Preprocessing((64, 96), **settings)
    assert preprocessing.seen_size(*photo) == seen
    assert preprocessing.scale_image(np.zeros((*photo, 3), np.uint8)).shape == (*seen, 3)
    assert preprocessing.scale_target(np.zeros(photo, np.uint8)).shape == seen


def test_fit_pads_around_the_middle_with_the_edge():
    image = np.arange(1, 65, dtype=np.uint8).reshape(32, 2, 1).repeat(3, axis=2)
    fitted = Preprocessing((32, 32), "fit").resize_image(image)
    assert fitted.shape == (32, 32, 3)
    np.testing.assert_array_equal(fitted[:, 15:17], image)
    assert (fitted[:, :15] == image[:, :1]).all()
    assert (fitted[:, 17:] == image[:, 1:]).all()


def test_fit_pads_a_target_with_zeros():
    fitted = Preprocessing((32, 32), "fit").resize_target(np.ones((2, 32), np.uint8))
    assert (fitted[15:17] == 1).all()
    assert (np.delete(fitted, (15, 16), axis=0) == 0).all()


def test_a_crop_of_a_photo_that_is_too_small_is_mirrored_into():
    image = np.array([[[10], [20], [30]]], np.uint8).repeat(40, axis=0).repeat(3, axis=2)  # 40×3
    window = Preprocessing((32, 32), "crops").cut(image, 5, 0)
    assert window.shape == (32, 32, 3)
    assert window[0, 12:20, 0].tolist() == [30, 20, 10, 20, 30, 20, 10, 20]  # three of 32 begin at 14
    target = Preprocessing((32, 32), "crops").cut(image[..., 0], 5, 0, 255)
    assert target[0, 12:19].tolist() == [255, 255, 10, 20, 30, 255, 255]


def test_a_crop_is_where_it_was_asked_for():
    image = RNG.integers(0, 256, (50, 60, 3), np.uint8)
    np.testing.assert_array_equal(Preprocessing((32, 40), "crops").cut(image, 18, 20), image[18:, 20:])


def test_crops_have_no_one_size_of_a_photo():
    crops = Preprocessing((32, 32), "crops")
    for resize, pixels in ((crops.resize_image, IMAGE), (crops.resize_target, IMAGE[..., 0])):
        with pytest.raises(ValueError, match="expected scale_image, and windows or cut"):
            resize(pixels)


def test_a_sample_of_windows():
    crops = Preprocessing((32, 32), "crops", overlap=0.5)  # 64×48: three by two
    windows = list(crops.windows(IMAGE))
    assert len(windows) == 6
    for number in (0, 4, 5, 7):
        np.testing.assert_array_equal(crops.one_window(IMAGE, number), windows[number % 6])
    stretch = Preprocessing((32, 32))
    np.testing.assert_array_equal(stretch.one_window(IMAGE, 3), stretch.resize_image(IMAGE))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "at 48×32"),
        ({"resize": "fit"}, "within 48×32"),
        ({"resize": "crops"}, "at their own size"),
        ({"resize": "crops", "scale": 0.25}, "at 0.25 times their size"),
    ],
)
def test_where_scores_are_taken_in_words(settings, words):
    assert Preprocessing((32, 48), **settings).scored_at == words


@pytest.mark.parametrize("resample", ["bilinear", "lanczos"])
def test_photos_are_resized_as_the_network_wants(resample):
    photo = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    expected = Image.fromarray(photo).resize((48, 32), Image.Resampling[resample.upper()])
    np.testing.assert_array_equal(Preprocessing((32, 48), resample=resample).scale_image(photo), expected)
