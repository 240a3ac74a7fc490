"""All of ``interop bench``: which measures there are, and one run of some of them over some consumers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from interop.cli._measures import MEASURES
from interop.cli.bench import _bandwidth, _first_frame, _imports, _ring, _staged, _turns
from interop.cli.bench._environment import machine
from interop.cli.bench._measure import Row
from interop.links import connect
from interop.negotiation import Strategy
from interop.protocols import BackendUnavailable, InteropError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from interop.protocols import DeviceInfo

_TURNS = frozenset({"turn_cost", "round_trip"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """What to measure, and how."""

    producer: str = "vulkan"
    measures: Sequence[str] | None = None
    """Names of :data:`MEASURES`; None: all."""
    frames: int = 200
    """Frames per figure."""
    timeout: float = 10.0
    """Seconds after which any wait gives up."""
    against: Path | None = None
    """Folder of hand-written programs that links are measured against; None: measure links alone."""


@dataclass(slots=True)
class Outcome:
    """What came of a run."""

    rows: list[Row] = field(default_factory=list[Row])
    notes: list[str] = field(default_factory=list[str])
    """What could not be measured, or not be held against anything, and why."""
    devices: dict[str, DeviceInfo] = field(default_factory=dict[str, "DeviceInfo"])
    """By backend."""

    def document(self) -> list[Row]:
        """Return all rows, and before them one that says where they were measured: its value counts CPUs."""
        found = machine(self.devices)
        cpus = float(found.pop("cpus"))
        where = Row(consumer="", sync="", measure="environment", parameters=found, value=cpus, unit="CPUs")
        return [where, *self.rows]


def run_measures(consumers: Sequence[str], settings: BenchSettings, tell: Callable[[str], None]) -> Outcome:
    """Measure; ``tell`` hears what is being done. A consumer that is not here is a note, not an error."""
    outcome = Outcome()
    for name in consumers:
        try:
            _consumer(name, settings, outcome, tell)
        except InteropError as error:
            outcome.notes.append(f"{name}: {error}")
    return outcome


def _consumer(name: str, settings: BenchSettings, outcome: Outcome, tell: Callable[[str], None]) -> None:
    wanted, rows, notes = set(settings.measures or MEASURES), outcome.rows, outcome.notes
    joined = partial(connect, settings.producer, name, timeout=settings.timeout)
    known = False
    for strategy in Strategy:
        sync = strategy.value
        try:
            link = joined(sync=strategy)
        except BackendUnavailable:
            raise
        except InteropError as error:
            notes.append(f"{name}, {sync}: {str(error).splitlines()[0]}")
            continue
        with link:
            plan = link.plan
            outcome.devices.setdefault(settings.producer, plan.producer)
            outcome.devices.setdefault(name, plan.consumer)
            numbers = (plan.producer.index, plan.consumer.index)
            if not known:
                if "import" in wanted:
                    tell(f"{name}: import")
                    rows += _imports.rows(link, settings.against, notes)
                if "bandwidth" in wanted:
                    tell(f"{name}: bandwidth")
                    rows += _bandwidth.rows(link, notes)
            if wanted & _TURNS:
                tell(f"{name}, {sync}: turns")
                rows += _turns.rows(link, sync, wanted, settings.frames, settings.against, notes)
        if not known and "first_frame" in wanted:
            tell(f"{name}: first frame")
            rows += _first_frame.rows(
                settings.producer, name, numbers, settings.timeout, settings.against, notes
            )
        known = True
        if "ring" in wanted and plan.handle_type is not None:
            tell(f"{name}, {sync}: ring")
            rows += _ring.rows(partial(joined, sync=strategy), name, sync, settings.frames)
        if not wanted & {*_TURNS, "ring"}:
            break
    if known and "staged" in wanted:
        tell(f"{name}: staged")
        rows += _staged.rows(joined, name, max(5, settings.frames // 10), notes)
