"""How long the command takes to start: ``--help``, and ``predict`` of a single photo with each engine, step by step.

Times are of whole processes from outside, the median of the repeats, with everything in the file cache; all take turns.
The steps are time stamps in a process that does the same one by one (``startup_steps.py``); the table of imports sums
what ``-X importtime`` says of each package itself, without what it imports in turn, and is some percent slower for it.
Targets: 0.3 s for ``--help``, 1 s for ``predict``.

    python benchmarks/startup.py --model resnet34_unet=RUN/model-int8.onnx --json benchmarks/results/startup.json

A small model, U-Net of base width 16 in int8, is made on the spot with random weights. The photo is drawn, half a
megapixel, unless ``--photo`` names one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from machine import print_table, write_results

TARGETS = {"help": 0.3, "predict": 1.0}
ENGINES = [name for name in ("openvino", "onnxruntime") if find_spec(name) is not None]
COMMAND = [sys.executable, "-m", "figureground"]
CACHING = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""The environment of the processes: compiled modules are kept, as they are where the package was installed."""
STEPS = Path(__file__).with_name("startup_steps.py")
IMPORTED = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+([\w.]+)")


def predict_command(model: Path, engine: str | None, photo: Path, folder: Path) -> list[str]:
    chosen = ["--engine", engine] if engine else []
    return ["predict", str(model), str(photo), "--output", str(folder), "--overwrite", *chosen]


def seconds_of(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=CACHING)
    return time.perf_counter() - start


def steps_of(model: Path, engine: str, photo: Path, folder: Path) -> dict[str, float]:
    """Seconds of each step, from the start of the process to its end."""
    before = time.time()
    command = [sys.executable, str(STEPS), str(model), engine, str(photo), str(folder / "mask.png")]
    output = subprocess.run(command, check=True, capture_output=True, env=CACHING, text=True).stdout
    stamps = {**json.loads(output), "end of the process": time.time()}
    ends = list(stamps.values())
    return {step: end - start for step, start, end in zip(stamps, [before, *ends], ends, strict=False)}


def imports_of(arguments: list[str]) -> dict[str, float]:
    """Seconds of imports by package; the standard library counts as one."""
    command = [sys.executable, "-X", "importtime", *COMMAND[1:], *arguments]
    seconds: dict[str, float] = defaultdict(float)
    for line in subprocess.run(command, check=True, capture_output=True, env=CACHING, text=True).stderr.splitlines():
        if found := IMPORTED.match(line):
            package = found[2].partition(".")[0]
            seconds["standard library" if package in sys.stdlib_module_names else package] += int(found[1]) / 1e6
    return dict(sorted(seconds.items(), key=lambda entry: -entry[1]))


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def measure(models: dict[str, Path], photo: Path, repeats: int, folder: Path) -> dict[str, Any]:
    """The commands take turns; the first round is the warm-up."""
    commands = {"help": ["--help"]}
    for name, model in models.items():
        for engine in (None, *ENGINES):
            commands[f"predict {name} {engine or 'by default'}"] = predict_command(model, engine, photo, folder)
    pairs = [(name, engine) for name in models for engine in ENGINES]
    seconds, steps = defaultdict(list), defaultdict(list)
    for number in range(repeats + 1):
        for what, arguments in commands.items():
            taken = seconds_of([*COMMAND, *arguments])
            seconds[what] += [taken] * bool(number)
        for name, engine in pairs:
            found = steps_of(models[name], engine, photo, folder)
            steps[f"{name} {engine}"] += [found] * bool(number)
    return {
        "seconds": {what: statistics.median(values) for what, values in seconds.items()},
        "repeats": seconds,
        "megabytes": {name: model.stat().st_size / 1e6 for name, model in models.items()},
        "steps": {pair: medians(rows) for pair, rows in steps.items()},
        "imports": {what: imports_of(arguments) for what, arguments in commands.items()},
    }


def print_results(results: dict[str, Any]) -> None:
    rows = []
    for what, seconds in results["seconds"].items():
        target, spread = TARGETS[what.split()[0]], results["repeats"][what]
        verdict = f"{target:g} s: {'met' if seconds <= target else 'missed'}"
        rows.append((what, *(f"{s:.3f}" for s in (seconds, min(spread), max(spread))), verdict))
    print_table(("command", "s", "min", "max", "target"), rows)
    for pair, steps in results["steps"].items():
        print()
        total = [("sum", f"{1000 * sum(steps.values()):.0f}")]
        print_table((pair, "ms"), [*((step, f"{1000 * s:.0f}") for step, s in steps.items()), *total])
    for what, packages in results["imports"].items():
        print()
        shown = [(package, f"{1000 * s:.0f}") for package, s in packages.items() if s >= 0.001]
        print_table((f"imports of {what}", "ms"), shown)


def small_model(folder: Path) -> Path:
    """Made in another process, so that torch does not fill this one's memory."""
    code = (
        f"import sys, pathlib; sys.path.insert(0, {str(Path(__file__).parent)!r}); import bundles; "
        f"folder = pathlib.Path({str(folder)!r}); "
        "bundles.exported(bundles.untrained_bundle('unet-16', folder), folder, 'int8')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    (path,) = folder.glob("*-int8.onnx")
    return path


def drawn_photo(folder: Path) -> Path:
    from figureground.data import open_dataset
    from figureground.images import write_image
    from figureground.preprocessing import resized

    path = folder / "photo.jpg"
    write_image(path, resized(open_dataset("synthetic:n=10", "test")[0].image, 600, 800))
    return path


def parse_model(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not path.endswith(".onnx") or not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{text}: expected a name, =, and an .onnx file")
    return name, Path(path)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="*", type=parse_model, default=[], metavar="NAME=FILE", help="further models")
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the results here")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = {"unet-16": small_model(folder), **dict(given.model)}
        results = measure(models, given.photo or drawn_photo(folder), given.repeats, folder)
    print_results(results)
    write_results(given.json, "startup", {"repeats": given.repeats}, results)


if __name__ == "__main__":
    main()
