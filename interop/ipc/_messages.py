"""What the bodies of a session's first messages say: devices, the plan, the descriptors of buffers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from interop.ipc.errors import ProtocolError
from interop.negotiation import MemoryPath, Plan, Rejection, Strategy, SyncPlan
from interop.protocols import (
    Capabilities,
    DeviceIdentity,
    DeviceInfo,
    DType,
    HandleType,
    InvalidArgument,
    MatchKey,
    MemoryDescriptor,
    PciAddress,
    SemaphoreKind,
    as_dtype,
    check_shape,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop.ipc._wire import Fields

_MAX_DEVICES = 32
_MAX_REASONS = 64
_REASON = 300  # characters kept of each reason
_MOST_ALIGNED = 1 << 16  # bytes; no device asks for more
_ALLOCATION = 64  # bytes of an allocation's name
_Name = TypeVar("_Name", HandleType, SemaphoreKind, Strategy, MatchKey)


def _named(kind: type[_Name], text: str) -> _Name:
    try:
        return kind(text)
    except ValueError as error:
        raise ProtocolError(f"no such {kind.__name__}: {text[:40]!r}") from error


def _bytes(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise ProtocolError(f"not hexadecimal: {text[:40]!r}") from error


def identity_fields(identity: DeviceIdentity) -> dict[str, Any]:
    """Write an identity."""
    return {
        "uuid": identity.uuid.hex() if identity.uuid is not None else None,
        "alternates": [uuid.hex() for uuid in identity.alternate_uuids],
        "luid": identity.luid.hex() if identity.luid is not None else None,
        "nodes": identity.node_mask,
        "pci": str(identity.pci) if identity.pci is not None else None,
        "drm": list(identity.drm or ()),
        "host": identity.host,
    }


def read_identity(fields: Fields) -> DeviceIdentity:
    """Read an identity."""
    drm = fields.numbers("drm", 2)
    pci = fields.optional_text("pci")
    try:
        identity = DeviceIdentity(
            uuid=_bytes(fields.optional_text("uuid")),
            alternate_uuids=tuple(_bytes(text) or b"" for text in fields.texts("alternates", 8)),
            luid=_bytes(fields.optional_text("luid")),
            node_mask=fields.number("nodes"),
            pci=PciAddress.parse(pci) if pci is not None else None,
            drm=(drm[0], drm[1]) if len(drm) == 2 else None,  # noqa: PLR2004 - major and minor
            host=fields.optional_text("host"),
        )
    except InvalidArgument as error:
        raise ProtocolError(str(error)) from error
    fields.end()
    return identity


def device_fields(device: DeviceInfo) -> dict[str, Any]:
    """Write a device, without the details that only a report needs."""
    can = device.capabilities
    return {
        "backend": device.backend,
        "index": device.index,
        "name": device.name[:_REASON],
        "identity": identity_fields(device.identity),
        "memory": sorted(can.memory_import),
        "semaphores": {kind.value: sorted(can.importable(kind)) for kind in SemaphoreKind},
        "alignment": can.view_alignment,
        "notes": [note[:_REASON] for note in can.notes[:_MAX_REASONS]],
        "semaphore_notes": [note[:_REASON] for note in can.semaphore_notes[:_MAX_REASONS]],
        "software": device.software,
        "layered": device.layered[:_REASON],
        "driver": device.driver[:_REASON],
    }


def read_device(fields: Fields) -> DeviceInfo:
    """Read a device. Its capabilities are those of a consumer."""
    semaphores = fields.part("semaphores")
    device = DeviceInfo(
        backend=fields.text("backend", 100),
        index=fields.number("index"),
        name=fields.text("name"),
        identity=read_identity(fields.part("identity")),
        capabilities=Capabilities(
            memory_import=_types(fields.texts("memory")),
            semaphore_import={kind: _types(semaphores.texts(kind.value)) for kind in SemaphoreKind},
            view_alignment=_alignment(fields.number("alignment")),
            notes=tuple(fields.texts("notes", _MAX_REASONS)),
            semaphore_notes=tuple(fields.texts("semaphore_notes", _MAX_REASONS)),
        ),
        software=fields.flag("software"),
        layered=fields.text("layered"),
        driver=fields.text("driver"),
    )
    semaphores.end()
    fields.end()
    return device


def _alignment(number: int) -> int:
    if number & (number - 1) or not 0 < number <= _MOST_ALIGNED:
        raise ProtocolError(f"views aligned to {number} bytes")
    return number


def _types(names: Sequence[str]) -> frozenset[HandleType]:
    return frozenset(_named(HandleType, name) for name in names)


def hello_fields(devices: Sequence[DeviceInfo], *, chosen: bool) -> dict[str, Any]:
    """Write a consumer's devices; ``chosen`` says that its caller named the only one."""
    return {"devices": [device_fields(device) for device in devices[:_MAX_DEVICES]], "chosen": chosen}


def read_hello(fields: Fields) -> tuple[list[DeviceInfo], bool]:
    """Read a consumer's devices."""
    devices = [read_device(part) for part in fields.parts("devices", _MAX_DEVICES)]
    chosen = fields.flag("chosen")
    fields.end()
    if not devices or (chosen and len(devices) != 1):
        raise ProtocolError(f"{len(devices)} devices offered")
    return devices, chosen


