"""The page: its files, and the folder in which it needs no service because the browser runs the model."""

from __future__ import annotations

import hashlib
import json
import tarfile
import zlib
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from figureground.bundle import BundleInfo, read_info, require_intact
from figureground.config import plain
from figureground.errors import UsageError
from figureground.files import replacing
from figureground.prediction.photos.quality import SIDE, UNCERTAIN
from figureground.runs import bundle_path

POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' blob: data:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'"
)
RUNTIME, VERSION = "onnxruntime-web", "1.30.0"
PACKED = f"{RUNTIME}-{VERSION}.tgz"
SUMS = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""SHA-256 of what is taken of the runtime: the files that the page was tried with."""


def page_files() -> dict[str, bytes]:
    """The files of the page by name, ``index.html`` among them."""
    return dict(_files_below(resources.files("figureground.serving") / "static", ""))


def write_page(model: str | Path, folder: Path, runtime: Path) -> int:
    """Write the page with a model and what runs it in a browser; any web server may serve the folder.

    Args:
        model: an ``.onnx`` bundle or a name.
        folder: where to; other files there stay.
        runtime: the npm package that ``PACKED`` is, or the folder that it unpacks to.

    Returns:
        How many bytes it has.

    Raises:
        FiguregroundError: a model that browsers cannot run, another runtime, or the folder cannot be written to.
    """
    path = bundle_path(model)
    if path.suffix != ".onnx":
        raise UsageError(f"{path} has weights only; expected an exported model: figureground export --precision int8")
    described = _described(path.stem, read_info(path))
    require_intact(path)
    ours = {**page_files(), **dict(_files_below(resources.files("figureground.serving") / "browser", ""))}
    index, notice = ours.pop("index.html").decode(), ours.pop("NOTICE.txt")
    policy = f"{POLICY}; script-src 'self' 'wasm-unsafe-eval'"
    index = index.replace("<head>", f'<head>\n<meta http-equiv="Content-Security-Policy" content="{policy}">', 1)
    inner = {
        **ours,
        **{f"runtime/{name}": content for name, content in _runtime_files(runtime).items()},
        "model.onnx": path.read_bytes(),
        "model.json": json.dumps(described).encode(),
    }
    files = {"index.html": index.encode(), "NOTICE.txt": notice, **{f"static/{name}": inner[name] for name in inner}}
    for name, content in files.items():
        with replacing(folder / name) as partial:
            partial.write_bytes(content)
    return sum(map(len, files.values()))


def _described(name: str, info: BundleInfo) -> dict[str, Any]:
    """What the page has to know of a model.

    Raises:
        UsageError: it takes crops, of which the page can make none.
    """
    preprocessing = info.preprocessing
    if preprocessing.resize == "crops":
        raise UsageError(f"{name} sees photos in crops, which the page cannot make; expected stretch or fit: serve it")
    factor, shift = preprocessing.scale_and_shift()
    return {
        "name": name, "size": preprocessing.size, "resize": preprocessing.resize, "resample": preprocessing.resample,
        "factor": factor.tolist(), "shift": shift.tolist(), "threshold": info.operating_point.threshold,
        "temperature": info.operating_point.temperature, "quality": plain(info.quality), "uncertain": UNCERTAIN,
        "side": SIDE,
    }  # fmt: skip


def _runtime_files(source: Path) -> dict[str, bytes]:
    """The files of ``SUMS``.

    Raises:
        UsageError: they are not there, or are others.
    """
    get = f"get it with: npm pack {RUNTIME}@{VERSION}, and give --runtime {PACKED}"
    expected = f"expected {RUNTIME} {VERSION}, its folder or .tgz; {get}"
    try:
        said, *contents = _read_package(source, ["package.json", *(f"dist/{name}" for name in SUMS)])
        about = json.loads(said)
        found = f"{about['name']} {about['version']}"
    except (OSError, EOFError, tarfile.TarError, zlib.error, LookupError, AttributeError, TypeError, ValueError):
        raise UsageError(f"{source} is not there, or not the runtime; {expected}") from None
    if found != f"{RUNTIME} {VERSION}":
        raise UsageError(f"{source} is {found}; {expected}")
    for (name, wanted), content in zip(SUMS.items(), contents, strict=True):
        if hashlib.sha256(content).hexdigest() != wanted:
            raise UsageError(f"{name} of {source} is not that of {RUNTIME} {VERSION}; {get}")
    return dict(zip(SUMS, contents, strict=True))


def _read_package(source: Path, names: list[str]) -> list[bytes]:
    if source.is_dir():
        return [(source / name).read_bytes() for name in names]
    with tarfile.open(source) as packed:
        return [packed.extractfile(f"package/{name}").read() for name in names]  # type: ignore[union-attr]  # caught


def _files_below(folder: Traversable, before: str) -> Iterator[tuple[str, bytes]]:
    for each in folder.iterdir():
        name = f"{before}{each.name}"
        if each.is_dir():
            yield from _files_below(each, f"{name}/")
        else:
            yield name, each.read_bytes()
