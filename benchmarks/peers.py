"""One frame handed over in every way that there is here, in turns in one run.

    python benchmarks/peers.py --consumers opencl,hip,cuda --json peers.json

A frame is filled by Vulkan, handed to the consumer, and given back; the caller waits for it before the next one. The
ways are links of each strategy and path, programs by hand over the raw bindings (``by_hand/``) with semaphores and
without, and slangpy's own copy. What is not here is named with its reason. Ratios are over the program by hand
through the bindings' functions, or where there is none over the first way that ran.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

import interop
from interop.bench.by_hand import load
from interop.bench.environment import machine
from interop.bench.measure import KIB, MIB, Contestant, p99, race, size_text, wall
from interop.errors import InteropError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interop.link import Link

HERE = Path(__file__).resolve().parent
LINKS = (
    ("interop, native", {"sync": "native", "require": "zero-copy"}),
    ("interop, bridged", {"sync": "bridged", "require": "zero-copy"}),
    ("interop, blocking", {"sync": "blocking", "require": "zero-copy"}),
    ("interop, staged", {"require": "staged"}),
)
BASE = "by hand, functions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """The time of a frame in one way."""

    consumer: str
    way: str
    nbytes: int
    microseconds: float
    """Median."""
    p99: float
    ratio: float | None = None
    """Over the reference of the same run."""
    reference: str = ""


def by_link(link: Link, size: int) -> Callable[[], object]:
    """Return a frame over a link."""
    buffer = link.buffer(size, "uint8")
    producer_turn, consumer_turn = link.producer_turn(buffer), link.consumer_turn(buffer)
    producer_buffer, progress = buffer.producer_buffer, link.producer.progress

    def frame() -> None:
        with consumer_turn:
            pass
        with producer_turn as commands:
            commands.fill(producer_buffer, 7)
        if not progress.wait_host(producer_turn.progress, link.timeout):
            raise WaitTimeout("a frame", link.timeout)

    return frame


def by_program(program: Any, size: int, stack: ExitStack) -> Callable[[], object]:
    """Return a frame of a program by hand, with semaphores."""
    pair, finish, close = program.turns(size, fill=True)
    stack.callback(close)

    def frame() -> None:
        pair()
        finish()

    return frame


def slangpy() -> str:
    """Say why slangpy's copy is not among the ways."""
    if importlib.util.find_spec("slangpy") is None:
        return "not installed: pip install slangpy"
    return "installed, and no program for it is here yet"


def compete(
    consumer: str, size: int, frames: int, timeout: float, missing: dict[str, str]
) -> tuple[list[Figure], Any]:
    """Time all ways of one consumer at one size; ``missing`` gets the reasons of those that are not here."""
    ways: dict[str, Callable[[], object]] = {}
    plan = None
    with ExitStack() as stack:
        for name, wanted in LINKS:
            try:
                link = stack.enter_context(interop.connect(consumer=consumer, timeout=timeout, **wanted))
                ways[name] = by_link(link, size)
            except InteropError as error:
                missing[f"{consumer}, {name}"] = str(error).splitlines()[0]
                continue
            plan = plan or link.plan
        if plan is None:
            return [], None
        timeline = plan.to_consumer.kind is not None and plan.to_consumer.kind.value == "timeline"
        for name, pointers in ((BASE, False), ("by hand, entry points", True), ("by hand, blocking", False)):
            try:
                made = load(HERE / "by_hand", consumer)
                numbers = plan.producer.index, plan.consumer.index
                program = made(*numbers, timeline=timeline, pointers=pointers)
                stack.callback(program.close)
                if name.endswith("blocking"):
                    ways[name], close = program.blocking(size)
                    stack.callback(close)
                else:
                    ways[name] = by_program(program, size, stack)
            except Exception as error:  # noqa: BLE001 - the bindings' errors have no common base
                missing[f"{consumer}, {name}"] = f"{type(error).__name__}: {error}"
        runs = {name: Contestant(step, lambda: None, wall) for name, step in ways.items()}
        race(list(runs.values()), frames)
        medians = {name: statistics.median(run.times) for name, run in runs.items()}
        reference = BASE if BASE in medians else next(iter(medians))
        figures = [
            Figure(
                consumer=consumer,
                way=name,
                nbytes=size,
                microseconds=medians[name],
                p99=p99(run.times),
                ratio=None if name == reference else medians[name] / medians[reference],
                reference="" if name == reference else reference,
            )
            for name, run in runs.items()
        ]
    return figures, plan


def show(figures: Sequence[Figure]) -> Table:
    """Make the table."""
    table = Table("consumer", "frame", "way", title="µs per frame, each waited for", header_style="bold")
    for title in ("median", "p99", "ratio"):
        table.add_column(title, justify="right")
    for each in figures:
        ratio = "" if each.ratio is None else f"{each.ratio:.2f}"
        row = (each.consumer, size_text(each.nbytes), each.way)
        table.add_row(*row, f"{each.microseconds:,.1f}", f"{each.p99:,.1f}", ratio)
    return table


def main() -> int:
    """Run and report; 1 when nothing could be measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--consumers", default="opencl,hip,cuda")
    parser.add_argument("--sizes", default=f"{64 * KIB},{16 * MIB}", help="bytes, comma-separated")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--timeout", type=float, default=10.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures: list[Figure] = []
    missing = {"slangpy": slangpy()}
    devices: dict[str, Any] = {}
    for consumer in options.consumers.split(","):
        for size in map(int, options.sizes.split(",")):
            found, plan = compete(consumer, size, options.frames, options.timeout, missing)
            figures += found
            if plan is not None:
                devices |= {plan.producer.backend: plan.producer, consumer: plan.consumer}
    console = Console()
    console.print(show(figures))
    for name, reason in missing.items():
        console.print(f"{name}: {reason}", markup=False, highlight=False)
    if options.json:
        document = {
            "environment": machine(devices),
            "figures": [asdict(each) for each in figures],
            "missing": missing,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if figures else 1


if __name__ == "__main__":
    sys.exit(main())
