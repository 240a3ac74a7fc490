"""The hooks that a plugin may implement. They carry declarations; no hook may open a driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from interop.protocols.backend import BackendInfo
    from interop.protocols.devices import DeviceInfo
    from interop.protocols.handles import HandleType

GROUP = "interop"
"""Entry-point group of the plugins, and the project name of the hook markers."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)
"""Marks a plugin's implementation of a hook."""


@hookspec
def interop_register_backends() -> Iterable[BackendInfo]:  # type: ignore[empty-body]
    """Return the backends that this plugin provides."""


@hookspec
def interop_prepare_environment() -> Iterable[str]:  # type: ignore[empty-body]
    """Set environment variables before any driver library is opened; return one line for each thing done."""


@hookspec
def interop_veto_handle(
    producer: DeviceInfo, consumer: DeviceInfo, handle_type: HandleType, purpose: str
) -> str | None:
    """Return why this pair must not use this handle type for ``purpose`` (memory, binary, timeline), or None."""


@hookspec
def interop_conformance_profile(backend: str) -> object:
    """Return what the conformance kit should know about a backend of this plugin, or None for others."""


@hookspec
def interop_live_objects(backend: str) -> Callable[[], Mapping[str, int]] | None:
    """Return what counts the objects now alive in a backend's driver, by kind, or None; only tests call it."""
