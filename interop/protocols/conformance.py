"""What a backend's author declares about the cases that do not pass."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from interop.protocols.devices import is_driver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interop.protocols.devices import DeviceInfo
    from interop.protocols.handles import HandleType

_Declared = TypeVar("_Declared")


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverFault:
    """One way in which a case fails because of a driver, and because of nothing that a backend could do.

    The case is run on that driver like on any other. It may fail with :attr:`failure` and in no other way:
    any other failure is one, and so is a case that passes, because the driver then no longer has the fault.
    """

    driver: str
    """Regular expression found, whatever the case, in ``"DRIVER: DEVICE"`` of the consumer's device."""
    since: tuple[int, ...] = ()
    """First version that has it; empty: every one before :attr:`before`."""
    before: tuple[int, ...] = ()
    """First version without it; empty: not known to be mended."""
    handle_types: frozenset[HandleType] = frozenset()
    """By which memory has to travel for it to show; empty: by any."""
    failure: str
    """Regular expression found in the error's type and text. What it does not fit stays a failure."""
    reason: str
    """What the driver does, for the matrix."""
    reference: str
    """How that is known: driver, version and device of a measurement, or an address."""

    def concerns(self, consumer: DeviceInfo, handle_type: HandleType | None) -> bool:
        """Whether the driver of ``consumer`` has it where memory travels in this way; None: by host copies."""
        shows = not self.handle_types or handle_type in self.handle_types
        return shows and is_driver(consumer, self.driver, self.since, self.before)

    def explains(self, failure: str) -> bool:
        """Whether a failure, as the type and text of its error, is this fault."""
        return re.search(self.failure, failure) is not None

    def __str__(self) -> str:
        return f"{self.reason} ({self.reference})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformanceProfile:
    """Cases that a backend cannot pass, does not pass yet, or does not pass on one driver; each with its reason.

    Returned by the hook ``interop_conformance_profile``. Keys are case names as the kit prints them, for
    instance ``"kernels::local_memory_and_barrier"``; ``*`` stands for anything, brackets for themselves. A
    key that fits no case is an error, so that a renamed case does not leave a dead declaration.
    """

    unsupported: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Permanent: the API has no such thing. The case is not run; the reason is printed."""
    expected_failures: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Temporary: the case is run and must fail. One that passes fails the run until it is taken off here."""
    driver_faults: Mapping[str, DriverFault] = field(default_factory=lambda: MappingProxyType({}))
    """Known faults of single drivers; see :class:`DriverFault`. On every other driver the case must pass."""


def find_declared(case: str, declared: Mapping[str, _Declared]) -> tuple[str, _Declared] | None:
    """Return the key that covers ``case`` and what it declares, or ``None``."""
    for key, value in declared.items():
        if fnmatch.fnmatchcase(case, key.replace("[", "[[]")):
            return key, value
    return None
