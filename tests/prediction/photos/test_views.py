import numpy as np
import pytest

from figureground import Views, load
from figureground.bundle import BundleInfo
from figureground.config import OperatingPoint
from figureground.errors import FiguregroundError, UsageError
from figureground.prediction import Member, Segmenter
from figureground.prediction.photos.views import least_size, logit_maps, mean_map
from figureground.preprocessing import Preprocessing, resized

RNG = np.random.default_rng(0)


class Brightness:
    """An engine that looks at each pixel alone: the mean of its normalised channels."""

    name = "brightness"

    def __init__(self, weights=None):
        self.weights = weights
        self.batches = []

    def run(self, batch):
        self.batches.append(batch.shape)
        grey = batch.mean(axis=1, keepdims=True)
        return {"figure": grey if self.weights is None else grey * self.weights}


class Constant:
    name = "constant"

    def __init__(self, logit):
        self.logit = logit

    def run(self, batch):
        return {"figure": np.full((len(batch), 1, *batch.shape[2:]), self.logit, np.float32)}


def member(engine, size=(32, 48), point=OperatingPoint()):  # noqa: B008 (frozen)
    return Member(BundleInfo(preprocessing=Preprocessing(size), operating_point=point), engine, engine.name)


def noise(height, width):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def brightness_of(image):
    return image.mean(axis=2) / 127.5 - 1


def test_flip_by_hand():
    """A network that sees the left half alone sees, mirrored, the right half: each then counts half."""
    left = np.zeros((32, 48), np.float32)
    left[:, :24] = 1
    image = noise(32, 48)
    (alone,) = logit_maps(member(Brightness(left)), [image], Views())
    np.testing.assert_allclose(alone, brightness_of(image) * left, atol=1e-6)
    (both,) = logit_maps(member(Brightness(left)), [image], Views(flip=True))
    np.testing.assert_allclose(both, brightness_of(image) / 2, atol=1e-6)


def test_flip_changes_nothing_for_a_network_without_a_side():
    images = [noise(32, 48) for _ in range(3)]
    plain, flipped = (logit_maps(member(Brightness()), images, Views(flip)) for flip in (False, True))
    np.testing.assert_allclose(flipped, plain, atol=1e-6)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scale", [1.25, 2.0, 3.7])
def test_tiles_together_are_the_whole(scale, flip):
    """What looks at each pixel alone gives the same in tiles: at every pixel the tiles' shares sum to 1."""
    engine = Brightness()
    image = noise(200, 300)
    whole = resized(image, round(32 * scale), round(48 * scale))
    (seen,) = logit_maps(member(engine), [image], Views(flip, (scale,)))
    assert seen.shape == (round(32 * scale), round(48 * scale))
    np.testing.assert_allclose(seen, brightness_of(whole), atol=1e-5)
    assert {batch[2:] for batch in engine.batches} == {(32, 48)}  # the network's own size, whatever the scale
    assert max(batch[0] for batch in engine.batches) <= 8


def test_scale_2_takes_nine_tiles():
    engine = Brightness()
    logit_maps(member(engine), [noise(64, 96)], Views(scales=(2.0,)))
    assert [batch[0] for batch in engine.batches] == [8, 1]


def test_several_scales_are_averaged_at_the_largest():
    images = [np.full((64, 96, 3), level, np.uint8) for level in (0, 255)]
    maps = logit_maps(member(Brightness()), images, Views(scales=(1.0, 2.0)))
    for logits, expected in zip(maps, (-1, 1), strict=True):
        assert logits.shape == (64, 96)
        np.testing.assert_allclose(logits, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("photo", "scale", "seen"),
    [
        ((64, 96), 2.0, (64, 96)),
        ((40, 60), 2.0, (40, 60)),  # 1.25 times the network's size is all there is
        ((20, 30), 2.0, (32, 48)),  # smaller than the network's size: as without tiles
        ((640, 60), 2.0, (64, 60)),  # one side has more to show
        ((2000, 20), 40.0, (1280, 48)),  # not 1280×1920
        ((1, 1), 4.0, (32, 48)),
    ],
)
def test_a_photo_is_not_enlarged_beyond_its_own_size(photo, scale, seen):
    (logits,) = logit_maps(member(Brightness()), [noise(*photo)], Views(scales=(scale,)))
    assert logits.shape == seen


def test_a_photo_keeps_twice_what_the_largest_view_of_any_network_sees():
    assert least_size([Preprocessing((32, 48)), Preprocessing((64, 40))], Views(scales=(1, 1.5))) == (
        192,
        144,
    )


def test_crops_are_of_photos_that_are_read_whole():
    """A photo of any size has sides below the least: none is reduced."""
    both = [Preprocessing((32, 48)), Preprocessing((32, 48), "crops", scale=0.25)]
    assert min(least_size(both, Views())) > 10**9


