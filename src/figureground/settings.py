"""What a setting is: a field of a frozen dataclass that carries its sentence and its range, and stands nowhere else.

The command line, YAML files, error messages and the table in the documentation are made of these fields. Whatever is
read from a file goes through ``parse``, which refuses unknown keys and wrong types with the name of the setting.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from figureground.errors import BadSettingsError, FiguregroundError

T = TypeVar("T")
LONGEST_SHOWN = 200  # characters
REQUIRED: Any = MISSING
"""In place of a default: somebody must say it."""


@dataclass(frozen=True)
class Range:
    """Which numbers a setting takes; of a list it holds for each."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        if self.at_least is not None and self.at_most is not None:
            return f"{self.at_least:g} to {self.at_most:g}"
        given = {field.name.replace("_", " "): getattr(self, field.name) for field in dataclasses.fields(self)}
        return " and ".join(f"{words} {bound:g}" for words, bound in given.items() if bound is not None)


def setting(
    default: T,
    sentence: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    flags: tuple[str, ...] = (),
) -> T:
    """A field of a dataclass of settings.

    Args:
        default: what it is if nobody says otherwise, or ``REQUIRED``.
        sentence: what it is, for help and documentation.
        at_least: the lowest number it takes; ``above``: all it takes are higher.
        above: see there.
        at_most: the highest number it takes; ``below``: all it takes are lower.
        below: see there.
        flags: of the command line, where they are not the name with dashes.
    """
    metadata = {"sentence": sentence, "range": Range(at_least, above, at_most, below), "flags": flags}
    if isinstance(default, dict):
        made: Any = dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    else:
        made = dataclasses.field(default=default, metadata=metadata)
    return made  # type: ignore[no-any-return]


def shown(value: object) -> str:
    """A value as messages name it, short whatever a file holds."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # of a number of thousands of digits, among others
        text = f"no {type(value).__name__} that can be written out"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def require(condition: bool, message: str) -> None:
    """Raise ``BadSettingsError(message)`` unless ``condition`` holds."""
    if not condition:
        raise BadSettingsError(message)


def check(settings: Any) -> None:
    """Hold each setting of a dataclass to its range; as ``__post_init__`` of the class.

    Raises:
        BadSettingsError: a number out of range, or one that is infinite or none at all; no choice of those there are.
    """
    hints = get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        kind = _without_none(hints[field.name])
        if get_origin(kind) is Literal and not (value is None and kind is not hints[field.name]):
            _convert(kind, value, field.name)
        _check_value(field, value, field.name)


def _check_value(field: dataclasses.Field[Any], value: Any, name: str) -> None:
    allowed = field.metadata.get("range", Range())
    for number in _numbers(value):
        right = abs(number) <= sys.float_info.max and number in allowed
        require(right, f"{name} is {shown(value)}; expected {str(allowed) if allowed != Range() else 'finite numbers'}")


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


@dataclass(frozen=True)
class Setting:
    """A setting as help and documentation show it."""

    path: str
    """Its name, behind those of the dataclasses that it is in: ``preprocessing.size``."""
    hint: Any
    """Its type."""
    field: dataclasses.Field[Any]
    default: Any

    @property
    def name(self) -> str:
        """Without the dataclasses that it is in."""
        return self.field.name

    @property
    def sentence(self) -> str:
        """What it is."""
        return str(self.field.metadata.get("sentence", ""))

    @property
    def flags(self) -> tuple[str, ...]:
        """Of the command line, if they are not its name."""
        return tuple(self.field.metadata.get("flags", ()))

    @property
    def kind(self) -> Any:
        """Its type without ``None``."""
        return _without_none(self.hint)

    @property
    def expected(self) -> str:
        """Which values it takes: its choices, its range, or nothing."""
        choices = [str(choice) for choice in get_args(self.kind)] if self.is_choice else []
        return ", ".join(choices) or str(self.field.metadata.get("range", Range()))

    @property
    def is_choice(self) -> bool:
        """Whether its type lists its values."""
        return get_origin(self.kind) is Literal

    @property
    def is_list(self) -> bool:
        """Whether it takes any number of texts."""
        return bool(self.hint == tuple[str, ...])

    def read(self, text: str | tuple[str, ...], where: str) -> Any:
        """The value that a text of the command line stands for, as YAML has it.

        Raises:
            BadSettingsError: a wrong type, or out of range; ``where`` names the flag.
        """
        value = _convert(self.hint, _from_text(self.hint, text), where)
        _check_value(self.field, value, where)
        return plain(value)


def settings_of(cls: type, above: str = "", defaults: Any = None) -> Iterator[Setting]:
    """All settings of a dataclass, those of the dataclasses in it at their place."""
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint, path = hints[field.name], above + field.name
        default = getattr(defaults, field.name) if defaults is not None else _default(field)
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from settings_of(hint, f"{path}.", default)
        else:
            yield Setting(path, hint, field, default)


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def find_setting(cls: type, path: str, where: str) -> Setting:
    """The setting ``a.b`` of a dataclass; of a setting that is a dict, any name in it too (``model.arguments.depth``).

    Raises:
        BadSettingsError: there is none.
    """
    known = {setting.path: setting for setting in settings_of(cls)}
    if path in known:
        return known[path]
    for each in known.values():
        if path.startswith(f"{each.path}.") and get_origin(each.hint) is dict:
            return dataclasses.replace(each, path=path, hint=get_args(each.hint)[1], default=None)
    names = known | {setting.name: setting for setting in reversed(known.values()) if setting.name not in known}
    raise _unknown(where, path, {name: setting.path for name, setting in names.items()})


def _unknown(where: str, key: object, known: Mapping[str, str]) -> BadSettingsError:
    """``known``: what may be meant, and what to say then."""
    close = difflib.get_close_matches(str(key), known, n=1)
    advice = f"did you mean {known[close[0]]!r}?" if close else f"known are: {', '.join(dict.fromkeys(known.values()))}"
    return BadSettingsError(f"{where}: unknown setting {shown(key)}; {advice}")


def put(settings: dict[str, Any], path: str, value: Any) -> None:
    """Set ``a.b`` in nested dicts."""
    *above, name = path.split(".")
    for each in above:
        settings = settings.setdefault(each, {})
    settings[name] = value


def flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings by dotted name; the arguments of a model stay together."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        nested = isinstance(value, Mapping) and name != "arguments"
        found |= flat(value, f"{above}{name}.") if nested else {above + name: value}
    return found


def parse(cls: type[T], given: Any, where: str = "") -> T:
    """A ``cls`` (a dataclass of settings) from nested dicts and lists, as YAML and JSON give them.

    Raises:
        BadSettingsError: an unknown key, a wrong type or a value out of range; ``where`` names the file.
    """
    where = where or cls.__name__
    require(isinstance(given, Mapping), f"{where}: expected settings by name, found {shown(given)}")
    hints = get_type_hints(cls)
    for key in given:
        if key not in hints:
            raise _unknown(where, key, {name: name for name in hints})
    values = {key: _convert(hints[key], value, f"{where}: {key}") for key, value in given.items()}
    try:
        return cls(**values)
    except FiguregroundError as error:
        raise BadSettingsError(f"{where}: {error}") from None
    except TypeError as error:  # a setting without a default is missing
        raise BadSettingsError(f"{where}: {error}") from None


def _without_none(hint: Any) -> Any:
    """The type of what may be absent."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    (inner,) = (option for option in get_args(hint) if option is not type(None))
    return inner


