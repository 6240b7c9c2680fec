"""What the service answers to a photo: what ``figureground predict`` writes."""

import io
import json

import numpy as np
import pytest
from PIL import Image, ImageCms

from figureground import load
from figureground.prediction.pictures.coco import encode_rle
from figureground.pretrained import EXAMPLE
from figureground.serving.app import create_app

from .running import PHOTO, coded, halves

NOISE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "a secret place"
    return exif


def palette():
    picture = Image.new("P", (16, 8), 1)
    picture.putpalette([0, 0, 0, 210, 220, 230])
    return picture


INPUTS = {
    "rgb.jpg": coded(halves(), "JPEG"),
    "large.jpg": coded(halves(640, 512), "JPEG"),  # of which the network is shown a part
    "progressive.jpg": coded(halves(640, 512), "JPEG", progressive=True),
    "turned.jpg": coded(halves(), "JPEG", exif=turned(6)),
    "large-turned.jpg": coded(halves(512, 640), "JPEG", exif=turned(8)),
    "grey.jpg": coded(Image.new("L", (16, 8), 200), "JPEG"),
    "cmyk.jpg": coded(Image.new("CMYK", (16, 8), (0, 0, 9, 9)), "JPEG"),
    "noise.png": coded(NOISE),
    "turned.png": coded(NOISE, exif=turned(3)),
    "profile.png": coded(NOISE, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()),
    "bits.png": coded(Image.new("1", (16, 8), 1)),
    "palette.png": coded(palette()),
    "transparent.png": coded(palette(), transparency=bytes([255, 0])),
    "rgba.png": coded(Image.new("RGBA", (16, 8), (200, 200, 200, 0))),
    "grey-16.png": coded(np.full((8, 16), 50000, np.uint16)),
    "one-pixel.png": coded(halves(1, 1)),
    "photo.webp": coded(NOISE, "WEBP", lossless=True),
    "photo.bmp": coded(NOISE, "BMP"),
    "photo.tif": coded(NOISE, "TIFF"),
    "animation.gif": coded(Image.new("L", (16, 8), 255), "GIF", save_all=True, append_images=[Image.new("L", (16, 8))]),
}


@pytest.mark.parametrize("output", ["mask", "probability", "cutout", "overlay"])
def test_the_pictures_of_predict_to_the_bit(serving, in_process, bright_onnx, tmp_path, output):
    photos, results = tmp_path / "photos", tmp_path / "results"
    photos.mkdir()
    for name, content in INPUTS.items():
        (photos / name).write_bytes(content)
    flags = ["--engine", "onnxruntime", "--save", output, "--output", results]
    assert in_process("predict", bright_onnx, photos, *flags)[0] == 0
    client = serving()
    segmenter = load(bright_onnx, engine="onnxruntime")
    for name, content in INPUTS.items():
        answer = client.post("/v1/segment", params={"output": output}, content=content)
        assert answer.status_code == 200, answer.text
        written = next(path for path in results.iterdir() if path.stem == name or path.stem == name.split(".")[0])
        if output != "overlay":
            assert answer.content == written.read_bytes()
            continue
        with Image.open(io.BytesIO(answer.content)) as picture:  # predict writes JPEG files
            np.testing.assert_array_equal(np.asarray(picture), segmenter.predict(content).picture("overlay"))
            assert not picture.getexif()


def test_the_model_in_the_box(in_process, tmp_path):
    from starlette.testclient import TestClient

    assert in_process("predict", EXAMPLE, "--output", tmp_path)[0] == 0
    with TestClient(create_app({"pets": load(photos=1)})) as client:
        answer = client.post("/v1/segment", content=EXAMPLE.read_bytes())
    assert answer.content == (tmp_path / "cat.png").read_bytes()


def test_json(serving, bright_onnx):
    prediction = load(bright_onnx, engine="onnxruntime").predict(PHOTO)
    answer = serving().post("/v1/segment?output=json", content=PHOTO)
    found = answer.json()
    assert set(found.pop("seconds")) == {"wait", "read", "predict", "write"}
    assert found.pop("polygons") == [[[32, 0, 64, 0, 64, 48, 32, 48]]]
    assert found == {
        "model": "bright",
        "height": 48,
        "width": 64,
        "threshold": 0.5,
        "figure": 0.5,
        "estimated_dice": prediction.estimated_dice,
        "needs_review": False,
        "rle": encode_rle(prediction.mask),
    }
    assert answer.headers["X-Estimated-Dice"] == f"{prediction.estimated_dice:.4f}"
    assert answer.headers["X-Needs-Review"] == "false"
    assert answer.headers["X-Threshold"] == "0.5"
    assert float(answer.headers["X-Seconds"]) > 0


def test_threshold_and_clean_up_are_those_of_the_request(serving):
    client = serving()
    grey = coded(np.full((8, 8, 3), 140, np.uint8))  # probability 0.727
    for threshold, share in ((0.7, 1), (0.75, 0)):
        answer = client.post(f"/v1/segment?output=json&threshold={threshold}", content=grey)
        assert (answer.json()["figure"], answer.headers["X-Threshold"]) == (share, f"{threshold:g}")
    spots = np.zeros((64, 64, 3), np.uint8)
    spots[:20, :20] = spots[40:50, 40:50] = 255
    areas = [
        client.post(f"/v1/segment?output=json{more}", content=coded(spots)).json()["figure"] * 64 * 64
        for more in ("", "&keep_largest=true", "&min_area=0.2")
    ]
    assert areas == pytest.approx([500, 400, 0], rel=0.02)  # resized


