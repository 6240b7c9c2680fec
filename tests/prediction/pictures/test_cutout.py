import numpy as np
import pytest
from PIL import Image, ImageCms

from figureground import Prediction
from figureground.errors import FiguregroundError
from figureground.prediction.pictures.cutout import blended, parse_background
from figureground.prediction.pictures.matting import Grid, foreground_of, local_colours

ORANGE, BLUE = (210, 140, 60), (40, 90, 160)
NOTHING = Prediction(np.zeros((50, 50, 3), np.uint8), np.zeros((50, 50), np.float32))


def cutout(image, probability, threshold=0.5):
    return np.asarray(Prediction(image, probability, threshold).cutout())


@pytest.fixture
def prediction():
    """An orange disc with a soft edge on blue; the network's edge is two pixels too far out."""
    rows, columns = np.ogrid[:300, :300]
    distance = np.hypot(rows - 150, columns - 150)
    share = np.clip((80 - distance) / 4 + 0.5, 0, 1)[..., None]
    image = np.round(share * ORANGE + (1 - share) * BLUE).astype(np.uint8)
    return Prediction(image, (1 / (1 + np.exp((distance - 82) / 3))).astype(np.float32))


def test_a_cutout_has_no_halo(prediction):
    rgba = np.asarray(prediction.cutout())
    assert rgba.shape == (300, 300, 4)
    seen = rgba[..., 3] > 127
    error = np.abs(rgba[..., :3].astype(int) - ORANGE) * (rgba[..., 3:] / 255)  # as seen on another background
    assert error.max() <= 17
    assert (rgba[100:200, 100:200] == (*ORANGE, 255)).all()
    assert (rgba[..., 3] == 0)[:60].all()
    assert seen.sum() == pytest.approx(np.pi * 80**2, rel=0.03)


def test_colours_made_by_tiles_are_those_of_the_whole(prediction):
    rgba = cutout(prediction.image, prediction.probability)
    alpha = rgba[..., 3] / np.float32(255)
    grid = Grid.over(prediction.image)
    means = local_colours(grid, grid.sample(prediction.image), grid.sample(alpha))
    foreground = foreground_of(grid.enlarge(means, (slice(0, 300), slice(0, 300))), prediction.image, alpha)
    assert np.array_equal(rgba[alpha > 0][:, :3], foreground[alpha > 0])


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (300, 20)])
def test_nothing_and_everything(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert not cutout(image, np.zeros(size, np.float32)).any()
    full = cutout(image, np.ones(size, np.float32))
    assert (full[..., 3] == 255).all()
    assert np.array_equal(full[..., :3], image)


def test_threshold_moves_the_edge(prediction):
    flat = np.full_like(prediction.image, 90)
    sizes = [(cutout(flat, prediction.probability, threshold)[..., 3] > 127).sum() for threshold in (0.2, 0.5, 0.8)]
    expected = [(prediction.probability > threshold).sum() for threshold in (0.2, 0.5, 0.8)]
    assert sizes == pytest.approx(expected, rel=0.02)


def test_blended_known_values():
    rgba = np.array([[(200, 100, 0, 255), (200, 100, 0, 0), (200, 100, 0, 128)]], np.uint8)
    blue = np.full((1, 3, 3), (0, 0, 255), np.uint8)
    assert blended(rgba, blue).tolist() == [[[200, 100, 0], [0, 0, 255], [100, 50, 127]]]


def test_background_image_covers_and_is_cropped_in_the_middle():
    background = np.zeros((10, 40, 3), np.uint8)
    background[:, 15:25] = (0, 255, 0)  # the middle square
    out = np.asarray(NOTHING.cutout(background))
    assert out.shape == (50, 50, 3)
    assert (out[:, 5:45] == (0, 255, 0)).all()


@pytest.mark.parametrize("background", [(255, 0), (0, 0, 256), (-1, 0, 0), np.zeros((4, 4), np.uint8)])
def test_bad_backgrounds(background):
    with pytest.raises(FiguregroundError, match="expected"):
        NOTHING.cutout(background)


@pytest.mark.parametrize(
    ("text", "colour"), [("white", (255, 255, 255)), ("#ff8000", (255, 128, 0)), ("#F80", (255, 136, 0))]
)
def test_colours_as_text(text, colour):
    assert parse_background(text) == colour


def test_a_file_as_background(tmp_path):
    Image.new("RGB", (4, 3), (1, 2, 3)).save(tmp_path / "beach.png")
    assert parse_background(str(tmp_path / "beach.png")).tolist() == [[[1, 2, 3]] * 4] * 3


@pytest.fixture(scope="module")
def exchanged():
    """An ICC profile whose first number is of blue and whose third is of red."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"____").replace(b"bXYZ", b"rXYZ").replace(b"____", b"bXYZ")


@pytest.mark.parametrize(
    ("of_file", "of_photo", "found"),
    [(False, False, (255, 0, 0)), (False, True, (0, 0, 255)), (True, False, (0, 0, 255)), (True, True, (255, 0, 0))],
)
def test_a_background_gets_the_colours_of_the_photos_profile(tmp_path, exchanged, of_file, of_photo, found):
    picture = Image.new("RGB", (4, 4), (255, 0, 0))
    picture.save(tmp_path / "wall.png", icc_profile=exchanged if of_file else None)
    given = tmp_path / "wall.png"
    for background in (given, str(given), Image.open(given)):
        out = np.asarray(NOTHING.cutout(background, exchanged if of_photo else None)).astype(int)
        assert np.abs(out - found).max() <= 2


def test_a_colour_behind_a_photo_is_of_its_profile(exchanged):
    assert np.asarray(NOTHING.cutout("#ff0000", exchanged))[0, 0].tolist() == pytest.approx([0, 0, 255], abs=2)
    assert (np.asarray(NOTHING.cutout("white", exchanged)) >= 254).all()


def test_a_broken_profile_is_said_and_changes_nothing(caplog):
    assert (np.asarray(NOTHING.cutout("#ff0000", b"no profile")) == (255, 0, 0)).all()
    assert "colour profile cannot be used" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("whyte", "'whyte' is neither a colour nor a file; expected a name such as white"),
        ("#12345", "'#12345' is neither"),
        ("#ff000080", "has transparency; expected an opaque colour"),
    ],
)
def test_bad_text(text, message):
    with pytest.raises(FiguregroundError, match=message):
        parse_background(text)


def test_a_broken_file_as_background(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(FiguregroundError, match=r"notes\.txt is not an image"):
        parse_background(str(tmp_path / "notes.txt"))


@pytest.mark.parametrize("background", [(255, 0, 255), "#ff00ff", np.full((2, 2, 3), (255, 0, 255), np.uint8)])
def test_prediction_on_a_background(prediction, background):
    picture = prediction.cutout(background)
    assert picture.mode == "RGB"
    assert picture.getpixel((0, 0)) == (255, 0, 255)
    assert picture.getpixel((150, 150)) == ORANGE
