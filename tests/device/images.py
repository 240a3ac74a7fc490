"""Every kind of shared image, in both directions, texel by texel.

    python tests/device/images.py --consumers opencl,cuda,hip --json images.json

For each format, kind (2D, 2D array, 3D, 2D with mip levels), tiling and consumer: Vulkan fills every level of
every layer with random texels and the consumer reads them; then the consumer writes others and Vulkan reads
those. A case ends as "pass", as "refused: ..." with the answer of the driver or backend that refused it before
a texel was moved, or as "failed: ...", where a texel was wrong, a copy failed, or the process died or hung.

Prints tables, writes JSON, and exits with 1 when a case failed, or when a consumer is not available or passed
nothing. Each consumer has a process of its own, which is started anew behind a case that ended it.
"""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import interop

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

from image_cases import KINDS, case, descriptors, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = [
    (made, kind, tiling)
    for made in interop.FORMATS.values()
    for kind in KINDS
    for tiling in interop.protocols.Tiling
]
SILENCE = 30.0  # seconds after which a process counts as hung
LIVES = 6  # processes per consumer, before the rest of its cases count as failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One case of one consumer."""

    consumer: str
    format: str
    kind: str
    tiling: str
    result: str


def work(consumer: str, skip: int) -> None:
    """Run the cases from ``skip`` on, in this process; one line of JSON each."""
    with interop.connect("vulkan", consumer, path="zero-copy") as link:
        say(devices=[str(link.producer.device), str(link.consumer.device)])
        for made, kind, tiling in CASES[skip:]:
            before = descriptors()
            try:
                result = case(link, made, kind, tiling)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this case's result
                result = f"failed: {type(error).__name__}: {one_line(error)}"
            say(result=result, fds=descriptors() - before)


def say(**words: object) -> None:
    """Print a line for the process that started this one."""
    print(json.dumps(words), flush=True)


def results(consumer: str, deadline: float) -> Iterator[dict[str, Any]]:
    """Yield what the processes of one consumer say, one result per case."""
    done = 0
    for _ in range(LIVES):
        command = [sys.executable, __file__, "--worker", consumer, "--skip", str(done)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        heard: queue.Queue[str | None] = queue.Queue()
        errors: list[str] = []
        threads = [
            threading.Thread(target=listen, args=(process.stdout, heard), daemon=True),
            threading.Thread(target=collect, args=(process.stderr, errors), daemon=True),
        ]
        for thread in threads:
            thread.start()
        end = ""
        while True:
            left = min(SILENCE, deadline - time.monotonic())
            try:
                line = heard.get(timeout=max(left, 0.0))
            except queue.Empty:
                end = "hung, or there was no time left"
                process.kill()
                break
            if line is None:
                break
            words = json.loads(line)
            done += "result" in words
            yield words
        process.wait()
        for thread in threads:
            thread.join(5.0)
        if done == len(CASES) and process.returncode == 0:
            return
        tail = " | ".join("".join(errors).split("\n")[-6:]).strip(" |")
        end = f"failed: the process {end or f'ended with {process.returncode}'}: {tail}"
        if done == len(CASES):
            yield {"closing": end}
            return
        done += 1
        yield {"result": end, "fds": 0}
        if done == len(CASES) or time.monotonic() >= deadline or "BackendUnavailable" in tail:
            break
    for _ in range(done, len(CASES)):
        yield {"result": "failed: not run", "fds": 0}


def listen(lines: Any, heard: queue.Queue[str | None]) -> None:
    """Pass a process's lines on, and then None."""
    for line in lines:
        heard.put(line)
    heard.put(None)


def collect(lines: Any, errors: list[str]) -> None:
    """Keep what a process complains about."""
    errors.extend(lines)


def table(consumer: str, cells: list[Cell], reasons: list[str]) -> Table:
    """Return a consumer's results; reasons are numbered, and collected in ``reasons``."""
    columns = [(kind, tiling) for tiling in interop.protocols.Tiling for kind in KINDS]
    made = Table(title=f"images shared by vulkan and {consumer}")
    made.add_column("format")
    for kind, tiling in columns:
        made.add_column(f"{kind}\n{tiling}")
    found = {(cell.format, cell.kind, cell.tiling): cell.result for cell in cells}
    for name in interop.FORMATS:
        made.add_row(name, *(mark(found[name, *column], reasons) for column in columns))
    return made


def mark(result: str, reasons: list[str]) -> str:
    """Return a cell's text, with the number of its reason."""
    if result == "pass":
        return "[green]pass[/]"
    if result not in reasons:
        reasons.append(result)
    word, colour = ("refused", "yellow") if result.startswith("refused") else ("FAILED", "red")
    return f"[{colour}]{word} {reasons.index(result) + 1}[/]"


def summarise(cells: list[Cell], names: list[str], devices: dict[str, list[str]], console: Console) -> bool:
    """Print tables and reasons; return whether all is well."""
    reasons: list[str] = []
    well = True
    for name in names:
        mine = [cell for cell in cells if cell.consumer == name]
        counts = {
            word: sum(cell.result.startswith(word) for cell in mine) for word in ("pass", "refused", "failed")
        }
        console.print(table(name, mine, reasons))
        figures = ", ".join(f"{count} {word}" for word, count in counts.items())
        console.print(escape(f"{name}: {figures}; devices: {' | '.join(devices.get(name, []))}"))
        well = well and counts["pass"] > 0 and counts["failed"] == 0
    for number, reason in enumerate(reasons, 1):
        console.print(escape(f"{number:4} {reason}"))
    return well


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--consumers", default="opencl,cuda,hip", help="comma-separated")
    parser.add_argument("--json", type=Path, help="write every cell there")
    parser.add_argument("--seconds", type=float, default=120.0, help="for all consumers together")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--skip", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.skip)
        return 0
    start = time.monotonic()
    names = [name.strip() for name in options.consumers.split(",") if name.strip()]
    cells: list[Cell] = []
    devices: dict[str, list[str]] = {}
    growth = dict.fromkeys(names, 0)
    closing: dict[str, str] = {}
    for place, name in enumerate(names, 1):
        deadline = start + options.seconds * place / len(names)
        pending = iter(CASES)
        for words in results(name, deadline):
            devices[name] = words.get("devices", devices.get(name, []))
            if "closing" in words:
                closing[name] = words["closing"]
            if "result" in words:
                made, kind, tiling = next(pending)
                growth[name] += words["fds"]
                cells.append(
                    Cell(
                        consumer=name,
                        format=made.name,
                        kind=kind,
                        tiling=str(tiling),
                        result=words["result"],
                    )
                )
    console = Console(width=160, soft_wrap=True)
    well = summarise(cells, names, devices, console)
    for name, end in closing.items():
        console.print(escape(f"{name}: all cases ran, then {end}"))
    console.print(escape(f"{time.monotonic() - start:.1f} s; descriptors left open: {growth}"))
    if options.json:
        report = {
            "devices": devices,
            "closing": closing,
            "descriptors left open": growth,
            "cells": [asdict(cell) for cell in cells],
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if well and not closing else 1


if __name__ == "__main__":
    sys.exit(main())
