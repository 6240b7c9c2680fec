"""The ``figureground`` command, a file for each part of it.

A command imports what it needs when it runs, so that ``--help`` is instant.
"""

from __future__ import annotations

import os
import sys

# Importing them adds their commands.
from figureground.cli import calibrate, compare, data, evaluate, export, models, predict, train  # noqa: F401
from figureground.cli.common import app, reporting_errors

__all__ = ["app", "main", "reporting_errors"]


def main() -> None:
    """Run the command."""
    # Pillow keeps a photo in blocks of 16 MB, which the C library may hold back when they are freed; larger ones it
    # returns. This has to be said before Pillow is imported.
    os.environ.setdefault("PILLOW_BLOCK_SIZE", "64m")
    debug = "--debug" in sys.argv
    with reporting_errors(debug):
        app(args=[argument for argument in sys.argv[1:] if argument != "--debug"])
