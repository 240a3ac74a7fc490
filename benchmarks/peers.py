"""One frame handed over in every way that there is here, in turns in one run.

    python benchmarks/peers.py --consumers opencl,hip,cuda --json peers.json

A frame is filled by Vulkan, handed to the consumer, and given back; the caller waits for it before the next one. The
ways are links of each strategy and path, programs by hand over the raw bindings (``by_hand/``) with semaphores and
without, and where CUDA is asked for slangpy's own (``by_hand/slangpy_side.py``). Those run last in a process of
their own, with the program by hand once more beside them, since a crash there must not take the other figures away.
What is not here is named with its reason. Ratios are over the program by hand through the bindings' functions that
took turns with it, or where there is none over the first way that ran.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

import interop
from interop.cli._timing import wall
from interop.cli.bench._environment import machine
from interop.cli.bench._measure import KIB, MIB, Contestant, p99, race, size_text
from interop.cli.bench._programs import frame_of, load
from interop.protocols import InteropError, SemaphoreKind, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from interop.links import Link
    from interop.negotiation import Plan

HERE = Path(__file__).resolve().parent
SLANGPY = HERE / "by_hand" / "slangpy_side.py"
LINKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("interop, native", {"sync": "native", "path": "zero-copy"}),
    ("interop, bridged", {"sync": "bridged", "path": "zero-copy"}),
    ("interop, blocking", {"sync": "blocking", "path": "zero-copy"}),
    ("interop, staged", {"path": "staged"}),
)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
BASE = "by hand, functions"
BASES = (BASE, "by hand, beside slangpy")
"""What figures are held against."""


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


def figures_of(consumer: str, size: int, times: Mapping[str, Sequence[float]]) -> list[Figure]:
    """Make figures of ways that took turns: each one's microseconds."""
    medians = {way: statistics.median(each) for way, each in times.items()}
    reference = next((way for way in BASES if way in medians), None) or next(iter(medians))
    return [
        Figure(
            consumer=consumer,
            way=way,
            nbytes=size,
            microseconds=medians[way],
            p99=p99(each),
            ratio=None if way == reference else medians[way] / medians[reference],
            reference="" if way == reference else reference,
        )
        for way, each in times.items()
    ]


def ended(status: int) -> str:
    """Say how a process ended that should not have: by a signal or with a status."""
    return f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def last_words(output: str) -> str:
    """Return the last line that a process printed, without colours: where drivers and libraries say why."""
    lines = [line.strip() for line in COLOUR.sub("", output).splitlines() if line.strip()]
    return f", after: {lines[-1]}" if lines else ""


@dataclass(frozen=True, slots=True)
class Told:
    """What a process told of the ways that it timed."""

    times: dict[int, dict[str, list[float]]]
    """Microseconds of each frame, by size and way."""
    versions: dict[str, str]
    """Of the packages that it ran on."""
    reasons: dict[str, str]
    """Why ways are not there; the process itself is one, by its name."""


def apart(name: str, command: Sequence[str | Path], timeout: float) -> Told:
    """Run a program that times ways of its own, where it may crash or hang without harm to this process.

    It writes a line of JSON for each result into the file that ``--out`` names; what it has written before it ends
    counts, however it ends. It is killed after ``timeout`` seconds.
    """
    told = Told({}, {}, {})
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.jsonl"
        results.touch()
        words = ""
        try:
            done = subprocess.run(
                [*command, f"--out={results}"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
                text=True,
                errors="replace",
            )
            words = last_words(done.stdout)
            if done.returncode:
                told.reasons[name] = f"its process {ended(done.returncode)}{words}"
        except subprocess.TimeoutExpired:
            told.reasons[name] = f"its process was killed after {timeout:g} s"
        lines = results.read_text(encoding="utf-8").splitlines(keepends=True)
    for line in lines:
        if not line.endswith("\n"):  # the process ended while it wrote this
            continue
        result = json.loads(line)
        told.versions.update(result.get("versions", {}))
        if "reason" in result:
            told.reasons[result["way"]] = result["reason"] + (words if result["way"] == name else "")
        elif "times" in result:
            told.times.setdefault(result["nbytes"], {})[result["way"]] = result["times"]
    return told


def slangpy(options: argparse.Namespace, plan: Plan | None) -> Told:
    """Time slangpy's ways on the devices of ``plan``, or on the first ones where no link could be made."""
    if importlib.util.find_spec("slangpy") is None:
        return Told({}, {}, {"slangpy": "not installed: pip install slangpy"})
    arguments = [f"--sizes={options.sizes}", f"--frames={options.frames}"]
    if plan is not None:
        arguments += [f"--vulkan={plan.producer.index}", f"--cuda={plan.consumer.index}"]
        arguments += [f"--uuid={(plan.producer.identity.uuid or b'').hex()}"]
        arguments += ["--timeline"] if by_timeline(plan) else []
    return apart("slangpy", [sys.executable, SLANGPY, *arguments], options.patience)


def by_timeline(plan: Plan) -> bool:
    """Whether the link's semaphores are timeline semaphores, which the programs by hand then use as well."""
    return plan.to_consumer.kind is SemaphoreKind.TIMELINE


def compete(
    consumer: str, size: int, frames: int, timeout: float, missing: dict[str, str]
) -> tuple[list[Figure], Plan | None]:
    """Time all ways of one consumer at one size; ``missing`` gets the reasons of those that are not here."""
    ways: dict[str, Callable[[], object]] = {}
    plan: Plan | None = None
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
        timeline = by_timeline(plan)
        for name, pointers in ((BASE, False), ("by hand, entry points", True), ("by hand, blocking", False)):
            try:
                made = load(HERE / "by_hand", consumer)
                numbers = plan.producer.index, plan.consumer.index
                program: Any = made(*numbers, timeline=timeline, pointers=pointers)
                stack.callback(program.close)
                if name.endswith("blocking"):
                    ways[name], close = program.blocking(size)
                    stack.callback(close)
                else:
                    ways[name] = frame_of(program, size, stack)
            except Exception as error:  # noqa: BLE001 - the bindings' errors have no common base
                missing[f"{consumer}, {name}"] = f"{type(error).__name__}: {error}"
        runs = {name: Contestant(step, lambda: None, wall) for name, step in ways.items()}
        race(list(runs.values()), frames)
    return figures_of(consumer, size, {name: run.times for name, run in runs.items()}), plan


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
    parser.add_argument(
        "--patience", type=float, default=120.0, help="seconds that slangpy's process may take"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures: list[Figure] = []
    missing: dict[str, str] = {}
    versions: dict[str, str] = {}
    devices: dict[str, Any] = {}
    for consumer in options.consumers.split(","):
        plan = None
        for size in map(int, options.sizes.split(",")):
            found, plan = compete(consumer, size, options.frames, options.timeout, missing)
            figures += found
            if plan is not None:
                devices |= {plan.producer.backend: plan.producer, consumer: plan.consumer}
        if consumer == "cuda":
            told = slangpy(options, plan)
            figures += [
                each for size, ways in told.times.items() for each in figures_of(consumer, size, ways)
            ]
            missing |= {f"{consumer}, {way}": reason for way, reason in told.reasons.items()}
            versions = told.versions
    console = Console()
    console.print(show(figures))
    for name, reason in missing.items():
        console.print(f"{name}: {reason}", markup=False, highlight=False)
    if options.json:
        document = {
            "environment": machine(devices) | versions,
            "figures": [asdict(each) for each in figures],
            "missing": missing,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if figures else 1


if __name__ == "__main__":
    sys.exit(main())
