"""``interop doctor``: what is here, what fits together, and what would be chosen for each pair.

Opens drivers to list devices and closes them again; allocates nothing unless asked to test.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

from interop import negotiation, registry, trial
from interop.backend import Role
from interop.errors import InteropError
from interop.images import ImageOffer, offered
from interop.semaphore import SemaphoreKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interop.device import DeviceInfo


@dataclass(slots=True, kw_only=True)
class BackendState:
    """One registered backend on this machine."""

    name: str
    roles: tuple[str, ...]
    devices: Sequence[DeviceInfo] = ()
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    trouble: str = ""
    """Why it cannot be used; empty when it can."""


@dataclass(slots=True, kw_only=True)
class PairState:
    """A producer's and a consumer's device, and what a link between them would be."""

    producer: DeviceInfo
    consumer: DeviceInfo
    match: str | None
    plan: negotiation.Plan | None
    trouble: str = ""
    images: ImageOffer | None = None
    """Which images they share; None without a plan."""
    trials: Sequence[trial.Trial] = ()
    """What became of each path and strategy; empty when nothing was tested."""


@dataclass(slots=True, kw_only=True)
class Report:
    """Everything that doctor found."""

    version: str
    python: str
    system: str
    environment: Sequence[str]
    backends: Sequence[BackendState]
    pairs: Sequence[PairState]
    failures: Sequence[str]


def examine() -> Report:
    """Look at every registered backend and every pair of devices. Never raises for what is merely missing."""
    plugins = registry.default()
    environment = plugins.prepare_environment()
    backends = [_backend(plugins, name) for name in plugins.backends()]
    producers = [
        device for state in backends if Role.PRODUCER.value in state.roles for device in state.devices
    ]
    consumers = [
        device for state in backends if Role.CONSUMER.value in state.roles for device in state.devices
    ]
    return Report(
        version=metadata.version("gpu-interop"),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        environment=environment,
        backends=backends,
        pairs=[_pair(plugins, left, right) for left in producers for right in consumers],
        failures=[str(failure) for failure in plugins.failures],
    )


def test(report: Report, timeout: float) -> bool:
    """Try every pair that has a plan; return whether something was tried and all of it passed."""
    for pair in report.pairs:
        if pair.plan is not None:
            pair.trials = tuple(trial.run(pair.plan, timeout))
    trials = [each for pair in report.pairs for each in pair.trials]
    return bool(trials) and all(each.passed for each in trials)


def _backend(plugins: registry.Registry, name: str) -> BackendState:
    info = plugins.backends()[name]
    state = BackendState(name=name, roles=tuple(sorted(role.value for role in info.roles)))
    try:
        backend = plugins.load_backend(name)
        state.devices = tuple(backend.devices())
        state.versions = dict(backend.versions())
    except InteropError as error:
        state.trouble = str(error)
    return state


def _pair(plugins: registry.Registry, producer: DeviceInfo, consumer: DeviceInfo) -> PairState:
    key = producer.identity.match(consumer.identity)
    try:
        left, right, match = negotiation.select_devices([producer], [consumer])
        plan = negotiation.negotiate(left, right, match, veto=plugins.veto)
    except InteropError as error:
        return PairState(
            producer=producer, consumer=consumer, match=key, plan=None, trouble=str(error).splitlines()[0]
        )
    images = offered(left, right, plan.handle_type)
    return PairState(producer=producer, consumer=consumer, match=match, plan=plan, images=images)


def capabilities(device: DeviceInfo) -> list[str]:
    """Describe what a device offers, one line for each direction."""
    offers = device.capabilities

    def kinds(table: Mapping[SemaphoreKind, frozenset[Any]]) -> str:
        parts = [f"{kind.value} {_names(table[kind])}" for kind in SemaphoreKind if table.get(kind)]
        return "; ".join(parts) or "none"

    lines: list[str] = []
    if offers.memory_export or offers.semaphore_export:
        lines.append(
            f"exports memory {_names(offers.memory_export)}, semaphores {kinds(offers.semaphore_export)}"
        )
    if offers.stream_hold or offers.memory_import:
        lines.append(
            f"imports memory {_names(offers.memory_import)}, semaphores {kinds(offers.semaphore_import)}"
        )
    return lines + list(offers.notes)


def _names(types: frozenset[Any]) -> str:
    return ", ".join(sorted(handle_type.value for handle_type in types)) or "none"


def document(report: Report) -> dict[str, Any]:
    """Return the report as plain values for JSON."""

    def device(info: DeviceInfo) -> dict[str, Any]:
        return {
            "index": info.index,
            "name": info.name,
            "identity": str(info.identity),
            "software": info.software,
            "layered": info.layered or None,
            "driver": info.driver,
            "details": dict(info.details),
            "capabilities": capabilities(info),
        }

    return {
        "interop": report.version,
        "python": report.python,
        "system": report.system,
        "environment": list(report.environment),
        "backends": [
            {
                "name": state.name,
                "roles": list(state.roles),
                "available": not state.trouble,
                "reason": state.trouble or None,
                "versions": dict(state.versions),
                "devices": [device(info) for info in state.devices],
            }
            for state in report.backends
        ],
        "pairs": [
            {
                "producer": f"{pair.producer.backend}:{pair.producer.index}",
                "consumer": f"{pair.consumer.backend}:{pair.consumer.index}",
                "match": pair.match,
                "path": pair.plan.path.value if pair.plan else None,
                "handle_type": pair.plan.handle_type.value if pair.plan and pair.plan.handle_type else None,
                "sync": {
                    "to_consumer": str(pair.plan.to_consumer) if pair.plan else None,
                    "to_producer": str(pair.plan.to_producer) if pair.plan else None,
                },
                "images": asdict(pair.images) if pair.images else None,
                "reason": pair.trouble or None,
                "trials": [asdict(each) for each in pair.trials],
                "rejected": [str(rejection) for rejection in pair.plan.rejected] if pair.plan else [],
            }
            for pair in report.pairs
        ],
        "failures": list(report.failures),
    }
