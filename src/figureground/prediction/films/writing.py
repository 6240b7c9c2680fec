"""Frames to film files, with the sound of another film."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from figureground.errors import CannotWriteError, UsageError
from figureground.files import replacing
from figureground.prediction.films.reading import Film, Frame, open_container, packets, seconds

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream, Packet, VideoFrame, VideoStream
    from av.container import InputContainer, OutputContainer

    Track: TypeAlias = Callable[[Packet[Any]], Iterator[Packet[Any]]]


@dataclass(frozen=True)
class Format:
    """What goes into a container."""

    picture: tuple[str, ...]
    """Encoders; the first that this build of PyAV has is taken."""
    sound: str
    """The encoder for sound that cannot be copied."""


WRITABLE_FORMATS = {
    ".mp4": Format(("libx264", "mpeg4"), "aac"),
    ".mov": Format(("libx264", "mpeg4"), "aac"),
    ".mkv": Format(("libx264", "mpeg4"), "aac"),
    ".webm": Format(("libvpx-vp9",), "libopus"),
}
QUALITY = {
    "libx264": {"crf": "18", "preset": "veryfast"},
    "libvpx-vp9": {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"},
    "mpeg4": {"qmin": "3", "qmax": "3"},
}
"""High, so that the edges in the film are the model's and not the codec's."""
MPEG4_CLOCK = 65535
"""Ticks a second that MPEG-4 Visual can count: vop_time_increment_resolution has 16 bits (ISO/IEC 14496-2)."""
BT709 = 1
"""Code of the colour matrix (ITU-T H.273, table 4)."""
OPUS_RATE = 48000
"""Samples a second; the one rate that every encoder here takes."""


def check_target(path: Path) -> None:
    """See that a film can be written under this name.

    Raises:
        UsageError: the suffix is of no format that is written.
    """
    if path.suffix.lower() not in WRITABLE_FORMATS:
        raise UsageError(
            f"{path} is no name of a film that can be written; it must end in one of: {', '.join(WRITABLE_FORMATS)}"
        )


def write_film(path: Path, frames: Iterator[Frame], film: Film) -> tuple[int, int]:
    """Write frames, and the sound of ``film``, as the format that the suffix of ``path`` names.

    The codecs halve the resolution of colour, so an odd width or height grows by a copy of its last column or row.
    Sound is copied where the format can hold it and coded anew otherwise. Colours are BT.709. What differs from
    ``film`` is noted there.

    Returns:
        Height and width in pixels.

    Raises:
        FiguregroundError: no such format, or the folder cannot be written to.
    """
    check_target(path)
    kind = WRITABLE_FORMATS[path.suffix.lower()]
    first = next(frames)
    with _creating(path) as output, open_container(film.path) as source:
        picture = _add_picture(output, kind, film, first)
        tracks = _add_sound(output, kind, film, source)
        merged = heapq.merge(
            _picture_packets(picture, itertools.chain([first], frames)),
            _sound_packets(source, tracks),
            key=_decoding_time,
        )
        for packet in merged:
            output.mux(packet)
        return picture.height, picture.width


def _decoding_time(packet: Packet[Any]) -> Fraction:
    return seconds(packet.dts or 0, packet.time_base)


@contextmanager
def _creating(path: Path) -> Iterator[OutputContainer]:
    import av

    with replacing(path) as unfinished:
        try:
            with av.open(f"file:{unfinished}", "w") as output:
                yield output
        except av.FFmpegError as error:
            raise CannotWriteError(
                f"{path} could not be written ({error.strerror}); nothing was changed there. "
                "Free some space, or choose another format or folder"
            ) from error


def _add_picture(output: OutputContainer, kind: Format, film: Film, first: Frame) -> VideoStream:
    import av
    from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc

    name = next(name for name in kind.picture if name in av.codec.codecs_available)
    stream = cast("VideoStream", output.add_stream(name, rate=film.rate, options=QUALITY[name]))
    height, width = first.image.shape[:2]
    context = stream.codec_context
    context.height, context.width = height + height % 2, width + width % 2
    if (context.height, context.width) != (height, width):
        film.note(f"{width}×{height} pixels became {context.width}×{context.height}: lengths have to be even")
    clock = Fraction(film.picture.time_base or 1 / film.rate)
    context.time_base = clock.limit_denominator(MPEG4_CLOCK) if name == "mpeg4" else clock
    context.pix_fmt = "yuv420p"
    context.sample_aspect_ratio = film.pixel_aspect
    context.colorspace, context.color_range = BT709, ColorRange.MPEG
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return stream


def _picture_packets(stream: VideoStream, frames: Iterator[Frame]) -> Iterator[Packet[Any]]:
    clock = Fraction(stream.codec_context.time_base or 1)
    last = -1
    for frame in frames:
        picture = _coded_colours(frame, stream)
        last = max(last + 1, round(frame.time / clock))  # encoders refuse two frames at one time
        picture.pts, picture.time_base, picture.duration = last, clock, round(frame.duration / clock)
        yield from stream.encode(picture)
    yield from stream.encode(None)


def _coded_colours(frame: Frame, stream: VideoStream) -> VideoFrame:
    """A frame as the encoder wants it: of even size, in BT.709."""
    from av import VideoFrame
    from av.video.reformatter import ColorRange, Colorspace

    height, width = frame.image.shape[:2]
    even = np.pad(frame.image, [(0, height % 2), (0, width % 2), (0, 0)], mode="edge")
    return VideoFrame.from_ndarray(even, format="rgb24").reformat(
        stream.width, stream.height, "yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )


def _add_sound(output: OutputContainer, kind: Format, film: Film, source: InputContainer) -> dict[int, Track]:
    """For each sound track of ``source``, by index, what makes its packets packets of ``output``."""
    tracks: dict[int, Track] = {}
    for stream in source.streams.audio:
        if stream.codec_context is None:
            film.note("a sound track was left out: its codec is not known")
            continue
        try:
            copy = output.add_stream_from_template(stream)
        except ValueError:  # the format cannot hold it
            film.note(f"the sound was coded anew, from {stream.codec_context.codec.canonical_name} to {kind.sound}")
            encoder = _add_encoder(output, kind.sound, stream)
            tracks[stream.index] = partial(_coded_anew, stream=encoder, start=film.start)
        else:
            tracks[stream.index] = partial(_copied, stream=copy, start=film.start)
    return tracks


def _add_encoder(output: OutputContainer, name: str, source: AudioStream) -> AudioStream:
    from av import Codec

    rates = Codec(name, "w").audio_rates
    rate = source.rate if not rates or source.rate in rates else OPUS_RATE
    layout = "mono" if source.channels == 1 else "stereo"  # which every encoder and player can do
    return cast("AudioStream", output.add_stream(name, rate=rate, layout=layout))


def _sound_packets(source: InputContainer, tracks: dict[int, Track]) -> Iterator[Packet[Any]]:
    if tracks:
        for packet in packets(source, [stream for stream in source.streams.audio if stream.index in tracks]):
            yield from tracks[packet.stream.index](packet)


def _copied(packet: Packet[AudioStream], stream: AudioStream, start: Fraction) -> Iterator[Packet[Any]]:
    if packet.dts is not None:  # the empty packet at the end has none
        packet.pts = packet.dts = packet.dts - round(start / packet.time_base)
        packet.stream = stream
        yield packet


def _coded_anew(packet: Packet[AudioStream], stream: AudioStream, start: Fraction) -> Iterator[Packet[Any]]:
    frames: list[AudioFrame] = []
    with suppress(ValueError):  # av.InvalidDataError: a damaged packet is a gap in the sound
        frames = packet.stream.decode(packet)
    for frame in frames:
        if frame.pts is not None and frame.time_base:
            frame.pts -= round(start / frame.time_base)
        yield from stream.encode(frame)
    if not packet.size:  # the end
        yield from stream.encode(None)
