"""Bodies of a session's first messages: devices, the plan, and descriptors of buffers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from interop.ipc.errors import ProtocolError
from interop.negotiation import MemoryPath, Plan, Rejection, Strategy, SyncPlan
from interop.protocols import (
    Capabilities,
    DeviceIdentity,
    DeviceInfo,
    DType,
    HandleType,
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
    from interop.ipc.session import SessionBuffer

_MAX_DEVICES = 32
_MAX_REASONS = 64
_REASON = 300  # characters kept of each reason
_MOST_ALIGNED = 1 << 16  # bytes; the largest alignment that a device asks for
_ALLOCATION = 64  # longest name of an allocation, in bytes


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise ProtocolError(f"expected hexadecimal digits, got {text[:40]!r}") from error


def identity_fields(identity: DeviceIdentity) -> dict[str, Any]:
    """Return the fields of a device identity."""
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
    """Return the device identity in ``fields``."""
    with fields:
        drm = fields.numbers("drm", 2)
        return DeviceIdentity(
            uuid=fields.optional("uuid", _bytes),
            alternate_uuids=tuple(map(_bytes, fields.texts("alternates", 8))),
            luid=fields.optional("luid", _bytes),
            node_mask=fields.number("nodes"),
            pci=fields.optional("pci", PciAddress.parse),
            drm=(drm[0], drm[1]) if len(drm) == 2 else None,  # noqa: PLR2004 - major and minor
            host=fields.optional("host", str),
        )


def device_fields(device: DeviceInfo) -> dict[str, Any]:
    """Return the fields of a device that negotiation needs."""
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
    """Return the device in ``fields``, with the capabilities of a consumer."""
    with fields, fields.part("semaphores") as semaphores:
        aligned = fields.number("alignment")
        if aligned & (aligned - 1) or not 0 < aligned <= _MOST_ALIGNED:
            raise ProtocolError(
                f"expected a power of two up to {_MOST_ALIGNED} as view alignment, got {aligned}"
            )
        return DeviceInfo(
            backend=fields.text("backend", 100),
            index=fields.number("index"),
            name=fields.text("name"),
            identity=read_identity(fields.part("identity")),
            capabilities=Capabilities(
                memory_import=_types(fields.texts("memory")),
                semaphore_import={kind: _types(semaphores.texts(kind.value)) for kind in SemaphoreKind},
                view_alignment=aligned,
                notes=tuple(fields.texts("notes", _MAX_REASONS)),
                semaphore_notes=tuple(fields.texts("semaphore_notes", _MAX_REASONS)),
            ),
            software=fields.flag("software"),
            layered=fields.text("layered"),
            driver=fields.text("driver"),
        )


def _types(names: Sequence[str]) -> frozenset[HandleType]:
    return frozenset(map(HandleType, names))


def hello_fields(devices: Sequence[DeviceInfo], *, chosen: bool) -> dict[str, Any]:
    """Return the fields of a consumer's devices; ``chosen`` tells that its caller named the only one."""
    return {"devices": [device_fields(device) for device in devices[:_MAX_DEVICES]], "chosen": chosen}


def read_hello(fields: Fields) -> tuple[list[DeviceInfo], bool]:
    """Return a consumer's devices, and whether its caller named the only one."""
    with fields:
        devices = [read_device(part) for part in fields.parts("devices", _MAX_DEVICES)]
        chosen = fields.flag("chosen")
    if not devices or (chosen and len(devices) != 1):
        raise ProtocolError(f"expected one chosen device, or one or more, got {len(devices)}")
    return devices, chosen


def _sync_fields(plan: SyncPlan) -> dict[str, Any]:
    return {**asdict(plan), "means": plan.means[:_REASON]}


def _read_sync(fields: Fields) -> SyncPlan:
    with fields:
        plan = SyncPlan(
            strategy=Strategy(fields.text("strategy")),
            kind=fields.optional("kind", SemaphoreKind),
            handle_type=fields.optional("handle_type", HandleType),
            means=fields.text("means"),
        )
    native = plan.strategy is Strategy.NATIVE
    whole = plan.kind is not None and plan.handle_type is not None and plan.handle_type.is_fd
    if plan.strategy is Strategy.BRIDGED or native != whole:
        raise ProtocolError(f"{plan} needs both sides in one process")
    return plan


