import json

import pytest
from typer.testing import CliRunner

from figureground.cli import app
from figureground.errors import FiguregroundError

from . import test_check as faults


def command(*arguments):
    return CliRunner().invoke(app, ["data", "check", *map(str, arguments)])


def test_clean_is_status_0(folder):
    done = command(folder.root)
    assert done.exit_code == 0
    assert "Nothing found." in done.output


def test_notes_are_status_0(folder):
    faults.stray(folder)
    assert command(folder.root).exit_code == 0


def test_problems_are_status_1_and_can_be_written_and_fixed(folder):
    faults.inverted(folder)
    out = folder.root.parent
    arguments = "--html", out / "a.html", "--json", out / "a.json", "--fix", out / "fixed"
    done = command(folder.root, *arguments)
    assert done.exit_code == 1
    assert "inverted masks: 1" in done.output
    assert "1 changes are listed in" in done.output
    assert json.loads((out / "a.json").read_text())["findings"][0]["kind"] == "inverted"
    assert (out / "a.html").read_text().startswith("<!doctype html>")
    assert command(out / "fixed").exit_code == 0
    taken = command(folder.root, "--html", out / "b.html", "--fix", out / "fixed")
    assert "fixed is not empty" in str(taken.exception)
    assert not (out / "b.html").exists()  # it is said before anything is read
    with pytest.raises(FiguregroundError, match=r"a\.html exists"):
        raise command(folder.root, *arguments).exception


def test_accepted_problems_are_status_0(folder):
    faults.empty_mask(folder)
    assert command(folder.root).exit_code == 1
    assert command(folder.root, "--accept", "empty_mask").exit_code == 0
