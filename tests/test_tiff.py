"""TIFF files of many layouts, written by a second library: each is read as it was written, or refused."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from figureground.errors import UnreadableImageError
from figureground.images import read_image, read_indices, read_levels

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")
HEIGHT, WIDTH = 40, 48
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
RAMP = COLUMNS / (WIDTH - 1)
COLOURS = np.stack([RAMP, ROWS / (HEIGHT - 1), 1 - RAMP], -1)
RGB = np.round(COLOURS * 255).astype(np.uint8)
ALPHA = 0.5 + ROWS[..., None] / (2 * HEIGHT)
LOSSLESS = [None, "lzw", "deflate", "packbits", "zstd"]


def written(pixels, photometric, **settings):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.ascontiguousarray(pixels), photometric=photometric, metadata=None, **settings)
    return buffer.getvalue()


def whole(values, bits):
    """Numbers from 0 to 1 as levels of so many bits."""
    kind = bool if bits == 1 else np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    return np.round(values * (2**bits - 1)).astype(kind)


def laid_out(pixels, planar):
    return np.moveaxis(pixels, -1, 0) if planar == "separate" else pixels


def assert_read(content, expected, tolerance=1):
    image = read_image(content)
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() <= tolerance


def layouts(bits):
    """Settings of compression, order of bytes, tiles, and of the predictor, which single bits do not have."""
    for compression, order, tile in itertools.product(LOSSLESS, "<>", (None, (16, 16))):
        for predictor in (False, True)[: 1 if compression in (None, "packbits") or bits == 1 else 2]:
            yield {"compression": compression, "byteorder": order, "tile": tile, "predictor": predictor}


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("bits", [1, 8, 16])
def test_grey_in_every_layout(photometric, bits):
    levels = whole(RAMP, bits)
    expected = np.repeat(np.round(levels * (255 / (2**bits - 1)))[..., None], 3, 2)
    stored = levels if photometric == "minisblack" else whole(1, bits) - levels if bits > 1 else ~levels
    for layout in layouts(bits):
        content = written(stored, photometric, **layout)
        if bits == 16 and stored is not levels and layout["byteorder"] == ">":
            with pytest.raises(UnreadableImageError, match="cannot be decoded"):
                read_image(content)
        else:
            assert_read(content, expected)


@pytest.mark.parametrize("bits", [2, 4, 10, 12, 14, 24])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("order", "<>")
def test_packed_grey_is_read_or_refused(bits, photometric, order):
    levels = whole(RAMP, bits)
    stored = levels if photometric == "minisblack" else whole(1, bits) - levels
    content = written(stored, photometric, byteorder=order, bitspersample=bits)
    if bits in (2, 4) or (bits, photometric, order) == (12, "minisblack", "<"):
        assert_read(content, np.repeat(np.round(levels * (255 / (2**bits - 1)))[..., None], 3, 2))
    else:
        with pytest.raises(UnreadableImageError, match=r"unknown pixel mode.*convert it to PNG"):
            read_image(content)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("extra", [(), ("unspecified",), ("unassalpha",), ("assocalpha",)])
def test_rgb_in_every_layout(bits, planar, extra):
    colours = COLOURS * ALPHA if extra == ("assocalpha",) else COLOURS
    stored = laid_out(np.concatenate([whole(colours, bits), *(whole(ALPHA, bits) for _ in extra)], -1), planar)
    for layout in layouts(bits):
        content = written(stored, "rgb", planarconfig=planar, extrasamples=extra or None, **layout)
        assert_read(content, RGB, tolerance=3 if extra == ("assocalpha",) else 1)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", LOSSLESS)
def test_cmyk(bits, planar, compression):
    inks = whole(np.concatenate([1 - COLOURS, np.zeros((HEIGHT, WIDTH, 1))], -1), bits)
    for order in "<>":
        content = written(
            laid_out(inks, planar), "separated", planarconfig=planar, compression=compression, byteorder=order
        )
        assert_read(content, RGB)


@pytest.mark.parametrize("compression", [None, "lzw", "zstd"])
def test_palette_lab_and_ycbcr(compression):
    table = np.stack([np.arange(256), np.arange(256)[::-1], np.arange(256) * 7 % 256]).astype(np.uint16) * 257
    indices = (COLUMNS % 16).astype(np.uint8)
    content = written(indices, "palette", colormap=table, compression=compression)
    assert_read(content, np.moveaxis(table[:, indices] >> 8, 0, -1), tolerance=0)
    assert (read_indices(content) == indices).all()

    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    coded = ImageCms.profileToProfile(Image.fromarray(RGB), srgb, lab, outputMode="LAB")
    shown = np.asarray(ImageCms.profileToProfile(coded, lab, srgb, outputMode="RGB"))
    assert_read(written(np.asarray(coded), "cielab", compression=compression), shown)

    ycbcr = np.asarray(Image.fromarray(RGB).convert("YCbCr"))
    assert_read(written(ycbcr, "ycbcr", compression=compression, subsampling=(1, 1)), RGB, tolerance=3)


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_jpeg_within_tiff_is_what_the_second_library_decodes(photometric, subsampling, tile):
    content = written(RGB, photometric, compression="jpeg", subsampling=subsampling, tile=tile)
    assert_read(content, tifffile.imread(io.BytesIO(content)), tolerance=2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_colours_and_of_16_bits(orientation):
    tag = [(274, 3, 1, orientation, True)]
    picture = Image.fromarray(RGB)
    picture.getexif()[274] = orientation
    upright = np.asarray(ImageOps.exif_transpose(picture))
    assert_read(written(RGB, "rgb", extratags=tag), upright, tolerance=0)
    inverted = 65535 - RGB[..., 0].astype(np.uint16) * 257
    for content in (
        written(inverted, "miniswhite", extratags=tag),
        written(65535 - inverted, "minisblack", extratags=tag),
    ):
        assert_read(content, np.repeat(upright[..., :1], 3, 2), tolerance=0)
        assert (read_levels(content) == upright[..., 0].astype(np.uint16) * 257).all()


def test_levels_of_a_mask_with_white_as_zero(tmp_path):
    mask = np.where(RAMP > 0.5, 65535, 0).astype(np.uint16)
    path = tmp_path / "mask.tif"
    path.write_bytes(written(65535 - mask, "miniswhite"))
    assert (read_levels(path) == mask).all()


def test_levels_of_a_mask_of_12_bits_are_those_stored(tmp_path):
    labels = (COLUMNS % 3).astype(np.uint16)
    path = tmp_path / "mask.tif"
    path.write_bytes(written(labels, "minisblack", bitspersample=12))
    assert (read_levels(path) == labels).all()


@pytest.mark.parametrize(
    ("pixels", "photometric", "settings", "message"),
    [
        (np.zeros((8, 8), np.int8), "minisblack", {}, "signed numbers"),
        (np.zeros((8, 8), np.int16), "minisblack", {"byteorder": ">"}, "signed numbers"),
        (np.zeros((8, 8), np.float32), "minisblack", {}, "floating-point"),
        (np.zeros((8, 8, 3), np.float32), "rgb", {}, "unknown pixel mode"),
        (np.full((8, 8), 70_000, np.uint32), "minisblack", {}, "values from 70000"),
        (np.zeros((8, 8, 4), np.uint8), "separated", {"extratags": [(332, 3, 1, 2, True)]}, "other than CMYK"),
        (np.zeros((8, 8, 3), np.uint8), "rgb", {"subfiletype": 1}, "no more than a preview"),
    ],
)
def test_what_cannot_be_shown_is_refused(pixels, photometric, settings, message):
    with pytest.raises(UnreadableImageError, match=message):
        read_image(written(pixels, photometric, **settings))


def test_a_preview_is_not_taken_for_the_photo():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(RGB[::4, ::4], photometric="rgb", subfiletype=1, metadata=None)
        file.write(RGB, photometric="rgb", metadata=None)
    assert_read(buffer.getvalue(), RGB, tolerance=0)
