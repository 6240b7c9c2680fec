"""The exceptions that stand for wrong input: commands print them as a single line.

Each has a ``code``, a word that stays the same when its message is worded anew: what a program looks at.
"""

from __future__ import annotations

import pickle
from typing import ClassVar


class FiguregroundError(Exception):
    """Something the user can mend. The message says what was given, what was expected and what to do."""

    code: ClassVar[str] = "failed"


class UsageError(FiguregroundError):
    """It was asked for what there is not: a name or value that is no choice, or options that exclude each other."""

    code = "usage"


class UnreadableImageError(FiguregroundError):
    """A photo, mask or film that is missing, damaged, or of a kind that is not read."""

    code = "unreadable_image"


class TooLargeError(UnreadableImageError):
    """A photo or mask beyond the limits that it is read with."""

    code = "too_large"


class BadBundleError(FiguregroundError):
    """A model's file that is missing, damaged or of another kind, or a run that has none."""

    code = "bad_bundle"


class BadDataError(FiguregroundError):
    """Images and masks that do not make a dataset."""

    code = "bad_data"


class BadSettingsError(FiguregroundError):
    """A setting that is unknown, of a wrong type, or out of its range."""

    code = "bad_settings"


class MissingPackageError(FiguregroundError):
    """An optional package that is not installed."""

    code = "missing_package"


class CannotWriteError(FiguregroundError):
    """A file or folder that cannot be written, or may not be replaced; what was there is unchanged."""

    code = "cannot_write"


class DivergedError(FiguregroundError):
    """A training whose figures are no numbers any more."""

    code = "diverged"


BROKEN_FILE = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError
)  # fmt: skip
"""What torch raises for files of its own format that are damaged, of another kind, or hold code."""
