"""The installed plugins and the backends that they declare. Opens no driver.

Distributions declare plugins in the entry-point group ``interop``. The registry loads each plugin by itself. A plugin
that fails is recorded in ``Registry.failures`` and does not affect the others.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import pluggy

from interop.protocols import (
    API_VERSION,
    Backend,
    BackendInfo,
    BackendUnavailable,
    ConsumerBackend,
    InteropError,
    ProducerBackend,
    RegistryError,
    Role,
    UnknownBackend,
    hookspecs,
    widen_table,
)
from interop.registry import _entry_points as discovery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from importlib.metadata import EntryPoint

    from interop.protocols import DeviceInfo, HandleType
    from interop.registry._entry_points import Declared

_Answer = TypeVar("_Answer")
_EntryPoint: TypeAlias = "EntryPoint | Declared"

DISTRIBUTIONS = {
    "cuda": "interop-cuda",
    "hip": "gpu-interop[hip]",
    "numpy": "interop-numpy",
    "opencl": "gpu-interop[opencl]",
    "vulkan": "gpu-interop[vulkan]",
}
"""Distributions of this project by the backend that they register; errors name the one to install."""


@dataclass(frozen=True, slots=True)
class PluginFailure:
    """A plugin that could not be loaded, or one of its hooks that raised."""

    plugin: str
    distribution: str
    reason: str

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} of {self.distribution}: {self.reason}"


class Registry:
    """Plugins, the backends that they declare, and the backends loaded so far. Safe for any thread."""

    def __init__(self, entry_points: Iterable[_EntryPoint] | None = None) -> None:
        """Load the plugins of ``entry_points``; by default those of all installed distributions."""
        self._lock = threading.RLock()
        self._manager = pluggy.PluginManager(hookspecs.GROUP)
        self._manager.add_hookspecs(hookspecs)
        self._failures: list[PluginFailure] = []
        self._origin: dict[str, _EntryPoint | str] = {}
        self._infos: dict[str, BackendInfo] = {}
        self._claims: dict[str, list[_EntryPoint | str]] = {}
        self._loaded: dict[str, Backend] = {}
        self._environment: tuple[str, ...] | None = None
        found = discovery.entry_points(hookspecs.GROUP) if entry_points is None else entry_points
        seen: set[tuple[str, str]] = set()
        for entry_point in sorted(found, key=lambda entry: entry.name):
            if (entry_point.name, entry_point.value) in seen:
                continue
            seen.add((entry_point.name, entry_point.value))
            try:
                self.register(entry_point.load(), entry_point.name, entry_point)
            except Exception as error:  # noqa: BLE001 - an error of one plugin must not reach the others
                self._fail(entry_point.name, entry_point, f"{type(error).__name__}: {error}")

    def _fail(self, plugin: str, origin: _EntryPoint | str, reason: str) -> None:
        self._failures.append(PluginFailure(plugin, _distribution(origin), reason))

    def register(self, plugin: object, name: str, distribution: _EntryPoint | str = "this program") -> None:
        """Add a plugin.

        Args:
            plugin: A module or object with hook implementations.
            name: The plugin's name; must be unused.
            distribution: Text that names the plugin's origin in errors, or the entry point of a distribution.

        Raises:
            RegistryError: The plugin implements a hook that does not exist, declares no valid backend, or is
                registered already.
        """
        with self._lock:
            unknown = [
                attribute
                for attribute in dir(plugin)
                if attribute.startswith("interop_")
                and self._manager.parse_hookimpl_opts(plugin, attribute) is not None
                and not hasattr(hookspecs, attribute)
            ]
            if unknown:
                names = ", ".join(unknown)
                raise RegistryError(f"plugin {name!r} implements hooks that do not exist: {names}")
            try:
                self._manager.register(plugin, name=name)
            except ValueError as error:
                raise RegistryError(str(error)) from error
            self._origin[name] = distribution
            try:
                for infos in self._call(plugin, "interop_register_backends"):
                    for info in infos:
                        self._declare(info, distribution)
            except BaseException:
                self._manager.unregister(plugin)
                raise

    def _call(self, plugin: object, hook: str, **arguments: object) -> list[Any]:
        others = [other for other in self._manager.get_plugins() if other is not plugin]
        caller = self._manager.subset_hook_caller(hook, remove_plugins=others)
        return [result for result in caller(**arguments) if result is not None]

    def _ask(
        self, hook: str, take: Callable[[Any], _Answer], **arguments: object
    ) -> Iterator[tuple[str, _Answer]]:
        """Yield the name of each plugin that answers a hook, and what `take` makes of the answer.

        A plugin that raises is recorded in `failures` and skipped.
        """
        for name, plugin in self._manager.list_name_plugin():
            try:
                answers = [take(answer) for answer in self._call(plugin, hook, **arguments)]
            except Exception as error:  # noqa: BLE001 - an error of one plugin must not reach the others
                self._fail(name, self._origin[name], f"{hook}: {error}")
                continue
            yield from ((name, answer) for answer in answers)

    def _declare(self, info: object, origin: _EntryPoint | str) -> None:
        if not isinstance(info, BackendInfo):
            raise RegistryError(f"interop_register_backends must return BackendInfo objects, got {info!r}")
        if info.api_version != API_VERSION:
            written = f"backend {info.name!r} is written for API version {info.api_version}"
            raise RegistryError(f"{written}; this is {API_VERSION}")
        self._claims.setdefault(info.name, []).append(origin)
        self._check_claims(info.name)
        self._infos[info.name] = info

    def _check_claims(self, backend: str) -> None:
        if len(self._claims[backend]) > 1:
            names = " and ".join(map(_distribution, self._claims[backend]))
            raise RegistryError(f"backend {backend!r} is registered by both {names}; uninstall one of them")

    @property
    def failures(self) -> tuple[PluginFailure, ...]:
        """Plugins that could not be used, each with the reason."""
        return tuple(self._failures)

    def backends(self, role: Role | None = None) -> Mapping[str, BackendInfo]:
        """Return the declared backends by name, of one role or of both. Opens no driver."""
        with self._lock:
            return {name: info for name, info in self._infos.items() if role is None or role in info.roles}

    def prepare_environment(self) -> tuple[str, ...]:
        """Let plugins set up software drivers, once, before any driver is opened; return one line for each step."""
        with self._lock:
            if self._environment is None:
                steps = self._ask("interop_prepare_environment", lambda lines: [str(line) for line in lines])
                self._environment = tuple(line for _plugin, lines in steps for line in lines)
            return self._environment

    def load_backend(self, name: str, role: Role | None = None) -> Backend:
        """Return a backend; its binding is imported at the first call.

        Args:
            name: The backend's registered name.
            role: The side that the backend must be able to take; None accepts both.

        Raises:
            UnknownBackend: No plugin registers the name in that role; names the distribution to install.
            RegistryError: Two distributions register the name.
            BackendUnavailable: The binding cannot be imported.
        """
        with self._lock:
            info = self._infos.get(name)
            if info is None or (role is not None and role not in info.roles):
                notes = [str(failure) for failure in self._failures]
                if info is None and name in DISTRIBUTIONS:
                    notes.insert(0, f"to add it: pip install '{DISTRIBUTIONS[name]}'")
                raise UnknownBackend(name, role.value if role else "backend", self.backends(role), notes)
            self._check_claims(name)
            if name not in self._loaded:
                self.prepare_environment()
                widen_table()
                self._loaded[name] = _load(info)
            return self._loaded[name]

    def load_producer(self, name: str) -> ProducerBackend:
        """Return a backend that can produce; raises like ``load_backend``."""
        backend = self.load_backend(name, Role.PRODUCER)
        if not isinstance(backend, ProducerBackend):
            raise RegistryError(f"backend {name!r} declares the role producer but has no open_producer")
        return backend

    def load_consumer(self, name: str) -> ConsumerBackend:
        """Return a backend that can consume; raises like ``load_backend``."""
        backend = self.load_backend(name, Role.CONSUMER)
        if not isinstance(backend, ConsumerBackend):
            raise RegistryError(f"backend {name!r} declares the role consumer but has no open_consumer")
        return backend

    def veto(
        self, producer: DeviceInfo, consumer: DeviceInfo, handle_type: HandleType, purpose: str
    ) -> str | None:
        """Return the first plugin's reason against a handle type for this pair, or None."""
        pair = {"producer": producer, "consumer": consumer, "handle_type": handle_type}
        for name, reason in self._ask("interop_veto_handle", str, **pair, purpose=purpose):
            return f"{reason} (said by plugin {name!r})"
        return None

    def conformance_profile(self, backend: str) -> object:
        """Return the conformance profile that a plugin gives for a backend, or None."""
        profiles = self._manager.hook.interop_conformance_profile(backend=backend)
        # pluggy asks the plugin that was registered first last.
        return profiles[-1] if profiles else None

    def live_objects(self, backend: str) -> list[Callable[[], Mapping[str, int]]]:
        """Return the functions by which plugins count the live driver objects of a backend."""
        return list(self._manager.hook.interop_live_objects(backend=backend))


def _distribution(origin: _EntryPoint | str) -> str:
    """Return the name of the distribution. Reads its metadata only now."""
    if isinstance(origin, str):
        return origin
    return origin.dist.name if origin.dist else "an unknown distribution"


def _load(info: BackendInfo) -> Backend:
    try:
        return info.load()
    except InteropError:
        raise
    except ImportError as error:
        raise BackendUnavailable(info.name, str(error), info.install_hint) from error
    except Exception as error:
        reason = f"loading the backend raised {type(error).__name__}: {error}"
        raise BackendUnavailable(info.name, reason, info.install_hint) from error


@functools.cache
def default() -> Registry:
    """Return the registry of the installed plugins. The first call makes it."""
    return Registry()


def backends(role: Role | None = None) -> Mapping[str, BackendInfo]:
    """Return the declared backends of the default registry. Opens no driver."""
    return default().backends(role)


def load_backend(name: str, role: Role | None = None) -> Backend:
    """Return a backend of the default registry; see ``Registry.load_backend``."""
    return default().load_backend(name, role)


def failures() -> tuple[PluginFailure, ...]:
    """Return the plugins of the default registry that could not be used."""
    return default().failures
