"""What ``interop compare`` runs and shows."""

from __future__ import annotations

from interop.cli.compare.measure import CompareSettings, Result, agreements, compare_consumer
from interop.cli.compare.report import document, table, write_png

__all__ = ["CompareSettings", "Result", "agreements", "compare_consumer", "document", "table", "write_png"]
