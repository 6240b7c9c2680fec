"""The parts of a report as HTML that needs nothing but itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from figureground.evaluation.report.cases import EXTRA, MISSED, NOT_COUNTED, NOTHING, RIGHT, Panels
from figureground.evaluation.report.plots import as_svg, write_png
from figureground.files import UNSPEAKABLE, replacing
from figureground.images import encode_image
from figureground.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KEY = {
    "figure that was found": RIGHT,
    "figure that was missed": MISSED,
    "too much": EXTRA,
    "background": NOTHING,
    "not counted": NOT_COUNTED,
}


@dataclass(frozen=True)
class Plot:
    """A figure with its words."""

    name: str
    """Of its PNG file, without suffix."""
    figure: Figure
    description: str
    """What it shows, for those who do not see it."""
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    title: str
    paragraphs: Sequence[str] = ()
    """Plain text."""
    plots: Sequence[Plot] = ()
    html: str = ""
    """What follows: tables and pictures, from the functions of this module."""

    @property
    def anchor(self) -> str:
        """Its name in links."""
        return "-".join(self.title.lower().split())


def write_page(path: Path, title: str, headline: str, sections: Sequence[Section]) -> None:
    """Write a page, and every plot as PNG into a folder of the same name beside it.

    Args:
        path: ``report.html``; its plots go into ``report/``.
        title: plain text.
        headline: HTML.
        sections: in their order.

    Raises:
        FiguregroundError: the folder cannot be written to.
    """
    template = Template(
        resources.files("figureground").joinpath("evaluation", "report", "page.html").read_text("utf-8")
    )
    text = template.substitute(
        title=escape(title),
        headline=headline,
        links=" ".join(f'<a href="#{escape(s.anchor)}">{escape(s.title)}</a>' for s in sections),
        sections="\n".join(map(_section, sections)),
        version=escape(__version__),
    )
    for plot in (plot for section in sections for plot in section.plots):
        write_png(path.with_suffix("") / f"{plot.name}.png", plot.figure)
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors=UNSPEAKABLE)


def _section(section: Section) -> str:
    plots = "".join(map(_plot, section.plots))
    body = paragraphs(*section.paragraphs) + (f'<div class="plots">{plots}</div>' if plots else "") + section.html
    return f'<section id="{escape(section.anchor)}">\n<h2>{escape(section.title)}</h2>\n{body}\n</section>'


def _plot(plot: Plot) -> str:
    svg = as_svg(plot.figure).replace("<svg", f'<svg role="img" aria-label="{escape(plot.description)}"', 1)
    return f"<figure>{svg}<figcaption>{escape(plot.caption)}</figcaption></figure>\n"


def paragraphs(*texts: str) -> str:
    """Plain texts, a paragraph each."""
    return "".join(f"<p>{escape(text)}</p>\n" for text in texts)


def bullets(texts: Iterable[str]) -> str:
    """Plain texts as a list."""
    return "<ul>" + "".join(f"<li>{escape(text)}</li>\n" for text in texts) + "</ul>"


def heading(text: str) -> str:
    """Plain text as a heading within a section."""
    return f"<h3>{escape(text)}</h3>\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str, words: int = 1) -> str:
    """Plain texts as a table that scrolls where it is too wide; after the first ``words`` columns come numbers."""
    kinds = ["" if column < words else ' class="number"' for column in range(len(head))]
    titles = "".join(f'<th scope="col"{kind}>{escape(text)}</th>' for kind, text in zip(kinds, head, strict=True))
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds[1:], rest, strict=True))
        + "</tr>\n"
        for first, *rest in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>\n'
        f"<thead><tr>{titles}</tr></thead>\n<tbody>{body}</tbody></table></div>\n"
    )


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Names and what they are, as a table."""
    body = "".join(f'<tr><th scope="row">{escape(n)}</th><td>{escape(text)}</td></tr>\n' for n, text in rows)
    return f'<div class="scroll"><table><tbody>{body}</tbody></table></div>\n'


def preformatted(text: str) -> str:
    """Plain text as it stands."""
    return f"<pre>{escape(text)}</pre>\n"


def error_key() -> str:
    """What the colours of an error map mean."""
    items = (f'<b><i style="background:rgb{colour}"></i>{escape(name)}</b> ' for name, colour in KEY.items())
    return f'<p class="soft key">Error map: {"".join(items)}</p>\n'


def case(panels: Panels) -> str:
    """An image in four pictures, with its name and Dice."""
    name = panels.name
    pictures = {
        "picture": _jpeg(panels.picture, f"{name}: the photograph"),
        "truth": _png(panels.truth, f"{name}: the true mask, the figure in white"),
        "prediction": _png(panels.prediction, f"{name}: the predicted mask, the figure in white"),
        "error map": _jpeg(panels.errors, f"{name}: which pixels are missed and which are too much"),
    }
    body = "".join(f'<div class="panel">{image}<span>{label}</span></div>' for label, image in pictures.items())
    return (
        f"<figure><figcaption><b>{escape(name)}</b>, Dice {panels.dice:.4f}</figcaption>"
        f'<div class="panels">{body}</div></figure>\n'
    )


def _png(pixels: NDArray[np.uint8], alt: str) -> str:
    return _image("png", encode_image(pixels), pixels, alt)


def _jpeg(pixels: NDArray[np.uint8], alt: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=82)
    return _image("jpeg", buffer.getvalue(), pixels, alt)


def _image(kind: str, content: bytes, pixels: NDArray[np.uint8], alt: str) -> str:
    height, width = pixels.shape[:2]
    data = base64.b64encode(content).decode("ascii")
    return f'<img src="data:image/{kind};base64,{data}" width="{width}" height="{height}" alt="{escape(alt)}">'
