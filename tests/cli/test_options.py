"""Options that are made of the dataclasses of settings."""

import subprocess
import sys
from dataclasses import dataclass

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from figureground.cli import app
from figureground.cli.options import computes, flags_of, sentence, takes_settings
from figureground.cli.train import SHOWN, train
from figureground.config import DataConfig, TrainConfig
from figureground.cores import limit_cores, usable_cores
from figureground.settings import find_setting, setting, settings_of

BEFORE = """--accumulate --augmentation --base-width --batch-size --cache --clip --config --data --device
--early-stopping --epochs --foreground --learning-rate --loss --mask-threshold --model --name --output --overwrite
--precision --pretrained --recipe --resume --seed --size --start-from --teacher --teacher-share --workers -b -e"""
"""The flags of ``train`` in version 1, which are still there."""


@dataclass(frozen=True)
class Inner:
    size: tuple[int, int] = setting((64, 64), "Height and width.", at_least=32)
    name: str = setting("unet", "Which.", flags=("--model", "-m"))


@dataclass(frozen=True)
class Other:
    size: tuple[int, int] = setting((64, 64), "Height and width.", at_least=32)


@dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    other: Other = Other((96, 128))
    rate: float | None = setting(None, "How fast.", above=0, below=1)
    names: tuple[str, ...] = setting((), "Who.", flags=("--who",))
    big: bool = setting(False, "Whether.")
    extra: dict[str, int] = setting({}, "More.")


def given(*arguments):
    """What a command is given, or its exit status and what it says."""
    found = []
    command = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)

    @command.command()
    @takes_settings(Outer, shown=("rate",))
    def run(changes: dict, verbose: bool = False) -> None:
        found.append((changes, verbose))

    result = CliRunner().invoke(command, list(arguments))
    return found[0] if found else (result.exit_code, str(result.exception or "") + result.output)


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [
        ([], {}),
        (["--rate", "0.5"], {"rate": 0.5}),
        (["--rate", "none"], {"rate": None}),
        (["--who", "a", "--who", "b"], {"names": ["a", "b"]}),
        (["--big"], {"big": True}),
        (["--no-big"], {"big": False}),
        (["--inner-size", "96"], {"inner": {"size": [96, 96]}}),
        (["--other-size", "96,128"], {"other": {"size": [96, 128]}}),
        (["--extra", "{a: 1}"], {"extra": {"a": 1}}),
        (["--set", "extra.a=1", "--set", "extra.b=2"], {"extra": {"a": 1, "b": 2}}),
        (["--set", "inner.size=96", "--inner-size", "64"], {"inner": {"size": [96, 96]}}),
        (["--set", "inner.name=a=b"], {"inner": {"name": "a=b"}}),
        (["--set", "names=[a, b]"], {"names": ["a", "b"]}),
    ],
)
def test_what_is_given(arguments, changes):
    assert given(*arguments, "--verbose") == (changes, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rate", "2"], "--rate is 2.0; expected above 0 and below 1"),
        (["--set", "rate=2"], "--set rate is 2.0; expected above 0 and below 1"),
        (["--set", "rate"], "--set rate: expected NAME=VALUE"),
        (["--set", "raet=1"], "--set raet=1: unknown setting 'raet'; did you mean 'rate'?"),
        (["--inner-size", "8"], "--inner-size is (8, 8); expected at least 32"),
    ],
)
def test_what_is_wrong_is_named(arguments, words):
    assert words in given(*arguments)[1]


def test_threads_limit_what_a_command_computes_with():
    found = []
    command = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)

    @command.command()
    @computes
    def run(name: str) -> None:
        found.append((name, usable_cores()))

    try:
        for arguments in (["a", "--threads", "1"], ["b"], ["c", "--threads", "0"]):
            CliRunner().invoke(command, arguments)
    finally:
        limit_cores(None)
    assert found == [("a", 1), ("b", usable_cores())]


def test_flags():
    """Two settings of one name get their paths."""
    assert flags_of(Outer) == {
        "inner.size": ("--inner-size",),
        "inner.name": ("--model", "-m"),
        "other.size": ("--other-size",),
        "rate": ("--rate",),
        "names": ("--who",),
        "big": ("--big/--no-big",),
        "extra": ("--extra",),
    }
    assert flags_of(Inner) == {"size": ("--size",), "name": ("--model", "-m")}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("rate", "How fast. (above 0 and below 1)"),
        ("other.size", "Height and width. (at least 32; default: 96, 128)"),
        ("inner.name", "Which. (default: unet)"),
        ("names", "Who."),
    ],
)
def test_sentences(path, words):
    assert sentence(find_setting(Outer, path, "")) == words


def test_the_default_of_a_command_can_be_another():
    found = find_setting(DataConfig, "foreground", "")
    assert sentence(found, "the run's").endswith("(foreground, background, ignore; default: the run's)")


def test_every_setting_of_a_training_has_a_flag_of_its_own():
    flags = [flag.partition("/")[0] for flags in flags_of(TrainConfig).values() for flag in flags]
    own = [flag for each in get_command(app).commands["train"].params for flag in each.opts]
    assert len(flags) == len(set(flags)) >= len(list(settings_of(TrainConfig)))
    assert len(own) == len(set(own))
    assert set(flags) | set(BEFORE.split()) <= set(own)


def test_help_shows_what_people_use_and_the_rest_when_it_is_asked_for():
    shown = CliRunner().invoke(app, ["train", "--help"]).output
    everything = CliRunner().invoke(app, ["train", "--help-all"]).output
    hidden = {path: flags for path, flags in flags_of(TrainConfig).items() if path not in SHOWN}
    assert len(hidden) > 20
    for flags in hidden.values():
        flag = flags[0].partition("/")[0]
        assert f"{flag} " not in shown
        assert f"{flag} " in everything
    options = [line for line in shown.splitlines() if line.lstrip().startswith("-")]
    assert 10 <= len(options) <= 16
    assert train.__doc__.splitlines()[0] in shown


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["predict", "--help"], ["--version"]])
def test_help_loads_nothing_that_is_slow(arguments):
    """What ``--help`` costs is what it imports; ``benchmarks/startup.py`` measures it."""
    code = (
        f"import sys; sys.argv = ['figureground', *{arguments}]\nfrom figureground.cli import main\n"
        "try: main()\nexcept SystemExit as end: print(end.code, *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    status, *modules = done.stdout.splitlines()[-1].split()
    assert status == "0"
    assert {"torch", "numpy", "PIL", "scipy", "matplotlib", "onnxruntime", "rich", "yaml"} & set(modules) == set()
