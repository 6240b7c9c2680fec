"""A repaired copy of a dataset, with a log of what was done. The original is only read.

The copy has ``images/SPLIT`` and ``masks/SPLIT``: every image upright RGB, every mask 0 and 255 at its image's size.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Collection, Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from tqdm import tqdm

from figureground.data.dataset import SPLITS, Split
from figureground.data.doctor.checks import Examined, files_of, has_wrong_suffix, size_kind
from figureground.data.doctor.findings import Finding
from figureground.data.doctor.inspection import ImageFacts, MaskFacts, find_pinholes, find_specks
from figureground.data.doctor.masks import read_mask
from figureground.data.doctor.report import Report
from figureground.errors import CannotWriteError, UsageError
from figureground.files import UNSPEAKABLE, replacing
from figureground.images import read_image, write_image

LOG = "repairs.csv"
UNUSABLE = {"unlisted", "stray", "not_trimap", "size_differs"}  # not copied, even where they are accepted
DRAWN = {"coco", "labelme"}
DUPLICATES = {"exact_duplicate", "exact_leak", "near_leak"}


@dataclass(frozen=True)
class Action:
    """One thing that was done."""

    file: str
    """Below the original's folder."""
    action: str
    """``left out``, ``converted`` or ``mended``."""
    detail: str


def repair(report: Report, output: Path, progress: bool = False) -> list[Action]:
    """Write a repaired copy of what was checked into a new folder, and ``repairs.csv`` beside it.

    Raises:
        FiguregroundError: as `require_repairable` says, or ``output`` cannot be written to.
    """
    examined = report.examined
    require_repairable(output, examined.reading.leaves_out, examined.survey.layout)
    left_out = files_left_out(report.findings, examined)
    inverted = files_of([finding for finding in report.findings if finding.severity == "problem"], "inverted")
    actions = [Action(report.relative(path), "left out", reason) for path, reason in left_out.items()]
    kept = [found for found in examined.readable() if not {found[1].path, found[2].path} & set(left_out)]
    for record, image, mask in tqdm(kept, desc="repairing", unit="image", leave=False, disable=not progress):
        split, name = record.item.split, record.item.name
        actions += _copy_image(image, output / "images" / (split or "") / name, report)
        actions += _copy_mask(image, mask, output / "masks" / (split or "") / name, report, turn=mask.path in inverted)
    _write_log(output / LOG, actions)
    return actions


def require_repairable(output: Path, leaves_out: bool, layout: str) -> None:
    """
    Raises:
        FiguregroundError: ``output`` holds something, something is left out, which masks of 0 and 255 cannot say, or
            data of that kind (a key of ``SOURCES``) have no mask files.
    """
    if layout in DRAWN:
        raise UsageError(
            f"a repaired copy is of mask files, which data of the kind {layout} do not have; leave out --fix"
        )
    if leaves_out:
        raise CannotWriteError(
            "a repaired copy has masks of 0 and 255, which cannot leave pixels out; "
            "expected --foreground foreground or background, and no --ignore-value"
        )
    if output.exists() and (output.is_file() or any(output.iterdir())):
        raise CannotWriteError(f"{output} is not empty; give a new folder for the repaired copy")


def files_left_out(findings: Iterable[Finding], examined: Examined) -> dict[Path, str]:
    """The files that a repaired copy does without, and why."""
    splits = {record.item.image: record.item.split for record in examined.records if record.item.image}
    pairs = [(record.item.image, record.item.mask) for record in examined.records]
    partners = {a: b for a, b in [*pairs, *(pair[::-1] for pair in pairs)] if a and b}
    left_out: dict[Path, str] = {}
    unusable = UNUSABLE if examined.reading.threshold is not None else UNUSABLE | {"several_classes"}
    # Copies come last: of one picture a pair should remain that nothing else is wrong with.
    for finding in sorted(findings, key=lambda finding: finding.kind in DUPLICATES):
        if finding.about.repair != "leave out" or (finding.severity == "note" and finding.kind not in unusable):
            continue
        for case in finding.cases:
            files = list(case.files)
            if finding.kind in DUPLICATES:
                files = spare_copies([path for path in files if path not in left_out], splits, finding.kind)
            for path in files:
                for file in (path, partners.get(path)):
                    if file:
                        left_out.setdefault(file, finding.about.title)
    return left_out


def spare_copies(files: Collection[Path], splits: dict[Path, Split | None], kind: str) -> list[Path]:
    """Of one picture's files those to leave out, so that test keeps its own and of exact copies one remains."""
    if not files:
        return []
    last = max(files, key=lambda path: SPLITS.index(splits[path] or "train"))
    if kind == "near_leak":
        return [path for path in files if splits[path] != splits[last]]
    return [path for path in files if path != last]


def _copy_image(image: ImageFacts, stem: Path, report: Report) -> list[Action]:
    """Copy an image, as it is where it is upright RGB and rightly named."""
    name = report.relative(image.path)
    reasons = [f"mode {image.mode}"] if image.mode != "RGB" else []
    reasons += ["turned upright"] if image.orientation != 1 else []
    reasons += [f"was {image.format}"] if has_wrong_suffix(image) else []
    if reasons:
        write_image(stem.with_name(stem.name + ".png"), read_image(image.path))
        return [Action(name, "converted", ", ".join(["RGB PNG", *reasons]))]
    with replacing(stem.with_name(stem.name + image.path.suffix)) as partial:
        shutil.copyfile(image.path, partial)
    return []


def _copy_mask(image: ImageFacts, mask: MaskFacts, stem: Path, report: Report, *, turn: bool) -> list[Action]:
    """Write a mask as 0 and 255 at its image's size, with its faults mended."""
    content = read_mask(mask.path, report.examined.reading)
    assert content.figure is not None  # otherwise it is left out
    done = [] if mask.coding == "plain" else [f"{mask.coding} ({mask.values}) to 0 and 255"]
    figure = content.figure
    kind = size_kind(image, mask)
    if kind == "transposed":
        figure = _turned(figure, image.orientation)
        done.append("turned as its image")
    elif kind in ("off_by_one", "scaled"):
        figure = np.asarray(Image.fromarray(figure).resize(image.size, Image.Resampling.NEAREST))
        done.append(f"resized from {mask.size[0]}×{mask.size[1]}")
    if turn:
        figure = ~figure
        done.append("figure and background exchanged")
    figure, cleaned = _cleaned(figure)
    write_image(stem.with_name(stem.name + ".png"), figure.astype(np.uint8) * 255)
    return [Action(report.relative(mask.path), "mended", ", ".join(done + cleaned))] if done + cleaned else []


def _turned(figure: NDArray[np.bool_], orientation: int) -> NDArray[np.bool_]:
    """A mask (H, W) turned as EXIF turns its image."""
    picture = Image.fromarray(figure.astype(np.uint8))
    picture.getexif()[ExifTags.Base.Orientation] = orientation
    return np.asarray(ImageOps.exif_transpose(picture)).astype(bool)


def _cleaned(figure: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], list[str]]:
    """A mask without specks and pinholes."""
    specks = find_specks(figure)
    figure = figure & ~specks
    pinholes = find_pinholes(figure)
    done = [
        f"{count} pixels of {what}"
        for what, count in (("specks erased", specks.sum()), ("pinholes filled", pinholes.sum()))
        if count
    ]
    return figure | pinholes, done


def _write_log(path: Path, actions: Iterable[Action]) -> None:
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8", errors=UNSPEAKABLE) as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Action)])
        writer.writerows(astuple(action) for action in sorted(actions, key=lambda action: action.file))
