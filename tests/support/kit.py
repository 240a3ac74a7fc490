"""The conformance kit, run as the author of a backend runs it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import fresh

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FINE = {"passed", "unsupported", "not offered"}
"""What may become of a case."""


def run(
    folder: Path, backend: str, environment: Mapping[str, str], *arguments: str, timeout: float = 390
) -> fresh.Finished:
    """Run it in ``folder``, which gets its matrix, with further arguments of pytest."""
    command = [sys.executable, "-m", "pytest", "-p", "interop.testing.plugin", "--pyargs"]
    command += ["interop.testing.conformance", "-p", "no:cacheprovider", "-q", f"--interop-backend={backend}"]
    command += [f"--interop-matrix={folder / 'matrix.json'}", *arguments]
    return fresh.run(command, environment, timeout=timeout, cwd=folder)


def matrix(folder: Path, done: fresh.Finished) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the matrix and each case's outcome; no case may have failed."""
    assert done.status == 0, done.output
    content = json.loads((folder / "matrix.json").read_text(encoding="utf-8"))
    outcomes = {row["case"]: row["outcome"] for row in content["cases"]}
    assert set(outcomes.values()) <= FINE, {case: what for case, what in outcomes.items() if what not in FINE}
    return content, outcomes
