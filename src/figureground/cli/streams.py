"""Standard streams that are closed, full or read by nobody: a command works on without them."""

from __future__ import annotations

import os
import sys


def open_streams() -> None:
    """Let streams that are closed, which Python has as ``None``, lead nowhere.

    In this order: the lowest number that is free goes to the next file that is opened, and must not be one of the
    user's, into which a library would then print.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (for as long as the process is)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # names need not be valid UTF-8


def flush_streams() -> OSError | None:
    """Write what is held back; what cannot be written is dropped, of which Python would complain in the end.

    Returns:
        Why something could not be written.
    """
    problem = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            problem = problem or error
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return problem
