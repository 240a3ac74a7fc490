"""The measurements of ``interop bench``."""

from __future__ import annotations

from interop.cli.bench._measures import MEASURES
from interop.cli.bench._run import Settings, run

__all__ = ["MEASURES", "Settings", "run"]
