"""What a pair of turns costs the caller, and how long a round trip between the two devices takes."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from interop.cli.bench._measure import Contestant, Row, against, cpu, race, wall
from interop.cli.bench._programs import beside
from interop.negotiation import Strategy
from interop.protocols import InteropError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from interop.links import Link

_BLOCK = 8
"""Pairs between two waits: fewer than any queue holds."""
FORMS = (("functions", False), ("entry points", True))
"""How the programs by hand call the drivers: as the bindings offer it, and past them."""


def rows(
    link: Link, sync: str, measures: Sequence[str], frames: int, folder: Path | None, notes: list[str]
) -> Iterator[Row]:
    """Time pairs of empty turns: CPU time of the caller (``turn_cost``), and until the work has ended (``round_trip``).

    Native links are held against the same calls by hand, in turns; ``notes`` says where there was nothing to hold
    against. The pairs are in blocks, so that what is timed is the caller's own work, not a wait for a full queue.
    """
    with ExitStack() as stack:
        pair, settle = _pair(link)
        programs: list[tuple[str, Callable[[], None], Callable[[], None]]] = []
        native = {link.plan.to_consumer.strategy, link.plan.to_producer.strategy} == {Strategy.NATIVE}
        for form, pointers in FORMS if native else ():
            try:
                program = beside(link, folder, pointers=pointers)
            except InteropError as error:
                notes.append(f"{link.plan.consumer.backend}, turns by hand: {error}")
                break
            stack.callback(program.close)
            step, finish, close = program.turns()
            stack.callback(close)
            programs.append((f"{program.binding}, {form}", step, finish))
        for measure in ("turn_cost", "round_trip"):
            if measure not in measures:
                continue
            if measure == "turn_cost":
                clock, length = cpu, _BLOCK
                runs = [Contestant(pair, settle, clock)]
                runs += [Contestant(step, finish, clock) for _, step, finish in programs]
            else:
                clock, length = wall, 1
                runs = [Contestant(_then(pair, settle), _nothing, clock)]
                runs += [Contestant(_then(step, finish), _nothing, clock) for _, step, finish in programs]
            race(runs, frames, length=length)
            ours, *others = runs

            def row(measure: str = measure, **figures: object) -> Row:
                return Row(
                    consumer=link.plan.consumer.backend,
                    sync=sync,
                    measure=measure,
                    **figures,  # type: ignore[arg-type]
                )

            if not others:
                yield against(row, ours.times, None, "", "µs")
            for (name, _, _), other in zip(programs, others, strict=True):
                yield against(row, ours.times, other.times, f"by hand, {name}", "µs")


def _nothing() -> None:
    """Settle what has settled."""


def _then(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    def both() -> None:
        first()
        second()

    return both


def _pair(link: Link) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return a pair of empty turns of a link, and a wait for it."""
    buffer = link.buffer(1024, "uint32")
    consumer_turn, producer_turn = link.consumer_turn(buffer), link.producer_turn(buffer)
    progress = link.producer.progress

    def pair() -> None:
        with consumer_turn:
            pass
        with producer_turn:
            pass

    def settle() -> None:  # the producer comes last, and waits for the consumer
        if not progress.wait_host(producer_turn.progress, link.timeout):
            raise WaitTimeout(f"{link.plan.producer.backend} to finish a frame", link.timeout)

    return pair, settle
