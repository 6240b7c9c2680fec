"""Standard streams that are closed or full: one line or none, the right status, never a traceback."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from figureground.cli import app
from figureground.pretrained import EXAMPLE

FULL = Path("/dev/full")
COMMANDS = {
    "help": ("train --help", 0),
    "version": ("--version", 0),
    "models": ("models", 0),
    "settings": ("settings", 0),
    "usage": ("train --epochs many", 2),
    "nothing": ("predict nowhere none.jpg", 1),
    "verify": ("verify pets", 0),
    "predict": (f"predict {shlex.quote(str(EXAMPLE))} --engine onnxruntime", 0),
}


def shell(folder, command, redirection):
    words = f"{shlex.quote(sys.executable)} -m figureground {command} {redirection}"
    done = subprocess.run(["sh", "-c", words], capture_output=True, text=True, cwd=folder, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done


@pytest.mark.parametrize("name", COMMANDS)
def test_without_stdout(tmp_path, name):
    command, status = COMMANDS[name]
    done = shell(tmp_path, command, ">&-")
    assert (done.returncode, len(done.stderr.splitlines())) == (status, int(status > 0))
    assert (tmp_path / "masks").is_dir() == (name == "predict")


@pytest.mark.parametrize("name", ["models", "usage", "nothing", "predict"])
def test_without_stderr(tmp_path, name):
    command, status = COMMANDS[name]
    assert shell(tmp_path, command, "2>&-").returncode == status


@pytest.mark.skipif(not FULL.exists(), reason="Linux has it")
@pytest.mark.parametrize("name", ["help", "version", "models", "settings", "verify", "predict"])
def test_a_full_disk_behind_stdout(tmp_path, name):
    done = shell(tmp_path, COMMANDS[name][0], f"> {FULL}")
    assert (done.returncode, done.stderr) == (1, "error: input or output: No space left on device\n")


@pytest.mark.skipif(not FULL.exists(), reason="Linux has it")
@pytest.mark.parametrize("name", ["usage", "nothing"])
def test_a_full_disk_behind_stderr(tmp_path, name):
    command, status = COMMANDS[name]
    assert shell(tmp_path, command, f"2> {FULL}").returncode == status


def _every(group, path=()):
    for name, command in group.commands.items():
        yield from _every(command, (*path, name)) if hasattr(command, "commands") else [(*path, name)]


@pytest.mark.parametrize("words", [" ".join(words) for words in _every(typer.main.get_command(app))])
def test_the_help_of_every_command(tmp_path, words):
    assert shell(tmp_path, f"{words} --help", "<&- >&- 2>&-").returncode == 0
    if FULL.exists():
        assert shell(tmp_path, f"{words} --help", f"> {FULL}").returncode == 1


def test_nobody_reads_what_is_said(tmp_path):
    done = shell(tmp_path, "settings", "| true")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("command", "words"),
    [("predict -", "is empty (0 bytes)"), ("predict --list -", "no photo was given")],
)
def test_without_stdin(tmp_path, command, words):
    done = shell(tmp_path, command, "<&-")
    assert done.returncode in {1, 2}
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
