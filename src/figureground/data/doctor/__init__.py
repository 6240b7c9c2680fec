"""The doctor of datasets: finds what is wrong with images and masks, explains it, and writes a repaired copy."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain
from pathlib import Path

from figureground.config import FOREGROUNDS, DataConfig
from figureground.data.doctor.checks import CHECKS, Examined, collect
from figureground.data.doctor.disagreement import Predictor, check_agreement
from figureground.data.doctor.findings import KINDS, Case, Finding, Kind
from figureground.data.doctor.inspection import inspect, inspect_image
from figureground.data.doctor.masks import Reading
from figureground.data.doctor.page import write_findings
from figureground.data.doctor.repair import repair, require_repairable
from figureground.data.doctor.report import Report, write_json
from figureground.data.doctor.survey import survey
from figureground.data.masks import MaskReader, MaskSettings
from figureground.errors import UsageError

__all__ = [
    "KINDS",
    "Case",
    "Finding",
    "Kind",
    "Predictor",
    "Report",
    "check",
    "repair",
    "require_repairable",
    "write_findings",
    "write_json",
]


def check(
    folder: Path,
    *,
    foreground: str = "foreground",
    mask_threshold: int | None = None,
    category: tuple[str, ...] = (),
    predictors: Sequence[Predictor] = (),
    accept: Collection[str] = (),
    progress: bool = False,
) -> Report:
    """Look at every file of a dataset; nothing is changed.

    Args:
        folder: of any kind of ``SOURCES``; for some that is a file.
        foreground: what the border of a trimap counts as.
        mask_threshold: as training is given it; what it settles is then no problem.
        category: of COCO and labelme: what is of these is figure; none: of any.
        predictors: models that judge the masks, each from an image (H, W, 3) to the probability (H, W) of figure.
        accept: kinds of ``KINDS`` that are meant to be so: notes, not problems.
        progress: show bars.

    Raises:
        FiguregroundError: no folder of a known layout, or a kind or border policy that is not known.
    """
    unknown = sorted(set(accept) - set(KINDS))
    if unknown:
        raise UsageError(f"there is no finding {unknown[0]!r}; expected one of: {', '.join(KINDS)}")
    if foreground not in FOREGROUNDS:
        raise UsageError(f"border policy {foreground!r}; expected one of: {', '.join(FOREGROUNDS)}")
    files = survey(DataConfig(str(folder), category=category))
    masks = [item.mask for item in files.items if item.mask]
    reading = Reading(files.layout, foreground, MaskReader(masks, MaskSettings(mask_threshold)))
    unlisted = [inspect_image(path) for path in files.unlisted]
    examined = Examined(files, reading, inspect(files.items, reading, progress), unlisted)
    found = chain.from_iterable(check_one(examined) for check_one in CHECKS)
    judged = check_agreement(examined, predictors, progress) if predictors else ()
    return Report(examined, collect(chain(found, judged), reading, accept), len(predictors))
