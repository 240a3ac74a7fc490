"""Hand-written programs that links are measured against.

``interop bench --by-hand FOLDER`` takes a folder with a module ``NAME_side.py`` for each consumer. Each module has a
class ``Program`` that fulfils the protocol below. A checkout has such programs in ``benchmarks/by_hand``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from interop.cli.bench._measure import then
from interop.negotiation import Strategy
from interop.protocols import HandleType, InvalidArgument, SemaphoreKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack
    from pathlib import Path

    from interop.links import Link


class Program(Protocol):
    """Vulkan and a consumer on one device, joined by hand."""

    binding: str
    """What it is written over."""
    vulkan: Any
    steps: Mapping[str, float]
    """Seconds that each step of opening the devices took."""

    def __init__(self, producer: int, consumer: int, *, timeline: bool, pointers: bool) -> None:
        """Open both devices, by their numbers; use timeline semaphores, or binary ones.

        ``pointers``: call the drivers' own entry points every turn, instead of the bindings' functions.
        """
        ...

    def importer(self, size: int) -> tuple[Callable[[], object], Callable[[Any], None], Callable[[], None]]:
        """Return how to export and import a buffer of ``size``, how to undo an import, and how to free it all."""
        ...

    def turns(
        self, size: int = ..., *, fill: bool = False
    ) -> tuple[Callable[[], None], Callable[[], None], Callable[[], None]]:
        """Return a pair of turns, empty or one that fills, a wait for both sides, and how to free what they use."""
        ...

    def blocking(self, size: int) -> tuple[Callable[[], None], Callable[[], None]]:
        """Return a frame that is waited for on the host, without semaphores, and how to free what it uses."""
        ...

    def close(self) -> None:
        """Free both devices."""
        ...


def frame_of(program: Program, size: int, stack: ExitStack) -> Callable[[], object]:
    """Return a frame of a program that is filled, handed over and waited for; ``stack`` frees what it uses."""
    pair, finish, close = program.turns(size, fill=True)
    stack.callback(close)
    return then(pair, finish)


def load(folder: Path | None, consumer: str) -> Callable[..., Program]:
    """Return the program's class for a consumer. Raises ``InvalidArgument``, which says why there is none."""
    if folder is None:
        raise InvalidArgument("no programs to measure against; give their folder with --by-hand")
    place = folder.resolve()
    if not (place / f"{consumer}_side.py").is_file():
        raise InvalidArgument(f"{place} has no {consumer}_side.py; write one, or measure without --by-hand")
    if (
        place.name not in sys.modules
    ):  # a package under the folder's name, by which its modules import each other
        package = sys.modules[place.name] = ModuleType(place.name)
        package.__path__ = [str(place)]
    try:
        found: Callable[..., Program] = import_module(f"{place.name}.{consumer}_side").Program
    except (ImportError, OSError) as error:
        raise InvalidArgument(f"{consumer}_side.py in {place} cannot be imported: {error}") from error
    return found


def beside(link: Link, folder: Path | None, *, pointers: bool = False) -> Program:
    """Open the program that does by hand what ``link`` does, on the same devices.

    Raises :class:`InvalidArgument`, with the reason, where there is none for this consumer or this kind of link.
    """
    plan = link.plan
    made = load(folder, plan.consumer.backend)
    directions = (plan.to_consumer, plan.to_producer)
    if plan.producer.backend != "vulkan" or plan.handle_type is not HandleType.OPAQUE_FD:
        raise InvalidArgument("the programs by hand share Vulkan's memory by opaque_fd alone")
    kinds = {direction.kind for direction in directions}
    if any(direction.strategy is not Strategy.NATIVE for direction in directions):
        kinds = {SemaphoreKind.BINARY}  # enough for imports, which need no semaphore
    if len(kinds) != 1:
        raise InvalidArgument("the programs by hand have one kind of semaphore for both directions")
    timeline = kinds == {SemaphoreKind.TIMELINE}
    try:
        return made(plan.producer.index, plan.consumer.index, timeline=timeline, pointers=pointers)
    except Exception as error:  # the bindings' errors have no common base
        raise InvalidArgument(f"its program by hand does not start: {error}") from error
