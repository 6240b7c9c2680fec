"""Films to films: the figure laid over, as a mask or cut out, with the frame rate and the sound kept."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from figureground.errors import CannotWriteError, UsageError
from figureground.prediction.ahead import Ahead, Budget
from figureground.prediction.films.reading import VIDEO_SUFFIXES, Film, Frame, open_film
from figureground.prediction.films.writing import check_target, write_film
from figureground.prediction.photos.result import Prediction, lay_over
from figureground.prediction.photos.segmenter import Segmenter
from figureground.prediction.photos.views import BATCH_SIZE
from figureground.prediction.pictures.cutout import Background

__all__ = ["VIDEO_SUFFIXES", "Show", "VideoSummary", "predict_video", "smooth"]

Show: TypeAlias = Literal["overlay", "mask", "cutout"]
SHOWN: tuple[str, ...] = get_args(Show)
GREEN = (0, 255, 0)
FRAMES_AHEAD = Budget(BATCH_SIZE + 1, 2**23, least=2)
"""Of frames that are read and not yet predicted, and again of those that are predicted and not yet written."""
SCENE_CUT = 30.0
"""Mean absolute difference of two neighbouring frames, of 255 levels, above which a new scene begins."""


@dataclass(frozen=True)
class VideoSummary:
    """What became of a film."""

    frames: int
    width: int
    """Upright, in pixels."""
    height: int
    film_seconds: float
    taken_seconds: float
    notices: tuple[str, ...]
    """What is not as in the source: missing frames, sound coded anew, a size made even."""

    @property
    def real_time_factor(self) -> float:
        """Seconds taken for a second of film: below 1 is faster than the film plays."""
        return self.taken_seconds / self.film_seconds


def predict_video(
    segmenter: Segmenter,
    source: str | Path,
    target: str | Path,
    *,
    show: Show = "overlay",
    background: Background = GREEN,
    smoothing: float = 0.0,
    progress: bool = False,
    overwrite: bool = False,
) -> VideoSummary:
    """Write a film of the figure in each frame of a film.

    Frames stream through: memory does not grow with the film. Times of frames and sound are kept, films of phones
    are turned upright, and a film that breaks off is done up to there, with a notice. Subtitles are not kept. The
    target is written beside and renamed at the end, so that an interruption leaves none.

    Args:
        segmenter: the model.
        source: a film that FFmpeg reads.
        target: ``.mp4``, ``.mov``, ``.mkv`` (H.264) or ``.webm`` (VP9).
        show: the film with the figure in transparent red, the mask in black and white, or the figure cut out.
        background: a colour or an image behind a cut-out; films have no transparency.
        smoothing: weight of the past in the probability, at least 0 (off) and below 1; see `smooth`.
        progress: show a bar on stderr.
        overwrite: replace a target that exists.

    Raises:
        FiguregroundError: a source that is no film or has no frames; a target that exists, is the source or has
            another suffix; nothing known to show; a smoothing out of range.
        ModuleNotFoundError: PyAV (extra ``video``) is not installed.
    """
    source, target = Path(source), Path(target)
    _check(source, target, show, smoothing, overwrite)
    started, stopped = time.perf_counter(), Event()
    with (
        open_film(source) as film,
        _ahead(film.frames(), film, stopped) as frames,
        _ahead(_predicted(segmenter, frames, show, background, smoothing, stopped), film, stopped) as pictures,
    ):
        bar = tqdm(pictures, total=film.expected_count, unit="frame", disable=not progress, leave=False)
        height, width = write_film(target, iter(bar), film)
    taken = time.perf_counter() - started
    return VideoSummary(film.count, width, height, float(film.end), taken, tuple(film.notices))


def _check(source: Path, target: Path, show: str, smoothing: float, overwrite: bool) -> None:
    check_target(target)
    if show not in SHOWN:
        raise UsageError(f"a film cannot show {show!r}; expected one of: {', '.join(SHOWN)}")
    if not 0 <= smoothing < 1:
        raise UsageError(f"smoothing is {smoothing}; expected at least 0 (off) and below 1")
    if target.exists() and source.exists() and target.samefile(source):
        raise CannotWriteError(f"{target} is the film itself; choose another name")
    if target.exists() and not overwrite:
        raise CannotWriteError(f"{target} exists; choose another name or allow it to be replaced (overwrite)")


@contextmanager
def _ahead(frames: Iterator[Frame], film: Film, stopped: Event) -> Iterator[Iterator[Frame]]:
    """Frames that a thread of its own makes before they are needed: while one is written, others are.

    In the end ``stopped`` is set, and the thread has ended: nothing reads a film that is closed.
    """
    pixels = film.picture.width * film.picture.height or FRAMES_AHEAD.pixels  # no header need tell

    def make() -> Frame | None:
        nonlocal pixels
        frame = None if stopped.is_set() else next(frames, None)
        if frame is not None:
            pixels = frame.image.shape[0] * frame.image.shape[1]
        return frame

    calls = ((make, pixels) for _ in itertools.count())
    pool = ThreadPoolExecutor(1)
    try:
        yield iter(iter(Ahead(pool, calls, FRAMES_AHEAD)).__next__, None)
    finally:
        stopped.set()
        _shut(pool)


def _shut(pool: Executor) -> None:
    """Wait for a pool's thread, also if Ctrl-C comes meanwhile, which is passed on afterwards."""
    interruption: BaseException | None = None
    while True:
        try:
            pool.shutdown(cancel_futures=True)
            break
        except (KeyboardInterrupt, SystemExit) as another:
            interruption = another
    if interruption is not None:
        raise interruption


