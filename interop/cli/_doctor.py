"""``interop doctor``: what is here, what fits together, and what would be chosen for each pair.

Opens drivers to list devices and closes them again; allocates nothing unless asked to test.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

from interop import negotiation, registry
from interop.cli._selftest import PathTrial, try_paths
from interop.negotiation import ImageOffer, offered
from interop.protocols import BackendUnavailable, InteropError, InvalidArgument, Role, SemaphoreKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from interop.protocols import BackendInfo, DeviceInfo


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
    trials: Sequence[PathTrial] = ()
    """What became of each path and strategy; empty when nothing was tested."""


@dataclass(slots=True, kw_only=True)
class Report:
    """Everything that doctor found."""

    host: Mapping[str, str]
    """Versions of interop, Python and the system, as :func:`host` returns them."""
    environment: Sequence[str]
    backends: Sequence[BackendState]
    pairs: Sequence[PairState]
    failures: Sequence[str]


def examine(consumers: Sequence[str] = ()) -> Report:
    """Look at every registered backend and every pair of devices. Never raises for what is merely missing.

    With ``consumers``, the names of some, only those are looked at. Raises :class:`InvalidArgument` for one that is
    not registered.
    """
    plugins = registry.default()
    known = plugins.backends(Role.CONSUMER)
    if unknown := [name for name in consumers if name not in known]:
        raise InvalidArgument(f"no consumer {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
    environment = plugins.prepare_environment()
    backends = [
        _backend(plugins, info)
        for name, info in plugins.backends().items()
        if not consumers or name in consumers or Role.PRODUCER in info.roles
    ]
    makers = [device for state in backends if Role.PRODUCER.value in state.roles for device in state.devices]
    takers = [device for state in backends if Role.CONSUMER.value in state.roles for device in state.devices]
    return Report(
        host=host(),
        environment=environment,
        backends=backends,
        pairs=[_pair(plugins, left, right) for left in makers for right in takers],
        failures=[str(failure) for failure in plugins.failures],
    )


def test(report: Report, timeout: float) -> bool:
    """Try every pair that has a plan; return whether something was tried and all of it passed."""
    for pair in report.pairs:
        if pair.plan is not None:
            pair.trials = tuple(try_paths(pair.plan, timeout))
    trials = [each for pair in report.pairs for each in pair.trials]
    return bool(trials) and all(each.passed for each in trials)


def _backend(plugins: registry.Registry, info: BackendInfo) -> BackendState:
    state = BackendState(name=info.name, roles=tuple(sorted(role.value for role in info.roles)))
    try:
        backend = plugins.load_backend(info.name)
        state.devices = tuple(backend.devices())
        state.versions = dict(backend.versions())
    except InteropError as error:
        state.trouble = why(error)
    return state


def why(error: InteropError) -> str:
    """Return why a backend cannot be used, without its name."""
    if not isinstance(error, BackendUnavailable):
        return str(error)
    return error.reason + (f"; to fix: {error.install_hint}" if error.install_hint else "")


def host() -> dict[str, str]:
    """Return the versions of interop, of Python and of the system."""
    try:
        version = metadata.version("gpu-interop")
    except metadata.PackageNotFoundError:  # run from a checkout, by its path
        version = "(distribution gpu-interop not installed)"
    return {
        "interop": version,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def _pair(plugins: registry.Registry, producer: DeviceInfo, consumer: DeviceInfo) -> PairState:
    key = producer.identity.match(consumer.identity)
    try:
        left, right, match = negotiation.select_devices([producer], [consumer])
        plan = negotiation.negotiate(left, right, match, veto=plugins.veto)
    except InteropError as error:
        trouble = str(error).splitlines()[0]
        return PairState(producer=producer, consumer=consumer, match=key, plan=None, trouble=trouble)
    images = offered(left, right, plan.handle_type)
    return PairState(producer=producer, consumer=consumer, match=match, plan=plan, images=images)


def capabilities(device: DeviceInfo) -> list[str]:
    """Describe what a device offers, one line for each direction."""
    offers = device.capabilities

    def kinds(table: Mapping[SemaphoreKind, frozenset[Any]]) -> str:
        parts = [f"{kind.value} {_names(table[kind])}" for kind in SemaphoreKind if table.get(kind)]
        return "; ".join(parts) or "none"

    directions = (
        ("exports", offers.memory_export, offers.semaphore_export, any(offers.semaphore_export.values())),
        ("imports", offers.memory_import, offers.semaphore_import, offers.stream_hold),
    )
    lines = [
        f"{verb} memory {_names(memory)}, semaphores {kinds(semaphores)}"
        for verb, memory, semaphores, more in directions
        if memory or more
    ]
    return [*lines, *offers.notes, *offers.semaphore_notes]


def _names(types: frozenset[Any]) -> str:
    return ", ".join(sorted(handle_type.value for handle_type in types)) or "none"


@dataclass(frozen=True, slots=True)
class Line:
    """One line for people: a head in a style of its own, and the rest."""

    depth: int
    head: str
    text: str = ""
    style: str = "bold"
    """As the command line's library writes it: ``bold``, ``dim``, ``yellow``, ``green``, ``red``."""
    may_be_cut: bool = False
    """Whether a terminal may show its beginning alone."""