def plan_fields(plan: Plan, chosen: int) -> dict[str, Any]:
    """Return the fields of a plan; ``chosen`` is the position of its device among those that the consumer offered."""
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
    """Return the plan in ``fields``. Raises :class:`ProtocolError` if this consumer did not offer its parts."""
    with fields:
        position = fields.number("device")
        if position >= len(devices):
            raise ProtocolError(
                f"the plan is for device {position}, but this consumer offered {len(devices)}"
            )
        rejected = [pair for pair in fields.items("rejected", _MAX_REASONS) if isinstance(pair, list)]
        plan = Plan(
            producer=read_device(fields.part("producer")),
            consumer=devices[position],
            match=MatchKey(fields.text("match")),
            path=MemoryPath.ZERO_COPY,
            handle_type=HandleType(fields.text("handle_type")),
            to_consumer=_read_sync(fields.part("to_consumer")),
            to_producer=_read_sync(fields.part("to_producer")),
            rejected=tuple(
                Rejection(*(str(part)[:_REASON] for part in pair[:2])) for pair in rejected if len(pair) > 1
            ),
        )
    proved = plan.producer.identity.match(plan.consumer.identity)
    if plan.match is not MatchKey.CHOICE and plan.match is not proved:
        raise ProtocolError(f"the plan matches the devices by {plan.match}, which they do not share")
    can = plan.consumer.capabilities
    if plan.handle_type is None or plan.handle_type not in can.memory_import or not plan.handle_type.is_fd:
        raise ProtocolError(
            f"the plan shares memory by {plan.handle_type}, which this consumer did not offer to import"
        )
    for sync in (plan.to_consumer, plan.to_producer):
        if sync.kind is not None and sync.handle_type not in can.importable(sync.kind):
            raise ProtocolError(f"the plan synchronises by {sync}, which this consumer did not offer")
    return plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The offer of a buffer by the producer's process."""

    number: int
    name: str
    shape: tuple[int, ...]
    dtype: DType
    nbytes: int
    descriptor: MemoryDescriptor


def offer_fields(buffer: SessionBuffer | Offer, memory: MemoryDescriptor) -> dict[str, Any]:
    """Return the fields of the offer of a buffer."""
    return {
        "number": buffer.number,
        "name": buffer.name,
        "shape": list(buffer.shape),
        "dtype": buffer.dtype.name,
        "allocation_size": memory.allocation_size,
        "size": memory.size,
        "offset": memory.offset,
        "dedicated": memory.dedicated,
        "allocation": memory.allocation.hex() if memory.allocation is not None else None,
        "device": identity_fields(memory.device),
    }


def read_offer(fields: Fields, handle_type: HandleType) -> Offer:
    """Return the offer in ``fields``. Raises :class:`ProtocolError` unless shape, type and sizes agree.

    The sender chooses the name of the allocation. It is valid within the session only.
    """
    with fields:
        dtype = as_dtype(fields.text("dtype", 40))
        shape, nbytes = check_shape(tuple(fields.numbers("shape")), dtype)
        descriptor = MemoryDescriptor(
            allocation_size=fields.number("allocation_size"),
            size=fields.number("size"),
            offset=fields.number("offset"),
            handle_type=handle_type,
            dedicated=fields.flag("dedicated"),
            allocation=fields.optional("allocation", _bytes),
            device=read_identity(fields.part("device")),
        )
        name, number = fields.text("name", 200), fields.number("number")
    if descriptor.allocation is not None and not 0 < len(descriptor.allocation) <= _ALLOCATION:
        raise ProtocolError(
            f"expected an allocation's name of 1 to {_ALLOCATION} bytes, got {len(descriptor.allocation)}"
        )
    if nbytes > descriptor.size:
        raise ProtocolError(f"buffer {name!r} needs {nbytes} bytes, but its descriptor has {descriptor.size}")
    return Offer(number=number, name=name, shape=shape, dtype=dtype, nbytes=nbytes, descriptor=descriptor)
