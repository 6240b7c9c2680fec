"""The one exception that stands for wrong input: commands print it as a single line."""

from __future__ import annotations

import pickle


class FiguregroundError(Exception):
    """Something the user can mend. The message says what was given, what was expected and what to do."""


BROKEN_FILE = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError
)  # fmt: skip
"""What torch raises for files of its own format that are damaged, of another kind, or hold code."""
