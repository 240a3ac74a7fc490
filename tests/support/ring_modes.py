"""Frames with checksums through rings, one side faster than the other: none may be torn, and all are counted.

    python tests/support/ring_modes.py --consumer opencl --mode latency --source producer --frames 1000000

A frame is its number, two stretches of words that follow from it, and the sum of all words before the last. Who
takes a frame adds it up and spoils it, so that one that is half made, made anew under the taker's eyes, or seen
twice is found. In latency mode maker and taker are two threads. Prints one JSON object; exits with 1 when a
frame was torn, not the one that the host was told, or not counted. Run in fresh processes by the contract tests.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

import interop
from interop import LatestRing
from interop.testing import leaks
from interop.toolkit import OwnershipState

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop import FrameRing, Link
    from interop.links import Batch, Slot
    from interop.protocols import Commands

WORDS = 1024
HALF = WORDS // 2
RESULTS = 16
"""Frames of the consumer that the producer copies out before the host looks at them."""
SOURCE = """
KERNEL void make(GLOBAL_MEM unsigned int *data, unsigned int number, unsigned int count, unsigned int drag)
{
    if (GLOBAL_ID(0) != 0) return;
    unsigned int sum = number;
    data[0] = number;
    for (unsigned int r = 0; r <= drag; r++) {
        sum = number;
        for (unsigned int i = 1; i < count - 1; i++) {
            unsigned int word = number * (i < count / 2 ? 2654435761u : 2246822519u) + 97u;
            data[i] = word;
            sum += data[i];
        }
    }
    data[count - 1] = sum;
}

KERNEL void take(
    GLOBAL_MEM unsigned int *data, GLOBAL_MEM unsigned int *tally, unsigned int number, unsigned int count,
    unsigned int drag)
{
    if (GLOBAL_ID(0) != 0) return;
    unsigned int sum = 0, kept = 0;
    for (unsigned int r = 0; r <= drag; r++) {
        sum = 0;
        for (unsigned int i = 0; i < count - 1; i++) sum += data[i];
        kept = kept * 31u + sum;
    }
    tally[0] += 1;
    if (sum != data[count - 1]) tally[1] += 1;
    if (data[0] != number) tally[2] += 1;
    tally[3] = kept;
    for (unsigned int i = 0; i < count; i++) data[i] = 0xdeadbeefu + i;
}
"""


def stretches(number: int) -> tuple[int, int, int]:
    """Return the words of the two stretches of a frame, and its checksum."""
    first = (number * 2654435761 + 97) % 2**32
    second = (number * 2246822519 + 97) % 2**32
    return first, second, (number + (HALF - 1) * first + (WORDS - 1 - HALF) * second) % 2**32


MAKER, TAKER = "maker", "taker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Which side is the slower one, and why."""

    slow: str = ""
    """``"maker"``, ``"taker"``, or neither."""
    rounds: int = 0
    """How often its work is done again, on the device, for each frame."""
    rest: float = 0.0
    """Seconds that its host rests after each batch."""

    def drag(self, side: str) -> int:
        """Further rounds of a side."""
        return self.rounds if side == self.slow else 0

    def pause(self, side: str) -> None:
        """Rest, on the slower side."""
        if side == self.slow:
            time.sleep(self.rest)