def _sync_fields(plan: SyncPlan) -> dict[str, Any]:
    return {
        "strategy": plan.strategy,
        "kind": plan.kind,
        "handle_type": plan.handle_type,
        "means": plan.means[:_REASON],
    }


def _read_sync(fields: Fields) -> SyncPlan:
    kind, handle_type = fields.optional_text("kind"), fields.optional_text("handle_type")
    plan = SyncPlan(
        strategy=_named(Strategy, fields.text("strategy")),
        kind=_named(SemaphoreKind, kind) if kind is not None else None,
        handle_type=_named(HandleType, handle_type) if handle_type is not None else None,
        means=fields.text("means"),
    )
    fields.end()
    native = plan.strategy is Strategy.NATIVE
    whole = plan.kind is not None and plan.handle_type is not None and plan.handle_type.is_fd
    if plan.strategy is Strategy.BRIDGED or native != whole:
        raise ProtocolError(f"{plan} cannot be between processes")
    return plan


def plan_fields(plan: Plan, chosen: int) -> dict[str, Any]:
    """Write a plan for the consumer whose device ``chosen`` of those it offered was taken."""
    return {
        "producer": device_fields(plan.producer),
        "device": chosen,
        "match": plan.match,
        "handle_type": plan.handle_type,
        "to_consumer": _sync_fields(plan.to_consumer),
        "to_producer": _sync_fields(plan.to_producer),
        "rejected": [
            [each.candidate[:_REASON], each.reason[:_REASON]] for each in plan.rejected[:_MAX_REASONS]
        ],
    }


def read_plan(fields: Fields, devices: Sequence[DeviceInfo]) -> Plan:
    """Read a plan and hold it against what this consumer offered."""
    position = fields.number("device")
    if position >= len(devices):
        raise ProtocolError(f"a plan for device {position} of {len(devices)}")
    rejected = [pair for pair in fields.items("rejected", _MAX_REASONS) if isinstance(pair, list)]
    plan = Plan(
        producer=read_device(fields.part("producer")),
        consumer=devices[position],
        match=_named(MatchKey, fields.text("match")),
        path=MemoryPath.ZERO_COPY,
        handle_type=_named(HandleType, fields.text("handle_type")),
        to_consumer=_read_sync(fields.part("to_consumer")),
        to_producer=_read_sync(fields.part("to_producer")),
        rejected=tuple(
            Rejection(*(str(part)[:_REASON] for part in pair[:2])) for pair in rejected if len(pair) > 1
        ),
    )
    fields.end()
    proved = plan.producer.identity.match(plan.consumer.identity)
    if plan.match is not MatchKey.CHOICE and plan.match is not proved:
        raise ProtocolError(f"the devices do not match by {plan.match}")
    can = plan.consumer.capabilities
    if plan.handle_type is None or plan.handle_type not in can.memory_import or not plan.handle_type.is_fd:
        raise ProtocolError(f"memory by {plan.handle_type}, which this consumer did not offer to import")
    for sync in (plan.to_consumer, plan.to_producer):
        if sync.kind is not None and sync.handle_type not in can.importable(sync.kind):
            raise ProtocolError(f"{sync}, which this consumer did not offer")
    return plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A buffer that the producer shares."""

    number: int
    name: str
    shape: tuple[int, ...]
    dtype: DType
    nbytes: int
    descriptor: MemoryDescriptor


def offer_fields(offer: Offer) -> dict[str, Any]:
    """Write a buffer's shape and descriptor."""
    memory = offer.descriptor
    return {
        "number": offer.number,
        "name": offer.name,
        "shape": list(offer.shape),
        "dtype": offer.dtype.name,
        "allocation_size": memory.allocation_size,
        "size": memory.size,
        "offset": memory.offset,
        "dedicated": memory.dedicated,
        "allocation": memory.allocation.hex() if memory.allocation is not None else None,
        "device": identity_fields(memory.device),
    }


def read_offer(fields: Fields, handle_type: HandleType) -> Offer:
    """Read a buffer's shape and descriptor; shape, type and sizes must agree.

    The name of the allocation is the sender's own: within a session it tells allocations apart, and nothing more.
    """
    try:
        dtype = as_dtype(fields.text("dtype", 40))
        shape, nbytes = check_shape(tuple(fields.numbers("shape")), dtype)
        descriptor = MemoryDescriptor(
            allocation_size=fields.number("allocation_size"),
            size=fields.number("size"),
            offset=fields.number("offset"),
            handle_type=handle_type,
            dedicated=fields.flag("dedicated"),
            allocation=_bytes(fields.optional_text("allocation")),
            device=read_identity(fields.part("device")),
        )
    except InvalidArgument as error:
        raise ProtocolError(str(error)) from error
    offer = Offer(
        number=fields.number("number"),
        name=fields.text("name", 200),
        shape=shape,
        dtype=dtype,
        nbytes=nbytes,
        descriptor=descriptor,
    )
    fields.end()
    if descriptor.allocation is not None and not 0 < len(descriptor.allocation) <= _ALLOCATION:
        raise ProtocolError(
            f"an allocation's name of {len(descriptor.allocation)} bytes; 1 to {_ALLOCATION} may be"
        )
    if nbytes > descriptor.size:
        raise ProtocolError(f"buffer {offer.name!r} needs {nbytes} bytes of the {descriptor.size} described")
    return offer
