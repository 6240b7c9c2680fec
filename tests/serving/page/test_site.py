"""The page as a folder: the model runs in the browser, and says what `figureground predict` says."""

import functools
import http.server
import io
import json
import re
import shutil
import subprocess
import tarfile
import zipfile
from contextlib import ExitStack
from importlib import resources

import numpy as np
import onnx
import pytest
from PIL import Image

from figureground import load
from figureground.bundle import METADATA_KEY, BundleInfo
from figureground.config import OperatingPoint, QualityConfig, plain
from figureground.preprocessing import Preprocessing
from figureground.preprocessing import restoring as preprocessing
from figureground.pretrained import EXAMPLE
from figureground.serving import page as site
from figureground.serving.page import PACKED, RUNTIME, VERSION, write_page

from ..running import coded
from .conftest import running
from .test_page import BROAD, PHONE, choose, finished, pixels, saved

DIFFERENT = 0.005  # of the pixels, at most: the runtimes round the sums of int8 otherwise


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def hosted():
    """Serve a folder as `python -m http.server` does."""
    with ExitStack() as stack:

        def host(folder):
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=folder))
            stack.enter_context(running(server))
            return f"http://127.0.0.1:{server.server_port}/"

        yield host


@pytest.fixture(scope="session")
def runtime(pytestconfig, tmp_path_factory):
    """The npm package, which is fetched once."""
    kept = pytestconfig.cache.mkdir(RUNTIME) / PACKED
    if not kept.exists():
        npm = shutil.which("npm")
        if not npm:
            pytest.skip(f"needs {PACKED}, and npm to get it")
        folder = tmp_path_factory.mktemp("npm")
        command = [npm, "pack", f"{RUNTIME}@{VERSION}"]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"npm did not get {PACKED}: {str(error.stderr)[-200:]}")
        shutil.move(folder / PACKED, kept)
    return kept


