import itertools
import struct
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest

from figureground.bundle import BundleInfo
from figureground.errors import FiguregroundError
from figureground.prediction import Member, Prediction, Segmenter
from figureground.prediction.films import predict as video
from figureground.prediction.films import writing as film_writing
from figureground.prediction.films.predict import (
    VideoSummary,
    _ahead,
    _predicted,
    _shut,
    _Stopped,
    predict_video,
    smooth,
)
from figureground.prediction.films.reading import Film, Frame, open_container, open_film, packets
from figureground.prediction.films.writing import Format
from figureground.preprocessing import Preprocessing

from ...stubs import Brightness

av = pytest.importorskip("av")

HEIGHT, WIDTH, RATE = 48, 64, 10


class Interrupted(Brightness):
    def run(self, batch):
        raise KeyboardInterrupt


@pytest.fixture
def segmenter():
    return Segmenter(Member(BundleInfo(preprocessing=Preprocessing((HEIGHT, WIDTH))), Brightness(), "brightness"))


def square(index):
    """A white square of 16 pixels on black, at column 2 × index."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[10:26, 2 * index : 2 * index + 16] = 255
    return image


def make_film(
    path, images=None, *, millis=None, codec="libx264", pix_fmt="yuv420p", sound="aac", matrix=None, movflags="", **more
):
    """Write images, by default 20 with a moving square, at 10 a second or at times given, with 440 Hz for as long."""
    images = [square(index) for index in range(20)] if images is None else images
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as out:
        picture = out.add_stream(codec, rate=RATE)
        picture.height, picture.width, picture.pix_fmt = *images[0].shape[:2], pix_fmt
        if rotation := more.pop("rotation", 0):
            picture.set_display_rotation(rotation)
        for name, value in more.items():
            setattr(picture.codec_context, name, value)
        tone = out.add_stream(sound, rate=48000, layout="mono") if sound else None
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image)
            frame.pts, frame.time_base = millis[index] if millis else index * 1000 // RATE, Fraction(1, 1000)
            out.mux(picture.encode(frame.reformat(format=pix_fmt, dst_colorspace=matrix)))
        out.mux(picture.encode())
        if tone:
            wave = np.sin(2 * np.pi * 440 * np.arange(len(images) * 48000 // RATE) / 48000)
            samples = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
            samples.rate = 48000
            out.mux(tone.encode(samples))
            out.mux(tone.encode())
    return path


def pictures(path):
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def times(path):
    with av.open(str(path)) as film:
        return [round(frame.time, 3) for frame in film.decode(video=0)]


def sound(path):
    """Codec, start in seconds and all samples of the first sound track."""
    with av.open(str(path)) as film:
        frames = list(film.decode(audio=0))
        samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        return film.streams.audio[0].codec_context.codec.canonical_name, frames[0].time, samples


@pytest.fixture
def film(tmp_path):
    return make_film(tmp_path / "in.mp4")


def test_a_mask_for_each_frame(segmenter, film, tmp_path):
    summary = predict_video(segmenter, film, tmp_path / "out.mp4", show="mask")
    assert (summary.frames, summary.width, summary.height, summary.notices) == (20, WIDTH, HEIGHT, ())
    assert summary.film_seconds == 2.0
    shown = pictures(tmp_path / "out.mp4")
    assert len(shown) == 20
    for index, image in enumerate(shown):
        columns = np.flatnonzero(image[18, :, 0] > 127)
        rows = np.flatnonzero(image[:, 2 * index + 8, 0] > 127)
        assert [columns[0], columns[-1]] == pytest.approx([2 * index, 2 * index + 15], abs=1)
        assert [rows[0], rows[-1]] == pytest.approx([10, 25], abs=1)
        assert len(columns) == columns[-1] - columns[0] + 1


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_rate_length_and_sound_are_kept(segmenter, film, tmp_path, suffix):
    target = tmp_path / f"out{suffix}"
    predict_video(segmenter, film, target)
    with av.open(str(target)) as out:
        assert out.streams.video[0].average_rate == RATE
        assert out.duration / av.time_base == pytest.approx(2.0, abs=0.05)
    assert times(target) == times(film) == [index / 10 for index in range(20)]
    codec, start, samples = sound(target)
    assert (codec, start) == ("aac", sound(film)[1])
    np.testing.assert_array_equal(samples, sound(film)[2])  # copied, not coded anew


def test_a_film_without_sound(segmenter, tmp_path):
    predict_video(segmenter, make_film(tmp_path / "in.mp4", sound=None), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert [stream.type for stream in out.streams] == ["video"]


def test_sound_that_the_format_cannot_hold_is_coded_anew(segmenter, film, tmp_path):
    summary = predict_video(segmenter, film, tmp_path / "out.webm")
    assert summary.notices == ("the sound was coded anew, from aac to libopus",)
    codec, start, samples = sound(tmp_path / "out.webm")
    assert (codec, start) == ("opus", pytest.approx(0, abs=0.03))
    assert len(samples) == pytest.approx(2 * 48000, rel=0.03)
    spectrum = np.abs(np.fft.rfft(samples[4800:52800]))  # one second: bins of 1 Hz
    assert np.argmax(spectrum) == 440
    assert len(pictures(tmp_path / "out.webm")) == 20


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_variable_frame_rate_is_kept(segmenter, tmp_path, suffix):
    moments = [0, 40, 120, 125, 500, 510, 900, 1300]
    source = make_film(
        tmp_path / f"in{suffix}", [square(i) for i in range(8)], millis=moments, time_base=Fraction(1, 1000)
    )
    predict_video(segmenter, source, tmp_path / f"out{suffix}")
    assert times(source) == times(tmp_path / f"out{suffix}") == [moment / 1000 for moment in moments]


def test_a_clock_that_does_not_begin_at_0(segmenter, tmp_path):
    source = make_film(tmp_path / "in.ts")
    apart = times(source)[0] - sound(source)[1]
    assert times(source)[0] > 0.1
    predict_video(segmenter, source, tmp_path / "out.mp4")
    assert times(tmp_path / "out.mp4")[0] - sound(tmp_path / "out.mp4")[1] == pytest.approx(apart, abs=0.002)
    assert min(times(tmp_path / "out.mp4")[0], sound(tmp_path / "out.mp4")[1]) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_films_of_phones_are_turned_upright(segmenter, tmp_path, rotation):
    source = make_film(tmp_path / "in.mp4", [square(0)] * 3, rotation=rotation, sample_aspect_ratio=Fraction(4, 3))
    summary = predict_video(segmenter, source, tmp_path / "out.mp4", show="mask")
    upright = np.rot90(square(0), rotation // 90)  # both count counterclockwise
    assert (summary.height, summary.width) == upright.shape[:2]
    shown = pictures(tmp_path / "out.mp4")[0]
    assert np.abs(shown.astype(int) - upright).mean() < 15
    with av.open(str(tmp_path / "out.mp4")) as out:
        aspect = out.streams.video[0].sample_aspect_ratio
        assert next(out.decode(video=0)).rotation == 0
    assert aspect == (Fraction(4, 3) if rotation == 180 else Fraction(3, 4))


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [((-1, 0, 0, 1), square(0)[:, ::-1]), ((1, 0, 0, -1), square(0)[::-1]), ((0, 1, 1, 0), square(0).swapaxes(0, 1))],
)
def test_films_that_are_stored_mirrored(segmenter, tmp_path, matrix, expected):
    """A rotation alone cannot say it; the matrix is in the header of the track, in 16.16 fixed point."""
    source = make_film(tmp_path / "in.mp4", [square(0)] * 3)
    content = bytearray(source.read_bytes())
    start = content.index(b"tkhd") + 44
    a, b, c, d = (value * 2**16 for value in matrix)
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 2**30)
    source.write_bytes(content)
    predict_video(segmenter, source, tmp_path / "out.mp4", show="mask")
    shown = pictures(tmp_path / "out.mp4")[0]
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 15


def test_an_odd_size_grows_by_one(segmenter, tmp_path):
    images = [square(0)[:47, :63]] * 3
    source = make_film(tmp_path / "in.mkv", images, codec="ffv1", pix_fmt="yuv444p")
    summary = predict_video(segmenter, source, tmp_path / "out.mp4", show="mask")
    assert (summary.width, summary.height) == (64, 48)
    assert summary.notices == ("63×47 pixels became 64×48: lengths have to be even",)
    assert np.abs(pictures(tmp_path / "out.mp4")[0].astype(int) - square(0)).mean() < 5


@pytest.mark.parametrize(
    ("height", "matrix", "tag"),
    [(48, "ITU709", 1), (48, "ITU601", 6), (48, "ITU601", 2), (720, "ITU709", 2)],
    ids=["BT.709", "BT.601", "SD that does not say", "HD that does not say"],
)
def test_colours(segmenter, tmp_path, height, matrix, tag):
    """A blue too dark to be figure, and white, which becomes 0.55 · white + 0.45 · red."""
    image = np.full((height, 64, 3), (30, 60, 200), np.uint8)
    image[:, 32:] = 255
    source = make_film(tmp_path / "in.mp4", [image] * 3, matrix=matrix, colorspace=tag)
    predict_video(segmenter, source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as out:
        decoded = next(out.decode(video=0))
        assert (decoded.colorspace, decoded.color_range) == (1, 1)
        shown = decoded.to_ndarray(format="rgb24").astype(float)
    assert shown[:, 2:28].mean((0, 1)) == pytest.approx((30, 60, 200), abs=4)
    assert shown[:, 36:].mean((0, 1)) == pytest.approx((255, 140, 140), abs=4)


def test_a_cutout_on_a_colour(segmenter, film, tmp_path):
    predict_video(segmenter, film, tmp_path / "out.mp4", show="cutout", background=(30, 60, 200))
    shown = pictures(tmp_path / "out.mp4")[10].astype(float)  # the square is at columns 20 to 35
    assert shown[2:44, 46:].mean((0, 1)) == pytest.approx((30, 60, 200), abs=4)
    assert shown[14:22, 24:32].mean((0, 1)) == pytest.approx((255, 255, 255), abs=4)


def test_hdr_is_noted(segmenter, tmp_path):
    source = make_film(tmp_path / "in.mp4", color_trc=18)
    assert predict_video(segmenter, source, tmp_path / "out.mp4").notices == (
        "an HDR film: its light is not converted, so colours will look pale",
    )


def test_an_interruption_leaves_nothing(film, tmp_path):
    segmenter = Segmenter(Member(BundleInfo(), Interrupted(), "interrupted"))
    with pytest.raises(KeyboardInterrupt):
        predict_video(segmenter, film, tmp_path / "out" / "out.mp4")
    assert [path.name for path in tmp_path.rglob("*")] == ["in.mp4"]


def test_an_interruption_in_the_middle_leaves_nothing(segmenter, film, tmp_path, monkeypatch):
    """In the first thread, where Ctrl-C comes, while the others work."""
    coded, threads, done = film_writing._coded_colours, threading.active_count(), []

    def interrupted(*given):
        done.append(given)
        if len(done) == 12:
            raise KeyboardInterrupt
        return coded(*given)

    monkeypatch.setattr(film_writing, "_coded_colours", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict_video(segmenter, film, tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
    assert threading.active_count() == threads


def test_further_interruptions_wait_for_the_threads():
    class Pool(ThreadPoolExecutor):
        calls = 0

        def shutdown(self, **settings):
            self.calls += 1
            if self.calls < 3:
                raise KeyboardInterrupt
            super().shutdown(**settings)

    pool = Pool(1)
    slow = pool.submit(time.sleep, 0.05)
    with pytest.raises(KeyboardInterrupt):
        _shut(pool)
    assert (pool.calls, slow.done()) == (3, True)


def test_what_is_stopped_asks_neither_for_frames_nor_for_the_network():
    class Counted(Brightness):
        calls = 0

        def run(self, batch):
            Counted.calls += 1
            return super().run(batch)

    stopped, read = Event(), []

    def frames():
        for number in range(20):
            if number == 3:
                stopped.set()
            read.append(number)
            yield Frame(square(number), Fraction(number), Fraction(1))

    segmenter = Segmenter(Member(BundleInfo(), Counted(), "counted"))
    with pytest.raises(_Stopped):
        next(_predicted(segmenter, frames(), "mask", (0, 0, 0), 0.0, stopped))
    assert (read, Counted.calls) == ([0, 1, 2, 3], 0)


def test_an_encoder_that_refuses_leaves_nothing(segmenter, film, tmp_path, monkeypatch):
    monkeypatch.setitem(film_writing.QUALITY, "libx264", {"preset": "none such"})
    with pytest.raises(FiguregroundError, match=r"out.mp4 could not be written \(.*choose another format or folder"):
        predict_video(segmenter, film, tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize(("width", "height", "most"), [(2048, 72, 8), (2048, 1024, 3), (2048, 4608, 1), (0, 0, 1)])
def test_frames_are_made_ahead_as_memory_allows(width, height, most):
    """By the film's header eight, three of 2.1 million pixels, one of 9.4 million, one where it does not say."""
    made, threads, pixels = [], threading.active_count(), np.broadcast_to(np.uint8(0), (height or 4608, 2048, 3))

    def frames():
        for number in range(20):
            made.append(number)
            yield Frame(pixels, Fraction(number), Fraction(1))

    with _ahead(frames(), SimpleNamespace(picture=SimpleNamespace(width=width, height=height)), Event()) as ahead:
        assert next(ahead).time == 0
        deadline = time.monotonic() + 10
        while len(made) < most + 1 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.02)
        assert len(made) == most + 1
        assert [frame.time for frame in ahead] == list(range(1, 20))
    assert threading.active_count() == threads


