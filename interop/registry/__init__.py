"""Which backends there are, found through pluggy."""

from __future__ import annotations

from interop.registry.plugins import PluginFailure, Registry, backends, default, failures, load_backend

__all__ = ["PluginFailure", "Registry", "backends", "default", "failures", "load_backend"]