def scene(width, height, seed=0):
    """A smooth picture."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def lying():
    exif = Image.Exif()
    exif[0x0112] = 6
    return coded(Image.open(EXAMPLE), "JPEG", exif=exif, quality=95)


PHOTOS = {
    "cat.jpg": EXAMPLE.read_bytes(),
    "large.jpg": coded(Image.open(EXAMPLE).resize((2255, 1500)), "JPEG"),
    "lying.jpg": lying(),
    "small.png": coded(Image.open(EXAMPLE).resize((150, 100))),
    "scene.webp": coded(scene(300, 500), "WEBP"),
}


def as_files(photos):
    return [
        {"name": name, "mimeType": f"image/{name.partition('.')[2].replace('jpg', 'jpeg')}", "buffer": content}
        for name, content in photos.items()
    ]


def found_by(page, photos):
    """The masks of photos, and what is said of each."""
    choose(page, *as_files(photos))
    page.get_by_text(f"{len(photos)} of {len(photos)} done").wait_for()
    page.get_by_label("Mask").check(force=True)
    with zipfile.ZipFile(io.BytesIO(saved(page, button="Save all as ZIP")[1])) as packed:
        masks = [pixels(packed.read(name))[..., 0] > 0 for name in packed.namelist()]
    said = []
    for row in page.locator("#photos button").all():
        row.click()
        finished(page)
        said.append(page.locator("#verdict").inner_text())
    return list(zip(masks, said, strict=True))


def test_its_masks_and_estimates_are_those_of_predict(in_process, hosted, opened, runtime, tmp_path):
    assert in_process("page", "--output", tmp_path / "site", "--runtime", runtime)[0] == 0
    page = opened(hosted(tmp_path / "site"), viewport=BROAD)
    assert page.get_by_text("Photos stay on this device").is_visible()
    segmenter = load(engine="onnxruntime")
    for (mask, said), content in zip(found_by(page, PHOTOS), PHOTOS.values(), strict=True):
        expected = segmenter.predict(content)
        assert (mask != expected.mask).mean() <= DIFFERENT
        assert ("Needs review" in said) == expected.needs_review
        percent = re.search(r"(\d+)%", said)
        assert int(percent[1] if percent else 0) == pytest.approx(100 * expected.estimated_dice, abs=1)


def bundled(network, path, info):
    """A network with other metadata."""
    model = onnx.load(network)
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(plain(info))})
    onnx.save(model, path)
    return path


def test_it_pads_and_heeds_temperature_threshold_and_features(bright_onnx, hosted, opened, runtime, tmp_path):
    """Of a model whose logits are known: ten times the mean of the channels."""
    weights = {"expected_dice": 0.2, "uncertain": 0.2, "entropy": 0.1, "area": 0.1, "scattered": 0.3}
    info = BundleInfo(
        preprocessing=Preprocessing((32, 32), "fit", (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), resample="lanczos"),
        operating_point=OperatingPoint(threshold=0.7, temperature=3.0),
        quality=QualityConfig(weights, 0.05, (0.0, 0.5, 1.5), (0.1, 0.6, 0.9), 0.1),
    )
    path = bundled(bright_onnx, tmp_path / "fit.onnx", info)
    write_page(path, tmp_path / "site", runtime)
    photos = {"flat.png": coded(scene(90, 33)), "tall.png": coded(scene(20, 61, 1)), "dots.png": coded(dots())}
    page = opened(hosted(tmp_path / "site"), viewport=BROAD)
    segmenter = load(path, engine="onnxruntime")
    for (mask, said), content in zip(found_by(page, photos), photos.values(), strict=True):
        expected = segmenter.predict(content)
        assert 0.05 < expected.mask.mean() < 0.95
        np.testing.assert_array_equal(mask, expected.mask)
        assert int(re.search(r"(\d+)%", said)[1]) == pytest.approx(100 * expected.estimated_dice, abs=1)


def dots():
    """Parts of the size of a pixel that the network sees, which touch at corners and do not."""
    image = np.zeros((32, 32, 3), np.uint8)
    image[4:9, 4:9] = image[9:12, 9:12] = image[20:22, 20:28] = image[::31, ::31] = 255
    return image


@pytest.mark.parametrize("size", [(7, 90), (40, 11), (61, 33), (200, 150)])
def test_pixels_are_resized_as_pillow_does(hosted, opened, tmp_path, size):
    (tmp_path / "index.html").write_text("<title>resize</title><link rel=icon href=data:,>")
    shutil.copy(resources.files("figureground.serving") / "browser" / "resize.js", tmp_path)
    page = opened(hosted(tmp_path))
    bytes_in = np.random.default_rng(0).integers(0, 256, (61, 50, 3), np.uint8)
    numbers = np.random.default_rng(0).normal(0, 5, (61, 50)).astype(np.float32)

    def resized(kind, pixels, shape, how):
        return page.evaluate(
            """async ([kind, pixels, shape, size, how]) => { const { resized } = await import('/resize.js');
               return [...resized(globalThis[kind].from(pixels), shape, size, how)]; }""",
            [kind, pixels.ravel().tolist(), shape, size, how],
        )

    for how in ("bilinear", "lanczos"):
        expected = preprocessing.resized(bytes_in, *size, Image.Resampling[how.upper()])
        found = resized("Uint8ClampedArray", bytes_in, (61, 50, 3), how)
        np.testing.assert_allclose(found, expected.ravel(), atol=size == (7, 90))  # Pillow before 13 has another order
    found = resized("Float32Array", numbers, (61, 50, 1), "bilinear")
    np.testing.assert_allclose(found, preprocessing.resized(numbers, *size).ravel(), rtol=1e-6, atol=1e-6)


def package(folder, version=VERSION, name=RUNTIME):
    """A package of that name, whose files are others."""
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": name, "version": version}))
    for each in site.SUMS:
        (folder / "dist" / each).write_text("other")
    return folder


def test_what_cannot_be_is_refused_in_a_line(in_process, bright_onnx, narrow_bundle, tmp_path):
    info = BundleInfo(preprocessing=Preprocessing((32, 32), "crops"))
    crops = bundled(bright_onnx, tmp_path / "crops.onnx", info)
    changed, old = package(tmp_path / "changed"), package(tmp_path / "old", "1.20.0")
    with tarfile.open(tmp_path / "changed.tgz", "w:gz") as packed:
        packed.add(changed, "package")
    (tmp_path / "damaged.tgz").write_bytes((tmp_path / "changed.tgz").read_bytes()[:100])
    get = "get it with: npm pack onnxruntime-web@1.30.0"
    for model, runtime, status, words in [
        (crops, changed, 2, "crops sees photos in crops, which the page cannot make; expected stretch or fit"),
        (narrow_bundle, changed, 2, "has weights only; expected an exported model: figureground export"),
        ("none.onnx", changed, 1, "none.onnx: no such model"),
        ("pets", old, 2, "old is onnxruntime-web 1.20.0; expected onnxruntime-web 1.30.0, its folder or .tgz; get"),
        ("pets", changed, 2, "ort.wasm.min.mjs of"),
        ("pets", tmp_path / "changed.tgz", 2, get),
        ("pets", tmp_path / "damaged.tgz", 2, get),
        ("pets", tmp_path / "missing.tgz", 2, get),
        ("pets", tmp_path, 2, get),
    ]:
        ended, _, said = in_process("page", model, "--output", tmp_path / "site", "--runtime", runtime)
        assert (ended, words in said, said.count("\n")) == (status, True, 1), said
        assert not (tmp_path / "site").exists()
    assert "exists; choose another name" in in_process("page", "--output", changed, "--runtime", changed)[2]


def test_a_photo_that_the_browser_cannot_show_is_named(hosted, opened, runtime, tmp_path):
    write_page("pets", tmp_path / "site", runtime)
    page = opened(hosted(tmp_path / "site"), viewport=PHONE)
    choose(page, {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"no"})
    page.get_by_text("This browser cannot show this kind of picture.").first.wait_for()
    choose(page, *as_files({"cat.jpg": PHOTOS["cat.jpg"]}))
    page.get_by_text("1 of 2 done, 1 failed").wait_for()
