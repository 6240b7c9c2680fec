"""The doctor of datasets: finds what is wrong with images and masks, explains it, and writes a repaired copy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path

from figureground.config import DataConfig
from figureground.data.doctor.checks import CHECKS, Examined, collect
from figureground.data.doctor.disagreement import Predictor, check_agreement, judge_masks
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
    data: DataConfig | str | Path,
    *,
    predictors: Sequence[Predictor] = (),
    held_out: Mapping[str, int] | None = None,
    accept: Collection[str] = (),
    progress: bool = False,
) -> Report:
    """Look at every file of a dataset; nothing is changed.

    Args:
        data: of any kind of ``SOURCES``, and how masks are read, as in training; what that settles is then no problem.
            A folder, or for some kinds a file, stands for the defaults.
        predictors: models that judge the masks, each from an image (H, W, 3) to the probability (H, W) of figure.
        held_out: of folds: by the name of an image the place of the only predictor that has not seen it; others are
            judged by all.
        accept: kinds of ``KINDS`` that are meant to be so: notes, not problems.
        progress: show bars.

    Raises:
        FiguregroundError: no folder of a known layout, a kind that is not known, or settings that do not fit the masks.
    """
    unknown = sorted(set(accept) - set(KINDS))
    if unknown:
        raise UsageError(f"there is no finding {unknown[0]!r}; expected one of: {', '.join(KINDS)}")
    config = data if isinstance(data, DataConfig) else DataConfig(str(data))
    files, settings = survey(config), MaskSettings.of(config)
    reader = MaskReader([item.mask for item in files.items if item.mask], settings)
    if settings.figure_values:
        _ = reader.figure_values  # refused here, not for each mask
    reading = Reading(files.layout, config.foreground, reader)
    unlisted = [inspect_image(path) for path in files.unlisted]
    examined = Examined(files, reading, inspect(files.items, reading, progress), unlisted)
    found = chain.from_iterable(check_one(examined) for check_one in CHECKS)
    ranking = judge_masks(examined, predictors, held_out or {}, progress) if predictors else []
    findings = collect(chain(found, check_agreement(ranking)), reading, accept)
    return Report(examined, findings, len(predictors), tuple(ranking), bool(held_out))
