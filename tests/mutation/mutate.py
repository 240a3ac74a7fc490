"""Put every fault of ``backend_faults.py`` into a copy of its backend and see whether the conformance kit notices.

A fault of the core that names unit tests is put into a copy of the core, and those tests run in place of the kit.

    ./run exec python tests/mutation/mutate.py                   all of them; their rows in results.md are written
    ./run exec python tests/mutation/mutate.py hip "signal"      those of a backend whose name contains a word

INTEROP_MUTATION=here in the environment takes the drivers of this machine instead of the software drivers: the faults
of timelines need a GPU. Exit status 1 when a fault was not noticed, or when an unchanged copy does not pass.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests/support")]

import backend_faults as faults  # noqa: E402 - the path is only complete now
import software  # noqa: E402 - as above

SOURCES = {
    "numpy": ROOT / "plugins/numpy/src/interop_numpy",
    "opencl": ROOT / "backends/interop_opencl",
    "hip": ROOT / "backends/interop_hip",
    "core": ROOT / "interop",
}
CORE = "interop"
"""The package in which the base classes of backends are; a fault in there gets a copy of it too."""
RESULTS = Path(__file__).with_name("results.md")
HEAD = """# Faults that the conformance kit and the unit tests notice

Written by `./run exec python tests/mutation/mutate.py` on the software drivers. Each row is a fault put into a copy of
a backend (`backend_faults.py`), and the first case that failed for it. *hangs*: the case was stopped after its time;
*signal*: the process was ended by the driver below. Copies without a fault pass the same cases. Faults of *core* run
unit tests in place of the kit.

| backend | module | fault | noticed by |
|---|---|---|---|"""
CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
"""Signals by which a fault ends a process; any other one comes from outside."""
LIMIT = 90.0
"""Seconds that the cases of one fault may take; one that takes longer hangs."""
WORKERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the kit or the unit tests said about a copy."""

    passed: int
    failed: tuple[str, ...]
    """Names of cases."""
    ended: str
    """How the run ended when it did not end by itself: ``hangs``, ``signal 11``, ``status 4``; else empty."""
    seconds: float
    output: str
    not_offered: str = ""
    """Why none of the cases applies to the drivers here; empty where one does."""

    @property
    def noticed(self) -> bool:
        """Whether a case failed, or the process broke down in one that an unchanged backend passes."""
        crashed = self.ended in {f"signal {number:d}" for number in CRASHES}
        return bool(self.failed) or self.ended == "hangs" or crashed

    @property
    def how(self) -> str:
        """What noticed it."""
        return ", ".join(part for part in (*self.failed, self.ended) if part)


def changed(backend: str, folder: Path, *edits: tuple[str, tuple[str, str]]) -> None:
    """Copy a backend's package into ``folder``, with edits, each of a module of it or of the core.

    Raises :class:`ValueError` when a text does not occur exactly once: the source has changed, and so must the
    fault.
    """
    source = SOURCES[backend]
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source, folder / source.name, ignore=ignored)
    for module, (old, new) in edits:
        of_core = module.startswith(f"{CORE}/")
        if of_core and not (folder / CORE).exists():
            shutil.copytree(ROOT / CORE, folder / CORE, ignore=ignored)
        path = folder / (module if of_core else f"{source.name}/{module}")
        text = path.read_text(encoding="utf-8")
        if text.count(old) != 1:
            message = f"{module} of {backend} has {text.count(old)} times {old!r}"
            raise ValueError(message)
        text = text.replace(old, new)
        compile(text, module, "exec")
        path.write_text(text, encoding="utf-8")


def kit(
    folder: Path, backend: str, cases: str, environment: Mapping[str, str], *, limit: float = LIMIT
) -> Result:
    """Run cases of the kit on the copy of a backend in ``folder``."""
    matrix = folder / "matrix.json"
    if not importlib.metadata.entry_points(group="interop", name="softgpu"):
        software.install(folder)  # it counts the drivers' objects
    command = ["nice", sys.executable, "-m", "pytest", "-p", "interop.testing.plugin", "--pyargs"]
    command += ["interop.testing.conformance", f"--interop-backend={backend}", f"-k={cases}", "-q", "-x"]
    command += ["-p", "no:cacheprovider", "--interop-timeout=3", "--interop-frames=4", "--timeout=30"]
    command += ["-o", "faulthandler_timeout=0", f"--interop-matrix={matrix}"]
    path = os.pathsep.join([str(folder), *(entry for entry in sys.path if entry)])
    start = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **environment, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=limit,
        )
    except subprocess.TimeoutExpired as expired:
        return Result(passed=0, failed=(), ended="hangs", seconds=limit, output=str(expired.output))
    rows = json.loads(matrix.read_text(encoding="utf-8"))["cases"] if matrix.exists() else []
    status = done.returncode
    output = done.stdout + done.stderr
    ended = "" if rows and status in {0, 1, 5} else f"status {status}"  # 5: no case is left to run
    if status < 0:
        ended = f"signal {-status}"
    elif "+ Timeout +" in output:
        ended = "hangs"
    outcomes = {row["outcome"]: row["reason"] for row in rows}
    return Result(
        not_offered=outcomes["not offered"] if [*outcomes] == ["not offered"] else "",
        passed=sum(row["outcome"] == "passed" for row in rows),
        failed=tuple(row["case"] for row in rows if row["outcome"] == "failed"),
        ended=ended,
        seconds=time.monotonic() - start,
        output=output,
    )


