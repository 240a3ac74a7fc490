"""What exporting, importing and mapping an allocation costs, by size."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from interop.cli.bench._measure import SIZES, SOFTWARE_SIZES, WARM_UP, Row, against, size_text, wall
from interop.cli.bench._programs import beside
from interop.protocols import InteropError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from interop.links import Link

_ROUNDS = 32


def rows(link: Link, folder: Path | None, notes: list[str]) -> Iterator[Row]:
    """Export, import and map again and again, held against the same calls by hand in turns; freeing is not timed."""
    consumer, handle_type = link.plan.consumer.backend, link.plan.handle_type
    if handle_type is None:
        notes.append(f"{consumer}, import: this pair shares no memory")
        return
    with ExitStack() as stack:
        program = None
        try:
            program = beside(link, folder)
            stack.callback(program.close)
        except InteropError as error:
            notes.append(f"{consumer}, imports by hand: {error}")
        for size in SOFTWARE_SIZES if link.plan.consumer.software else SIZES:
            try:
                ours = _times(*importer(link, size))
            except InteropError as error:
                notes.append(f"{consumer}, import of {size_text(size)}: {error}")
                continue
            theirs = None
            if program is not None:
                try:
                    theirs = _times(*program.importer(size))
                except Exception as error:  # noqa: BLE001 - the bindings' errors have no common base
                    notes.append(f"{consumer}, import of {size_text(size)} by hand: {error}")

            def row(size: int = size, **figures: Any) -> Row:
                return Row(
                    consumer=consumer, sync="auto", measure="import", parameters={"bytes": size}, **figures
                )

            name = f"by hand, {program.binding}" if program is not None else ""
            yield against(row, ours, theirs, name, "µs")


def importer(link: Link, size: int) -> tuple[Callable[[], Any], Callable[[Any], None], Callable[[], None]]:
    """Do with the framework what a program's ``importer`` does by hand."""
    buffer = link.producer.create_buffer(size, export=link.plan.handle_type)

    def take() -> Any:
        handle, descriptor = buffer.export_memory()
        with handle:
            memory = link.consumer.import_memory(handle, descriptor)
        return memory, memory.map_buffer()

    def drop(taken: Any) -> None:
        memory, view = taken
        view.close()
        memory.close()

    return take, drop, buffer.close


def _times(take: Callable[[], Any], drop: Callable[[Any], None], close: Callable[[], None]) -> list[float]:
    """Return µs of each time after the warm-up. One size and one side at a time: two of 1 GiB may not fit."""
    times: list[float] = []
    try:
        for number in range(-WARM_UP, _ROUNDS):
            start = wall()
            taken = take()
            spent = wall() - start
            drop(taken)
            if number >= 0:
                times.append(spent / 1e3)
    finally:
        close()
    return times
