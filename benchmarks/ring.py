"""Frame rings against the same work by hand in C++, in pairs in one run.

    python benchmarks/ring.py --consumers opencl,cuda,hip --json ring.json --png ring.png

Builds ``ring_vulkan_opencl.cpp`` (g++ and OpenCL headers) and ``ring_vulkan_cuda.cpp`` (nvcc) where it can, and
reports µs per frame and their ratio for each number of slots and each batch. HIP is held against CUDA where
both run on one GPU. C++ and Python take turns; a figure is the median of the rounds, a ratio the median of the
ratios in one round. Each run gets as many frames as fit into ``--seconds``, so three consumers take less than
two minutes on a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

import interop
from interop.cli.bench._ring import INCREMENT, WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

    from interop import Link
    from interop.links import Slot
    from interop.protocols import Commands

HERE = Path(__file__).resolve().parent
PARTNERS = {"opencl": "opencl", "cuda": "cuda", "hip": "cuda"}
"""Which hand-written program a consumer is held against."""
_FILL = 7
_MOST = 100_000  # frames of one run
_PATIENCE = 60.0  # seconds for one figure by hand


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """µs per frame at one number of slots and one batch, a run for each round."""

    consumer: str
    sync: str
    """Strategy towards the consumer."""
    slots: int
    batch: int
    frames: int
    """Of one run."""
    ours: tuple[float, ...]
    by_hand: tuple[float, ...]
    """Empty where there was no program."""

    @property
    def value(self) -> float:
        """The median of our runs."""
        return statistics.median(self.ours)

    @property
    def ratio(self) -> float | None:
        """Ours over the one by hand of the same round: the median."""
        pairs = zip(self.ours, self.by_hand, strict=True) if self.by_hand else ()
        ratios = [own / other for own, other in pairs]
        return statistics.median(ratios) if ratios else None

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield what goes into the JSON file: our figure, and the one by hand."""
        parameters = {"slots": self.slots, "batch": self.batch, "frames": self.frames}
        for measure, values, reference, ratio in (
            ("ring", self.ours, "by hand in C++" if self.by_hand else "", self.ratio),
            ("ring by hand in C++", self.by_hand, "", None),
        ):
            if values:
                yield {
                    "consumer": self.consumer,
                    "sync": self.sync,
                    "measure": measure,
                    "parameters": {**parameters, "rounds": len(values)},
                    "value": statistics.median(values),
                    "unit": "µs per frame",
                    "p99": float(np.percentile(values, 99)),
                    "reference": reference,
                    "ratio": ratio,
                }


