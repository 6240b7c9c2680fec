"""The ``figureground`` command, a file for each part of it.

A command imports what it needs when it runs, so that ``--help`` is instant.
"""

from __future__ import annotations

import signal
import sys
import warnings

# Importing them adds their commands.
from figureground.cli import (  # noqa: F401
    average,
    calibrate,
    compare,
    data,
    evaluate,
    export,
    foreign,
    models,
    page,
    plan,
    predict,
    pseudo_label,
    serve,
    settings,
    train,
    verify,
)
from figureground.cli.common import app, reporting_errors

ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
__all__ = ["app", "main", "reporting_errors"]


def main() -> None:
    """Run the command. To be told to end is like Ctrl-C: what is being written is finished or taken away."""
    for number in ENDINGS:
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has it ignored
            signal.signal(number, lambda number, frame: sys.exit(128 + number))
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged files; those that cannot be read are named
    debug = "--debug" in sys.argv
    with reporting_errors(debug):
        status = app(args=[argument for argument in sys.argv[1:] if argument != "--debug"], standalone_mode=False)
    sys.exit(status or 0)
