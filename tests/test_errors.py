import pickle
import re
from pathlib import Path

import pytest

from figureground import errors
from figureground.errors import FiguregroundError

CLASSES = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, FiguregroundError)]


def test_codes_stay_as_they_are():
    """Programs look at them."""
    assert sorted(cls.code for cls in CLASSES) == [
        "bad_bundle",
        "bad_data",
        "bad_settings",
        "cannot_write",
        "diverged",
        "failed",
        "missing_package",
        "too_large",
        "unreadable_image",
        "usage",
    ]


def test_the_page_lists_them():
    page = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()
    assert dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", page, re.MULTILINE)) == {c.code: c.__name__ for c in CLASSES}


@pytest.mark.parametrize("cls", CLASSES)
def test_they_survive_the_way_between_processes(cls):
    there = pickle.loads(pickle.dumps(cls("photo.jpg is broken; get it again")))
    assert (type(there), str(there), there.code) == (cls, "photo.jpg is broken; get it again", cls.code)


class Broken:
    """A dataset whose third image raises."""

    def __init__(self, error, cause=None):
        self.error, self.cause = error, cause

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 2:
            raise self.error from self.cause
        return index