class Parts:
    """Both sides' work on frames, whichever makes them."""

    def __init__(self, link: Link, ring: FrameRing | LatestRing, load: Load) -> None:
        self.link, self.ring = link, ring
        self.drag = load.drag(MAKER), load.drag(TAKER)
        self.close = ExitStack()
        module = link.consumer.compile(SOURCE)
        self.close.callback(module.close)
        self.kernels = module.kernel("make"), module.kernel("take")
        self.tally = link.consumer.allocate(16)
        self.close.callback(self.tally.close)
        self.tally.write(bytes(16))
        self.cuts = {
            slot.index: [
                slot.producer_buffer.part(4 * start, 4 * size)
                for start, size in ((0, 1), (1, HALF - 1), (HALF, WORDS - 1 - HALF), (WORDS - 1, 1))
            ]
            for slot in ring.slots
        }
        create = partial(link.producer.create_buffer, host_visible=True)
        self.ballast = create(1 << 16), create(1 << 16)
        self.results = [create(4 * WORDS) for _ in range(RESULTS)]
        for made in (*self.ballast, *self.results):
            self.close.callback(made.close)
        self.copied: list[int] = []
        """The frames that are, or will be, in the results."""
        self.looked = self.torn = self.wrong = 0
        self.last = -1
        self.ordered = True

    def make(self, batch: Batch) -> None:
        """Enqueue the work of the side that makes frames."""
        if self.ring.source == "consumer":
            with batch.consumer():
                for number, slot in batch:
                    self.run(0, slot, number)
            return
        with batch.producer() as commands:
            for number, slot in batch:
                for _ in range(self.drag[0]):  # the same bytes each time: one after the other
                    commands.copy(*self.ballast)
                words = (number % 2**32, *stretches(number))
                for part, word in zip(self.cuts[slot.index], words, strict=True):
                    commands.fill(part, word)

    def run(self, which: int, slot: Slot, number: int) -> None:
        """Launch a kernel on a frame."""
        more = [] if which == 0 else [self.tally]
        scalars = (np.uint32(number % 2**32), np.uint32(WORDS), np.uint32(self.drag[which]))
        self.kernels[which](slot.view, *more, *scalars, global_size=1)

    def take(self, batch: Batch) -> None:
        """Enqueue the work of the side that takes frames."""
        for number, _ in batch:
            self.ordered = self.ordered and number > self.last
            self.last = number
        if self.ring.source == "producer":
            with batch.consumer():
                for number, slot in batch:
                    self.run(1, slot, number)
            return
        if len(self.copied) + len(batch) > RESULTS:
            self.link.producer.wait_idle(self.link.timeout)
            self.look()
        with batch.producer() as commands:
            for number, slot in batch:
                self.copy(commands, slot, number)

    def copy(self, commands: Commands, slot: Slot, number: int) -> None:
        """Record what brings a frame of the consumer to the host, and spoils it."""
        for _ in range(self.drag[1]):
            commands.copy(*self.ballast)
        commands.copy(slot, self.results[len(self.copied)])
        commands.fill(slot, 0xDEADBEEF)
        self.copied.append(number)

    def look(self) -> None:
        """Check what was copied; the producer's work has ended."""
        for number, result in zip(self.copied, self.results, strict=False):
            with result.host_view() as view:
                words = np.frombuffer(view, np.uint32, WORDS)
                first, second, total = stretches(number)
                whole = (words[1:HALF] == first).all() and (words[HALF:-1] == second).all()
                self.looked += 1
                self.torn += int(int(words[:-1].sum(dtype=np.uint32)) != int(words[-1]))
                self.wrong += int(not whole or words[0] != number % 2**32 or words[-1] != total)
                del words
        self.copied.clear()

    def found(self) -> dict[str, Any]:
        """Wait for everything, and say what was seen."""
        self.ring.synchronize()
        self.look()
        if self.ring.source == "producer":
            counts = np.zeros(4, np.uint32)
            self.tally.read(counts.view(np.uint8), timeout=self.link.timeout)
            self.looked, self.torn, self.wrong = map(int, counts[:3])
        return {
            **self.ring.counts._asdict(),
            "looked": self.looked,
            "torn": self.torn,
            "wrong": self.wrong,
            "ordered": self.ordered,
        }


def latest(link: Link, source: str, frames: int, batch: int, load: Load) -> dict[str, Any]:
    """Make frames in one thread and take the newest in another."""
    ring = link.ring((WORDS,), "uint32", mode="latency", source=source, batch=batch)  # type: ignore[call-overload]
    parts = Parts(link, ring, load)
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised where the threads are joined
            failures.append(error)

    def make() -> None:
        made = 0
        while made < frames and not failures:
            count = min(1 + made % batch, frames - made)  # batches of every length
            parts.make(ring.fresh(count))
            made += count
            load.pause(MAKER)
        ring.finish()

    def take() -> None:
        while not ring.finished and not failures:
            newest = ring.newest(timeout=0.1)
            if newest is not None:
                parts.take(newest)
                load.pause(TAKER)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in (make, take)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    found = parts.found()
    parts.close.close()
    ring.close()
    return found


def steady(link: Link, source: str, frames: int, batch: int, load: Load) -> dict[str, Any]:
    """Run all frames through a ring that loses none, in loops that end in the middle of a batch."""
    ring = link.ring((WORDS,), "uint32", source=source, slots=3 * batch, batch=batch)  # type: ignore[call-overload]
    parts = Parts(link, ring, load)
    done = 0
    while done < frames:
        count = min(37, frames - done)
        for each in ring.batches(count):
            each.first += done
            parts.make(each)
            load.pause(MAKER)
            parts.take(each)
            load.pause(TAKER)
        done += count
    found = parts.found()
    parts.close.close()
    ring.close()
    return found


MODES = {"latency": latest, "throughput": steady}


