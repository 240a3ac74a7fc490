"""``benchmarks/peers.py`` on the software drivers: figures of every way that is here, a reason for every other."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import fresh
import pytest
import software

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")
PROGRAM = software.ROOT / "benchmarks" / "peers.py"
LINKS = {f"interop, {way}" for way in ("native", "bridged", "blocking", "staged")}
BY_HAND = {f"by hand, {way}" for way in ("functions", "entry points", "blocking")}
CRASHES = "import os, signal; print('about to crash', flush=True); os.kill(os.getpid(), signal.SIGSEGV)\n"


def measured(tmp_path: Path, consumers: str, **changes: str) -> tuple[set[str], dict[str, str], str]:
    """Run it; return the ways of the first consumer, the reasons, and what was printed."""
    file = tmp_path / "peers.json"
    options: list[str | Path] = ["--consumers", consumers, "--sizes=4096", "--frames=4", "--json", file]
    environment = software.environment("both", **changes)
    done = fresh.run([sys.executable, PROGRAM, *options], environment, timeout=150)
    assert done.status == 0, done.output
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    figures = [row for row in document["figures"] if row["consumer"] == consumers.partition(",")[0]]
    assert all(
        row["microseconds"] > 0 and (row["ratio"] is None) == (not row["reference"]) for row in figures
    )
    return {row["way"] for row in figures}, document["missing"], done.output


def test_a_crash_of_slangpy_takes_no_other_row_away(tmp_path: Path) -> None:
    package = tmp_path / "slangpy"
    package.mkdir()
    (package / "__init__.py").write_text(CRASHES, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), *(entry for entry in sys.path if entry)])
    ways, missing, said = measured(tmp_path, "opencl,cuda", PYTHONPATH=path)
    assert ways == LINKS | BY_HAND
    assert missing["cuda, slangpy"] == "its process ended by SIGSEGV, after: about to crash"
    assert "SIGSEGV" in said


def test_slangpy_has_a_row_or_a_reason(tmp_path: Path) -> None:
    ways, missing, _ = measured(tmp_path, "cuda,numpy")
    reason = missing.get("cuda, slangpy", "")
    if importlib.util.find_spec("slangpy") is None:
        assert reason == "not installed: pip install slangpy"
    else:
        rows = {way for way in ways if way.startswith("slangpy")}
        assert rows or "RuntimeError" in reason or "SIG" in reason, (ways, missing)


def test_slangpy_is_asked_for_cuda_alone(tmp_path: Path) -> None:
    _, missing, _ = measured(tmp_path, "numpy")
    assert not any("slangpy" in way for way in missing)
