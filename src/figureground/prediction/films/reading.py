"""Film files to upright frames with their times.

Times are exact fractions of a second from the start of the film: a variable frame rate is kept, and sound stays
where it was whatever the containers count in.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from figureground.errors import UnreadableImageError
from figureground.image_files import IMAGE_SUFFIXES, first_bytes

if TYPE_CHECKING:
    from av import AudioStream, Packet, VideoFrame, VideoStream
    from av.container import InputContainer

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"),
    *(".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".3gp", ".flv"),
)
"""What films are called; when one is read, the content counts."""
SOUND_SUFFIXES = (".m4a", ".m4b", ".m4r", ".mka", ".oga", ".ogg", ".opus", ".weba", ".wma")
"""What sound alone is called, which may begin as films do."""
BRANDS = (b"iso", b"mp4", b"avc", b"M4V", b"qt", b"3g", b"dash", b"MSNV", b"mmp4")
STARTS = (b"\x1a\x45\xdf\xa3", b"\0\0\1\xba", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"FLV\1")
"""By their first bytes: MP4 and QuickTime, behind ``ftyp``; then Matroska, MPEG, ASF and Flash Video."""
FORMATS = (
    *("mov", "matroska", "avi", "mpeg", "mpegts", "mpegvideo", "asf", "flv", "ogg", "h264", "hevc", "gif"),
    *("m4v", "mjpeg", "mxf", "nut", "wtv", "rm", "dv", "ivf"),
)
"""FFmpeg's names of what is read."""
MISSING = Fraction(1, 2)
"""Seconds of picture that may be missing at the end before a film counts as cut short."""
HD_HEIGHT = 720
"""Players take films from here on to be in BT.709 colours, those of HDTV, if they do not say."""
UNSPECIFIED = 2
"""No colour matrix is named (ITU-T H.273, table 4)."""
HDR = (16, 18)
"""Transfer characteristics PQ and HLG (ITU-T H.273, table 3)."""


@dataclass(frozen=True)
class Frame:
    """One picture of a film."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB, upright."""
    time: Fraction
    """Seconds from the start of the film to its appearance."""
    duration: Fraction
    """Seconds for which it stands."""


class Film:
    """A film that is being read; made by `open_film`."""

    def __init__(self, path: Path, container: InputContainer, picture: VideoStream) -> None:
        self.path = path
        self.container = container
        self.picture = picture
        self.rate = Fraction(picture.average_rate or picture.guessed_rate or 25)
        """Frames a second, on average."""
        self.start = Fraction(container.start_time or 0, 1_000_000)
        """Seconds at which the container's clock begins; a broadcast's does not begin at 0."""
        self.pixel_aspect = Fraction(picture.sample_aspect_ratio or 1)
        """Width of a pixel over its height, in an upright frame once one was read."""
        self.count = 0
        """Frames that were read."""
        self.end = Fraction(0)
        """Seconds at which the last of them ends."""
        self.notices: list[str] = []

    def note(self, message: str) -> None:
        """Log what the user should know, and keep it."""
        self.notices.append(message)
        log.warning("%s: %s", self.path, message)

    @property
    def expected_end(self) -> Fraction | None:
        """Seconds at which the picture should end by the container's header; None where that does not say."""
        picture = self.picture
        if picture.duration:
            return seconds((picture.start_time or 0) + picture.duration, picture.time_base) - self.start
        if "DURATION" in picture.metadata:  # Matroska, which has no other place for the length of one track
            hours, minutes, rest = map(Fraction, picture.metadata["DURATION"].split(":"))
            return hours * 3600 + minutes * 60 + rest - self.start
        return None

    @property
    def expected_count(self) -> int | None:
        """About how many frames there are by the container's header."""
        return None if self.expected_end is None else round(self.expected_end * self.rate)

    def frames(self) -> Iterator[Frame]:
        """All frames, in order, as they are asked for.

        What cannot be decoded is left out, and a film that breaks off just ends; both are noted.

        Raises:
            FiguregroundError: not one frame could be decoded, or their colours cannot be converted.
        """
        from av import FFmpegError

        damaged = 0
        for packet in packets(self.container, [self.picture]):
            try:
                decoded = self.picture.decode(packet)
            except (FFmpegError, ValueError):
                damaged += 1
                continue
            for frame in decoded:
                if not self.count:
                    self._meet(frame)
                yield self._upright(frame)
        if not self.count:
            raise UnreadableImageError(
                f"{self.path} has a picture track, but no frame that can be decoded; get it again"
            )
        if damaged:
            self.note(f"{damaged} damaged packets were left out")
        if self.expected_end and self.end + MISSING < self.expected_end:
            self.note(
                f"only {self.count} of about {self.expected_count} frames could be read, the first "
                f"{float(self.end):.1f} of {float(self.expected_end):.1f} s; is the file cut short?"
            )

    def _meet(self, first: VideoFrame) -> None:
        """Take from the first frame what the container's header does not tell."""
        if lies(_matrix(first)):
            self.pixel_aspect = 1 / self.pixel_aspect
        if first.color_trc in HDR:
            self.note("an HDR film: its light is not converted, so colours will look pale")

    def _upright(self, decoded: VideoFrame) -> Frame:
        duration = seconds(decoded.duration, decoded.time_base) or 1 / self.rate
        time = self.end if decoded.pts is None else seconds(decoded.pts, decoded.time_base) - self.start
        self.count += 1
        self.end = time + duration
        return Frame(np.ascontiguousarray(upright(self._rgb(decoded), _matrix(decoded))), time, duration)

    def _rgb(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """A decoded frame (H, W, 3) as it is stored, by its own colour matrix."""
        from av import FFmpegError
        from av.video.reformatter import Colorspace

        untagged_hd = frame.colorspace == UNSPECIFIED and frame.height >= HD_HEIGHT
        matrix = Colorspace.ITU709 if untagged_hd else None
        try:
            return np.asarray(frame.to_ndarray(format="rgb24", src_colorspace=matrix), np.uint8)
        except FFmpegError as error:
            raise UnreadableImageError(
                f"{self.path}: its colours (matrix {int(frame.colorspace)}) cannot be converted ({error.strerror}); "
                "convert the film to BT.709 first"
            ) from error


def is_film(path: Path) -> bool:
    """Whether the name of a file says that it is a film, damaged or not, or else its first bytes do."""
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return not os.path.isdir(path)
    if suffix in IMAGE_SUFFIXES or suffix in SOUND_SUFFIXES:
        return False
    start = first_bytes(path)
    of_brand = start[4:8] == b"ftyp" and start[8:12].startswith(BRANDS)
    return of_brand or start.startswith(STARTS) or (start[:4], start[8:12]) == (b"RIFF", b"AVI ")


def seconds(ticks: int, clock: Fraction | None) -> Fraction:
    """Ticks of a clock (seconds a tick) as seconds."""
    return ticks * Fraction(clock or 0)


def _matrix(frame: VideoFrame) -> NDArray[np.int32]:
    """The display matrix (2, 2) of a frame: how what is right and what is down in it are shown, as (right, down) each.

    Of the nine numbers that FFmpeg hands on (a, b, u, c, d, v, x, y, w) they are (a, b) and (c, d).
    """
    from av.sidedata.sidedata import Type

    data = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]  # its stub is too narrow
    return np.eye(2, dtype=np.int32) if data is None else np.frombuffer(data, np.int32).reshape(3, 3)[:2, :2]


