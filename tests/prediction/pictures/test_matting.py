import numpy as np
import pytest
from PIL import Image

from figureground.prediction.pictures.cutout import cutout_bands
from figureground.prediction.pictures.matting import Grid, foreground_of, local_colours

FIGURE, BACKGROUND = (210, 140, 60), (40, 90, 160)


def refine_alpha(image, probability, threshold=0.5):
    """(H, W), 0 to 1."""
    rgba = np.concatenate([rows for _, rows in cutout_bands(image, probability, threshold)])
    return rgba[..., 3] / np.float32(255)


def estimate_foreground(image, alpha):
    """(H, W, 3) uint8, of a known alpha."""
    grid, everything = Grid.over(image), tuple(slice(0, size) for size in alpha.shape)
    means = local_colours(grid, grid.sample(image), grid.sample(alpha))
    return foreground_of(grid.enlarge(means, everything), image, alpha)


def step_image(height=300, width=400, edge=210):
    """Two colours that meet at a column, with a little noise, as photographs have."""
    image = np.where(np.arange(width)[None, :, None] < edge, np.uint8(FIGURE), np.uint8(BACKGROUND))
    noise = np.random.default_rng(0).integers(-5, 6, (height, width, 3))
    return (np.broadcast_to(image, (height, width, 3)) + noise).astype(np.uint8)


def ramp(height=300, width=400, edge=204, softness=5.0):
    """A probability that is 0.5 at a column and blurred, as an enlarged network output is."""
    columns = 1 / (1 + np.exp((np.arange(width) + 0.5 - edge) / softness))
    return np.broadcast_to(columns, (height, width)).astype(np.float32)


def crossing(alpha):
    """The column at which each row first falls below 0.5."""
    return np.argmax(alpha < 0.5, axis=1)


@pytest.mark.parametrize("edge", [209, 211, 213, 215])
def test_alpha_moves_onto_the_step_in_the_image(edge):
    alpha = refine_alpha(step_image(edge=210), ramp(edge=edge))
    assert np.array_equal(crossing(alpha), np.full(300, 210))
    assert alpha[:, :209].min() > 0.8
    assert alpha[:, 211:].max() < 0.2


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_the_probability_decides_where_the_colours_are_alike(threshold):
    flat = np.full((300, 400, 3), 128, np.uint8)
    probability = ramp()
    alpha = refine_alpha(flat, probability, threshold)
    assert np.abs(crossing(alpha) - crossing(probability - threshold + 0.5)).max() <= 1
    assert ((alpha[0] > 0.05) & (alpha[0] < 0.95)).sum() > 5  # soft


def test_certain_pixels_are_exact_whatever_the_image():
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    unsure = np.where(ramp() > 0.5, np.float32(0.6), np.float32(0.4))  # no probability is certain
    alpha = refine_alpha(noise, unsure)
    assert (alpha[:, :190] == 1).all()
    assert (alpha[:, 215:] == 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (64, 48), (5, 700)])
@pytest.mark.parametrize("value", [0, 1])
def test_empty_and_full(shape, value):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    alpha = refine_alpha(image, np.full(shape, value, np.float32))
    assert alpha.dtype == np.float32
    assert np.array_equal(alpha, np.full(shape, value))


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (257, 3), (600, 513)])
def test_any_size(shape):
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (*shape, 3), np.uint8)
    alpha = refine_alpha(image, generator.random(shape, np.float32))
    assert alpha.shape == shape
    assert (alpha >= 0).all()
    assert (alpha <= 1).all()
    assert np.array_equal(np.round(alpha * 255).astype(np.float32) / np.float32(255), alpha)
    assert estimate_foreground(image, alpha).shape == (*shape, 3)


def test_thin_figures_survive():
    probability = np.zeros((256, 256), np.float32)
    probability[:, 127:130] = 1
    image = np.where(probability[..., None] > 0, np.uint8(FIGURE), np.uint8(BACKGROUND))
    assert (refine_alpha(image, probability)[:, 127:130] > 0.9).all()


def blended(alpha):
    share = alpha[..., None]
    return np.round(share * np.array(FIGURE) + (1 - share) * np.array(BACKGROUND)).astype(np.uint8)


def test_foreground_of_one_colour_is_recovered():
    alpha = np.broadcast_to(np.clip((220 - np.arange(400)) / 20, 0, 1), (300, 400)).astype(np.float32)
    image = blended(alpha)
    seen = (alpha > 0.1) & (alpha < 1)
    estimated = estimate_foreground(image, alpha)
    assert np.abs(image[seen].astype(int) - FIGURE).max() > 100  # the halo
    assert np.abs(estimated[seen].astype(int) - FIGURE).max() <= 20
    assert np.array_equal(estimated[alpha == 1], image[alpha == 1])


def test_alpha_and_colours_of_known_hair():
    """Hairs of one and two pixels over an edge: alpha nearer to the truth than the enlarged probability, no halo."""
    alpha = np.zeros((512, 512), np.float32)
    alpha[:, :250] = 1
    alpha[::6, 250:262] = 1
    alpha[1::6, 250:258] = 0.5
    small = Image.fromarray(alpha).resize((256, 256), Image.Resampling.BOX)
    probability = np.asarray(small.resize((512, 512), Image.Resampling.BILINEAR))
    refined = refine_alpha(blended(alpha), probability)
    band = np.s_[:, 240:270]
    assert np.abs(refined - alpha)[band].mean() < np.abs(probability - alpha)[band].mean() / 4
    error = np.abs(estimate_foreground(blended(alpha), refined).astype(int) - FIGURE).mean(axis=-1) * alpha
    assert error[band].max() <= 20


def test_an_enlarged_tile_is_a_piece_of_the_whole():
    grid = Grid.over(np.empty((700, 1000, 3), np.uint8))
    assert grid.step == 4
    samples = np.random.default_rng(0).random((2, *grid.sample(np.empty((700, 1000))).shape), np.float32)
    whole = grid.enlarge(samples, (slice(0, 700), slice(0, 1000)))
    for tile in (tile for band in grid.bands() for tile in grid.tiles_of(band)):
        for channel, piece in zip(whole, grid.enlarge(samples, tile), strict=True):
            np.testing.assert_allclose(piece, channel[tile], atol=1e-5)


def test_samples_are_the_middles_of_blocks():
    grid = Grid(7, 4, 3)
    assert grid.sample(np.arange(28).reshape(7, 4)).tolist() == [[5, 7], [17, 19], [25, 27]]
