import errno
import io
import logging
import math
import os
import stat
import threading
from contextlib import nullcontext

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile

from figureground.errors import (
    CannotWriteError,
    FiguregroundError,
    TooLargeError,
    UnreadableImageError,
    UsageError,
)
from figureground.files import replacing
from figureground.image_files import ReadLimits
from figureground.images import (
    LYING,
    pixel_count,
    read_image,
    read_indices,
    read_levels,
    read_profile,
    read_reduced,
    write_image,
)

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def coded(picture, kind, **settings):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()


def plain_colour(mode, value, kind, **settings):
    return coded(Image.new(mode, (16, 8), value), kind, **settings)


def palette_png():
    picture = Image.new("P", (16, 8), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    return coded(picture, "PNG")


def palette_png_with_transparency():
    picture = Image.new("P", (16, 8), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    return coded(picture, "PNG", transparency=bytes([255, 0]))


def grey_16(value):
    return coded(Image.fromarray(np.full((8, 16), value, np.uint16)), "PNG")


@pytest.mark.parametrize(
    ("name", "content", "colour", "tolerance"),
    [
        ("rgb.jpg", plain_colour("RGB", (200, 100, 50), "JPEG", quality=100), (200, 100, 50), 2),
        ("grey.jpg", plain_colour("L", 77, "JPEG", quality=100), (77, 77, 77), 1),
        ("grey.png", plain_colour("L", 77, "PNG"), (77, 77, 77), 0),
        ("bits.png", plain_colour("1", 1, "PNG"), (255, 255, 255), 0),
        ("palette.png", palette_png(), (10, 20, 30), 0),
        ("transparent.png", palette_png_with_transparency(), (10, 20, 30), 0),
        ("rgba.png", plain_colour("RGBA", (9, 8, 7, 0), "PNG"), (9, 8, 7), 0),
        ("grey-alpha.png", plain_colour("LA", (9, 0), "PNG"), (9, 9, 9), 0),
        ("cmyk.jpg", plain_colour("CMYK", (0, 255, 255, 0), "JPEG", quality=100), RED, 3),
        ("white16.png", grey_16(65535), (255, 255, 255), 0),
        ("grey16.png", grey_16(257 * 7), (7, 7, 7), 0),
        ("dark16.png", grey_16(100), (0, 0, 0), 0),
        ("a-gif.jpg", plain_colour("P", 0, "GIF"), (0, 0, 0), 0),
        ("photo.webp", plain_colour("RGB", GREEN, "WEBP", lossless=True), GREEN, 0),
        ("photo.bmp", plain_colour("RGB", BLUE, "BMP"), BLUE, 0),
        ("photo.tif", plain_colour("RGB", BLUE, "TIFF"), BLUE, 0),
    ],
)
def test_every_kind_of_file_becomes_rgb(tmp_path, name, content, colour, tolerance):
    path = tmp_path / name
    path.write_bytes(content)
    for source in (path, str(path), content):
        image = read_image(source)
        assert image.shape == (8, 16, 3)
        assert image.dtype == np.uint8
        assert np.abs(image.astype(int) - colour).max() <= tolerance


def test_gif_named_jpg_keeps_its_colours(tmp_path):
    picture = Image.new("RGB", (4, 2), RED)
    picture.putpixel((3, 1), BLUE)
    path = tmp_path / "Abyssinian_34.jpg"
    path.write_bytes(coded(picture, "GIF"))
    image = read_image(path)
    assert tuple(image[0, 0]) == RED
    assert tuple(image[1, 3]) == BLUE


@pytest.mark.parametrize(
    ("orientation", "shape", "corner"),
    [  # where the stored top left pixel of a 3 x 2 picture is when the photo stands upright
        (1, (2, 3, 3), (0, 0)),
        (3, (2, 3, 3), (1, 2)),
        (6, (3, 2, 3), (0, 1)),
        (8, (3, 2, 3), (2, 0)),
    ],
)
def test_exif_orientation_is_applied(orientation, shape, corner):
    picture = Image.new("RGB", (3, 2), BLUE)
    picture.putpixel((0, 0), RED)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(coded(picture, "PNG", exif=exif))
    assert image.shape == shape
    assert np.argwhere((image == RED).all(-1)).tolist() == [list(corner)]


def test_orientation_6_of_a_jpeg_moves_the_red_block():
    stored = np.zeros((16, 48, 3), np.uint8)
    stored[:, :16] = RED
    exif = Image.Exif()
    exif[0x0112] = 6
    image = read_image(coded(Image.fromarray(stored), "JPEG", exif=exif, quality=100))
    assert image.shape == (48, 16, 3)
    assert image[:14, :, 0].min() > 200
    assert image[18:, :, 0].max() < 50


@pytest.mark.parametrize(
    ("least", "shape"),
    [((200, 300), (200, 300)), ((201, 300), (400, 600)), ((100, 151), (200, 300)), ((401, 1), (800, 1200))],
)
def test_a_jpeg_is_reduced_by_halves_but_not_below_what_is_asked_for(least, shape):
    pixels = np.add.outer(np.arange(800), np.arange(1200)).astype(np.float32) / 8
    content = coded(Image.fromarray(np.repeat(pixels.astype(np.uint8)[..., None], 3, 2)), "JPEG", quality=95)
    image, whole = read_reduced(content, least)
    assert (image.shape[:2], whole) == (shape, (800, 1200))
    by_hand = pixels.reshape(shape[0], 800 // shape[0], shape[1], -1).mean((1, 3))
    assert np.abs(image - by_hand[..., None]).max() < 3


@pytest.mark.parametrize(
    ("size", "shape"), [((1008, 804), (201, 252)), ((1008, 802), (401, 504)), ((1008, 801), (801, 1008))]
)
def test_no_part_of_a_pixel_is_left_over(size, shape):
    image, whole = read_reduced(coded(Image.new("CMYK", size, (0, 255, 255, 0)), "JPEG"), (50, 50))
    assert (image.shape, whole) == ((*shape, 3), size[::-1])
    assert np.abs(image - np.array(RED)).max() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_jpeg_is_upright(orientation):
    stored = np.zeros((400, 800, 3), np.uint8)
    stored[:100, :400] = RED
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = coded(Image.fromarray(stored), "JPEG", exif=exif, quality=95)
    upright = read_image(content)
    image, whole = read_reduced(content, (200, 100) if orientation in LYING else (100, 200))
    assert whole == upright.shape[:2]
    assert image.shape == (whole[0] // 4, whole[1] // 4, 3)
    assert np.abs(image.astype(int) - upright[2::4, 2::4]).mean() < 2


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("PNG", {}), ("WEBP", {}), ("TIFF", {}), ("TIFF", {"compression": "jpeg"}), ("GIF", {}), ("BMP", {}),
        ("JPEG", {"progressive": True}),
    ],
)  # fmt: skip
def test_other_kinds_are_read_whole(kind, settings, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = coded(Image.effect_noise((400, 200), 80).convert("RGB"), kind, exif=exif, **settings)
    image, whole = read_reduced(content, (10, 10))
    assert whole == image.shape[:2]
    np.testing.assert_array_equal(image, read_image(content))


@pytest.mark.parametrize("value", [b"\x01", ""], ids=repr)
def test_an_orientation_that_is_no_number_is_upright(value):
    with Image.open(io.BytesIO(coded(Image.new("RGB", (64, 32)), "JPEG"))) as picture:
        picture.getexif()[0x0112] = value
        assert read_image(picture).shape == (32, 64, 3)


def test_a_jpeg_that_cannot_be_reduced_is_read_whole(monkeypatch):
    """As lossless ones, which Pillow's decoder refuses to make smaller."""
    content = coded(Image.effect_noise((1600, 1200), 80).convert("RGB"), "JPEG")
    load = JpegImageFile.load

    def fails_reduced(self):
        if self.size != (1600, 1200):
            raise OSError("broken data stream when reading image file")
        return load(self)

    monkeypatch.setattr(JpegImageFile, "load", fails_reduced)
    image, whole = read_reduced(content, (100, 100))
    assert (image.shape, whole) == ((1200, 1600, 3), (1200, 1600))


def test_a_large_jpeg_that_is_cut_short_is_an_error(tmp_path):
    content = coded(Image.effect_noise((1600, 1200), 80).convert("RGB"), "JPEG")
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(FiguregroundError, match=r"cut\.jpg cannot be decoded"):
        read_reduced(tmp_path / "cut.jpg", (100, 100))


def test_one_pixel():
    assert read_image(coded(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG")).tolist() == [[[1, 2, 3]]]


def test_first_picture_of_an_animation():
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE)]
    assert tuple(read_image(coded(frames[0], "GIF", save_all=True, append_images=frames[1:]))[0, 0]) == RED


def test_a_picture_and_an_array_are_taken_as_they_are():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert read_image(pixels) is pixels
    assert read_image(Image.fromarray(pixels)).tolist() == pixels.tolist()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(array):
    with pytest.raises(FiguregroundError, match=r"expected \(H, W, 3\) uint8 RGB") as caught:
        read_image(array)
    assert str(array.shape) in str(caught.value)


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.jpg", None, "no such file"),
        ("empty.jpg", b"", "is empty (0 bytes)"),
        ("cut.jpg", coded(Image.fromarray(NOISE), "JPEG")[:1500], "cannot be decoded"),
        ("cut.png", coded(Image.fromarray(NOISE), "PNG")[:1500], "cannot be decoded"),
        ("text.png", b"this is no picture", "is not an image"),
    ],
)
def test_broken_files_are_named(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    for read in (read_image, read_levels, read_indices):
        with pytest.raises(FiguregroundError) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert words in str(caught.value)


def _tiff():
    return coded(Image.new("RGB", (16, 8), RED), "TIFF")


def _oriented_jpeg():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return coded(Image.new("RGB", (16, 8), RED), "JPEG", exif=exif)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of some damage
@pytest.mark.parametrize("content", [_tiff(), _oriented_jpeg(), palette_png(), coded(Image.new("RGB", (16, 8)), "BMP")])
@pytest.mark.parametrize("read", [read_image, read_levels, read_indices])
def test_no_damage_is_a_traceback(tmp_path, content, read):
    """Pillow's decoders have many ways to fail; a single photo must not end a batch."""
    generator, path = np.random.default_rng(0), tmp_path / "a.jpg"
    refused = 0
    for _ in range(400):
        damaged = bytearray(content)
        for place in generator.integers(0, len(damaged), generator.integers(1, 6)):
            damaged[place] = generator.integers(0, 256)
        path.write_bytes(damaged)
        pixel_count(path)
        read_profile(path)
        try:
            read(path)
        except FiguregroundError:
            refused += 1
    assert refused > 10


def test_a_long_name_can_be_written(tmp_path):
    path = tmp_path / f"{'ä' * 125}.png"  # 254 bytes
    write_image(path, np.zeros((2, 2), np.uint8))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_folder_is_no_image(tmp_path):
    folder = tmp_path / "photo.jpg"
    folder.mkdir()
    with pytest.raises(FiguregroundError, match=r"photo\.jpg is a folder"):
        read_image(folder)


def test_permission_denied(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(FiguregroundError, match=r"secret\.jpg may not be read \(permission denied\)"):
        read_image(tmp_path / "secret.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
@pytest.mark.parametrize("read", [read_image, read_levels, read_indices])
def test_limits_are_those_of_the_call(tmp_path, read, kind):
    path = tmp_path / "photo.jpg"
    path.write_bytes(plain_colour("L", 0, kind))  # 16 x 8
    assert read(path, ReadLimits(pixels=128, bytes=path.stat().st_size, formats=(kind,))).shape[:2] == (8, 16)
    for limits, words in [
        (ReadLimits(pixels=127), r"photo\.jpg is too large \(16×8 is more than 127 pixels\)"),
        (ReadLimits(bytes=path.stat().st_size - 1), r"photo\.jpg is too large \(more than \d+ bytes\)"),
    ]:
        with pytest.raises(TooLargeError, match=words):
            read(path, limits)
    others = tuple(each for each in ReadLimits().formats if each != kind)
    with pytest.raises(UnreadableImageError, match=r"photo\.jpg is not an image, or of a kind that is not supported"):
        read(path, ReadLimits(formats=others))


@pytest.mark.parametrize("kind", ["EPS", "DDS", "PCX", "PPM", "ICO", "TGA", "SGI", "PDF"])
@pytest.mark.parametrize("source", ["path", "bytes"])
def test_no_other_format_reaches_its_decoder(tmp_path, monkeypatch, kind, source):
    """That of EPS starts Ghostscript, and each of the others is code that a stranger's file would choose."""
    content = plain_colour("RGB", RED, kind)
    for name in Image.OPEN:
        if name not in ReadLimits().formats:
            monkeypatch.setitem(Image.OPEN, name, (lambda *_: pytest.fail("it was opened"), lambda start: True))
    (tmp_path / "photo.jpg").write_bytes(content)
    given = tmp_path / "photo.jpg" if source == "path" else content
    for read in (read_image, read_levels, read_indices):
        with pytest.raises(UnreadableImageError, match="is not an image, or of a kind that is not supported"):
            read(given)
    assert read_profile(given) is None


@pytest.mark.parametrize(("name", "value"), [("pixels", 0), ("pixels", math.nan), ("bytes", math.inf), ("bytes", -1)])
def test_limits_that_are_none(name, value):
    with pytest.raises(UsageError, match=rf"a limit of {value} {name}; expected a number from 1, such as 2e8"):
        ReadLimits(**{name: value})


def test_a_format_that_is_not_read_cannot_be_allowed():
    with pytest.raises(UsageError, match="formats EPS are not read; known are: JPEG, PNG"):
        ReadLimits(formats=("EPS", "PNG"))


def test_limits_do_not_touch_the_process():
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(TooLargeError):
        read_image(plain_colour("L", 0, "PNG"), ReadLimits(pixels=1))
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_read_once_and_up_to_the_limit(tmp_path):
    path, content = tmp_path / "pipe", plain_colour("RGB", RED, "PNG")
    os.mkfifo(path)
    assert pixel_count(path) == 0  # and does not wait for anybody to write
    assert read_profile(path) is None
    for limits, expected in [(ReadLimits(), None), (ReadLimits(bytes=20), TooLargeError)]:
        writer = threading.Thread(target=path.write_bytes, args=(content,))
        writer.start()
        with nullcontext() if expected is None else pytest.raises(expected, match="more than 20 bytes"):
            assert tuple(read_image(path, limits)[0, 0]) == RED
        writer.join()


def test_the_first_of_many_pictures_costs_the_first_two(tmp_path, caplog):
    """A GIF does not say how many it holds; to count them is to walk through all of it."""
    frames = [Image.new("RGB", (8, 8), (index, 0, 255 - index)) for index in range(200)]
    content = coded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    seen = []

    class Counting(io.BytesIO):
        def read(self, size=-1):
            seen.append(self.tell())
            return super().read(size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "BytesIO", Counting)
        with caplog.at_level(logging.WARNING):
            assert read_image(content).shape == (8, 8, 3)
    assert "the image holds several pictures; the first is used" in caplog.text
    assert max(seen) < len(content) / 4


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (coded(Image.fromarray(np.array([[0, 255, 7]], np.uint8)), "PNG"), [[0, 255, 7]]),
        (coded(Image.fromarray(np.array([[0, 65535, 300]], np.uint16)), "PNG"), [[0, 65535, 300]]),
        (coded(Image.fromarray(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)), "PNG"), [[0, 255]]),
        (coded(Image.fromarray(np.array([[False, True]])), "PNG"), [[0, 255]]),
        (coded(Image.fromarray(np.array([[[128, 0, 0]]], np.uint8)), "PNG"), [[38]]),  # 0.299 * 128
    ],
)
def test_grey_levels(tmp_path, content, expected):
    path = tmp_path / "mask.png"
    path.write_bytes(content)
    assert read_levels(path).tolist() == expected


def test_indices_of_a_palette_file_are_not_its_colours(tmp_path):
    picture = Image.fromarray(np.array([[1, 2, 3]], np.uint8))
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    assert picture.mode == "P"
    picture.save(tmp_path / "trimap.png")
    assert read_indices(tmp_path / "trimap.png").tolist() == [[1, 2, 3]]
    assert read_levels(tmp_path / "trimap.png").tolist() == [[76, 150, 29]]  # luminance of red, green, blue


def test_replacing_renames_when_all_went_well(tmp_path):
    path = tmp_path / "new" / "result.txt"
    with replacing(path) as partial:
        partial.write_text("new")
        assert not path.exists()
        assert partial.parent == path.parent
        assert partial.suffix == ".txt"
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["result.txt"]


def test_replacing_overwrites_and_gives_usual_permissions(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    beside = tmp_path / "beside"
    beside.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(beside.stat().st_mode)


def _write_half_and_fail(path, error):
    with replacing(path) as partial:
        partial.write_text("half")
        raise error


@pytest.mark.parametrize(
    ("error", "becomes", "words"),
    [
        (ValueError("no"), ValueError, "no"),
        (KeyboardInterrupt(), KeyboardInterrupt, ""),
        (OSError(errno.ENOSPC, "No space left on device"), CannotWriteError, "result.txt could not be written (No"),
        (OSError("encoder error -2 when writing image file"), CannotWriteError, "result.txt could not be written (enc"),
        (FileNotFoundError(errno.ENOENT, "No such file", "other.txt"), FileNotFoundError, "other.txt"),
        (OSError(errno.EIO, "Input/output error", "other.txt"), OSError, "other.txt"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), BrokenPipeError, "Broken pipe"),
    ],
)
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error, becomes, words):
    path = tmp_path / "result.txt"
    path.write_text("old")
    with pytest.raises(becomes) as caught:
        _write_half_and_fail(path, error)
    assert words in str(caught.value)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.txt"]


def test_disk_full_names_the_file(tmp_path):
    with pytest.raises(FiguregroundError, match=r"result\.txt could not be written.*nothing was changed") as caught:
        _write_half_and_fail(tmp_path / "result.txt", OSError(errno.ENOSPC, "No space left on device"))
    assert isinstance(caught.value.__cause__, OSError)


def test_the_file_that_is_written_is_told_by_its_name(tmp_path):
    refused = pytest.raises(CannotWriteError, match=r"result\.txt could not be written \(Permission denied\)")
    with refused, replacing(tmp_path / "result.txt") as partial:
        raise PermissionError(errno.EACCES, "Permission denied", str(partial))


def test_a_folder_that_is_a_file_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FiguregroundError, match="could not be written"):
        write_image(tmp_path / "file" / "mask.png", np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 3), (2, 3, 4)])
def test_written_images_read_back(tmp_path, shape):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    write_image(tmp_path / "out.png", pixels)
    with Image.open(tmp_path / "out.png") as picture:
        assert np.asarray(picture).tolist() == pixels.tolist()
