"""From the body of a request to the content of its answer: what a thread does. No path is taken from a request."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Semaphore
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import Query
from pydantic import BaseModel, ConfigDict
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, create_form_parser

from figureground.config import OperatingPoint, PostProcessingConfig
from figureground.errors import UsageError
from figureground.images import read_profile
from figureground.prediction import Prediction, Segmenter
from figureground.prediction.photos.reading import read_photo
from figureground.prediction.photos.result import COLOURED
from figureground.prediction.pictures.coco import encode_rle
from figureground.prediction.pictures.cutout import Background, parse_colour, read_background
from figureground.serving.problems import Refusal
from figureground.settings import find_setting

RAW = ("", "application/octet-stream", "application/x-www-form-urlencoded")  # the last is what curl says of any bytes
FORM = "multipart/form-data"
PARTS = ("image", "background")


def _of(cls: type, name: str) -> Any:
    """What a parameter says of the setting that it stands for."""
    found = find_setting(cls, name, name)
    allowed = found.field.metadata["range"]
    bounds = {"ge": allowed.at_least, "gt": allowed.above, "le": allowed.at_most, "lt": allowed.below}
    return Query(description=f"{found.sentence} Default: the model's.", **bounds)


class Wanted(BaseModel):
    """What a request asks for, in its address."""

    model_config = ConfigDict(extra="forbid")
    model: Annotated[str | None, Query(description="One of /v1/models; default: the first.", max_length=200)] = None
    output: Annotated[
        Literal["mask", "cutout", "overlay", "probability", "json"],
        Query(description="A PNG, of probability one of 16 bits, 65,535 for 1; or JSON."),
    ] = "mask"
    background: Annotated[
        str | None,
        Query(description="A colour behind the cut-out: white, #rrggbb. Or send a picture as a second part."),
    ] = None
    threshold: Annotated[float | None, _of(OperatingPoint, "threshold")] = None
    keep_largest: Annotated[bool | None, _of(PostProcessingConfig, "keep_largest")] = None
    fill_holes: Annotated[bool | None, _of(PostProcessingConfig, "fill_holes")] = None
    min_area: Annotated[float | None, _of(PostProcessingConfig, "min_area")] = None
    tolerance: Annotated[
        float, Query(description="Pixels by which polygons may be simplified; 0: exact.", ge=0, le=1e6)
    ] = 0.0

    def applied(self, prediction: Prediction) -> Prediction:
        """A prediction with the threshold and the clean-up that were asked for."""
        given = {name: getattr(self, name) for name in ("keep_largest", "fill_holes", "min_area")}
        changes = {name: value for name, value in given.items() if value is not None}
        return replace(
            prediction,
            threshold=prediction.threshold if self.threshold is None else self.threshold,
            post_processing=replace(prediction.post_processing, **changes),
        )


@dataclass(frozen=True)
class Answer:
    """What goes back to the client."""

    content: bytes
    media_type: str
    headers: dict[str, str]
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage."""


