import pickle
import re
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from figureground import errors
from figureground.errors import FiguregroundError, TooLargeError, UsageError, unwrapped

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


@pytest.mark.parametrize("cls", [FiguregroundError, UsageError, TooLargeError])
@pytest.mark.parametrize("cause", [None, OSError(5, "read: error")])
@pytest.mark.parametrize("message", ["mask 'a.png' has values: {0, 7}", "FiguregroundError: 3 of 4\nlines"])
def test_of_a_worker_process_only_the_message_is_left(cls, cause, message):
    with pytest.raises(cls) as caught:
        list(DataLoader(Broken(cls(message), cause), num_workers=1))
    assert "Traceback" in str(caught.value)  # as torch hands it on
    found = unwrapped(caught.value)
    assert (type(found), str(found)) == (cls, message)


def test_an_error_behind_another_is_found():
    error = RuntimeError("a worker died")
    error.__cause__ = UsageError("no")
    found = unwrapped(error)
    assert (type(found), str(found)) == (UsageError, "no")


def test_other_errors_are_nobodys():
    assert unwrapped(RuntimeError("a bug")) is None
