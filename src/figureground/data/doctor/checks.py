"""The checks: from what is known of the files to findings. Nothing is read here."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from figureground.data.dataset import SPLITS
from figureground.data.doctor.findings import KINDS, Case, Finding
from figureground.data.doctor.inspection import FigureFacts, ImageFacts, Inspected, MaskFacts, Unreadable
from figureground.data.doctor.masks import Coding, Reading
from figureground.data.doctor.survey import Survey
from figureground.data.duplicates import join, near_pairs

CODINGS: dict[Coding, str] = {
    "0/1": "values_0_1",
    "1/2/3": "values_1_2_3",
    "two values": "two_values",
    "palette": "palette_mask",
    "rgba": "rgba_mask",
    "alpha": "alpha_mask",
    "colours": "coloured_mask",
    "anti-aliased": "anti_aliased",
    "jpeg": "jpeg_mask",
    "classes": "several_classes",
    "no trimap": "not_trimap",
}
SETTLED_BY_THRESHOLD = {"values_1_2_3", "anti_aliased", "jpeg_mask", "several_classes"}
ALIASES = {"MPO": "JPEG"}  # what telephones write: a JPEG with further pictures behind it
TURNS_SIDEWAYS = 5  # EXIF orientations from here on swap width and height
BORDER_COVERED, CENTRE_BARE = 0.6, 0.4  # shares from which, and below which, a mask seems inverted
UNDIVIDED = "no split"
RARE_CLASS = 0.05
DARK = 32  # of 255: 12 bits in a file of 16 have at most 16
SHORTEST_SIDE, LONGEST_RATIO, AREA_FACTOR = 32, 3, 16


@dataclass(frozen=True)
class Examined:
    """A dataset whose files have been looked at."""

    survey: Survey
    reading: Reading
    records: list[Inspected]
    unlisted: list[ImageFacts | Unreadable]
    """What is in the files that belong to no split."""

    def readable(self) -> Iterator[tuple[Inspected, ImageFacts, MaskFacts]]:
        """The pairs of which both files can be read."""
        for record in self.records:
            if isinstance(record.image, ImageFacts) and isinstance(record.mask, MaskFacts):
                yield record, record.image, record.mask

    def figures(self) -> Iterator[tuple[MaskFacts, FigureFacts]]:
        """The masks whose values tell what is figure."""
        for record in self.records:
            if isinstance(record.mask, MaskFacts) and record.mask.shape is not None:
                yield record.mask, record.mask.shape


Found = Iterator[tuple[str, Case]]


def check_readable(examined: Examined) -> Found:
    """Empty, truncated and other files that cannot be decoded."""
    for record in examined.records:
        for facts in (record.image, record.mask):
            if isinstance(facts, Unreadable):
                yield facts.kind, Case((facts.path,), facts.message)


def check_pairs(examined: Examined) -> Found:
    """Images and masks that lack each other, share a name, or are none in a split."""
    for item in examined.survey.items:
        if item.image and not item.mask and not item.targets:
            yield "image_without_mask", Case((item.image,))
        elif item.mask and not item.image:
            yield "mask_without_image", Case((item.mask,))
        elif not item.image:
            yield "missing", Case(detail=f"{item.name} ({item.split or UNDIVIDED})")
    there = {item.split for item in examined.survey.items}
    for split in SPLITS:
        taken_of_train = split == "valid" and {"train", "test"} <= there
        if split not in there and there != {None} and not taken_of_train:
            yield "empty_split", Case(detail=split)
    for files in examined.survey.same_name:
        yield "same_name", Case(files)


def check_strays(examined: Examined) -> Found:
    """Files that are not used."""
    for path in examined.survey.unlisted:
        yield "unlisted", Case((path,))
    for path in examined.survey.stray:
        yield "stray", Case((path,))


def check_formats(examined: Examined) -> Found:
    """Files that are not what their name says, and images that are not RGB."""
    files = [facts for record in examined.records for facts in (record.image, record.mask)] + examined.unlisted
    for facts in files:
        if isinstance(facts, ImageFacts | MaskFacts) and has_wrong_suffix(facts):
            yield "wrong_suffix", Case((facts.path,), f"is {facts.format}")
    for record in examined.records:
        if isinstance(record.image, ImageFacts) and record.image.mode != "RGB":
            brightest = record.image.thumbnail.max()
            if record.image.mode.startswith("I") and brightest < DARK:
                yield "dark", Case((record.image.path,), f"at most {brightest} of 255 on a thumbnail")
            else:
                yield "image_mode", Case((record.image.path,), f"mode {record.image.mode}")


def has_wrong_suffix(facts: ImageFacts | MaskFacts) -> bool:
    """Whether a file's name ends in another format's suffix."""
    found = ALIASES.get(facts.format, facts.format)
    return found != "" and Image.registered_extensions().get(facts.path.suffix.lower(), found) != found


def check_sizes(examined: Examined) -> Found:
    """Masks that do not have their image's size."""
    for _, image, mask in examined.readable():
        kind = size_kind(image, mask)
        if kind:
            what = f"image {_size(image.size)}, mask {_size(mask.size)}, EXIF orientation {image.orientation}"
            yield kind, Case(tuple(dict.fromkeys((image.path, mask.path))), what)


