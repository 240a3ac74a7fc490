"""Conformance profiles: the cases of the conformance kit that a backend declares not to pass."""

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
    """A fault of a driver that makes a case fail and that no backend can avoid.

    The kit runs the case on that driver too. The case must fail, and its error must match `failure`. If it passes,
    the kit reports that too: the driver no longer has the fault.
    """

    driver: str
    """Regular expression, searched in `"DRIVER: DEVICE"` of the consumer's device without regard to case."""
    since: tuple[int, ...] = ()
    """First version with the fault. Empty: all versions below `before`."""
    before: tuple[int, ...] = ()
    """First version without the fault. Empty: no such version is known."""
    handle_types: frozenset[HandleType] = frozenset()
    """Handle types by which memory must travel for the fault to show. Empty: all."""
    failure: str
    """Regular expression, searched in the type and text of the error. Another error stays a failure."""
    reason: str
    """The driver's behaviour in one line, for the matrix."""
    reference: str
    """Evidence: driver, version and device of a measurement, or an address."""

    def concerns(self, consumer: DeviceInfo, handle_type: HandleType | None) -> bool:
        """Whether the fault shows on a device.

        Args:
            consumer: The consumer's device.
            handle_type: Handle type by which memory travels; None for the staged path.
        """
        shows = not self.handle_types or handle_type in self.handle_types
        return shows and is_driver(consumer, self.driver, self.since, self.before)

    def explains(self, failure: str) -> bool:
        """Whether an error, as its type and text, is this fault."""
        return re.search(self.failure, failure) is not None

    def __str__(self) -> str:
        return f"{self.reason} ({self.reference})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformanceProfile:
    """The cases that a backend does not pass, each with its reason. The hook `interop_conformance_profile` returns it.

    A key is the name of a case as the kit prints it, for instance `"kernels::local_memory_and_barrier"`. `*` stands
    for any text; brackets stand for themselves. A key that matches no case is an error, because its case was renamed.
    """

    unsupported: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Permanent: the API lacks the feature. The kit does not run the case and prints the reason."""
    expected_failures: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Temporary: the kit runs the case, and it must fail. If it passes, remove its entry here."""
    driver_faults: Mapping[str, DriverFault] = field(default_factory=lambda: MappingProxyType({}))
    """Known faults of single drivers. On every other driver the case must pass."""


def find_declared(case: str, declared: Mapping[str, _Declared]) -> tuple[str, _Declared] | None:
    """Return the key that matches a case, with its value, or None."""
    for key, value in declared.items():
        if fnmatch.fnmatchcase(case, key.replace("[", "[[]")):
            return key, value
    return None
