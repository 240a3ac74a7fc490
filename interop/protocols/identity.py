"""Who a device is, and when two APIs mean the same one."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from interop.protocols.errors import InvalidArgument

_UUID_SIZE = 16


_LUID_SIZE = 8


_PCI = re.compile(r"^(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([0-9a-f]{2})\.?([0-7])?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, order=True)
class PciAddress:
    """Address on the PCI bus: domain, bus, device, function."""

    domain: int
    bus: int
    device: int
    function: int = 0

    @classmethod
    def parse(cls, text: str) -> PciAddress:
        """Read ``"0000:c1:00.0"``; domain and function may be missing. Raises :class:`InvalidArgument`."""
        match = _PCI.match(text.strip())
        if match is None:
            msg = f"not a PCI address: {text!r} (expected for instance 0000:c1:00.0)"
            raise InvalidArgument(msg)
        domain, bus, device, function = match.groups()
        return cls(int(domain or "0", 16), int(bus, 16), int(device, 16), int(function or "0"))

    def __str__(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.device:02x}.{self.function}"


class MatchKey(enum.StrEnum):
    """By which identity two devices were proved to be one, strongest first."""

    UUID = "uuid"
    LUID = "luid"
    PCI = "pci"
    DRM = "drm"
    HOST = "host"
    """Both run on the processor of this machine, and one of them has no uuid."""
    CHOICE = "choice"
    """The caller named both devices and vouches for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIdentity:
    """Everything that an API knows about which physical device this is. Unknown parts are ``None``."""

    uuid: bytes | None = None
    """16 bytes: ``VkPhysicalDeviceIDProperties::deviceUUID``, ``CL_DEVICE_UUID_KHR``, CUDA's uuid."""
    alternate_uuids: tuple[bytes, ...] = ()
    """Other 16-byte names under which another API may know this device (RADV derives one from PCI)."""
    luid: bytes | None = None
    """8 bytes, Windows only: the adapter, which may be several GPUs that the driver links to one."""
    node_mask: int = 0
    """Which GPUs of the adapter that :attr:`luid` names, a bit for each; 0 where the driver does not tell."""
    pci: PciAddress | None = None
    drm: tuple[int, int] | None = None
    """(major, minor) of the DRM render node."""
    host: str | None = None
    """Name of the machine's running system when the device is its processor."""

    def __post_init__(self) -> None:
        for name, value, size in (
            ("uuid", self.uuid, _UUID_SIZE),
            ("luid", self.luid, _LUID_SIZE),
            *(("alternate uuid", other, _UUID_SIZE) for other in self.alternate_uuids),
        ):
            if value is not None and len(value) != size:
                msg = f"{name} must be {size} bytes, got {len(value)}"
                raise InvalidArgument(msg)

    @property
    def uuids(self) -> frozenset[bytes]:
        """Every uuid under which the device may be known; all-zero ones name nothing and are left out."""
        every = (*((self.uuid,) if self.uuid else ()), *self.alternate_uuids)
        return frozenset(uuid for uuid in every if any(uuid))

    def match(self, other: DeviceIdentity) -> MatchKey | None:
        """Return the strongest key that proves both to be one physical device, or ``None``.

        A PCI address or LUID that both know and that differs disproves the match whatever else agrees, as do node
        masks without a common bit: identical boards report equal uuids in some virtual machines, and linked GPUs
        have one LUID.
        """
        if self.disproves(other):
            return None
        if self.uuids & other.uuids:
            return MatchKey.UUID
        pairs: list[tuple[MatchKey, object, object]] = [
            (MatchKey.LUID, self.luid, other.luid),  # other nodes of one adapter have been ruled out
            (MatchKey.PCI, self.pci, other.pci),
            (MatchKey.DRM, self.drm, other.drm),
        ]
        if not (self.uuids and other.uuids):  # two drivers of one processor are two devices if they say so
            pairs.append((MatchKey.HOST, self.host, other.host))
        return next((key for key, mine, theirs in pairs if mine is not None and mine == theirs), None)

    def disproves(self, other: DeviceIdentity) -> bool:
        """Whether both know LUID and nodes, or PCI address, and they are not the same: then they are two devices."""
        return self._other_node(other) or any(
            mine is not None and theirs is not None and mine != theirs
            for mine, theirs in ((self.luid, other.luid), (self.pci, other.pci))
        )

    def _other_node(self, other: DeviceIdentity) -> bool:
        known = bool(self.node_mask and other.node_mask) and self.luid is not None
        return known and self.luid == other.luid and not self.node_mask & other.node_mask

    def compare(self, other: DeviceIdentity) -> str:
        """Say in words what each key says about the two: differs, agrees, or is known to one alone."""
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
                words.append(f"{key.value} is known to the {'producer' if mine else 'consumer'} alone")
        return ", ".join(words) or "neither driver tells any identity"

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
    """Name the running system (Linux: its boot id), the same in every process and container of it."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:  # noqa: PTH123 - no pathlib at import
            return file.read().strip()
    except OSError:
        return None