def test_a_form_and_backgrounds(serving):
    client = serving()
    raw = client.post("/v1/segment?output=cutout&background=%23010203", content=PHOTO)
    form = client.post("/v1/segment?output=cutout&background=%23010203", files={"image": ("x.png", PHOTO)})
    plain = coded(np.full((4, 4, 3), (1, 2, 3), np.uint8))
    behind = client.post("/v1/segment?output=cutout", files={"image": ("x", PHOTO), "background": ("y", plain)})
    assert raw.content == form.content == behind.content
    with Image.open(io.BytesIO(raw.content)) as picture:
        assert picture.getpixel((0, 0)) == (1, 2, 3)


@pytest.mark.parametrize(
    ("query", "request_", "status", "code", "words"),
    [
        ("", {"content": b""}, 422, "usage", "there is no photo; expected one as the body"),
        ("", {"content": b"no picture"}, 422, "unreadable_image", "the image is not an image, or of a kind"),
        ("", {"content": PHOTO[:100]}, 422, "unreadable_image", "cannot be decoded"),
        ("", {"content": coded(halves(400, 400))}, 413, "too_large", "400×400 is more than 100000 pixels"),
        ("", {"content": bytes(100_001)}, 413, "too_large", "100001 bytes or more, 100000 are allowed"),
        ("", {"content": iter([bytes(60_000)] * 2)}, 413, "too_large", "120000 bytes or more, 100000 are allowed"),
        ("", {"json": {}}, 415, "unsupported", "the body is application/json; expected a photo"),
        ("", {"files": {"photo": PHOTO}}, 422, "usage", "'photo' was given as a part; expected once each: image"),
        ("", {"files": [("image", PHOTO)] * 2}, 422, "usage", "'image' was given twice"),
        ("", {"files": {"background": PHOTO}}, 422, "usage", "there is no photo"),
        ("", {"content": b"-", "headers": {"Content-Type": "multipart/form-data"}}, 422, "usage", "form cannot be"),
        ("?model=other", {"content": PHOTO}, 404, "no_model", "there is no model 'other'; expected one of: bright"),
        ("?output=film", {"content": PHOTO}, 422, "usage", "output: Input should be 'mask', 'cutout'"),
        ("?thresold=0.5", {"content": PHOTO}, 422, "usage", "thresold: Extra inputs are not permitted"),
        ("?threshold=1", {"content": PHOTO}, 422, "usage", "threshold: Input should be less than 1"),
        ("?threshold=nan", {"content": PHOTO}, 422, "usage", "threshold: Input should be"),
        ("?background=red", {"content": PHOTO}, 422, "usage", "a background is for cut-outs, and mask was asked for"),
        ("?output=cutout&background=/etc/passwd", {"content": PHOTO}, 422, "usage", "'/etc/passwd' is no colour"),
        ("?output=cutout&background=http://a.b/", {"content": PHOTO}, 422, "usage", "'http://a.b/' is no colour"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(serving, query, request_, status, code, words):
    answer = serving(max_bytes=100_000, max_pixels=100_000).post(f"/v1/segment{query}", **request_)
    assert answer.headers["Content-Type"] == "application/problem+json"
    found = answer.json()
    assert (answer.status_code, found["status"], found["code"]) == (status, status, code)
    assert words in found["detail"]
    assert {"type", "title"} <= set(found)


def test_other_addresses(serving):
    client = serving()
    assert client.get("/v1/models").json() == {"models": [{"name": "bright", "default": True, "threshold": 0.5}]}
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    client.post("/v1/segment", content=PHOTO)
    client.post("/v1/segment", content=b"x")
    page = client.get("/metrics").text
    for line in (
        'requests_total{status="200"} 1.0',
        'requests_total{status="422"} 1.0',
        "waiting 0.0",
        "held_bytes 0.0",
    ):
        assert f"figureground_{line}\n" in page
    assert f"figureground_received_bytes_total {len(PHOTO) + 1:.1f}\n" in page
    for path, status in (("/v1/nothing", 404), ("/static/../app.py", 404), ("/static/%2e%2e/app.py", 404)):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (status, "no_such_address")
    assert client.get("/v1/segment").status_code == 405
    assert json.loads(client.get("/openapi.json").text)["paths"].keys() >= {"/v1/segment", "/v1/models"}


def test_every_answer_has_the_headers_of_safety(serving):
    client = serving()
    for answer in (
        client.post("/v1/segment", content=PHOTO),
        client.post("/v1/segment", content=b"x"),
        client.get("/healthz"),
        client.get("/nothing"),
        client.get("/v1/segment"),
    ):
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


def test_a_key(serving):
    client = serving(key="a long word")
    for given in ({}, {"Authorization": "Bearer a long wor"}, {"Authorization": "Basic a long word"}):
        answer = client.post("/v1/segment", content=PHOTO, headers=given)
        assert (answer.status_code, answer.json()["code"]) == (401, "no_key")
        assert client.get("/metrics", headers=given).status_code == 401
    assert client.get("/healthz").status_code == 200
    right = {"Authorization": "Bearer a long word"}
    assert client.post("/v1/segment", content=PHOTO, headers=right).status_code == 200
