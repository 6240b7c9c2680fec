"""The version of the package, which its distribution takes from here."""

from __future__ import annotations

__version__ = "0.1.0"
