"""The programs for machines with a GPU fail where they must: what can be told without one."""

from __future__ import annotations

import memcheck
import pytest
import soak

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
    assert soak.grown({"resident_growth_kib": resident, "device_growth_bytes": device}) is fails
