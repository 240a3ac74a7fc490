"""Device identity: the keys by which two APIs recognise the same physical device."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from interop.protocols.errors import InvalidArgument

_UUID_SIZE = 16
_LUID_SIZE = 8
_PCI = r"^(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([0-9a-f]{2})\.?([0-7])?$"


@dataclass(frozen=True, slots=True, order=True)
class PciAddress:
    """Address of a function on the PCI bus."""

    domain: int
    """PCI segment, 0 on most machines."""
    bus: int
    """0 to 255."""
    device: int
    """0 to 31."""
    function: int = 0
    """0 to 7."""

    @classmethod
    def parse(cls, text: str) -> PciAddress:
        """Parse the usual text form.

        Args:
            text: For instance `"0000:c1:00.0"`. Domain and function may be missing.

        Raises:
            InvalidArgument: The text has another form.
        """
        match = re.match(_PCI, text.strip(), re.IGNORECASE)
        if match is None:
            raise InvalidArgument(f"a PCI address must look like '0000:c1:00.0', got {text!r}")
        domain, bus, device, function = match.groups()
        return cls(int(domain or "0", 16), int(bus, 16), int(device, 16), int(function or "0"))

    def __str__(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.device:02x}.{self.function}"


class MatchKey(enum.StrEnum):
    """The key that proves two devices to be one, strongest first."""

    UUID = "uuid"
    """Both drivers report one 16-byte UUID."""
    LUID = "luid"
    """Both drivers report one adapter of Windows."""
    PCI = "pci"
    """Both drivers report one PCI address."""
    DRM = "drm"
    """Both drivers report one DRM render node of Linux."""
    HOST = "host"
    """Both devices are the processor of this machine, and one of them has no UUID."""
    CHOICE = "choice"
    """The caller chose both devices, and so vouches that they are one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIdentity:
    """The keys that an API reports for a physical device. A key that it does not report is `None`.

    Raises:
        InvalidArgument: A UUID or LUID has a wrong length.
    """

    uuid: bytes | None = None
    """16 bytes: `VkPhysicalDeviceIDProperties::deviceUUID`, `CL_DEVICE_UUID_KHR`, `cuDeviceGetUuid`."""
    alternate_uuids: tuple[bytes, ...] = ()
    """Further UUIDs that another API may report for this device. RADV derives one from the PCI address."""
    luid: bytes | None = None
    """8 bytes, Windows only: the adapter. A driver may link several GPUs to one adapter."""
    node_mask: int = 0
    """GPUs of the adapter `luid`, one bit for each. 0: the driver does not report them."""
    pci: PciAddress | None = None
    """Address on the PCI bus."""
    drm: tuple[int, int] | None = None
    """Major and minor number of the DRM render node."""
    host: str | None = None
    """`host_identity` of the machine, if the device is its processor."""

    def __post_init__(self) -> None:
        for name, value, size in (
            ("uuid", self.uuid, _UUID_SIZE),
            ("luid", self.luid, _LUID_SIZE),
            *(("alternate uuid", other, _UUID_SIZE) for other in self.alternate_uuids),
        ):
            if value is not None and len(value) != size:
                raise InvalidArgument(f"{name} must be {size} bytes, got {len(value)}")

    @property
    def uuids(self) -> frozenset[bytes]:
        """All UUIDs of the device. An all-zero UUID identifies nothing and is left out."""
        every = (*((self.uuid,) if self.uuid else ()), *self.alternate_uuids)
        return frozenset(uuid for uuid in every if any(uuid))

    def match(self, other: DeviceIdentity) -> MatchKey | None:
        """Return the strongest key that proves both to be one physical device, or `None`.

        Keys that disprove the match prevail over keys that agree. In some virtual machines identical boards report
        equal UUIDs, and linked GPUs share one LUID.
        """
        if self.disproves(other):
            return None
        if self.uuids & other.uuids:
            return MatchKey.UUID
        pairs: list[tuple[MatchKey, object, object]] = [
            (MatchKey.LUID, self.luid, other.luid),  # `disproves` has ruled out other nodes of one adapter
            (MatchKey.PCI, self.pci, other.pci),
            (MatchKey.DRM, self.drm, other.drm),
        ]
        if not (self.uuids and other.uuids):  # drivers with UUIDs may split a processor into several devices
            pairs.append((MatchKey.HOST, self.host, other.host))
        return next((key for key, mine, theirs in pairs if mine is not None and mine == theirs), None)

    def disproves(self, other: DeviceIdentity) -> bool:
        """Whether both report different PCI addresses, LUIDs or nodes of one adapter, and so are two devices."""
        return self._other_node(other) or any(
            mine is not None and theirs is not None and mine != theirs
            for mine, theirs in ((self.luid, other.luid), (self.pci, other.pci))
        )

    def _other_node(self, other: DeviceIdentity) -> bool:
        """Whether both are GPUs of one adapter and their node masks have no bit in common."""
        known = bool(self.node_mask and other.node_mask) and self.luid is not None
        return known and self.luid == other.luid and not self.node_mask & other.node_mask

    def compare(self, other: DeviceIdentity) -> str:
        """Return in words, for each key, whether it agrees, differs, or is reported by one driver alone."""
        words: list[str] = []
        for key, mine, theirs in (
            (MatchKey.UUID, self.uuids, other.uuids),
            (MatchKey.LUID, self.luid, other.luid),
            (MatchKey.PCI, self.pci, other.pci),
            (MatchKey.DRM, self.drm, other.drm),
            (MatchKey.HOST, self.host, other.host),
        ):
            if mine and theirs:
                same = bool(self.uuids & other.uuids) if key is MatchKey.UUID else mine == theirs
                words.append(f"{key.value} {'agrees' if same else 'differs'}")
                if key is MatchKey.LUID and self._other_node(other):
                    words.append("node mask differs")
            elif mine or theirs:
                words.append(f"{key.value} is reported by the {'producer' if mine else 'consumer'} alone")
        return ", ".join(words) or "neither driver reports an identity"

    def __str__(self) -> str:
        parts = [f"uuid {self.uuid.hex()}"] if self.uuid else []
        parts += [f"or {uuid.hex()}" for uuid in self.alternate_uuids]
        nodes = f" nodes {self.node_mask:#x}" if self.node_mask > 1 else ""
        parts += [f"luid {self.luid.hex()}{nodes}"] if self.luid else []
        parts += [f"pci {self.pci}"] if self.pci else []
        parts += [f"drm {self.drm[0]}:{self.drm[1]}"] if self.drm else []
        parts += [f"host {self.host}"] if self.host else []
        return ", ".join(parts) or "no identity"


def host_identity() -> str | None:
    """Return an identifier of the running system, equal in all its processes and containers (Linux: the boot id)."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:  # noqa: PTH123 - no pathlib at import
            return file.read().strip()
    except OSError:
        return None