def run(
    consumer: str,
    sync: Any,
    mode: str,
    source: str,
    frames: int,
    *,
    batch: int = 2,
    slow: str = "",
    rounds: int = 0,
    rest: float = 0.0,
) -> dict[str, Any]:
    """Run frames after a short run that has the drivers start what they keep; name what was left open."""
    work, load = MODES[mode], Load(slow=slow, rounds=rounds, rest=rest)
    for _ in range(2):
        with interop.connect(consumer=consumer, sync=sync) as link:
            work(link, source, 50, batch, load)
    before = leaks.snapshot()
    with interop.connect(consumer=consumer, sync=sync) as link:
        start = time.monotonic()
        found = work(link, source, frames, batch, load)
        seconds = time.monotonic() - start
        plan = [link.plan.to_consumer.strategy.value, link.plan.to_producer.strategy.value]
    del link
    return {
        **found,
        "plan": plan,
        "frames_per_second": round(frames / seconds, 1),
        "left": leaks.leaked_since(before),
    }


def every_way(consumer: str, sync: Any, frames: int) -> dict[str, Any]:
    """Run frames in both modes, from both sides, with either side the slower one; return what is wrong, and counts."""
    found: dict[str, Any] = {}
    for mode in MODES:
        for source in ("producer", "consumer"):
            for slow in (TAKER, MAKER):
                made = run(consumer, sync, mode, source, frames, slow=slow, rounds=40)
                name = f"{mode}, {source}'s frames, slow {slow}"
                found[name] = {**made, "faults": faults(made, mode, frames)}
    return found


def careless(consumer: str, sync: Any, source: str, frames: int, rounds: int) -> dict[str, Any]:
    """Run the newest frames through a ring that gives out again what the taker may be working on."""

    def forget(ring: LatestRing) -> None:
        with ring._changed:
            for block in ring._held:
                block.ownership.state = OwnershipState.FREE
                block.ownership.reclaimed = False
            ring._free.extendleft(ring._held)
            ring._held.clear()

    with mock.patch.object(LatestRing, "_await_taker", forget):
        return run(consumer, sync, "latency", source, frames, batch=1, slow=TAKER, rounds=rounds)


def tuned(consumer: str) -> dict[str, Any]:
    """Have a ring choose its size, and use it."""
    with interop.connect(consumer=consumer) as link:
        tuning = interop.tune_ring(link, (WORDS,), "uint32")
        ring = link.ring((WORDS,), "uint32", slots=tuning.slots, batch=tuning.batch)
        parts = Parts(link, ring, Load())
        for batch in ring.batches(20):
            parts.make(batch)
            parts.take(batch)
        found = parts.found()
        parts.close.close()
        return {
            "slots": len(ring.slots),
            "tried": [each.slots for each in tuning.trials],
            "measured": [each.seconds for each in tuning.trials],
            "seconds": tuning.chosen.seconds,
            "shown": str(tuning),
            "taken": found["consumed"],
        }


def faults(found: dict[str, Any], mode: str, frames: int) -> list[str]:
    """Say what is wrong with a run."""
    must = {
        "frames made": (found["produced"], frames),
        "frames taken and dropped": (found["consumed"] + found["dropped"], frames),
        "frames left waiting": (found["waiting"], 0),
        "frames looked at": (found["looked"], found["consumed"]),
        "torn frames": (found["torn"], 0),
        "frames that are not the one told": (found["wrong"], 0),
        "order": (found["ordered"], True),
        "left open": (found["left"], []),
    }
    if mode == "throughput":
        must["dropped"] = (found["dropped"], 0)
    return [f"{name}: {is_!r} instead of {wanted!r}" for name, (is_, wanted) in must.items() if is_ != wanted]


def main() -> int:
    """Run the frames named, and print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--consumer", default="opencl")
    parser.add_argument("--sync", default="auto")
    parser.add_argument("--mode", default="latency", choices=sorted(MODES))
    parser.add_argument("--source", default="producer", choices=("producer", "consumer"))
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--slow", default="", choices=("", MAKER, TAKER), help="the slower side")
    parser.add_argument("--rounds", type=int, default=0, help="further rounds of its work on each frame")
    parser.add_argument("--rest", type=float, default=0.0, help="seconds that its host rests after a batch")
    options = parser.parse_args()
    found = run(
        options.consumer,
        options.sync,
        options.mode,
        options.source,
        options.frames,
        batch=options.batch,
        slow=options.slow,
        rounds=options.rounds,
        rest=options.rest,
    )
    wrong = faults(found, options.mode, options.frames)
    print(json.dumps({**found, "faults": wrong}, indent=2))  # noqa: T201 - a command
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
