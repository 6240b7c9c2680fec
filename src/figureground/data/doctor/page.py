"""The findings as one HTML file with small pictures, which needs nothing from the network."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from figureground.data.doctor.findings import Case, Finding
from figureground.data.doctor.report import Report
from figureground.errors import FiguregroundError
from figureground.files import UNSPEAKABLE, replacing
from figureground.images import read_image, read_levels

EXAMPLES = 8  # with pictures, of each kind
LISTED = 200  # more are in the JSON
FILES = 4  # of a case that are shown
SIDE = 144  # pixels of the longer side

Pair = tuple[Path | None, Path | None]
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --problem: #c62828; --note: #1565c0 }
@media (prefers-color-scheme: dark) { :root { --problem: #ff8a80; --note: #90caf9 } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin: 0 }
section { border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin: 1rem 0 }
.problem { border-left: .3rem solid var(--problem) } .note { border-left: .3rem solid var(--note) }
.severity { font-size: .8rem; text-transform: uppercase; letter-spacing: .05em }
.problem .severity { color: var(--problem) } .note .severity { color: var(--note) }
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .8rem }
figure { margin: 0; background: var(--soft); padding: .4rem; border-radius: .3rem }
figure.wide { grid-column: span 2 }
figure div { display: flex; gap: .3rem; flex-wrap: wrap } img { max-width: 100%; max-height: 9rem }
figcaption, li { font-size: .8rem } table { border-collapse: collapse } td { padding: .1rem .8rem .1rem 0 }
"""


def write_page(report: Report, path: Path) -> None:
    """Write the findings as one HTML file, with pictures of the first cases of each kind.

    Raises:
        FiguregroundError: it cannot be written.
    """
    with replacing(path) as partial:
        partial.write_text(render(report), encoding="utf-8", errors=UNSPEAKABLE)


def render(report: Report) -> str:
    """The page."""
    pairs = _pairs(report)
    sections = "".join(_section(report, finding, pairs) for finding in report.findings)
    rows = "".join(
        f'<tr><td><a href="#{finding.kind}">{finding.about.title}</a><td>{len(finding.cases)}<td>{finding.severity}'
        for finding in report.findings
    )
    name = escape(report.examined.survey.root.name)
    caveat = f"<p>{escape(report.caveat())}</p>" if report.caveat() else ""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{name}: data check</title><style>{STYLE}</style><h1>{name}: data check</h1>"
        f"<p>{escape(report.heading())}</p><p><b>{report.verdict()}</b></p><table>{rows}</table>{caveat}"
        f"{sections}</html>\n"
    )


def _pairs(report: Report) -> dict[Path, Pair]:
    """From an image, or a mask, to both."""
    pairs: list[Pair] = [(item.image, item.mask) for item in report.examined.survey.items]
    return {path: pair for pair in pairs for path in pair if path}


def _section(report: Report, finding: Finding, pairs: dict[Path, Pair]) -> str:
    about = finding.about
    shown = "".join(_example(report, case, pairs) for case in finding.cases[:EXAMPLES])
    others = finding.cases[EXAMPLES : EXAMPLES + LISTED]
    rest = "".join(f"<li>{escape(report.describe(case))}" for case in others)
    more = len(finding.cases) - EXAMPLES - len(others)
    unlisted = f"<p>{more} more are in the JSON.</p>" if more > 0 else ""
    details = f"<details><summary>{len(others)} more</summary><ul>{rest}</ul>{unlisted}</details>" if others else ""
    return (
        f'<section class="{finding.severity}" id="{finding.kind}"><span class="severity">{finding.severity}</span>'
        f"<h2>{about.title}: {len(finding.cases)}</h2><p>{escape(about.explanation)}<br><b>Remedy:</b> "
        f'{escape(about.remedy)}</p><div class="cases">{shown}</div>{details}</section>'
    )


def _example(report: Report, case: Case, pairs: dict[Path, Pair]) -> str:
    """A case with its pictures: a file alone is shown beside its partner."""
    files = case.files[:FILES]
    if len(files) == 1:
        files = tuple(path for path in pairs.get(files[0], files) if path)
    pictures = "".join(_picture(path, is_mask=pairs.get(path, (path, None))[1] == path) for path in files)
    wide = ' class="wide"' if len(files) > 1 else ""
    return f"<figure{wide}><div>{pictures}</div><figcaption>{escape(report.describe(case))}</figcaption></figure>"


def _picture(path: Path, *, is_mask: bool) -> str:
    """A file as an image element, or nothing where it cannot be decoded."""
    try:
        pixels = _stretched(path) if is_mask else read_image(path)
    except FiguregroundError:
        return ""
    thumbnail = Image.fromarray(pixels)
    thumbnail.thumbnail((SIDE, SIDE))
    data = io.BytesIO()
    thumbnail.convert("RGB").save(data, "JPEG", quality=75)
    source = base64.b64encode(data.getvalue()).decode()
    return f'<img alt="{escape(path.name)}" src="data:image/jpeg;base64,{source}">'


def _stretched(path: Path) -> NDArray[np.uint8]:
    """A mask's levels from black to white, so that 0 and 1 can be told apart."""
    levels = read_levels(path).astype(np.float64)
    return np.asarray((levels - levels.min()) / max(np.ptp(levels), 1) * 255, np.uint8)
