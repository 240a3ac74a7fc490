"""Every machine of the table gets the plan, or the refusal, that the table says; and what holds for any machine."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop import DeviceIdentity, DeviceInfo, HandleType, InteropError, Strategy
from interop.negotiation import MEMORY_TYPES, SEMAPHORE_TYPES, MemoryPath, negotiate, select_devices
from interop.negotiation.quirks import KNOWN, Quirk
from interop.protocols import (
    ONE_SHOT,
    Capabilities,
    MatchKey,
    NoCommonHandleType,
    NoCommonSync,
    PciAddress,
    SemaphoreKind,
)

if TYPE_CHECKING:
    from interop import Plan
    from interop.negotiation import SyncPlan

TABLE = tomllib.loads(Path(__file__).with_name("machines.toml").read_text(encoding="utf-8"))
MACHINES = TABLE["machine"]


def _identity(known: dict[str, Any]) -> DeviceIdentity:
    return DeviceIdentity(
        uuid=bytes([known["uuid"]]) * 16 if "uuid" in known else None,
        luid=bytes([known["luid"]]) * 8 if "luid" in known else None,
        node_mask=known.get("nodes", 0),
        pci=PciAddress.parse(known["pci"]) if "pci" in known else None,
        host=known.get("host"),
    )


def _types(profile: dict[str, Any], what: str) -> frozenset[HandleType]:
    return frozenset(map(HandleType, profile.get(what, ())))


def _device(role: str, name: str, identity: DeviceIdentity) -> DeviceInfo:
    profile = TABLE[role][name]
    memory = _types(profile, "memory")
    semaphores = {kind: _types(profile, kind.value) for kind in SemaphoreKind}
    notes = tuple(profile.get("notes", ()))
    if role == "producer":
        timeline = profile.get("host_timeline", True)
        capabilities = Capabilities(
            memory_export=memory,
            semaphore_export=semaphores,
            semaphore_import=semaphores,  # Vulkan drivers take in what they hand out
            host_timeline=timeline,
            notes=notes,
        )
    else:
        capabilities = Capabilities(
            memory_import=memory,
            semaphore_import=semaphores,
            semaphore_export={SemaphoreKind.BINARY: _types(profile, "handed_out")},
            stream_hold=profile.get("hold", "a user event"),
            stream_notify=profile.get("notify", "a callback"),
            host_memory=profile.get("host_memory", ""),
            notes=notes,
        )
    return DeviceInfo(
        backend=profile["backend"],
        index=0,
        name=profile["name"],
        identity=identity,
        capabilities=capabilities,
        software=profile.get("software", False),
        layered=profile.get("layered", ""),
        driver=profile["driver"],
    )


def _plan(machine: dict[str, Any]) -> Plan:
    mine, theirs = map(_identity, TABLE["identity"][machine["identity"]])
    producer = _device("producer", machine["pair"][0], mine)
    consumer = _device("consumer", machine["pair"][1], theirs)
    ask = machine.get("ask", {})
    left, right, match = select_devices(
        [producer],
        [consumer],
        allow_mismatch=ask.get("path") == MemoryPath.STAGED.value
        or ask.get("handle_type") == HandleType.HOST_ALLOCATION.value,
    )
    return negotiate(left, right, match, **ask)


def _short(sync: SyncPlan) -> str:
    kind = "sync_fd" if sync.handle_type is ONE_SHOT else sync.kind and sync.kind.value
    return f"{sync.strategy.value} {kind}" if kind else sync.strategy.value


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine["name"])
def test_each_machine_gets_what_the_table_says(machine: dict[str, Any]) -> None:
    try:
        plan = _plan(machine)
    except InteropError as error:
        got, text = type(error).__name__, str(error)
    else:
        memory = f"{plan.path.value} {plan.handle_type.value}" if plan.handle_type else plan.path.value
        got, text = f"{memory} | {_short(plan.to_consumer)} | {_short(plan.to_producer)}", plan.explain()
    assert got == machine["expect"], text
    for words in machine.get("says", ()):
        assert words in text


def test_the_table_is_whole() -> None:
    """No profile, identity or quirk stands unused, and no two machines have one name."""
    assert len({machine["name"] for machine in MACHINES}) == len(MACHINES) >= 40
    assert {machine["pair"][0] for machine in MACHINES} == set(TABLE["producer"])
    assert {machine["pair"][1] for machine in MACHINES} == set(TABLE["consumer"])
    assert {machine["identity"] for machine in MACHINES} == set(TABLE["identity"])
    said = [words for machine in MACHINES for words in machine.get("says", ())]
    assert all(any(words in quirk.trouble for words in said) for quirk in KNOWN)


@pytest.mark.parametrize(
    ("driver", "has_it"),
    [
        ("NVIDIA CUDA 509.9", False),
        ("NVIDIA CUDA 510.47.03", True),
        ("NVIDIA CUDA 549.9", True),
        ("NVIDIA CUDA 550.0", False),
        ("NVIDIA CUDA", True),
        ("PoCL 520.0", False),
    ],
)
def test_a_quirk_has_a_driver_and_versions(driver: str, has_it: bool) -> None:
    quirk = Quirk(
        backend="opencl",
        driver="nvidia",
        since=(510,),
        before=(550,),
        handle_type=HandleType.OPAQUE_FD,
        purposes=frozenset({"memory"}),
        trouble="t",
        reference="r",
    )
    device = DeviceInfo(
        backend="opencl",
        index=0,
        name="d",
        identity=DeviceIdentity(),
        capabilities=Capabilities(),
        driver=driver,
    )
    assert quirk.concerns(device) is has_it
    assert not quirk.concerns(replace(device, backend="vulkan"))


TYPES = st.frozensets(st.sampled_from(HandleType))
KINDS = st.fixed_dictionaries(dict.fromkeys(SemaphoreKind, TYPES))
HOW = st.sampled_from(["", "a call"])
PRODUCERS = st.builds(
    Capabilities,
    memory_export=TYPES,
    semaphore_export=KINDS,
    semaphore_import=KINDS,
    host_timeline=st.booleans(),
)
CONSUMERS = st.builds(
    Capabilities,
    memory_import=TYPES,
    semaphore_import=KINDS,
    semaphore_export=KINDS,
    stream_hold=HOW,
    stream_notify=HOW,
)
VETOES = st.frozensets(
    st.tuples(st.sampled_from(HandleType), st.sampled_from(["memory", "binary", "timeline"]))
)


@given(
    offered=PRODUCERS,
    taken=CONSUMERS,
    match=st.sampled_from([MatchKey.UUID, None]),
    sync=st.sampled_from(["auto", *(strategy.value for strategy in Strategy)]),
    require=st.sampled_from([None, *(path.value for path in MemoryPath)]),
    handle_type=st.sampled_from([None, *(chosen.value for chosen in MEMORY_TYPES)]),
    vetoed=VETOES,
)
def test_what_holds_on_any_machine(
    offered: Capabilities,
    taken: Capabilities,
    match: MatchKey | None,
    sync: str,
    require: str | None,
    handle_type: str | None,
    vetoed: frozenset[tuple[HandleType, str]],
) -> None:
    """Only what both offer and nobody vetoes; what was asked for or a refusal with reasons; always the same."""
    producer = DeviceInfo(backend="p", index=0, name="p", identity=DeviceIdentity(), capabilities=offered)
    consumer = DeviceInfo(backend="c", index=0, name="c", identity=DeviceIdentity(), capabilities=taken)

    def veto(_p: DeviceInfo, _c: DeviceInfo, chosen: HandleType, purpose: str) -> str | None:
        return "vetoed" if (chosen, purpose) in vetoed else None

    asked = None if require == MemoryPath.STAGED.value else handle_type

    def decide() -> Plan | NoCommonHandleType | NoCommonSync:
        try:
            return negotiate(producer, consumer, match, sync=sync, path=require, handle_type=asked, veto=veto)
        except (NoCommonHandleType, NoCommonSync) as error:
            return error

    plan = decide()
    if isinstance(plan, (NoCommonHandleType, NoCommonSync)):
        assert plan.reasons or require == MemoryPath.STAGED.value
        assert str(decide()) == str(plan)
        return
    assert plan == decide()
    _check_offered(plan, offered, taken, vetoed)
    assert sync in ("auto", plan.to_consumer.strategy.value)
    assert sync in ("auto", plan.to_producer.strategy.value)
    assert require in (None, plan.path.value)
    assert asked in (None, plan.handle_type)


def _check_offered(
    plan: Plan, offered: Capabilities, taken: Capabilities, vetoed: frozenset[tuple[HandleType, str]]
) -> None:
    assert (plan.handle_type is None) == (plan.path is MemoryPath.STAGED)
    if plan.handle_type is not None:
        assert plan.match is not None or plan.handle_type is HandleType.HOST_ALLOCATION
        assert plan.handle_type in offered.memory_export & taken.memory_import
        assert (plan.handle_type, "memory") not in vetoed
    for sync, needed in ((plan.to_consumer, taken.stream_hold), (plan.to_producer, taken.stream_notify)):
        if sync.strategy is Strategy.NATIVE:
            assert plan.match is not None
            assert sync.kind is not None
            assert sync.handle_type in (*SEMAPHORE_TYPES, ONE_SHOT)
            out, into = offered, taken
            if sync.handle_type is ONE_SHOT:
                assert sync.kind is SemaphoreKind.BINARY
                reusable = {(each, kind) for kind in SemaphoreKind for each in SEMAPHORE_TYPES}
                assert not any(
                    each in offered.exportable(kind) & taken.importable(kind)
                    and (each, kind.value) not in vetoed
                    for each, kind in reusable
                )
                out, into = (offered, taken) if sync is plan.to_consumer else (taken, offered)
            assert sync.handle_type in out.exportable(sync.kind) & into.importable(sync.kind)
            assert (sync.handle_type, sync.kind.value) not in vetoed
        elif sync.strategy is Strategy.BRIDGED:
            assert offered.host_timeline
            assert needed
