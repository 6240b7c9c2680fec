"""The exceptions that stand for wrong input: commands print them as a single line."""

from __future__ import annotations

import pickle


class FiguregroundError(Exception):
    """Something the user can mend. The message says what was given, what was expected and what to do."""


class UsageError(FiguregroundError):
    """It was asked for what there is not: a name or value that is no choice, or options that exclude each other."""


BROKEN_FILE = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError
)  # fmt: skip
"""What torch raises for files of its own format that are damaged, of another kind, or hold code."""
