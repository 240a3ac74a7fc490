"""What ``interop bench`` measures and shows."""

from __future__ import annotations

from interop.cli.bench.report import check_plots, picture, tables
from interop.cli.bench.run import BenchSettings, run_measures

__all__ = ["BenchSettings", "check_plots", "picture", "run_measures", "tables"]
