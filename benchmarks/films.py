"""Seconds for a second of film: ``figureground predict`` of a film of 1280×720 at 30 frames a second, and a plain loop.

The film is made here: a walk over the cat of the package. The plain loop reads a frame, predicts it in ONNX Runtime,
lays the mask over and writes it, one after the other, with PyAV and Pillow, in the codec and quality that ours has.
They take turns, round after round; the medians of the rounds behind the first count. Below 1 is real time.

    python benchmarks/films.py --json benchmarks/results/films.json
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from bundles import plain_session
from machine import in_turns, print_table, write_results
from PIL import Image

from figureground import load
from figureground.prediction.films.predict import SHOWN, predict_video
from figureground.prediction.films.writing import QUALITY
from figureground.pretrained import EXAMPLE, pretrained_bundle

WIDTH, HEIGHT, RATE, ROUNDS = 1280, 720, 30, 3
ENGINES = ("onnxruntime", "openvino")
PLAIN = "plain loop, overlay, onnxruntime"


def make_film(path: Path, frames: int) -> None:
    cat = Image.open(EXAMPLE).convert("RGB").resize((1600, 1100), Image.Resampling.BICUBIC)
    with av.open(str(path), "w") as film:
        stream = _stream(film)
        for number in range(frames):
            left, top = number % 320, number % 380
            shown = cat.crop((left, top, left + WIDTH, top + HEIGHT))
            film.mux(stream.encode(av.VideoFrame.from_image(shown)))
        film.mux(stream.encode(None))


def _stream(film: av.container.OutputContainer) -> av.VideoStream:
    stream = film.add_stream("libx264", rate=RATE, options=QUALITY["libx264"])
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    return stream


def plain_loop(model: Path, source: Path) -> Callable[[Path], None]:
    """As a user would write it."""
    predict = plain_session(model)

    def run(target: Path) -> None:
        with av.open(str(source)) as film, av.open(f"{target}.mp4", "w") as output:
            stream = _stream(output)
            for frame in film.decode(video=0):
                picture = frame.to_image()
                mask = Image.fromarray(predict(picture) * np.uint8(115)).resize(picture.size)
                picture.paste((255, 0, 0), (0, 0, *picture.size), mask)
                output.mux(stream.encode(av.VideoFrame.from_image(picture)))
            output.mux(stream.encode(None))

    return run


def ours(model: Path, engine: str, source: Path, show: str) -> Callable[[Path], None]:
    segmenter = load(model, engine=engine)

    def run(target: Path) -> None:
        predict_video(segmenter, source, target.with_name(f"{target.name}.mp4"), show=show)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=pretrained_bundle("pets"), help="an .onnx file")
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "source.mp4"
        make_film(source, given.seconds * RATE)
        ways = {
            PLAIN: plain_loop(given.model, source),
            **{f"{show}, {engine}": ours(given.model, engine, source, show) for engine in ENGINES for show in SHOWN},
        }
        seconds = in_turns(ways, ROUNDS, Path(place))
    speeds = {name: [each / given.seconds for each in rounds] for name, rounds in seconds.items()}
    factors = {name: statistics.median(values) for name, values in speeds.items()}
    print_table(("", "seconds for a second of film"), [(name, f"{factor:.2f}") for name, factor in factors.items()])
    settings = {"size": [HEIGHT, WIDTH], "rate": RATE, "seconds": given.seconds}
    write_results(given.json, "films", settings, {"real_time_factor": factors, "rounds": speeds})


if __name__ == "__main__":
    main()
