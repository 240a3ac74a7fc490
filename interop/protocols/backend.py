"""Backends: their declaration, and the protocols that list and open devices.

A plugin registers a `BackendInfo`. `BackendInfo.load` imports the binding and returns a `Backend`, which lists devices
and opens them as `Producer` or `Consumer`. A backend inherits from none of these classes.
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
"""Version of these protocols. Each plugin states the version for which it was written."""


class Role(enum.StrEnum):
    """The side of a link that a backend can take."""

    PRODUCER = "producer"
    """Owns the memory and exports it."""
    CONSUMER = "consumer"
    """Imports the memory and computes on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendInfo:
    """The declaration by which a plugin registers a backend. Creating one calls no driver."""

    name: str
    """Name by which users select the backend, for instance `"vulkan"`."""
    roles: frozenset[Role]
    """Sides of a link that the backend can take."""
    load: Callable[[], Backend]
    """Imports the binding and returns the backend. The registry calls it at most once, on first use.

    It raises `ImportError` or `BackendUnavailable` if the binding cannot be imported."""
    api_version: int = API_VERSION
    """Value of `API_VERSION` for which the backend was written."""
    install_hint: str = ""
    """The command or package that makes the backend available."""
    summary: str = ""
    """One line for listings."""


@runtime_checkable
class Backend(Protocol):
    """One API on this machine. It owns the loaded libraries and nothing else."""

    @property
    def name(self) -> str:
        """The registered name."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Return the versions of the binding and of the driver libraries, for reports."""
        ...

    def devices(self) -> Sequence[DeviceInfo]:
        """List the devices with their identities and capabilities. No device stays open.

        Raises:
            BackendUnavailable: The machine has no driver or no device for this API.
        """
        ...


@runtime_checkable
class ProducerBackend(Backend, Protocol):
    """A backend whose devices own memory and export it."""

    def open_producer(self, device: DeviceInfo) -> Producer:
        """Open a device as a producer.

        Args:
            device: An entry of `Backend.devices`.

        Returns:
            The opened device. The caller owns it and closes it.

        Raises:
            Unsupported: The device lacks a feature that the backend needs.
            DriverError: The driver refused to open the device.
        """
        ...


@runtime_checkable
class ConsumerBackend(Backend, Protocol):
    """A backend whose devices import memory and compute on it."""

    def open_consumer(self, device: DeviceInfo) -> Consumer:
        """Open a device as a consumer.

        Args:
            device: An entry of `Backend.devices`.

        Returns:
            The opened device. The caller owns it and closes it.

        Raises:
            Unsupported: The device lacks a feature that the backend needs.
            DriverError: The driver refused to open the device.
        """
        ...
