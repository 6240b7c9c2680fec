import dataclasses
import inspect
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from figureground import config
from figureground.config import Phase, TrainConfig
from figureground.errors import FiguregroundError
from figureground.settings import REQUIRED, Range, check, find_setting, put, setting, settings_of


@dataclass(frozen=True)
class Inner:
    size: tuple[int, int] = setting((64, 64), "Height and width.", at_least=32)
    options: dict[str, Any] = setting({"a": 1}, "More.")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Outer:
    rate: float = setting(REQUIRED, "How fast.", above=0)
    inner: Inner = Inner((96, 96))
    kind: Literal["x", "y"] | None = setting(None, "Which.")
    names: tuple[str, ...] = setting((), "Who.", flags=("--name",))
    on: bool = setting(True, "Whether.")

    def __post_init__(self) -> None:
        check(self)


@pytest.mark.parametrize(
    ("bounds", "words", "inside", "outside"),
    [
        ({}, "", (-1e9, 0, 1e9), ()),
        ({"at_least": 1}, "at least 1", (1, 2), (0.99, 0, -1)),
        ({"above": 0}, "above 0", (1e-9, 5), (0, -1)),
        ({"at_least": 0, "at_most": 1}, "0 to 1", (0, 0.5, 1), (-0.1, 1.1)),
        ({"above": 0, "below": 1}, "above 0 and below 1", (0.5,), (0, 1)),
        ({"at_least": 0, "below": 1}, "at least 0 and below 1", (0, 0.9), (1, -0.1)),
    ],
)
def test_ranges(bounds, words, inside, outside):
    found = Range(**bounds)
    assert str(found) == words
    assert [value in found for value in (*inside, *outside)] == [True] * len(inside) + [False] * len(outside)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rate": 0.0}, "rate is 0.0; expected above 0"),
        ({"rate": float("nan")}, "rate is nan; expected above 0"),
        ({"rate": float("inf")}, "rate is inf; expected above 0"),
        ({"rate": 10**400}, f"rate is 1{'0' * 199}…; expected above 0"),
        ({"rate": 10**5000}, "rate is no int that can be written out; expected above 0"),
        (
            {"rate": 1.0, "inner": {"options": {"a": [-float("inf")]}}},
            "options is {'a': [-inf]}; expected finite numbers",
        ),
        ({"rate": 1.0, "inner": {"size": (64, 31)}}, "size is (64, 31); expected at least 32"),
        ({"rate": 1.0, "inner": {"options": {"a": float("nan")}}}, "options is {'a': nan}; expected finite numbers"),
    ],
)
def test_what_is_out_of_range_is_refused_when_it_is_made(values, words):
    with pytest.raises(FiguregroundError) as caught:
        Outer(**values | ({"inner": Inner(**values["inner"])} if "inner" in values else {}))
    assert str(caught.value) == words


def test_settings_in_their_order_with_their_own_defaults():
    found = {each.path: (each.default, each.sentence, each.expected) for each in settings_of(Outer)}
    assert found == {
        "rate": (REQUIRED, "How fast.", "above 0"),
        "inner.size": ((96, 96), "Height and width.", "at least 32"),
        "inner.options": ({"a": 1}, "More.", ""),
        "kind": (None, "Which.", "x, y"),
        "names": ((), "Who.", ""),
        "on": (True, "Whether.", ""),
    }


def test_a_dict_as_default_is_not_shared():
    first, second = Inner(), Inner()
    first.options["a"] = 2
    assert second.options == {"a": 1}


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("rate", "1e-4", 0.0001),
        ("inner.size", "96", [96, 96]),
        ("inner.size", "64,96", [64, 96]),
        ("inner.size", "[64, 96]", [64, 96]),
        ("inner.options", "{b: 2}", {"b": 2}),
        ("inner.options.b", "2", 2),
        ("inner.options.b", "true", True),
        ("kind", "y", "y"),
        ("kind", "none", None),
        ("names", ("a", "b,c"), ["a", "b,c"]),
        ("names", "a,b", ["a", "b"]),
        ("on", "false", False),
    ],
)
def test_texts_are_read_as_the_declared_type(path, text, value):
    found = find_setting(Outer, path, "--set").read(text, "--set")
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("rate", "fast", "--flag is 'fast'; expected a number"),
        ("rate", "-1", "--flag is -1.0; expected above 0"),
        ("inner.size", "1,2,3", "--flag is [1, 2, 3]; expected 2 values"),
        ("inner.size", "16", "--flag is (16, 16); expected at least 32"),
        ("inner.size", "many", "--flag is 'many'; expected int"),
        ("kind", "z", "--flag is 'z'; expected one of: x, y"),
        ("on", "perhaps", "--flag is 'perhaps'; expected bool"),
        ("inner.options", "[1", "--flag is '[1'; expected settings by name"),
    ],
)
def test_wrong_texts_are_named(path, text, words):
    with pytest.raises(FiguregroundError) as caught:
        find_setting(Outer, path, "--set").read(text, "--flag")
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("path", "meant"),
    [("rat", "rate"), ("inner.sise", "inner.size"), ("size", "inner.size"), ("optoins", "inner.options")],
)
def test_unknown_settings_are_told_what_may_be_meant(path, meant):
    with pytest.raises(FiguregroundError, match=f"--set: unknown setting '{path}'; did you mean '{meant}'?"):
        find_setting(Outer, path, "--set")


def test_what_nothing_is_like_is_told_all():
    with pytest.raises(FiguregroundError, match=r"known are: rate, inner.size, inner.options, kind, names, on"):
        find_setting(Outer, "zzzzzzzz", "--set")


def test_put():
    settings = {"a": {"b": 1}}
    put(settings, "a.c.d", 2)
    put(settings, "e", 3)
    assert settings == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}


CONFIGS = [each for each in vars(config).values() if inspect.isclass(each) and dataclasses.is_dataclass(each)]


@pytest.mark.parametrize("cls", CONFIGS, ids=lambda cls: cls.__name__)
def test_every_range_is_held_to(cls):
    """Who adds a class or a range need not remember where it is checked."""
    made = cls(0.5, 64) if cls is Phase else cls()
    for field in dataclasses.fields(cls):
        allowed = field.metadata.get("range", Range())
        wrong = next((value for value in (-1, 0, 2, 1e9) if value not in allowed), None)
        if wrong is not None:
            default = getattr(made, field.name)
            with pytest.raises(FiguregroundError, match=f"{field.name} is .*; expected {allowed}"):
                dataclasses.replace(
                    made, **{field.name: (wrong,) * len(default) if isinstance(default, tuple) else wrong}
                )


def test_every_setting_of_a_training_has_a_sentence():
    assert [each.path for each in settings_of(TrainConfig) if not each.sentence.endswith((".", ")"))] == []
