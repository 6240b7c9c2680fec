"""Photos as they come: each is of one picture, whose upper left quarter is white, however it is coded."""

import io
import logging
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from figureground.bundle import BundleInfo
from figureground.errors import FiguregroundError, TooLargeError
from figureground.image_files import ReadLimits
from figureground.images import pixel_count, read_image
from figureground.prediction import Member, Segmenter
from figureground.prediction.batch.jobs import find_jobs
from figureground.prediction.batch.predict import predict_files
from figureground.prediction.batch.shelf import Shelf
from figureground.preprocessing import Preprocessing

from ...stubs import Brightness


@pytest.fixture
def segmenter():
    return Segmenter(Member(BundleInfo(preprocessing=Preprocessing((32, 32))), Brightness(), "brightness"))


def quarter(width=64, height=48):
    image = np.zeros((height, width), np.uint8)
    image[: (height + 1) // 2, : width // 2] = 255
    return Image.fromarray(image)


def coded(picture, kind, **settings):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()


def several(kind):
    return coded(quarter(), kind, save_all=True, append_images=[Image.new("L", (64, 48), 255 - n) for n in range(2)])


def palette():
    picture = quarter().convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    return coded(picture, "PNG", transparency=bytes([0, 128]))


def lying(orientation):
    """Stored as a camera does that was held in this way."""
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    upright = quarter()
    exif = Image.Exif()
    exif[0x0112] = orientation
    return coded(upright.transpose(turns[orientation]) if orientation in turns else upright, "JPEG", exif=exif)


def heic():
    import pillow_heif

    buffer = io.BytesIO()
    pillow_heif.from_pillow(quarter().convert("RGB")).save(buffer, quality=90)
    return buffer.getvalue()


def zeros_png(width, height):
    """A black PNG of one bit a pixel, made without its pixels ever being in memory."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(1)
    row = bytes(1 + (width + 7) // 8)
    content = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


PHOTOS = {
    "grey.png": lambda: coded(quarter(), "PNG"),
    "rgb.jpg": lambda: coded(quarter().convert("RGB"), "JPEG"),
    "cmyk.jpg": lambda: coded(quarter().convert("CMYK"), "JPEG"),
    "grey16.png": lambda: coded(Image.fromarray(np.asarray(quarter()).astype(np.uint16) * 257), "PNG"),
    "palette.png": palette,
    "grey-alpha.png": lambda: coded(quarter().convert("LA"), "PNG"),
    "bits.png": lambda: coded(quarter().convert("1"), "PNG"),
    "a-png.jpg": lambda: coded(quarter(), "PNG"),
    "film.gif": lambda: several("GIF"),
    "pages.tif": lambda: several("TIFF"),
    "phone.heic": heic,
    **{f"orientation-{n}.jpg": lambda n=n: lying(n) for n in range(10)},  # 0 and 9 are none
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for name, content in PHOTOS.items():
        (folder / name).write_bytes(content())
    return folder


def test_every_kind_of_photo_gives_its_mask_upright(segmenter, folder, tmp_path, caplog):
    jobs = find_jobs([folder])
    assert len(jobs) == len(PHOTOS)
    with caplog.at_level(logging.WARNING):
        outcomes = list(predict_files(segmenter, jobs, Shelf(tmp_path)))
    for outcome in outcomes:
        assert outcome.status == "done", outcome.message
        with Image.open(*outcome.files) as mask:
            assert mask.size == (64, 48), outcome.job.name
            found = [mask.getpixel(place) for place in ((16, 12), (48, 12), (16, 36), (48, 36))]
        assert found == [255, 0, 0, 0], outcome.job.name
    notices = sorted(record.message.split("/")[-1] for record in caplog.records)
    assert notices == [f"{name} holds several pictures; the first is used" for name in ("film.gif", "pages.tif")]


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (20_000, 40), (40, 20_000), (65_535, 3)])
@pytest.mark.parametrize("kind", ["mask", "overlay", "cutout", "probability", "coco"])
def test_extreme_sizes(segmenter, tmp_path, size, kind):
    path = tmp_path / "photo.png"
    quarter(*size).save(path)
    (outcome,) = predict_files(segmenter, find_jobs([path]), Shelf(tmp_path / "out", (kind,)))
    if kind == "overlay" and max(size) == 65_535:
        assert "photo.jpg would be 65535×3; .jpg holds up to 65500 pixels" in outcome.message
        return
    assert outcome.status == "done", outcome.message
    for file in outcome.files:
        with Image.open(file) as picture:
            assert picture.size == size
            if kind == "mask" and min(size) > 2:
                corners = [(0, 0), (size[0] - 1, 0), (0, size[1] - 1), (size[0] - 1, size[1] - 1)]
                assert [picture.getpixel(corner) for corner in corners] == [255, 0, 0, 0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.png", b"this is no picture", "text.png is not an image, or of a kind that is not supported"),
        ("empty.jpg", b"", r"empty.jpg is empty \(0 bytes\)"),
        ("cut.jpg", PHOTOS["rgb.jpg"]()[:-300], r"cut.jpg cannot be decoded \(.*\); is it damaged"),
        ("cut.png", PHOTOS["grey.png"]()[:-40], r"cut.png cannot be decoded"),
        ("cut.heic", PHOTOS["phone.heic"]()[:-100], r"cut.heic cannot be decoded"),
        ("float.tif", coded(Image.new("F", (9, 9), 0.5), "TIFF"), "holds floating-point values; expected 8 or 16"),
    ],
)
def test_what_is_no_photo(segmenter, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FiguregroundError, match=message):
        segmenter.predict(tmp_path / name)


def test_heic_without_its_package_names_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(Image, "OPEN", {key: value for key, value in Image.OPEN.items() if "HEI" not in key})
    monkeypatch.setattr(Image, "ID", [key for key in Image.ID if "HEI" not in key])
    advice = r"phone.heic is a HEIC picture, which needs one more package: pip install 'figureground\[heic\]'"
    with pytest.raises(FiguregroundError, match=advice):
        read_image(folder / "phone.heic")
    assert pixel_count(folder / "phone.heic") == 0


def test_a_decompression_bomb_is_refused_by_its_head(tmp_path):
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(zeros_png(20_000, 20_000))
    assert bomb.stat().st_size < 500_000
    with pytest.raises(TooLargeError, match=r"bomb.png is too large \(20000×20000 .*raise the limit .*--max-pixels"):
        read_image(bomb)


def test_a_segmenter_has_limits_of_its_own(segmenter, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(zeros_png(300, 200))
    strict = Segmenter(*segmenter.members, limits=ReadLimits(pixels=59_999))
    for source in (path, path.read_bytes(), [path]):
        with pytest.raises(TooLargeError, match=r"300×200 is more than 59999 pixels"):
            next(iter(strict.predict(source)))
    (outcome,) = predict_files(strict, find_jobs([path]), Shelf(tmp_path / "out"))
    assert (outcome.status, "more than 59999 pixels" in outcome.message) == ("failed", True)
    assert segmenter.predict(path).mask.shape == (200, 300)


def test_a_large_photo_raises_no_warning(tmp_path):
    """Pillow warns of 89 million pixels, by a filter and a limit that belong to the whole process."""
    path = tmp_path / "photo.png"
    path.write_bytes(zeros_png(10_000, 9_000))
    assert pixel_count(path) == 90_000_000
    assert read_image(path, ReadLimits(pixels=9e7)).shape == (9_000, 10_000, 3)