class _Stopped(Exception):
    """Nobody waits for what is being made."""


def _predicted(
    segmenter: Segmenter,
    frames: Iterator[Frame],
    show: Show,
    background: Background,
    smoothing: float,
    stopped: Event,
) -> Iterator[Frame]:
    """Each frame with its image replaced by what is to be shown."""
    waiting: deque[Frame] = deque()  # those of one batch

    def images() -> Iterator[NDArray[np.uint8]]:
        for frame in frames:
            if stopped.is_set():
                break
            waiting.append(frame)
            yield frame.image
        if stopped.is_set():  # the network need not look at those that were gathered
            raise _Stopped

    for prediction in smooth(segmenter.predict(images()), smoothing):
        yield replace(waiting.popleft(), image=_picture(prediction, show, background))


def _picture(prediction: Prediction, show: Show, background: Background) -> NDArray[np.uint8]:
    """What is shown of a prediction, (H, W, 3)."""
    if show == "overlay":
        return lay_over(prediction.image, prediction.mask)
    if show == "cutout":
        return np.asarray(prediction.cutout(background=background))
    return np.repeat(prediction.mask[..., None].astype(np.uint8) * 255, 3, axis=2)


def smooth(predictions: Iterable[Prediction], weight: float) -> Iterator[Prediction]:
    """Predictions of neighbouring frames with less flicker, by single exponential smoothing.

    The probability becomes p̄(t) = weight · p̄(t-1) + (1 - weight) · p(t), with p̄(0) = p(0) (NIST/SEMATECH e-Handbook
    of Statistical Methods, 6.4.3.1). It starts anew at a cut: where the pixels of two frames differ by more than
    `SCENE_CUT` levels on average (pair-wise comparison of Zhang, Kankanhalli and Smoliar, Automatic partitioning of
    full-motion video, 1993, section 2.1, here of levels and not of counts), or their sizes differ.

    Args:
        predictions: of frames in order of time.
        weight: of the past, at least 0 (nothing is changed) and below 1.
    """
    past: Prediction | None = None
    for present in predictions:
        if past is None or not weight or _is_cut(past.image, present.image):
            past = present
        else:
            mixed = weight * past.probability + (1 - weight) * present.probability
            past = replace(present, source=mixed)
        yield past


def _is_cut(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> bool:
    """Whether a new scene begins between two frames; every fourth row and column is enough to tell."""
    if before.shape != after.shape:
        return True
    difference = before[::4, ::4].astype(np.int16) - after[::4, ::4]
    return float(np.abs(difference).mean()) > SCENE_CUT
