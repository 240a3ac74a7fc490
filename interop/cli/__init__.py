"""The command line: compare, doctor, bench."""

from __future__ import annotations

from interop.cli.entry import main

__all__ = ["main"]
