"""The findings as one HTML file with small pictures, which needs nothing from the network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from figureground.data.doctor.findings import Case, Finding
from figureground.data.doctor.report import Report
from figureground.errors import FiguregroundError
from figureground.images import read_image, read_levels
from figureground.pages import Picture, picture, write_page

EXAMPLES = 8  # with pictures, of each kind
LISTED = 200  # more are in the JSON
FILES = 4  # of a case that are shown
PICTURE_SIDE = 144  # pixels of the longer side

Pair = tuple[Path | None, Path | None]


def write_findings(report: Report, path: Path) -> None:
    """Write the findings as one HTML file, with pictures of the first cases of each kind.

    Raises:
        FiguregroundError: it cannot be written.
    """
    pairs: list[Pair] = [(item.image, item.mask) for item in report.examined.survey.items]
    by_file = {path: pair for pair in pairs for path in pair if path}
    findings = [_shown(report, finding, by_file) for finding in report.findings]
    title = f"{report.examined.survey.root.name}: data check"
    write_page(path, "data_check.html", {"title": title, "report": report, "findings": findings})


def _shown(
    report: Report, finding: Finding, pairs: dict[Path, Pair]
) -> tuple[Finding, list[tuple[str, list[Picture]]], list[str]]:
    """A finding with its first cases, each in words and pictures, and the next in words."""
    examples = [(report.describe(case), list(_pictures(case, pairs))) for case in finding.cases[:EXAMPLES]]
    return finding, examples, [report.describe(case) for case in finding.cases[EXAMPLES : EXAMPLES + LISTED]]


def _pictures(case: Case, pairs: dict[Path, Pair]) -> Iterator[Picture]:
    """Of a case's files that can be decoded; a file alone is shown beside its partner."""
    files = case.files[:FILES]
    if len(files) == 1:
        files = tuple(path for path in pairs.get(files[0], files) if path)
    for path in files:
        is_mask = pairs.get(path, (path, None))[1] == path
        try:
            pixels = _stretched(path) if is_mask else read_image(path)
        except FiguregroundError:
            continue
        yield picture(pixels, path.name, PICTURE_SIDE)


def _stretched(path: Path) -> NDArray[np.uint8]:
    """A mask's levels from black to white, so that 0 and 1 can be told apart."""
    levels = read_levels(path).astype(np.float64)
    return np.asarray((levels - levels.min()) / max(np.ptp(levels), 1) * 255, np.uint8)
