"""What exporting, importing and mapping an allocation costs, by size."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from interop.cli._timing import importer, times
from interop.cli.bench._measure import Row, against, size_text, sizes_of
from interop.cli.bench._programs import beside
from interop.protocols import InteropError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from interop.links import Link


def rows(link: Link, folder: Path | None, notes: list[str]) -> Iterator[Row]:
    """Export, import and map again and again, held against the same calls by hand in turns; freeing is not timed."""
    consumer, handle_type = link.plan.consumer.backend, link.plan.handle_type
    if handle_type is None:
        notes.append(f"{consumer}, import: this pair shares no memory")
        return
    with ExitStack() as stack:
        name, program = "", None
        try:
            program = beside(link, folder)
            stack.callback(program.close)
            name = f"by hand, {program.binding}"
        except InteropError as error:
            notes.append(f"{consumer}, imports by hand: {error}")
        for size in sizes_of(link):
            try:
                ours = times(*importer(link, size))
            except InteropError as error:
                notes.append(f"{consumer}, import of {size_text(size)}: {error}")
                continue
            theirs: list[float] = []
            if program is not None:
                try:
                    theirs = times(*program.importer(size))
                except Exception as error:  # noqa: BLE001 - the bindings' errors have no common base
                    notes.append(f"{consumer}, import of {size_text(size)} by hand: {error}")
            row = partial(Row, consumer=consumer, sync="auto", measure="import", parameters={"bytes": size})
            yield against(row, ours, theirs, name, "µs")