def settings(slots: Sequence[int], batches: Sequence[int]) -> list[tuple[int, int]]:
    """Pair each number of slots with the batches of which it holds two at least, half of the slots among them."""
    return [
        (count, batch)
        for count in slots
        for batch in sorted({1, *batches, max(1, count // 2)})
        if count % batch == 0 and batch <= max(1, count // 2)
    ]


def build(name: str, folder: Path) -> Path | str:
    """Compile a program; return it, or the reason why it could not be."""
    import vulkan

    include = [f"-I{Path(vulkan.__file__).parent}"]
    cuda = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path=str(cuda / "bin"))
    gxx = shutil.which("g++") or shutil.which("clang++")
    compiler = [nvcc, "-x", "cu"] if name == "cuda" else [gxx]
    if compiler[0] is None:
        return f"no compiler for {name}"
    if (cuda / "include").is_dir():
        include.append(f"-I{cuda / 'include'}")
    target = folder / f"ring_vulkan_{name}"
    command = [*map(str, compiler), "-std=c++17", "-O2", *include]
    command += [str(HERE / f"ring_vulkan_{name}.cpp"), "-o", str(target), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    return target if done.returncode == 0 else f"{' '.join(command)}\n{done.stderr[-2000:]}"


class ByHand:
    """A hand-written program that runs: it keeps its rings, as ours are kept, and takes one setting at a time."""

    def __init__(self, program: Path) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            bufsize=1,
        )

    def measure(self, slots: int, batch: int, frames: int) -> float:
        """Return µs per frame. Raises RuntimeError with what the program said when it gives none."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = ""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            try:
                self._process.stdin.write(f"{slots} {batch} {frames}\n")
                if selector.select(_PATIENCE):
                    line = self._process.stdout.readline()
            except BrokenPipeError:
                pass
        if not line:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace")[-1000:]
            message = f"{self._process.args!r} gave no figure for {slots} slots by {batch}: {said}"
            raise RuntimeError(message)
        return float(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()


def by_hand(program: Path | str) -> ByHand | str:
    """Start a program; return it, or why it does not run: it may be built where there is no such driver."""
    if isinstance(program, str):
        return program
    started = ByHand(program)
    try:
        started.measure(2, 1, 20)
    except RuntimeError as error:
        started.__exit__()
        return str(error)
    return started


class Ours:
    """A ring of a link whose frames were recorded."""

    def __init__(self, link: Link, launch: Any, slots: int, batch: int) -> None:
        self.ring = link.ring((WORDS,), "uint32", slots=slots, batch=batch)
        self._timeout = link.timeout

        def produce(commands: Commands, slot: Slot) -> None:
            commands.fill(slot, _FILL + slot.index)

        def consume(slot: Slot) -> Callable[[], object]:
            prepared: Callable[[], object] = launch(slot.view, np.uint32(WORDS), global_size=WORDS)
            return prepared

        self._recorded = self.ring.record(produce=produce, consume=consume)
        self.measure(4 * slots)

    def measure(self, frames: int) -> float:
        """Return µs per frame."""
        start = time.perf_counter()
        self._recorded.run(frames)
        self.ring.synchronize()
        return (time.perf_counter() - start) * 1e6 / frames

    def fitting(self, seconds: float) -> int:
        """Return how many frames run in that time, in whole rounds of the slots."""
        slots = len(self.ring.slots)
        pilot = max(4 * slots, 32)
        wanted = seconds * 1e6 / self.measure(pilot)
        return max(2, min(round(wanted / slots), _MOST // slots)) * slots

    def check(self) -> None:
        """Raise RuntimeError when a slot holds other words than it must."""
        for batch in self.ring.batches(len(self.ring.slots)):  # handed over once more as they are
            with batch.producer():
                pass
            with batch.consumer():
                for _, slot in batch:
                    found = np.empty(WORDS, np.uint32)
                    slot.view.read(found.view(np.uint8), timeout=self._timeout)
                    if (found != _FILL + slot.index + 1).any():
                        message = f"slot {slot.index} holds other words than it must"
                        raise RuntimeError(message)

    def close(self) -> None:
        """Free the ring."""
        self._recorded.close()
        self.ring.close()


def figures(consumer: str, partner: ByHand | str, options: argparse.Namespace) -> Iterator[Figure]:
    """Measure all settings of one consumer."""
    with interop.connect(options.producer, consumer, sync=options.sync) as link:
        module = link.consumer.compile(INCREMENT)
        launch = module.kernel("increment").prepare
        for slots, batch in settings(options.slots, options.batches):
            ring = Ours(link, launch, slots, batch)
            frames = ring.fitting(options.seconds)
            if options.frames:
                frames = max(1, options.frames // batch) * batch
            ours: list[float] = []
            theirs: list[float] = []
            for _ in range(options.rounds):
                if isinstance(partner, ByHand):
                    theirs.append(partner.measure(slots, batch, frames))
                ours.append(ring.measure(frames))
            ring.check()
            ring.close()
            yield Figure(
                consumer=consumer,
                sync=str(link.plan.to_consumer.strategy),
                slots=slots,
                batch=batch,
                frames=frames,
                ours=tuple(ours),
                by_hand=tuple(theirs),
            )
        module.close()


def show(found: Sequence[Figure]) -> Table:
    """Make the table."""
    table = Table("consumer", "sync", "slots", "batch", "interop µs", "C++ µs", "ratio", title="µs per frame")
    for each in found:
        other = f"{statistics.median(each.by_hand):.2f}" if each.by_hand else "-"
        ratio = f"{each.ratio:.3f}" if each.ratio is not None else "-"
        setting = each.consumer, each.sync, str(each.slots), str(each.batch)
        table.add_row(*setting, f"{each.value:.2f}", other, ratio)
    return table


def plot(found: Sequence[Figure], path: Path) -> None:
    """Draw µs per frame over the slots, a line for each consumer with batches of one, and with half of the slots."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5))
    for consumer in dict.fromkeys(each.consumer for each in found):
        for what in ("batches of one", "two batches"):
            line = [
                each
                for each in found
                if each.consumer == consumer
                and each.batch == (1 if what == "batches of one" else max(1, each.slots // 2))
            ]
            slots = [each.slots for each in line]
            (drawn,) = axes.plot(
                slots, [each.value for each in line], "o-", label=f"interop, {consumer}, {what}"
            )
            held = [each for each in line if each.by_hand]
            if held:
                values = [statistics.median(each.by_hand) for each in held]
                slots = [each.slots for each in held]
                axes.plot(slots, values, "x--", color=drawn.get_color(), label=f"C++, {consumer}, {what}")
    axes.set(xlabel="slots", ylabel="µs per frame", yscale="log")
    axes.set_xscale("log", base=2)
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)


def numbers(text: str) -> list[int]:
    """Read numbers that are separated by commas."""
    return [int(each) for each in text.split(",")]


def main() -> int:
    """Build, run, report. 1 when a consumer that was named did not run, or a limit was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--producer", default="vulkan")
    parser.add_argument("--consumers", default="opencl")
    parser.add_argument("--sync", default="auto")
    parser.add_argument("--slots", type=numbers, default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--batches", type=numbers, default=[1, 8, 32], help="and half of the slots")
    parser.add_argument("--seconds", type=float, default=0.12, help="of one run")
    parser.add_argument("--frames", type=int, default=0, help="of one run, whatever it takes")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--limit", type=float, help="fail when a ratio at the largest batch is above this")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--png", type=Path)
    options = parser.parse_args()
    consumers = options.consumers.split(",")
    found: list[Figure] = []
    console, failed = Console(), False
    begun = time.monotonic()
    with ExitStack() as stack:
        built: dict[str, Path | str] = {}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interop-ring-")))
        for consumer in consumers:
            name = PARTNERS.get(consumer, "")
            if name and name not in built:
                built[name] = build(name, folder)
            partner = by_hand(built.get(name, "nothing was written for it"))
            if isinstance(partner, str):
                console.print(f"no C++ for {consumer}: {partner}", markup=False)
            try:
                with ExitStack() as running:
                    if isinstance(partner, ByHand):
                        running.enter_context(partner)
                    found.extend(figures(consumer, partner, options))
            except Exception as error:  # noqa: BLE001 - one consumer must not take the others' figures away
                console.print(f"{consumer}: {error}", style="red", markup=False)
                failed = True
    console.print(show(found))
    console.print(f"{time.monotonic() - begun:.0f} s")
    if options.json:
        rows = [row for each in found for row in each.rows()]
        options.json.write_text(json.dumps({"figures": rows}, indent=2) + "\n", encoding="utf-8")
    if options.png and found:
        plot(found, options.png)
    if options.limit is not None:
        largest = max((each.batch for each in found), default=0)
        missed = [each for each in found if each.batch == largest and (each.ratio or 0.0) > options.limit]
        for each in missed:
            console.print(f"{each.consumer}: {each.ratio:.3f} is above {options.limit}", style="red")
        failed = failed or bool(missed)
    return int(failed or not found)


if __name__ == "__main__":
    sys.exit(main())