def test_frames_that_grow_are_fewer():
    """Eight of 8 pixels were under way when one of 9.4 million came; from then on one."""
    sizes = [(2, 4)] * 9 + [(4608, 2048)] * 11
    made = []

    def frames():
        for number, size in enumerate(sizes):
            made.append(number)
            yield Frame(np.broadcast_to(np.uint8(0), (*size, 3)), Fraction(number), Fraction(1))

    with _ahead(frames(), SimpleNamespace(picture=SimpleNamespace(width=4, height=2)), Event()) as ahead:
        for number, _ in enumerate(ahead):
            time.sleep(0.01)
            assert len(made) <= number + (2 if number >= 16 else 9)
    assert len(made) == 20


def test_an_error_comes_in_its_place_and_ends_the_threads():
    def frames():
        yield Frame(np.zeros((8, 8, 3), np.uint8), Fraction(0), Fraction(1))
        raise FiguregroundError("broken")

    threads = threading.active_count()
    with _ahead(frames(), SimpleNamespace(picture=SimpleNamespace(width=8, height=8)), Event()) as ahead:
        assert next(ahead).time == 0
        with pytest.raises(FiguregroundError, match="broken"):
            next(ahead)
    assert threading.active_count() == threads


def test_no_thread_reads_on_when_writing_fails(segmenter, film, tmp_path, monkeypatch):
    threads, kept = threading.active_count(), []

    def refuse(path, frames, film):
        kept.append(frames)  # or its end would close it
        next(frames)
        raise FiguregroundError("disk full")

    monkeypatch.setattr(video, "write_film", refuse)
    with pytest.raises(FiguregroundError, match="disk full"):
        predict_video(segmenter, film, tmp_path / "out.mp4")
    assert threading.active_count() == threads


