"""Backends: their declaration, and the protocols that list and open devices.

A plugin registers a :class:`BackendInfo`. Its ``load`` imports the binding and returns a :class:`Backend`. The backend
lists devices and opens them as :class:`interop.protocols.Producer` or :class:`interop.protocols.Consumer`.
A backend need not inherit from these protocols.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from interop.protocols.consumers import Consumer
    from interop.protocols.devices import DeviceInfo
    from interop.protocols.producers import Producer

API_VERSION = 1
"""Version of these protocols. A plugin states the version it was written for."""


class Role(enum.StrEnum):
    """Which side of a link a backend can take."""

    PRODUCER = "producer"
    """Owns the memory and exports it."""
    CONSUMER = "consumer"
    """Imports the memory and computes on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendInfo:
    """The declaration by which a plugin registers a backend. Creating it touches no driver."""

    name: str
    roles: frozenset[Role]
    load: Callable[[], Backend]
    """Imports the binding and returns the backend. The registry calls it at most once, on first use.

    Raises ``ImportError`` or :class:`interop.protocols.BackendUnavailable` when the binding is missing."""
    api_version: int = API_VERSION
    install_hint: str = ""
    """The command or package that makes the backend available."""
    summary: str = ""
    """One line for listings."""


@runtime_checkable
class Backend(Protocol):
    """One API on this machine. Owns loaded libraries and no device."""

    @property
    def name(self) -> str:
        """The registered name."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Versions of the binding and of the driver libraries, for reports."""
        ...

    def devices(self) -> Sequence[DeviceInfo]:
        """List the devices with their identities and capabilities. Nothing stays open.

        Raises:
            BackendUnavailable: There is no driver or no device.
        """
        ...


@runtime_checkable
class ProducerBackend(Backend, Protocol):
    """A backend that opens producers."""

    def open_producer(self, device: DeviceInfo) -> Producer:
        """Open a device of :meth:`Backend.devices`. The caller owns the result."""
        ...


@runtime_checkable
class ConsumerBackend(Backend, Protocol):
    """A backend that opens consumers."""

    def open_consumer(self, device: DeviceInfo) -> Consumer:
        """Open a device of :meth:`Backend.devices`. The caller owns the result."""
        ...