POLICIES = {
    "fit": Preprocessing((32, 48), "fit"),
    "crops": Preprocessing((32, 48), "crops"),
    "half": Preprocessing((32, 48), "crops", scale=0.5),
}


@pytest.mark.parametrize("photo", [(40, 40), (32, 48), (33, 49), (1000, 37), (97, 131)])
@pytest.mark.parametrize(
    ("policy", "scales"), [("fit", (1.0,)), ("fit", (1.0, 2.0)), ("crops", (1.0,)), ("half", (1.0,)), ("half", (2.0,))]
)
def test_mirrored_and_enlarged_views_of_every_policy(policy, scales, photo):
    """A network that sees pixels alone sees the same in every view: the mean of the views is the photo's brightness."""
    whole = np.full((*photo, 3), 51, np.uint8)
    whole[photo[0] // 2 :] = 204
    preprocessing = POLICIES[policy]
    seeing = Member(BundleInfo(preprocessing=preprocessing), Brightness(), "brightness")
    (alone,) = logit_maps(seeing, [whole], Views(scales=scales))
    (both,) = logit_maps(seeing, [whole], Views(True, scales))
    np.testing.assert_allclose(both, alone, atol=1e-6)
    seen, own = preprocessing.seen_size(*photo), photo
    assert alone.shape == tuple(max(a, min(round(scales[-1] * a), b)) for a, b in zip(seen, own, strict=True))
    np.testing.assert_allclose(alone[0], -0.6, atol=1e-5)
    np.testing.assert_allclose(alone[-1], 0.6, atol=1e-5)


def test_more_than_there_is_of_a_photo_is_refused():
    seeing = Member(BundleInfo(preprocessing=POLICIES["half"]), Brightness(), "brightness")
    Segmenter(seeing, views=Views(scales=(1.0, 2.0)))
    with pytest.raises(UsageError, match=r"crops at 0.5 times a photo's size; expected scales up to 2"):
        Segmenter(seeing, views=Views(scales=(1.0, 2.5)))


@pytest.mark.parametrize("scales", [(), (0.5,), (1.0, 0.99), (-2.0,), (float("nan"),)])
def test_scales_that_are_refused(scales):
    with pytest.raises(FiguregroundError, match="expected numbers from 1, such as 1 and 2"):
        Views(scales=scales)


def test_the_mean_of_one_map_is_that_map():
    only = RNG.random((3, 4), np.float32)
    assert mean_map([only]) is only


def test_the_mean_of_maps_of_one_size():
    np.testing.assert_allclose(mean_map([np.float32([[1, 2]]), np.float32([[3, 6]])]), [[2, 4]])


def test_the_mean_of_maps_of_several_sizes():
    """(1, 2) enlarged to the width 4, bilinear: 0, 1/4, 3/4, 1 of the way; the other has the height."""
    wide = np.float32([[0, 8], [0, 8]])
    found = mean_map([wide, np.ones((3, 4), np.float32)])
    np.testing.assert_allclose(found, np.tile([0.5, 1.5, 3.5, 4.5], (3, 1)), atol=1e-6)
    assert found.dtype == np.float32


def test_an_ensemble_is_the_mean_of_logits_above_the_mean_threshold():
    two = Segmenter(
        member(Constant(3.0), point=OperatingPoint(0.2)),
        member(Constant(-2.0), size=(64, 64), point=OperatingPoint(0.6, temperature=2.0)),
    )
    prediction = two.predict(noise(10, 20))
    assert two.threshold == pytest.approx(0.4)
    assert (two.name, two.engine) == ("constant + constant", "constant")
    np.testing.assert_allclose(prediction.probability, 1 / (1 + np.exp(-(3.0 - 2.0 / 2) / 2)), rtol=1e-6)
    assert prediction.mask.all()
    assert two.logit_maps([noise(10, 20)])[0].shape == (64, 64)


def test_a_segmenter_needs_a_model():
    with pytest.raises(FiguregroundError, match="needs a model"):
        Segmenter()


def test_files_of_two_kinds_and_architectures_together(narrow_onnx, resnet_bundle):
    photos = [noise(50, 70), noise(33, 47)]
    first, second = load(narrow_onnx), load(resnet_bundle)
    together = load(narrow_onnx, resnet_bundle)
    assert together.engine == f"{first.engine} + torch"
    for logits, *alone in zip(*(s.logit_maps(photos) for s in (together, first, second)), strict=True):
        np.testing.assert_allclose(logits, mean_map(alone), atol=1e-5)
    shapes = [prediction.probability.shape for prediction in together.predict(photos)]
    assert shapes == [(50, 70), (33, 47)]