def _convert(hint: Any, value: Any, where: str) -> Any:
    """``value`` as the type ``hint``, or an error that names the setting."""
    inner = _without_none(hint)
    if inner is not hint:
        return None if value is None else _convert(inner, value, where)
    origin, options = get_origin(hint), get_args(hint)
    if origin is Literal:
        require(value in options, f"{where} is {shown(value)}; expected one of: {', '.join(map(str, options))}")
        return value
    if dataclasses.is_dataclass(hint):
        return parse(hint, value, where) if isinstance(hint, type) else value
    if origin is tuple:
        require(isinstance(value, (list, tuple)), f"{where} is {shown(value)}; expected a list")
        inner_types = [options[0]] * len(value) if options[-1] is Ellipsis else list(options)
        require(len(value) == len(inner_types), f"{where} is {shown(value)}; expected {len(inner_types)} values")
        return tuple(_convert(inner, item, where) for inner, item in zip(inner_types, value, strict=True))
    if origin is dict:
        require(isinstance(value, Mapping), f"{where} is {shown(value)}; expected settings by name")
        return {key: _convert(options[1], inner, f"{where}: {key}") for key, inner in value.items()}
    if hint is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:  # YAML 1.1 reads 1e-4 as text
            return float(value)
        except (ValueError, OverflowError):
            raise BadSettingsError(f"{where} is {shown(value)}; expected a number") from None
    if hint is not Any:
        right = isinstance(value, hint) and not (hint is not bool and isinstance(value, bool))
        require(right, f"{where} is {shown(value)}; expected {hint.__name__}")
    return value


def _from_text(hint: Any, text: str | tuple[str, ...]) -> Any:
    """What YAML would have read at a setting of this type; one number stands for as many as there should be."""
    inner = _without_none(hint)
    if inner is not hint and text in ("none", "null"):
        return None
    if get_origin(inner) is tuple and get_args(inner)[0] in (int, float, str):
        items = tuple(item.strip() for item in text.strip("[]").split(",")) if isinstance(text, str) else text
        count = len(items) if get_args(inner)[-1] is Ellipsis else len(get_args(inner))
        return [_from_text(get_args(inner)[0], item) for item in (items * count if len(items) == 1 else items)]
    if inner in (str, float) or get_origin(inner) is Literal or not isinstance(text, str):
        return text
    if inner is int:
        return int(text) if text.removeprefix("-").isdecimal() else text
    if inner is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def plain(settings: Any) -> Any:
    """Dataclasses and tuples as dicts and lists, ready for YAML and JSON; ``parse`` reads them back."""
    if dataclasses.is_dataclass(settings):
        return {f.name: plain(getattr(settings, f.name)) for f in dataclasses.fields(settings)}
    if isinstance(settings, (list, tuple)):
        return [plain(item) for item in settings]
    if isinstance(settings, dict):
        return {key: plain(item) for key, item in settings.items()}
    return settings


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` laid over it; nested settings are merged too, but not a model's arguments."""
    merged = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping) and key != "arguments"
        merged[key] = merge(merged[key], value) if nested else value
    return merged