def unit_tests(folder: Path, tests: Sequence[str], cases: str, *, limit: float = LIMIT) -> Result:
    """Run unit tests on the copy of the core in ``folder``."""
    report = folder / "report.xml"
    command = [
        "nice",
        sys.executable,
        "-m",
        "pytest",
        f"--rootdir={ROOT}",
        f"--config-file={ROOT / 'pyproject.toml'}",
    ]
    command += [*(str(ROOT / name) for name in tests), f"-k={cases}", "-q", "-x", "-p", "no:cacheprovider"]
    command += ["-p", "no:xdist", "--timeout=30", f"--junit-xml={report}"]
    path = os.pathsep.join([str(folder), *(entry for entry in sys.path if entry)])
    start = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=limit,
        )
    except subprocess.TimeoutExpired as expired:
        return Result(passed=0, failed=(), ended="hangs", seconds=limit, output=str(expired.output))
    rows = [*ET.parse(report).iter("testcase")] if report.exists() else []  # noqa: S314 - as above
    failed = [row for row in rows if row.find("failure") is not None]
    ended = "" if rows and done.returncode in {0, 1} else f"status {done.returncode}"
    if done.returncode < 0:
        ended = f"signal {-done.returncode}"
    elif "+ Timeout +" in done.stdout + done.stderr:
        ended = "hangs"
    return Result(
        passed=sum(len(row) == 0 for row in rows),
        failed=tuple(f"{row.get('classname', '').rpartition('.')[2]}::{row.get('name')}" for row in failed),
        ended=ended,
        seconds=time.monotonic() - start,
        output=done.stdout + done.stderr,
    )


def _drivers(switches: Mapping[str, str]) -> dict[str, str]:
    """The software drivers; with INTEROP_MUTATION=here those of this machine, which know no switches."""
    here = os.environ.get("INTEROP_MUTATION") == "here"
    return {} if here else software.environment("swiftshader", **switches)


def attempt(fault: faults.Fault) -> Result:
    """Run the cases about ``fault`` on a copy that has it."""
    with tempfile.TemporaryDirectory(prefix="interop-mutation-") as name:
        folder = Path(name)
        changed(fault.backend, folder, *fault.every_edit())
        if fault.tests:
            return unit_tests(folder, fault.tests, fault.cases)
        return kit(folder, fault.backend, fault.cases, _drivers(fault.environment))


@dataclass(frozen=True, slots=True)
class Setting:
    """The faults that one unchanged copy serves: of one backend, one set of switches and the same unit tests."""

    backend: str
    switches: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]


def control(setting: Setting, cases: str) -> Result:
    """Run the same cases on a copy without a fault."""
    with tempfile.TemporaryDirectory(prefix="interop-mutation-") as name:
        folder = Path(name)
        changed(setting.backend, folder)
        if setting.tests:
            return unit_tests(folder, setting.tests, cases, limit=4 * LIMIT)
        return kit(folder, setting.backend, cases, _drivers(dict(setting.switches)), limit=4 * LIMIT)


def controls(chosen: Iterable[faults.Fault]) -> dict[Setting, str]:
    """Return the cases to run unchanged: those of all faults of a setting."""
    found: dict[Setting, dict[str, None]] = {}
    for fault in chosen:
        key = Setting(fault.backend, tuple(fault.environment.items()), fault.tests)
        found.setdefault(key, {}).update(dict.fromkeys(fault.cases.split(" or ")))
    return {key: " or ".join(cases) for key, cases in found.items()}


def main(arguments: Sequence[str]) -> int:
    """Run the faults that are asked for; returns the exit status."""
    backend, word = [*arguments, "", ""][:2]
    chosen = [fault for fault in faults.EVERY if fault.backend.startswith(backend) and word in fault.name]
    bad = 0
    with ThreadPoolExecutor(WORKERS) as pool:
        wanted = controls(chosen)
        clean = [pool.submit(control, setting, cases) for setting, cases in wanted.items()]
        runs = [pool.submit(attempt, fault) for fault in chosen]
        unchanged = [future.result() for future in clean]
        for setting, result in zip(wanted, unchanged, strict=True):
            right = bool(result.passed or result.not_offered) and not result.failed and not result.ended
            bad += not right
            print(f"{setting.backend}, unchanged: {result.passed} passed {result.how}", flush=True)
            if not right:
                print(result.output, flush=True)
        rows: list[str] = []
        for fault, run in zip(chosen, runs, strict=True):
            result = run.result()
            bad += not result.noticed and not result.not_offered
            answer = result.how if result.noticed else f"**not noticed** {result.ended}"
            if result.not_offered:
                answer = "no case applies here: the software drivers share no timelines; needs a GPU"
            rows.append(f"| {fault.backend} | `{fault.module}` | {fault.name} | {answer} |")
            print(f"{rows[-1]} {result.seconds:.1f} s", flush=True)
            if not result.noticed and not result.not_offered:
                print(result.output[-1500:], flush=True)
    print(f"{len(rows)} faults, {bad} not noticed or failed unchanged")
    if "INTEROP_MUTATION" not in os.environ:
        _write(rows)
    return bool(bad)


def _write(rows: Sequence[str]) -> None:
    """Put rows into the table, in the order of the faults; those of faults that were not run stay."""
    kept = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    found = {_key(row): row for row in [*kept, *rows] if row.startswith("| ")}
    keys = [f"{fault.backend}, {fault.name}" for fault in faults.EVERY]
    RESULTS.write_text(
        "\n".join([HEAD, *(found[key] for key in keys if key in found)]) + "\n", encoding="utf-8"
    )


def _key(row: str) -> str:
    _, backend, _, name, *_ = (part.strip() for part in row.split("|"))
    return f"{backend}, {name}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
