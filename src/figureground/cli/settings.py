"""``figureground settings``: the page of all settings, which is docs/settings.md."""

from __future__ import annotations

import json
from typing import Any, get_args, get_origin

import typer

from figureground.cli.common import app
from figureground.cli.options import flags_of
from figureground.config import TrainConfig
from figureground.settings import Setting, plain, settings_of

HEAD = """# Settings

All settings of a training, as `figureground settings` writes them: in a recipe or a `config.yaml` by name (`a.b` is `b`
within `a`), on the command line by flag, or as `--set a.b=c` with a value as YAML has it. `none` is no value.

| setting | flag | values | default | what it is |
|---|---|---|---|---|
"""


@app.command()
def settings() -> None:
    """Print a table of all settings of a training, as Markdown."""
    typer.echo(page(), nl=False)


def page() -> str:
    """The settings of a training as a page of Markdown."""
    flags = flags_of(TrainConfig)
    return HEAD + "".join(
        f"| `{each.path}` | {', '.join(f'`{flag}`' for flag in flags[each.path])} | {_values(each)} | "
        f"`{_default(each)}` | {each.sentence} |\n"
        for each in settings_of(TrainConfig)
    )


def _values(setting: Setting) -> str:
    optional = " or none" if setting.kind is not setting.hint else ""
    if setting.is_choice:
        return ", ".join(f"`{choice}`" for choice in get_args(setting.kind)) + optional
    return ", ".join(part for part in (_kind(setting.kind), setting.expected) if part) + optional


def _kind(hint: Any) -> str:
    """A type in words."""
    if get_origin(hint) is dict:
        return "settings by name"
    if get_origin(hint) is tuple:
        first, last = get_args(hint)[0], get_args(hint)[-1]
        return f"list of {_kind(first)}s" if last is Ellipsis else f"{len(get_args(hint))} {_kind(first)}s"
    return {int: "integer", float: "number", str: "text", bool: "true or false"}.get(hint) or hint.__name__.lower()


def _default(setting: Setting) -> str:
    value = plain(setting.default)
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)
