"""Whether a frame costs the caller more when there are more links, slots, views, frames or frames in a batch.

    python benchmarks/growth.py --consumers opencl,hip,numpy --json growth.json

Of each thing there is one row for each number: the caller's processor time for a frame (of its thread alone, so
that devices and other programs do not count), the bytecode instructions that Python runs for it, and the ratio
of each to the smallest number. The runs of all numbers take turns; a ratio is the median over the rounds.
``--limit 1.2`` fails when a ratio of instructions is above that. What is behind a call into a driver is in the
processor time alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from instructions import instructions
from rich.console import Console
from rich.table import Table

import interop
from interop import registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from interop import Link
    from interop.links import FrameRing
    from interop.protocols import Consumer, Producer

WORDS = 256
SOURCE = """
KERNEL void bump(GLOBAL_MEM unsigned int *words, unsigned int count)
{
    unsigned int i = GLOBAL_ID(0);
    if (i < count) words[i] += 1;
}
"""
SIZES = {
    "links": (1, 10, 100),
    "views": (1, 100, 10_000),
    "slots": (1, 64, 1024),
    "batch": (8, 32, 256),
    "frames": (1_000, 10_000, 100_000),
}
"""The numbers of each thing, smallest first; ``frames`` are those that went before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a frame costs the caller."""

    microseconds: float
    """Of its thread's processor time: the median of the rounds."""
    p99: float
    instructions: float
    """Bytecode instructions."""
    time_ratio: float
    """To the smallest number: the median over the rounds of the ratios in one round."""


class Subject:
    """A ring and the work of its frames."""

    def __init__(self, link: Link, *, slots: int = 8, batch: int = 4) -> None:
        self.ring: FrameRing = link.ring((WORDS,), "uint32", slots=slots, batch=batch)
        kernel = link.consumer.compile(SOURCE).kernel("bump")
        self.launches = {
            slot.index: kernel.prepare(slot.view, np.uint32(WORDS), global_size=WORDS)
            for slot in self.ring.slots
        }

    def run(self, frames: int) -> None:
        """Enqueue frames whose commands are recorded anew each time."""
        launches = self.launches
        for batch in self.ring.batches(frames):
            with batch.producer() as commands:
                for frame, slot in batch:
                    commands.fill(slot, frame)
            with batch.consumer():
                for _, slot in batch:
                    launches[slot.index]()


class Machine:
    """The two devices, opened once for all links."""

    def __init__(self, producer: Producer, consumer: Consumer, sync: Any) -> None:
        self.producer, self.consumer, self.sync = producer, consumer, sync

    def connect(self) -> Link:
        """Join them once more."""
        return interop.connect(self.producer, self.consumer, sync=self.sync, timeout=60.0)


def prepare(what: str, size: int, machine: Machine, stack: ExitStack) -> Subject:
    """Make what is to be measured, with ``size`` of the thing there."""
    link = stack.enter_context(machine.connect())
    if what == "slots":
        return Subject(link, slots=size, batch=1)
    if what == "batch":
        return Subject(link, slots=2 * size, batch=size)
    subject = Subject(link)
    if what == "links":
        for _ in range(size - 1):
            Subject(stack.enter_context(machine.connect())).run(8)
    elif what == "views":
        buffer = link.buffer(1024 * size, "uint8")
        for index in range(size):
            view = buffer.consumer_view.view((1024,), buffer.dtype, offset=1024 * index)
            stack.callback(view.close)
    elif what == "frames":
        subject.run(size)
    return subject


def measure(what: str, sizes: Sequence[int], machine: Machine, rounds: int, frames: int) -> list[Cost]:
    """Run all sizes in turns."""
    with ExitStack() as stack:
        subjects = [prepare(what, size, machine, stack) for size in sizes]
        counts: list[float] = []
        whole = 1
        for subject in subjects:
            whole = max(whole, subject.ring.batch)
        frames = -(-frames // whole) * whole
        for subject in subjects:
            subject.run(len(subject.launches) * 2 + frames)
            subject.ring.synchronize()
        for subject in subjects:
            # Waits of the caller run a few instructions more: the least of a few runs has none.
            counts.append(min(instructions(lambda each=subject: each.run(frames)) for _ in range(3)) / frames)  # type: ignore[misc]
            subject.ring.synchronize()
        spent: list[list[float]] = [[] for _ in subjects]
        for _ in range(rounds):
            for subject, times in zip(subjects, spent, strict=True):
                start = time.thread_time()
                subject.run(frames)
                times.append((time.thread_time() - start) * 1e6 / frames)
                subject.ring.synchronize()
    return [
        Cost(
            microseconds=statistics.median(times),
            p99=float(np.percentile(times, 99)),
            instructions=count,
            time_ratio=statistics.median(now / base for now, base in zip(times, spent[0], strict=True)),
        )
        for count, times in zip(counts, spent, strict=True)
    ]


def rows(consumer: str, sync: Any, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure one consumer; two rows for each number of each thing."""
    plugins = registry.default()
    producing, consuming = plugins.load_producer(options.producer), plugins.load_consumer(consumer)
    with (
        closing(producing.open_producer(producing.devices()[0])) as producer,
        closing(consuming.open_consumer(consuming.devices()[0])) as opened,
    ):
        machine = Machine(producer, opened, sync)
        for what in options.of.split(","):
            sizes = SIZES[what]
            found = measure(what, sizes, machine, options.rounds, options.frames)
            for size, cost in zip(sizes, found, strict=True):
                reference = f"{sizes[0]} {what}"
                common = {"consumer": consumer, "sync": sync, "parameters": {what: size}}
                yield {
                    **common,
                    "measure": "cost per frame",
                    "value": cost.microseconds,
                    "unit": "µs of the caller's thread",
                    "p99": cost.p99,
                    "reference": reference,
                    "ratio": cost.time_ratio,
                }
                yield {
                    **common,
                    "measure": "instructions per frame",
                    "value": cost.instructions,
                    "unit": "bytecode instructions",
                    "p99": None,
                    "reference": reference,
                    "ratio": cost.instructions / found[0].instructions,
                }


def main() -> int:
    """Measure and report. 1 when a ratio of instructions is above the limit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--producer", default="vulkan")
    parser.add_argument("--consumers", default="opencl")
    parser.add_argument("--sync", default="auto")
    parser.add_argument("--of", default=",".join(SIZES), help="what there is more of, separated by commas")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--frames", type=int, default=256, help="frames of each run")
    parser.add_argument("--limit", type=float, help="fail when a ratio of instructions is above this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    # The largest ring takes more descriptors than the 1,024 that a shell often allows its programs.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    found = [
        row for consumer in options.consumers.split(",") for row in rows(consumer, options.sync, options)
    ]
    table = Table("consumer", "of", "number", "measure", "value", "ratio", title="cost of a frame")
    for row in found:
        ((what, number),) = row["parameters"].items()
        figures = f"{row['value']:.1f}", f"{row['ratio']:.3f}"
        table.add_row(row["consumer"], what, f"{number:,}", row["measure"], *figures)
    console = Console()
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps({"figures": found}, indent=2) + "\n", encoding="utf-8")
    missed = [row for row in found if row["p99"] is None and row["ratio"] > (options.limit or float("inf"))]
    for row in missed:
        console.print(f"{row['consumer']}, {row['parameters']}: {row['ratio']:.3f} is above {options.limit}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