def test_memory_does_not_grow_with_the_film(segmenter, tmp_path, monkeypatch):
    alive = []

    def watched(self):
        images = []
        for frame in frames(self):
            images.append(weakref.ref(frame.image))
            alive.append(sum(image() is not None for image in images))
            yield frame

    frames = Film.frames
    monkeypatch.setattr(Film, "frames", watched)
    source = make_film(tmp_path / "in.mp4", [square(index % 20) for index in range(100)])
    assert predict_video(segmenter, source, tmp_path / "out.mp4", smoothing=0.5).frames == 100
    assert len(alive) == 100
    assert max(alive) <= 3 * 8 + 2  # read ahead, of one batch, predicted ahead; the past, and the one that is written


def test_a_film_that_is_cut_short_is_done_up_to_there(segmenter, tmp_path, caplog):
    source = make_film(tmp_path / "in.mp4", movflags="faststart")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    summary = predict_video(segmenter, source, tmp_path / "out.mp4", show="mask")
    assert 2 <= summary.frames <= 14
    assert f"only {summary.frames} of about 20 frames could be read" in summary.notices[0]
    assert summary.notices[0] in caplog.text
    assert len(pictures(tmp_path / "out.mp4")) == summary.frames


def test_a_matroska_film_that_is_cut_short(segmenter, tmp_path):
    source = make_film(tmp_path / "in.mkv", codec="ffv1", pix_fmt="yuv444p")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    summary = predict_video(segmenter, source, tmp_path / "out.mkv")
    assert any("of about 20 frames" in notice for notice in summary.notices)