@dataclass(frozen=True)
class Server:
    """A model that answers requests."""

    name: str
    segmenter: Segmenter
    turn: Semaphore
    """To use the network."""

    @classmethod
    def of(cls, name: str, segmenter: Segmenter) -> Server:
        """Of a segmenter, which works on as many photos at once as it can."""
        return cls(name, segmenter, Semaphore(segmenter.lanes))

    def answer(self, body: bytes, content_type: str, wanted: Wanted, accepted: float) -> Answer:
        """The answer to a request.

        Args:
            body: of it.
            content_type: of the body.
            wanted: of its address.
            accepted: when it was, by ``time.perf_counter``.

        Raises:
            FiguregroundError: what is wrong with the request.
        """
        clock = _Clock(accepted)
        photo_file, behind = self._unpacked(body, content_type, wanted)
        clock.lap("wait")
        profile = read_profile(photo_file, self.segmenter.limits) if wanted.output in COLOURED else None
        photo = read_photo(
            photo_file, self.segmenter.least_size, self.segmenter.limits, whole=wanted.output in COLOURED
        )
        clock.lap("read")
        with self.turn:
            (logits,) = self.segmenter.logit_maps([photo.seen])
        clock.lap("predict")
        prediction = wanted.applied(self.segmenter.prediction(photo.image, logits, photo.size))
        headers = {
            "X-Estimated-Dice": f"{prediction.estimated_dice:.4f}",
            "X-Needs-Review": str(prediction.needs_review).lower(),
            "X-Threshold": f"{prediction.threshold:g}",
        }
        if wanted.output == "json":
            found = self._as_json(prediction, wanted.tolerance)
            clock.lap("write")
            content = json.dumps({**found, "seconds": clock.laps}).encode()
        else:
            content = prediction.encode(wanted.output, behind, profile)
            clock.lap("write")
        headers["X-Seconds"] = f"{sum(clock.laps.values()):.3f}"
        kind = "application/json" if wanted.output == "json" else "image/png"
        return Answer(content, kind, headers, clock.laps)

    def _unpacked(self, body: bytes, content_type: str, wanted: Wanted) -> tuple[bytes, Background | None]:
        """The file of the photo, and what is to be behind its cut-out."""
        kind = content_type.partition(";")[0].strip().lower()
        parts: dict[str, bytes] = {"image": body}
        if kind == FORM:
            parts = _parts(body, content_type)
        elif kind not in RAW and not kind.startswith("image/"):
            detail = f"the body is {kind[:100]}; expected a photo (image/...) or {FORM} with a part named image"
            raise Refusal(415, "unsupported", detail, given=kind[:100], allowed=["image/*", FORM])
        if not parts.get("image"):
            raise UsageError("there is no photo; expected one as the body, or as the part named image")
        picture = parts.get("background")
        if (picture or wanted.background) and wanted.output != "cutout":
            raise UsageError(f"a background is for cut-outs, and {wanted.output} was asked for; add output=cutout")
        if picture and wanted.background:
            raise UsageError("a colour and a picture were given as background; expected one of them")
        if picture:
            return parts["image"], read_background(picture, self.segmenter.limits)
        return parts["image"], parse_colour(wanted.background) if wanted.background else None

    def _as_json(self, prediction: Prediction, tolerance: float) -> dict[str, Any]:
        mask = prediction.mask
        return {
            "model": self.name,
            "height": mask.shape[0],
            "width": mask.shape[1],
            "threshold": prediction.threshold,
            "figure": np.count_nonzero(mask) / mask.size,
            "estimated_dice": prediction.estimated_dice,
            "needs_review": prediction.needs_review,
            "rle": encode_rle(mask),
            "polygons": [
                [ring.ravel().tolist() for ring in polygon.rings] for polygon in prediction.polygons(tolerance)
            ],
        }


class _Clock:
    """Seconds by stage."""

    def __init__(self, start: float) -> None:
        self._last = start
        self.laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage], self._last = round(now - self._last, 6), now


def _parts(body: bytes, content_type: str) -> dict[str, bytes]:
    """The parts of a form by name, all in memory: nothing of a photo goes to a disk.

    Raises:
        UsageError: it is no form, or one of other parts than ``PARTS``.
    """
    found: dict[str, bytes] = {}

    def add(name: bytes | None, content: Callable[[], bytes]) -> None:
        known = (name or b"").decode("latin-1")
        if known not in PARTS or known in found:
            problem = "twice" if known in found else "as a part"
            raise UsageError(f"{known[:100]!r} was given {problem}; expected once each: {', '.join(PARTS)}")
        found[known] = content()

    def add_field(field: Field) -> None:
        add(field.field_name, lambda: field.value or b"")

    def add_file(file: File) -> None:
        add(file.field_name, file.file_object.getvalue)  # type: ignore[union-attr]  # of memory

    try:
        parser = create_form_parser(
            {"Content-Type": content_type.encode("latin-1")},
            add_field,
            add_file,
            config={"MAX_MEMORY_FILE_SIZE": len(body) + 1},
        )
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise UsageError(f"the form cannot be read ({error}); expected {FORM} with a part named image") from None
    return found
