"""Options of commands, made of the dataclasses of settings: a flag for each setting, and ``--set`` for all of them."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import wraps
from typing import Annotated, Any, get_origin

import typer

from figureground.cli.common import needs, options
from figureground.config import DataConfig
from figureground.cores import limit_cores
from figureground.errors import UsageError
from figureground.settings import REQUIRED, Setting, find_setting, plain, put, settings_of

CHANGES = "changes"
"""The parameter of a command that takes what was given, as nested settings."""
SET = "set_"
"""That of ``--set``."""


def option(cls: type, path: str, default: str = "") -> Any:
    """The option of one setting, for a command that has it by itself.

    Args:
        cls: a dataclass of settings.
        path: of the setting.
        default: what is said of the value it has if nobody gives it; else the setting's own.
    """
    found = find_setting(cls, path, cls.__name__)
    return typer.Option(*(found.flags or _flag(found, found.name)), help=sentence(found, default))


def sentence(setting: Setting, default: str = "") -> str:
    """What help says of a setting: what it is, what it takes, what it is without being given."""
    value = plain(setting.default)
    shown = "" if value in (None, REQUIRED, [], {}) else str(value).strip("[]")
    notes = [each for each in (setting.expected, (default or shown) and f"default: {default or shown}") if each]
    return setting.sentence + (f" ({'; '.join(notes)})" if notes else "")


def flags_of(cls: type) -> dict[str, tuple[str, ...]]:
    """The flags of all settings, by path: those declared, or the name; the path where several have that name."""
    found = list(settings_of(cls))
    names = Counter(setting.name for setting in found)
    return {each.path: each.flags or _flag(each, each.name if names[each.name] == 1 else each.path) for each in found}


def _flag(setting: Setting, name: str) -> tuple[str]:
    dashed = name.replace("_", "-").replace(".", "-")
    return (f"--{dashed}/--no-{dashed}" if setting.hint is bool else f"--{dashed}",)


def takes_settings(
    cls: type, *, shown: Collection[str] | None = None, without: Collection[str] = (), default: str = ""
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each setting of ``cls``.

    The command has a parameter ``changes``: what the user gave, in nested dicts as ``parse`` takes them.

    Args:
        cls: a dataclass of settings.
        shown: paths of those that ``--help`` shows, where that is not all; ``--help-all`` then shows all, and ``--set``
            takes any by its path.
        without: paths of those that are no matter of the command.
        default: what is said of settings that nobody gives, where it is not their own default.
    """
    settings = [setting for setting in settings_of(cls) if setting.path not in without]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def run(given: dict[str, Any]) -> None:
            others = {name: value for name, value in given.items() if name in inspect.signature(command).parameters}
            command(**others, **{CHANGES: _changes(cls, settings, given)})

        first = list(_parameters(settings, flags_of(cls), shown, default))
        return _extended(command, run, first, [] if shown is None else list(_for_all()))

    return decorate


def computes(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option ``--threads``."""

    def run(given: dict[str, Any]) -> None:
        limit_cores(given.pop("threads"))
        command(**given)

    words = "Cores to work with (default: all that this process may use)."
    return _extended(command, run, [], [_parameter("threads", int | None, typer.Option(min=1, help=words))])


def _extended(
    command: Callable[..., None],
    run: Callable[[dict[str, Any]], None],
    first: list[inspect.Parameter],
    last: list[inspect.Parameter],
) -> Callable[..., None]:
    """``run`` with the options of a command, but ``changes``, between others."""
    own = inspect.signature(command, eval_str=True).parameters
    others = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for name, each in own.items() if name != CHANGES]
    parameters = [*first, *others, *last]

    @wraps(command)
    def extended(**given: Any) -> None:
        run(given)

    vars(extended)["__signature__"] = inspect.Signature(parameters)
    extended.__annotations__ = {each.name: each.annotation for each in parameters}
    return extended


def _parameters(
    settings: Sequence[Setting], flags: Mapping[str, tuple[str, ...]], shown: Collection[str] | None, default: str
) -> Iterator[inspect.Parameter]:
    """Of the options, those that are shown first."""
    hidden = {setting.path: shown is not None and setting.path not in shown for setting in settings}
    for setting in sorted(settings, key=lambda setting: hidden[setting.path]):
        kind: Any = list[str] if setting.is_list else bool if setting.hint is bool else str
        metavar = None if kind is bool else _metavar(setting)
        words = sentence(setting, default)
        made = typer.Option(*flags[setting.path], help=words, hidden=hidden[setting.path], metavar=metavar)
        yield _parameter(_identifier(setting.path), kind | None, made)


def _for_all() -> Iterator[inspect.Parameter]:
    """``--set`` and ``--help-all``."""
    words = "Any setting, NAME=VALUE, such as optimizer=adamw or model.arguments.base_width=32; may be repeated."
    yield _parameter(SET, list[str] | None, typer.Option("--set", help=words, metavar="NAME=VALUE"))
    everything = typer.Option("--help-all", help="Show all options.", callback=_show_all, is_eager=True)
    yield _parameter("help_all", bool, everything, False)


def _parameter(name: str, hint: Any, made: Any, default: Any = None) -> inspect.Parameter:
    annotation = Annotated[hint, made]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _identifier(path: str) -> str:
    return f"setting_{path.replace('.', '__')}"


def _metavar(setting: Setting) -> str:
    """The kind of value, as help shows it."""
    hint = setting.kind
    if setting.is_choice or hint is str or setting.is_list:
        return "NAME"
    return "NUMBER" if hint in (int, float) else "YAML" if get_origin(hint) is dict or is_dataclass(hint) else "LIST"


def _show_all(context: typer.Context, wanted: bool) -> None:
    if wanted:
        for parameter in context.command.params:
            vars(parameter)["hidden"] = False
        typer.echo(context.get_help())
        raise typer.Exit


def _changes(cls: type, settings: Sequence[Setting], given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, flags first and then ``--set``."""
    changes: dict[str, Any] = {}
    flags = flags_of(cls)
    for setting in settings:
        value = given[_identifier(setting.path)]
        if value not in (None, []):
            put(changes, setting.path, _read(setting, value, flags[setting.path][0]))
    for text in given.get(SET) or ():
        path, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: expected NAME=VALUE, such as optimizer=adamw")
        with options():
            setting = find_setting(cls, path.strip(), f"--set {text}")
        put(changes, setting.path, _read(setting, value.strip(), f"--set {path.strip()}"))
    return changes


def _read(setting: Setting, value: Any, where: str) -> Any:
    if isinstance(value, bool):
        return value
    with options(), needs("train"):  # YAML
        return setting.read(tuple(value) if isinstance(value, list) else value, where)


takes_data = takes_settings(DataConfig, without=["cache"], default="the run's")
"""Give a command that takes runs the options of their data; ``common.data_of`` lays them over the runs' own."""