def test_damaged_packets_are_left_out(segmenter, tmp_path):
    source = make_film(tmp_path / "in.mp4", codec="png", pix_fmt="rgb24", sound=None)
    content = source.read_bytes()
    tenth = [i for i in range(len(content)) if content[i : i + 8] == b"\x89PNG\r\n\x1a\n"][9]
    source.write_bytes(content[:tenth] + b"\0" * 8 + content[tenth + 8 :])
    summary = predict_video(segmenter, source, tmp_path / "out.mp4")
    assert summary.frames == 19
    assert summary.notices == ("1 damaged packets were left out",)
    assert times(tmp_path / "out.mp4") == [index / 10 for index in range(20) if index != 9]


def headless(path):
    """Without the index, which this container has at its end."""
    make_film(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def sound_only(path):
    with av.open(str(path), "w") as out:
        tone = out.add_stream("aac", rate=48000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.float32), format="fltp", layout="mono")
        samples.rate = 48000
        out.mux(tone.encode(samples))
        out.mux(tone.encode())


def no_frames(path):
    """A header and pictures of zeros."""
    make_film(path, codec="png", pix_fmt="rgb24", sound=None)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\x89PNG\r\n\x1a\n", b"\0" * 8))


def unknown_codec(path):
    make_film(path)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))


