"""Ctrl-C at random points of whole runs: connect, frames, close; what came of it, and what was left.

As a command: ``python tests/support/interrupts.py [--runs 500] [hip/native ...]``.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from failing import CASES, HANG, frames, software

from interop import InteropError
from interop.testing import leaks

if TYPE_CHECKING:
    from types import FrameType


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)


def campaign(consumer: str, sync: str, runs: int, seed: int) -> dict[str, Any]:
    """Interrupt ``runs`` runs, each once, somewhere; in this process, which should be a fresh one.

    A run hangs when it takes :data:`failing.HANG` seconds: the process then ends with every thread's stack.
    """
    choose = random.Random(seed)  # noqa: S311 - moments, not secrets
    counted = software(consumer)
    seconds = 0.0
    for _ in range(3):  # drivers open files and start threads at first use, and keep them
        begun = time.perf_counter()
        assert frames(consumer, sync)
        seconds = time.perf_counter() - begun
    signal.signal(signal.SIGALRM, _interrupt)
    outcomes: Counter[str] = Counter()
    left: list[str] = []
    faulthandler.dump_traceback_later(
        HANG, exit=True
    )  # has a thread of its own, which belongs to the baseline
    baseline = leaks.snapshot()
    live = {name: each.live() for name, each in counted.items()}
    for number in range(runs):
        faulthandler.dump_traceback_later(HANG, exit=True)
        moment = choose.uniform(0.0, 1.1 * seconds) + 1e-6
        outcome = _run(consumer, sync, moment)
        outcomes[outcome.split(" at ")[0]] += 1
        found = leaks.leaked_since(baseline, settle=1.0)
        found += [
            f"{name}: {each.live() - live[name]}"
            for name, each in counted.items()
            if each.live() > live[name]
        ]
        if found:
            left.append(f"run {number}, interrupted at {moment * 1e3:.2f} ms ({outcome}): {found}")
            baseline, live = leaks.snapshot(), {name: each.live() for name, each in counted.items()}
    faulthandler.cancel_dump_traceback_later()
    assert frames(consumer, sync)
    return {"outcomes": dict(outcomes), "left": left}


def _run(consumer: str, sync: str, moment: float) -> str:
    """Run, be interrupted at a moment, and say what became of it."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ResourceWarning
        )  # what is dropped half made is released by its finaliser
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, moment)
                frames(consumer, sync)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.getsignal(signal.SIGINT)  # a signal that came last is handled in here
        except KeyboardInterrupt as error:
            where = " < ".join(
                f"{Path(each.filename).name}:{each.lineno}" for each in reversed(_frames(error))
            )
            error.__traceback__ = None
            return f"interrupted at {where}"
        except InteropError as error:
            return f"{type(error).__name__}: {error}"
        return "ended before"


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    return list(traceback.extract_tb(error.__traceback__))[-8:]


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command


def main() -> int:
    """Run the campaigns that the command line names, each in a process of its own; 1 for anything left or hung."""
    import fresh

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=[f"{consumer}/{sync}" for consumer, sync in CASES])
    parser.add_argument("--runs", type=int, default=500, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    share = -(-options.runs // len(options.cases))
    bad = total = 0
    for case in options.cases:
        consumer, sync = case.split("/")
        done = fresh.attempt(
            campaign, timeout=3600.0, consumer=consumer, sync=sync, runs=share, seed=options.seed
        )
        total += share
        if done.status != 0 or done.result is None:
            _say(f"{case}: ended with status {done.status}\n{done.output}")
            bad += 1
            continue
        _say(f"{case}: {share} runs, {done.result['outcomes']}, {len(done.result['left'])} left something")
        for each in done.result["left"]:
            _say(f"  {each}")
        if done.output.strip():
            _say(done.output)
        bad += len(done.result["left"])
    _say(f"{total} runs interrupted, {bad} left something, hung or crashed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    import interrupts  # this file as a module, which the processes import

    sys.exit(interrupts.main())