def lines(report: Report) -> Iterator[Line]:
    """Tell what is here, what can be used first, then each pair in a block of its own."""
    yield Line(0, "", f"interop {', '.join(report.host.values())}")
    for each in report.environment:
        yield Line(0, each, style="dim")
    for state in sorted(report.backends, key=lambda state: bool(state.trouble)):
        head = f"{state.name} ({', '.join(state.roles)})"
        if state.trouble:
            yield Line(0, head, f" not available: {state.trouble}", "yellow")
            continue
        versions = (f"{what} {version}" for what, version in state.versions.items())
        yield Line(0, head, f" {', '.join(versions)}", may_be_cut=True)
        for device in state.devices:
            yield Line(1, "", f"{device} {device.driver}".rstrip())
            yield from (Line(2, "", offer) for offer in capabilities(device))
    for pair in report.pairs:
        yield from _pair_lines(pair)
    if not report.pairs:
        yield Line(0, "no pair", ": a link takes a producer and a consumer that are available", "yellow")


def _pair_lines(pair: PairState) -> Iterator[Line]:
    names = f"{pair.producer.backend}:{pair.producer.index} and {pair.consumer.backend}:{pair.consumer.index}"
    plan = pair.plan
    if plan is None:
        yield Line(0, names, f" cannot be joined: {pair.trouble}", "yellow")
        return
    yield Line(0, names, f" are one device, by {pair.match}" if pair.match else " are two devices")
    how = f" by {plan.handle_type.value}" if plan.handle_type else " through host memory"
    yield Line(1, "", f"memory       {plan.path.value}{how}")
    yield Line(1, "", f"to consumer  {plan.to_consumer}")
    yield Line(1, "", f"to producer  {plan.to_producer}")
    if pair.images is not None:
        yield Line(1, "", f"images       {pair.images}")
    passed: dict[str, list[str]] = {}
    for each in pair.trials:
        way = " ".join(filter(None, (each.path, each.handle_type)))
        if each.passed:
            passed.setdefault(way, []).append(each.sync)
        else:
            yield Line(1, "FAILED", f"       {way}, {each.sync}: {each.words}", "red")
    if passed:
        ways = "; ".join(f"{way}: {', '.join(syncs)}" for way, syncs in passed.items())
        seen = next(each.words for each in pair.trials if each.passed)
        yield Line(1, "passed", f"       {ways} ({seen})", "green")


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

    def pair(state: PairState) -> dict[str, Any]:
        plan = state.plan
        return {
            "producer": f"{state.producer.backend}:{state.producer.index}",
            "consumer": f"{state.consumer.backend}:{state.consumer.index}",
            "match": state.match,
            "path": plan and plan.path.value,
            "handle_type": plan and plan.handle_type and plan.handle_type.value,
            "sync": {
                "to_consumer": plan and str(plan.to_consumer),
                "to_producer": plan and str(plan.to_producer),
            },
            "images": state.images and asdict(state.images),
            "reason": state.trouble or None,
            "trials": [asdict(each) for each in state.trials],
            "rejected": [str(rejection) for rejection in plan.rejected] if plan else [],
        }

    def backend(state: BackendState) -> dict[str, Any]:
        return {
            "name": state.name,
            "roles": list(state.roles),
            "available": not state.trouble,
            "reason": state.trouble or None,
            "versions": dict(state.versions),
            "devices": [device(info) for info in state.devices],
        }

    return {
        **report.host,
        "environment": list(report.environment),
        "backends": [backend(state) for state in report.backends],
        "pairs": [pair(state) for state in report.pairs],
        "failures": list(report.failures),
    }
