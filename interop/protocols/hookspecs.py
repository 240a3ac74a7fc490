"""Hooks of plugins (pluggy). A hook returns declarations and must not open a driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from interop.protocols.backend import BackendInfo
    from interop.protocols.devices import DeviceInfo
    from interop.protocols.handles import HandleType

GROUP = "interop"
"""Entry-point group of plugins, and project name of the hook markers."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)
"""Decorator that marks a function of a plugin as the implementation of a hook."""


@hookspec
def interop_register_backends() -> Iterable[BackendInfo]:  # type: ignore[empty-body]
    """Return the backends that this plugin provides."""


@hookspec
def interop_prepare_environment() -> Iterable[str]:  # type: ignore[empty-body]
    """Set environment variables before the first driver library is opened. Return one line for each change."""


@hookspec
def interop_veto_handle(
    producer: DeviceInfo, consumer: DeviceInfo, handle_type: HandleType, purpose: str
) -> str | None:
    """Return the reason why a pair of devices must not use a handle type, or None.

    Args:
        producer: The producer's device.
        consumer: The consumer's device.
        handle_type: The candidate.
        purpose: `"memory"`, or the kind of a semaphore: `"binary"`, `"timeline"`.
    """


@hookspec
def interop_conformance_profile(backend: str) -> object:
    """Return the `ConformanceProfile` of a backend of this plugin, or None for another backend."""


@hookspec
def interop_live_objects(backend: str) -> Callable[[], Mapping[str, int]] | None:
    """Return a function that counts the live objects in a backend's driver by kind, or None. Tests alone call it."""
