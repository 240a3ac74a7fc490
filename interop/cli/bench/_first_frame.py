"""Time from ``connect`` to the first frame that has been there and back, each time in a fresh process.

Drivers do most of their work once per process, so nothing of this can be repeated inside one. As a command this
module is that process. Its arguments are MODE PRODUCER CONSUMER TIMEOUT FOLDER NUMBERS; it prints the seconds of each
step as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from interop import registry
from interop.cli.bench._measure import Row, against
from interop.cli.bench._programs import load
from interop.links import connect
from interop.negotiation import select_devices
from interop.protocols import InteropError, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from interop.links import Link

_Made = TypeVar("_Made")
_ROUNDS = 3
_ENOUGH = 9.0
"""Seconds after which no further round begins."""
_WORD = 0x01020304
_BINDING = "import of"


def rows(
    producer: str, consumer: str, pair: tuple[int, int], timeout: float, folder: Path | None, notes: list[str]
) -> Iterator[Row]:
    """Yield the whole, held against opening the two drivers by hand; then its steps, and those by hand.

    ``pair`` are the numbers of the two devices, for the program by hand.
    """
    runs: dict[str, list[Mapping[str, float]]] = {"whole": [], "steps": [], "by hand": []}
    wanted = list(runs)
    arguments = (producer, consumer, str(timeout), str(folder or ""), *map(str, pair))
    start = time.monotonic()
    for _ in range(_ROUNDS):  # in turns, so that all see the same machine
        if time.monotonic() - start > _ENOUGH:
            break
        for mode in list(wanted):
            try:
                runs[mode].append(_fresh(mode, *arguments, timeout=60 + 4 * timeout))
            except InteropError as error:
                notes.append(f"{consumer}, first_frame, {mode}: {error}")
                if mode == "whole":
                    return
                wanted.remove(mode)

    def row(step: str, ours: Sequence[float], theirs: Sequence[float] = ()) -> Row:
        made = partial(Row, consumer=consumer, sync="auto", measure="first_frame", parameters={"step": step})
        return against(made, ours, theirs, "both drivers opened by hand", "ms")

    def sums(mode: str, *, bindings: bool) -> list[float]:
        """Milliseconds of each run, with what Python takes to import the bindings or without."""
        return [
            1e3 * sum(seconds for step, seconds in run.items() if bindings or not step.startswith(_BINDING))
            for run in runs[mode]
        ]

    yield row("whole", sums("whole", bindings=True), sums("by hand", bindings=True))
    yield row("whole less imports", sums("steps", bindings=False), sums("by hand", bindings=False))
    for mode, prefix in (("steps", ""), ("by hand", "by hand: ")):
        done = runs[mode]
        for step in done[0] if done else ():
            yield row(prefix + step, [run[step] * 1e3 for run in done])


def _fresh(*arguments: str, timeout: float) -> Mapping[str, float]:
    """Run this module in a process of its own. Raises :class:`InvalidArgument` with its last words if it fails."""
    command = [sys.executable, "-m", "interop.cli.bench._first_frame", *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter and module
            command, capture_output=True, text=True, check=False, timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        raise InvalidArgument(f"the fresh process has not ended after {error.timeout:g} s") from error
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no word of why"]
        raise InvalidArgument(f"the fresh process ended with {done.returncode}: {last[0]}")
    steps: Mapping[str, float] = json.loads(done.stdout.splitlines()[-1])
    return steps


def _timed(
    steps: dict[str, float], step: str, work: Callable[..., _Made], *arguments: Any, **options: Any
) -> _Made:
    """Return what a call returns, and note the seconds that it took."""
    start = time.perf_counter()
    made = work(*arguments, **options)
    steps[step] = time.perf_counter() - start
    return made


def _frame(link: Link) -> None:
    """Fill on the producer, read on the consumer, and look."""
    buffer = link.buffer(1024, "uint32")
    with link.producer_turn(buffer) as commands:
        commands.fill(buffer.producer_buffer, _WORD)
    found = bytearray(buffer.nbytes)
    with link.consumer_turn(buffer) as view:
        view.read(found, timeout=link.timeout)
    if bytes(found) != _WORD.to_bytes(4, sys.byteorder) * 1024:
        raise InvalidArgument("the first frame holds other words than were written")


def _whole(producer: str, consumer: str, timeout: float) -> dict[str, float]:
    start = time.perf_counter()
    with connect(producer, consumer, timeout=timeout) as link:
        _frame(link)
        return {"whole": time.perf_counter() - start}


def _by_step(producer: str, consumer: str, timeout: float) -> dict[str, float]:
    steps: dict[str, float] = {}
    plugins = registry.default()
    producing = _timed(steps, f"{_BINDING} producer", plugins.load_producer, producer)
    producers = _timed(steps, "producer's devices", producing.devices)
    consuming = _timed(steps, f"{_BINDING} consumer", plugins.load_consumer, consumer)
    consumers = _timed(steps, "consumer's devices", consuming.devices)
    left, right, _ = select_devices(producers, consumers)
    opened = _timed(steps, "producer opened", producing.open_producer, left)
    taken = _timed(steps, "consumer opened", consuming.open_consumer, right)
    with _timed(steps, "negotiation", connect, opened, taken, timeout=timeout) as link:
        _timed(steps, "buffer and first frame", _frame, link)
    taken.close()
    opened.close()
    return steps


def main(arguments: Sequence[str]) -> None:
    """Print the seconds of each step of one mode."""
    mode, producer, consumer, timeout, folder, *numbers = arguments
    place = Path(folder) if folder else None
    if mode == "by hand":
        found: dict[str, float] = {}
        made = _timed(found, f"{_BINDING} bindings", load, place, consumer)
        program = made(*map(int, numbers), timeline=False, pointers=False)
        found |= program.steps
        program.close()
    else:
        run = _whole if mode == "whole" else _by_step
        found = run(producer, consumer, float(timeout))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