def lies(matrix: NDArray[np.int32]) -> bool:
    """Whether a display matrix (2, 2) exchanges height and width."""
    return bool(abs(matrix[0, 1]) > abs(matrix[0, 0]))


def upright(image: NDArray[np.uint8], matrix: NDArray[np.int32]) -> NDArray[np.uint8]:
    """An image (H, W, 3) turned and mirrored as a display matrix (2, 2) says, to the nearest quarter of a turn."""
    if lies(matrix):
        image, matrix = image.swapaxes(0, 1), matrix[::-1]  # right is shown as down: exchange both, then mirror
    return image[:: -1 if matrix[1, 1] < 0 else 1, :: -1 if matrix[0, 0] < 0 else 1]


@contextmanager
def open_film(path: Path) -> Iterator[Film]:
    """A film, whatever it is called.

    Raises:
        FiguregroundError: missing, not a film, damaged from the beginning, or sound only.
    """
    with open_container(path) as container:
        from av.stream import Disposition

        pictures = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]  # covers
        if not pictures:
            raise UnreadableImageError(f"{path} has no picture track, only {_kinds(container)}; expected a film")
        if pictures[0].codec_context is None:
            raise UnreadableImageError(
                f"{path} is of a kind that cannot be decoded here; expected another, such as H.264"
            )
        pictures[0].thread_type = "AUTO"
        yield Film(path, container, pictures[0])


def _kinds(container: InputContainer) -> str:
    return " and ".join(sorted({s.type for s in container.streams} - {"video"})) or "still pictures"


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """A file that FFmpeg knows.

    Raises:
        FiguregroundError: missing, or of another kind.
    """
    import av

    try:
        # Without a protocol "a:b.mp4" would be taken for one; of other formats some are lists of further files to open.
        container = av.open(f"file:{path}", options={"format_whitelist": ",".join(FORMATS)})
    except av.FFmpegError as error:
        raise UnreadableImageError(
            f"{path} cannot be read as a film ({error.strerror}); expected a whole one, such as MP4. Get it again"
        ) from error
    with container:
        yield container


def packets(container: InputContainer, streams: Sequence[VideoStream | AudioStream]) -> Iterator[Packet[Any]]:
    """The packets of some streams up to the end, or to where the file breaks off; an empty one ends each stream."""
    import av

    try:
        yield from container.demux(*streams)
    except av.FFmpegError:
        for stream in streams:
            last: Packet[Any] = av.Packet()
            last.stream = stream
            yield last
