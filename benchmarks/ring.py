"""Frame rings against the same work by hand in C++, in pairs in one run.

    python benchmarks/ring.py --consumers opencl,cuda,hip --frames 20000 --json ring.json --png ring.png

Builds ``ring_vulkan_opencl.cpp`` (g++ and OpenCL headers) and ``ring_vulkan_cuda.cpp`` (nvcc) where it can, and
reports µs per frame and their ratio for each number of slots and each batch. HIP is held against CUDA where
both run on one GPU. Each figure is the median of ``--rounds`` runs, C++ and Python taking turns.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from interop.bench.ring import Figure, measure, shapes

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
PARTNERS = {"opencl": "opencl", "cuda": "cuda", "hip": "cuda"}
"""Which hand-written program a consumer is held against."""


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


def by_hand(program: Path, slots: int, batch: int, frames: int) -> float:
    """Run a program; return µs per frame."""
    command = [str(program), str(slots), str(batch), str(frames)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        message = f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-1000:]}"
        raise RuntimeError(message)
    return float(done.stdout)


def runs(program: Path | str) -> Path | str:
    """Return the program, or why it does not run: it may be built where there is no such driver."""
    if isinstance(program, Path):
        try:
            by_hand(program, 2, 1, 20)
        except RuntimeError as error:
            return str(error)
    return program


def show(figures: Sequence[Figure]) -> Table:
    """Make the table."""
    table = Table("consumer", "sync", "slots", "batch", "interop µs", "C++ µs", "ratio", title="µs per frame")
    for each in figures:
        other = f"{each.by_hand:.2f}" if each.by_hand is not None else "-"
        ratio = f"{each.ratio:.3f}" if each.ratio is not None else "-"
        row = (
            each.consumer,
            each.sync,
            str(each.slots),
            str(each.batch),
            f"{each.microseconds:.2f}",
            other,
            ratio,
        )
        table.add_row(*row)
    return table


def plot(figures: Sequence[Figure], path: Path) -> None:
    """Draw µs per frame over the batch, for each consumer at its largest number of slots."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5))
    for consumer in dict.fromkeys(each.consumer for each in figures):
        own = [each for each in figures if each.consumer == consumer]
        most = max(each.slots for each in own)
        row = sorted((each for each in own if each.slots == most), key=lambda each: each.batch)
        axes.plot([e.batch for e in row], [e.microseconds for e in row], "o-", label=f"interop, {consumer}")
        held = [e for e in row if e.by_hand is not None]
        axes.plot([e.batch for e in held], [e.by_hand or 0.0 for e in held], "x--", label=f"C++, {consumer}")
    axes.set(xlabel="frames per batch", ylabel="µs per frame", xscale="log", yscale="log")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)


def main() -> int:
    """Build, run, report. 1 when a consumer that was named did not run, or a limit was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--producer", default="vulkan")
    parser.add_argument("--consumers", default="opencl")
    parser.add_argument("--sync", default="auto")
    parser.add_argument("--slots", default="1,2,8,32,64")
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, help="fail when a ratio at the largest batch is above this")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--png", type=Path)
    options = parser.parse_args()
    slots = [int(each) for each in options.slots.split(",")]
    figures: list[Figure] = []
    console, failed = Console(), False
    with tempfile.TemporaryDirectory(prefix="interop-ring-") as folder:
        programs = {name: build(name, Path(folder)) for name in ("opencl", "cuda")}
        for name, built in list(programs.items()):
            programs[name] = found = runs(built)
            if isinstance(found, str):
                console.print(f"no C++ for {name}: {found}", markup=False)
        for consumer in options.consumers.split(","):
            program = programs.get(PARTNERS.get(consumer, ""))
            for count, batch in shapes(slots):
                frames = max(batch, options.frames // batch * batch)
                ours: list[Figure] = []
                theirs: list[float] = []
                try:
                    for _ in range(options.rounds):
                        if isinstance(program, Path):
                            theirs.append(by_hand(program, count, batch, frames))
                        ours.append(
                            measure(
                                options.producer,
                                consumer,
                                sync=options.sync,
                                slots=count,
                                batch=batch,
                                frames=frames,
                            )
                        )
                except Exception as error:  # noqa: BLE001 - one consumer must not take the others' figures away
                    console.print(f"{consumer}, {count} slots by {batch}: {error}", style="red", markup=False)
                    failed = True
                    break
                figures.append(
                    Figure(
                        consumer=consumer,
                        sync=ours[0].sync,
                        slots=count,
                        batch=batch,
                        frames=frames,
                        microseconds=statistics.median(each.microseconds for each in ours),
                        by_hand=statistics.median(theirs) if theirs else None,
                    )
                )
    console.print(show(figures))
    if options.json:
        rows = [{**asdict(each), "ratio": each.ratio} for each in figures]
        options.json.write_text(json.dumps({"figures": rows}, indent=2) + "\n", encoding="utf-8")
    if options.png and figures:
        plot(figures, options.png)
    if options.limit is not None:
        largest = max((each.batch for each in figures), default=0)
        missed = [e for e in figures if e.batch == largest and (e.ratio or 0.0) > options.limit]
        for each in missed:
            console.print(f"{each.consumer}: {each.ratio:.3f} is above {options.limit}", style="red")
        failed = failed or bool(missed)
    return int(failed or not figures)


if __name__ == "__main__":
    sys.exit(main())
