import base64
import io
import re
from html.parser import HTMLParser

from PIL import Image

from figureground.data.doctor import check, write_findings

from . import test_check as faults
from .conftest import draw_image

VOID = {"meta", "img", "br", "link"}
IMPLIED = {"li", "tr", "td", "p"}  # may be left open


class Page(HTMLParser):
    """Notes what a page holds, and that what must be closed is."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID | IMPLIED:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in IMPLIED:
            assert self.open.pop() == tag


def page(folder):
    path = folder.root.parent / "page.html"
    write_findings(check(folder.root), path)
    return path.read_text()


def test_a_page_of_findings(folder):
    faults.inverted(folder)
    faults.exact_leak(folder)
    faults.stray(folder)
    text = page(folder)
    parsed = Page(text)
    assert parsed.tags.count("section") == 3
    assert parsed.tags.count("img") == 4  # mask with image, two images, none
    assert "2 problems, 1 note." in text
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text


def test_it_needs_no_network(folder):
    faults.inverted(folder)
    assert all(link.startswith(("#", "data:")) for link in Page(page(folder)).links)


def test_a_mask_of_0_and_1_can_be_seen(folder):
    faults.values_0_1(folder)
    pictures = [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r'base64,([^"]+)"', page(folder))]
    assert len(pictures) == 16  # of 8 of the 12 cases
    assert pictures[1].convert("L").getextrema() == (0, 255)
    assert "<summary>4 more</summary>" in page(folder)


def test_names_are_escaped(folder):
    draw_image(99).save(folder.root / "images" / "<b>&.png")
    text = page(folder)
    assert "&lt;b&gt;&amp;.png" in text
    Page(text)


def test_unreadable_files_have_no_picture(folder):
    faults.unreadable(folder)
    assert Page(page(folder)).tags.count("img") == 1  # its mask


def test_nothing_found(folder):
    assert "Nothing found." in page(folder)
