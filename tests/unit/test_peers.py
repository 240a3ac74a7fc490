"""``benchmarks/peers.py``: what another process told counts, and its end, whatever it is, is a reason in the table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import peers
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from peers import Told

TELLS = """
import json, os, signal, sys, time
path = next(each for each in sys.argv if each.startswith("--out=")).removeprefix("--out=")
sink = open(path, "w")
print("starting", flush=True)
def tell(**result): print(json.dumps(result), file=sink, flush=True)
tell(versions={"slangpy": "0.0"})
tell(way="one", nbytes=64, times=[3.0, 1.0, 2.0])
tell(way="two", reason="RuntimeError: not on this device")
"""
"""The beginning of a program that is run apart."""


def apart(tmp_path: Path, end: str, timeout: float = 20.0) -> Told:
    program = tmp_path / "program.py"
    program.write_text(TELLS + end, encoding="utf-8")
    return peers.apart("program", [sys.executable, program], timeout)


def test_figures_versions_and_reasons_come_over(tmp_path: Path) -> None:
    told = apart(tmp_path, "")
    assert told.times == {64: {"one": [3.0, 1.0, 2.0]}}
    assert told.versions == {"slangpy": "0.0"}
    assert told.reasons == {"two": "RuntimeError: not on this device"}


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (
            "print('last words', flush=True); os.kill(os.getpid(), signal.SIGSEGV)",
            "ended by SIGSEGV, after: last words",
        ),
        ("raise SystemExit(3)", "ended with status 3, after: starting"),
        ("raise KeyError('gone')", "ended with status 1, after: KeyError: 'gone'"),
        ('sink.write(\'{"way": "half\'); sink.flush(); os.abort()', "ended by SIGABRT"),
    ],
)
def test_an_end_before_its_time_is_said_and_what_was_told_stays(tmp_path: Path, end: str, said: str) -> None:
    told = apart(tmp_path, end)
    assert said in told.reasons["program"]
    assert told.times == {64: {"one": [3.0, 1.0, 2.0]}}
    assert told.reasons["two"] == "RuntimeError: not on this device"


def test_the_last_words_say_why_nothing_could_be_opened(tmp_path: Path) -> None:
    end = "print('\\33[31mno instance\\33[0m', flush=True); tell(way='program', reason='RuntimeError: no device')"
    assert apart(tmp_path, end).reasons["program"] == "RuntimeError: no device, after: no instance"


def test_a_program_that_hangs_is_killed(tmp_path: Path) -> None:
    told = apart(tmp_path, "time.sleep(600)", timeout=2.0)
    assert told.reasons["program"] == "its process was killed after 2 s"
    assert told.times[64]["one"]


def test_ratios_are_over_the_program_by_hand_that_took_turns() -> None:
    ways = {"slangpy, tensor": [30.0, 50.0, 40.0], "by hand, beside slangpy": [10.0, 10.0, 10.0]}
    tensor, hand = peers.figures_of("cuda", 64, ways)
    assert (tensor.microseconds, tensor.ratio, tensor.reference) == (40.0, 4.0, "by hand, beside slangpy")
    assert (hand.microseconds, hand.ratio, hand.reference) == (10.0, None, "")
    first, second = peers.figures_of("cuda", 64, {"one": [2.0], "two": [4.0]})
    assert (first.ratio, second.ratio, second.reference) == (None, 2.0, "one")
