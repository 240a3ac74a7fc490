"""What a pair of turns costs the caller, and how long a round trip between the two devices takes."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from interop.cli._timing import reach, wall
from interop.cli.bench._measure import Contestant, Row, against, cpu, race, then
from interop.cli.bench._programs import beside
from interop.negotiation import Strategy
from interop.protocols import InteropError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from interop.links import Link

_BLOCK = 8
"""Pairs between two waits: fewer than any queue holds."""
FORMS = (("functions", False), ("entry points", True))
"""How the programs by hand call the drivers: as the bindings offer it, and past them."""


def rows(
    link: Link, sync: str, measures: Collection[str], frames: int, folder: Path | None, notes: list[str]
) -> Iterator[Row]:
    """Time pairs of empty turns: CPU time of the caller (``turn_cost``), and until the work has ended (``round_trip``).

    Native links are held against the same calls by hand, in turns; ``notes`` says where there was nothing to hold
    against. The pairs are in blocks, so that what is timed is the caller's own work, not a wait for a full queue.
    """
    consumer = link.plan.consumer.backend
    with ExitStack() as stack:
        runners = [("", *_pair(link))]
        native = {link.plan.to_consumer.strategy, link.plan.to_producer.strategy} == {Strategy.NATIVE}
        for form, pointers in FORMS if native else ():
            try:
                program = beside(link, folder, pointers=pointers)
            except InteropError as error:
                notes.append(f"{consumer}, turns by hand: {error}")
                break
            stack.callback(program.close)
            step, finish, close = program.turns()
            stack.callback(close)
            runners.append((f"by hand, {program.binding}, {form}", step, finish))
        for measure in ("turn_cost", "round_trip"):
            if measure not in measures:
                continue
            if measure == "turn_cost":
                runs = [Contestant(step, finish, cpu) for _, step, finish in runners]
                race(runs, frames, length=_BLOCK)
            else:
                runs = [Contestant(then(step, finish), _nothing, wall) for _, step, finish in runners]
                race(runs, frames)
            row = partial(Row, consumer=consumer, sync=sync, measure=measure)
            held = [(name, run.times) for (name, _, _), run in zip(runners, runs, strict=True)]
            for name, theirs in held[1:] or [("", [])]:
                yield against(row, runs[0].times, theirs, name, "µs")


def _nothing() -> None:
    """Settle what has settled."""


def _pair(link: Link) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return a pair of empty turns of a link, and a wait for it."""
    buffer = link.buffer(1024, "uint32")
    consumer_turn, producer_turn = link.consumer_turn(buffer), link.producer_turn(buffer)

    def pair() -> None:
        with consumer_turn:
            pass
        with producer_turn:
            pass

    # The producer comes last, and waits for the consumer.
    return pair, lambda: reach(link, producer_turn.progress)
