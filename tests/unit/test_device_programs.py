"""The programs for machines with a GPU fail where they must: what can be told without one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import check
import fresh
import memcheck
import pytest
import soak
import used_memory

DRIVER = Path(used_memory.__file__).with_name("libcuda.c")

CLEAN = "========= LEAK SUMMARY: 0 bytes leaked in 0 allocations\n========= ERROR SUMMARY: 0 errors\n"


def test_a_clean_run_under_the_checker() -> None:
    assert memcheck.judge(0, CLEAN) == ""


@pytest.mark.parametrize(
    ("status", "output", "said"),
    [
        (9, CLEAN.replace("0 errors", "2 errors"), "ERROR SUMMARY: 2 errors"),
        (0, CLEAN.replace("0 errors", "2 errors"), "ERROR SUMMARY: 2 errors"),
        (0, CLEAN.replace("0 bytes", "64 bytes"), "LEAK SUMMARY: 64 bytes"),
        (0, CLEAN.splitlines()[0], "no ERROR SUMMARY"),
        (0, CLEAN.splitlines()[1], "no LEAK SUMMARY"),
        (0, "", "no ERROR SUMMARY"),
        (1, CLEAN, "status 1"),
        (124, CLEAN, "out of time"),
    ],
)
def test_what_the_checker_found_is_told(status: int, output: str, said: str) -> None:
    assert said in memcheck.judge(status, output)


def test_a_program_that_does_not_end_is_ended() -> None:
    status, output = memcheck.run(["sh", "-c", "echo begun; sleep 60"], "/", 0.5)
    assert (status, output) == (memcheck.TIME_IS_OVER, "begun\n")


def test_a_step_that_does_not_end_says_where_it_stood(tmp_path: Path) -> None:
    report = check.Report(tmp_path, ["stands", "fails"])
    program = "def here():\n    import time\n    print('begun', flush=True)\n    time.sleep(60)\nhere()"
    assert report.run("left-out", "false")
    assert not report.run("stands", sys.executable, "-c", program, timeout=1.0)
    assert not report.run("fails", sys.executable, "-c", "raise SystemExit(3)")
    assert [(step.name, step.status) for step in report.steps] == [("stands", 124), ("fails", 3)]
    said = (tmp_path / "stands.log").read_text(encoding="utf-8")
    assert "begun" in said
    assert "in here" in said
    assert "ended after 1 s" in said


@pytest.mark.parametrize(
    ("resident", "device", "fails"),
    [
        (0, None, False),
        (soak.RESIDENT_KIB, soak.DEVICE_BYTES, False),
        (soak.RESIDENT_KIB + 1, None, True),
        (-100, soak.DEVICE_BYTES + 1, True),
    ],
)
def test_a_soak_that_grows_fails(resident: int, device: int | None, fails: bool) -> None:
    figures = {"frames": 1024, "resident_growth_kib": resident, "device_growth_bytes": device}
    assert soak.grown(figures) is fails
    figures["resident_growth_kib"] = resident + 130
    assert soak.grown(figures, kept_a_frame=130) is fails


def test_device_memory_is_that_of_the_gpu_asked_for(tmp_path: Path) -> None:
    library = tmp_path / "libcuda.so.1"
    build = ["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(DRIVER), "-lpthread", "-ldl"]
    subprocess.run(build, check=True, timeout=60)
    stand_in = {"LD_LIBRARY_PATH": str(tmp_path)}
    first = list(range(0x10, 0x20))  # the uuid of its first device, which has half of 24 GiB in use
    assert fresh.call(used_memory.measure, stand_in, uuid=first) == 3 << 32
    assert fresh.call(used_memory.measure, stand_in, uuid=[0] * 16) is None


def test_no_driver_is_no_device_memory(tmp_path: Path) -> None:
    (tmp_path / "libcuda.so.1").write_bytes(b"not a library")
    assert fresh.call(used_memory.measure, {"LD_LIBRARY_PATH": str(tmp_path)}, uuid=[0] * 16) is None