def size_kind(image: ImageFacts, mask: MaskFacts) -> str | None:
    """In which way a mask does not fit its image."""
    (width, height), (mask_width, mask_height) = image.size, mask.size
    if image.size == mask.size:
        unconfirmed = image.orientation != 1 and image.stored == image.size
        return "exif_ambiguous" if unconfirmed else None
    if image.orientation >= TURNS_SIDEWAYS and mask.size == image.stored:
        return "transposed"
    if abs(width - mask_width) <= 1 and abs(height - mask_height) <= 1:
        return "off_by_one"
    scale = mask_width / width
    return "scaled" if abs(height * scale - mask_height) <= 1 else "size_differs"


def check_odd_sizes(examined: Examined) -> Found:
    """Images that are tiny, long, or far from the usual size."""
    images = [record.image for record in examined.records if isinstance(record.image, ImageFacts)]
    if not images:
        return
    usual = float(np.median([image.size[0] * image.size[1] for image in images]))
    for image in images:
        short, long = sorted(image.size)
        factor = short * long / usual
        if short < SHORTEST_SIDE or long > LONGEST_RATIO * short or not 1 / AREA_FACTOR <= factor <= AREA_FACTOR:
            yield "odd_size", Case((image.path,), f"{_size(image.size)}, {factor:.2g} times the median area")


def check_codings(examined: Examined) -> Found:
    """Masks that are not simply 0 and 255, or 1, 2, 3 in trimaps."""
    for record in examined.records:
        if isinstance(record.mask, MaskFacts) and record.mask.coding in CODINGS:
            yield CODINGS[record.mask.coding], Case((record.mask.path,), f"values {record.mask.values}")


def check_figures(examined: Examined) -> Found:
    """Empty, full and inverted masks, specks and pinholes."""
    for mask, figure in examined.figures():
        if figure.share in (0, 1):
            yield "full_mask" if figure.share else "empty_mask", Case((mask.path,), f"values {mask.values}")
        if figure.border_share >= BORDER_COVERED and figure.centre_share < CENTRE_BARE:
            detail = f"figure on {figure.border_share:.0%} of the border, {figure.centre_share:.0%} of the middle"
            yield "inverted", Case((mask.path,), detail)
        for kind, count in (("specks", figure.specks), ("pinholes", figure.pinholes)):
            if count:
                yield kind, Case((mask.path,), f"{count} of them")


def check_balance(examined: Examined) -> Found:
    """A class that hardly has pixels."""
    shares = [figure.share for _, figure in examined.figures() if 0 < figure.share < 1]
    if shares and not RARE_CLASS <= np.mean(shares) <= 1 - RARE_CLASS:
        yield "class_imbalance", Case(detail=f"the figure covers {np.mean(shares):.1%} of the pixels on average")


def check_duplicates(examined: Examined) -> Found:
    """Pictures that are there more than once, inside a split and across."""
    records = [record for record in examined.records if isinstance(record.image, ImageFacts)]
    images = [record.image for record in records if isinstance(record.image, ImageFacts)]
    if not images:
        return
    same: defaultdict[str, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        same[image.digest].append(index)
    copies = [(group[0], other) for group in same.values() for other in group[1:]]
    near = [(a, b) for a, b in near_pairs(np.stack([image.thumbnail for image in images]))]
    for group in join(len(images), copies):
        yield _duplicate("exact", [records[index] for index in group])
    for group in join(len(images), near + copies):
        if len({images[index].digest for index in group}) > 1:
            yield _duplicate("near", [records[index] for index in group])


def _duplicate(how: str, records: list[Inspected]) -> tuple[str, Case]:
    splits = Counter(record.item.split for record in records)
    kind = f"{how}_{'leak' if len(splits) > 1 else 'duplicate'}"
    files = tuple(record.item.image for record in records if record.item.image)
    return kind, Case(files, ", ".join(f"{count} in {split or UNDIVIDED}" for split, count in splits.items()))


CHECKS: tuple[Callable[[Examined], Found], ...] = (
    check_readable,
    check_pairs,
    check_strays,
    check_formats,
    check_sizes,
    check_odd_sizes,
    check_codings,
    check_figures,
    check_balance,
    check_duplicates,
)


def collect(found: Iterable[tuple[str, Case]], reading: Reading, accept: Iterable[str] = ()) -> tuple[Finding, ...]:
    """Cases by kind, problems first; what is accepted, or settled by a threshold, is only a note."""
    notes = set(accept) | (SETTLED_BY_THRESHOLD if reading.threshold is not None else set())
    cases: defaultdict[str, list[Case]] = defaultdict(list)
    for kind, case in found:
        cases[kind].append(case)
    findings = [
        Finding(kind, "note" if kind in notes else about.severity, tuple(cases[kind]))
        for kind, about in KINDS.items()
        if kind in cases
    ]
    return tuple(sorted(findings, key=lambda finding: finding.severity != "problem"))


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def files_of(findings: Iterable[Finding], kind: str) -> set[Path]:
    """The files in which a kind was found."""
    return {path for finding in findings if finding.kind == kind for case in finding.cases for path in case.files}
