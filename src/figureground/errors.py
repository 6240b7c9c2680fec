"""The one exception that stands for wrong input: commands print it as a single line."""

from __future__ import annotations


class FiguregroundError(Exception):
    """Something the user can mend. The message says what was given, what was expected and what to do."""