def strange_colours(path):
    """Those of H.273's matrix 8, YCgCo, which FFmpeg cannot convert."""
    make_film(path, colorspace=8)


def test_where_a_file_breaks_off_the_decoder_gives_what_it_holds(film):
    class Broken:
        def __init__(self, container):
            self.container = container

        def demux(self, *streams):
            yield from itertools.islice(self.container.demux(*streams), 12)
            raise av.error.OSError(5, "Input/output error")

    with open_container(film) as container:
        picture = container.streams.video[0]
        assert sum(len(picture.decode(packet)) for packet in packets(Broken(container), [picture])) == 12


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (headless, r"in.mp4 cannot be read as a film \(Invalid data"),
        (lambda path: path.write_text("no film\n" * 100), r"in.mp4 cannot be read as a film \(Invalid data"),
        (lambda path: path.write_bytes(b""), r"in.mp4 cannot be read as a film"),
        (lambda path: None, r"in.mp4 cannot be read as a film \(No such file"),
        (lambda path: path.mkdir(), r"in.mp4 cannot be read as a film \(Is a directory"),
        (sound_only, "in.mp4 has no picture track, only audio"),
        (no_frames, "in.mp4 has a picture track, but no frame that can be decoded"),
        (strange_colours, r"in.mp4: its colours \(matrix 8\) cannot be converted \(Operation not supported\)"),
        (unknown_codec, "in.mp4 is of a kind that cannot be decoded here"),
    ],
)
def test_what_is_no_film_is_refused(segmenter, tmp_path, make, message):
    make(tmp_path / "in.mp4")
    with pytest.raises(FiguregroundError, match=message):
        predict_video(segmenter, tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert {path.name for path in tmp_path.iterdir()} <= {"in.mp4"}


def test_wrong_targets_and_settings_are_refused(segmenter, film, tmp_path):
    (tmp_path / "there.mp4").write_bytes(b"precious")
    for target, settings, message in [
        ("out.gif", {}, r"out.gif is no name of a film.*one of: .mp4, .mov, .mkv, .webm"),
        ("out", {}, "is no name of a film"),
        ("there.mp4", {}, r"there.mp4 exists; choose another name"),
        ("in.mp4", {"overwrite": True}, "in.mp4 is the film itself"),
        ("out.mp4", {"smoothing": 1.0}, r"smoothing is 1.0; expected at least 0 \(off\) and below 1"),
        ("out.mp4", {"smoothing": -0.1}, "smoothing is -0.1"),
    ]:
        with pytest.raises(FiguregroundError, match=message):
            predict_video(segmenter, film, tmp_path / target, **settings)
    assert (tmp_path / "there.mp4").read_bytes() == b"precious"
    assert predict_video(segmenter, film, tmp_path / "there.mp4", overwrite=True).frames == 20
    assert len(pictures(tmp_path / "there.mp4")) == 20


def test_without_h264_the_older_mpeg4_is_written(segmenter, tmp_path, monkeypatch):
    monkeypatch.setitem(film_writing.WRITABLE_FORMATS, ".mp4", Format(("not-built", "mpeg4"), "aac"))
    source = make_film(tmp_path / "in.ts", sound=None)  # counts in 1/90000 s, which this codec cannot
    predict_video(segmenter, source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert out.streams.video[0].codec_context.name == "mpeg4"
    assert times(tmp_path / "out.mp4") == [index / 10 for index in range(20)]


def test_progress_and_real_time_factor(segmenter, film, tmp_path, capsys):
    predict_video(segmenter, film, tmp_path / "out.mp4")
    assert capsys.readouterr().err == ""
    predict_video(segmenter, film, tmp_path / "again.mp4", progress=True)
    assert "/20 " in capsys.readouterr().err
    assert VideoSummary(20, 64, 48, 2.0, 5.0, ()).real_time_factor == 2.5


def test_a_cover_is_no_film(tmp_path):
    with av.open(str(tmp_path / "song.mp4"), "w") as out:
        cover = out.add_stream("png", rate=1)
        cover.height, cover.width, cover.pix_fmt = HEIGHT, WIDTH, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        out.mux(cover.encode(av.VideoFrame.from_ndarray(square(0))))
        out.mux(cover.encode())
    with pytest.raises(FiguregroundError, match=r"song.mp4 has no picture track"), open_film(tmp_path / "song.mp4"):
        pass


def predictions(*probabilities, levels=None):
    levels = [0] * len(probabilities) if levels is None else levels
    for probability, level in zip(probabilities, levels, strict=True):
        image = np.full((8, 8, 3), level, np.uint8)
        yield Prediction(image, np.full((8, 8), probability, np.float32), threshold=0.3)


def smoothed(found):
    return [prediction.probability[3, 5] for prediction in found]


def test_smoothing_known_answer():
    # 1; 0.75 · 1 + 0.25 · 0 = 0.75; 0.75 · 0.75 + 0.25 · 1 = 0.8125; 0.75 · 0.8125 = 0.609375
    found = list(smooth(predictions(1, 0, 1, 0), 0.75))
    assert smoothed(found) == [1, 0.75, 0.8125, 0.609375]
    assert {prediction.probability.dtype for prediction in found} == {np.dtype(np.float32)}
    assert {prediction.threshold for prediction in found} == {0.3}


def test_smoothing_off_changes_nothing():
    assert smoothed(smooth(predictions(1, 0, 0.5), 0.0)) == [1, 0, 0.5]


def test_smoothing_starts_anew_at_a_cut():
    levels = [0, 30, 61, 61]  # differences of 30, 31 and 0 levels: more than 30 is a cut
    assert smoothed(smooth(predictions(1, 0, 0, 1, levels=levels), 0.5)) == [1, 0.5, 0, 0.5]


def test_smoothing_starts_anew_at_another_size():
    small = Prediction(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32))
    found = list(smooth([*predictions(1), small], 0.5))
    assert found[1].probability.max() == 0


def test_smoothing_in_a_film(segmenter, tmp_path):
    """A square that is there for one frame stays, with p = 0.8 of it left, and goes in the fourth: 0.8³ = 0.512."""
    source = make_film(tmp_path / "in.mp4", [square(0)] + [np.zeros_like(square(0))] * 5, sound=None)
    predict_video(segmenter, source, tmp_path / "out.mp4", show="mask", smoothing=0.8)
    assert [image[18, 8, 0] > 127 for image in pictures(tmp_path / "out.mp4")] == [True] * 4 + [False] * 2


def test_frames_as_they_are_read(film):
    with open_film(film) as opened:
        found = list(opened.frames())
    assert [frame.time for frame in found] == [Fraction(index, 10) for index in range(20)]
    assert {frame.duration for frame in found} == {Fraction(1, 10)}
    assert isinstance(found[0], Frame)
    assert np.abs(found[7].image.astype(int) - square(7)).mean() < 5


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{film}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {film}\n",
        "[playlist]\nFile1={film}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    ],
    ids=["HLS", "concat", "PLS", "SDP"],
)
def test_a_list_of_other_files_is_no_film(segmenter, film, tmp_path, playlist):
    """It would make FFmpeg open what a stranger names: other files, and addresses of the network."""
    source = tmp_path / "list.mp4"
    source.write_text(playlist.format(film=film.name))
    with pytest.raises(FiguregroundError, match=r"list\.mp4 cannot be read as a film"):
        predict_video(segmenter, source, tmp_path / "out.mp4")
