"""Device identities match by what drivers know, never by luck."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop import DeviceIdentity, InvalidArgument
from interop.protocols import MatchKey, PciAddress

A, B = b"a" * 16, b"b" * 16
PCI = PciAddress(0, 0xC1, 0)


@pytest.mark.parametrize(
    ("left", "right", "key"),
    [
        (DeviceIdentity(uuid=A), DeviceIdentity(uuid=A), MatchKey.UUID),
        (DeviceIdentity(uuid=A), DeviceIdentity(uuid=B), None),
        (DeviceIdentity(uuid=A), DeviceIdentity(uuid=B, alternate_uuids=(A,)), MatchKey.UUID),
        (DeviceIdentity(uuid=A, pci=PCI), DeviceIdentity(uuid=B, pci=PCI), MatchKey.PCI),
        (DeviceIdentity(uuid=A, pci=PCI), DeviceIdentity(uuid=A, pci=PciAddress(0, 1, 0)), None),
        (DeviceIdentity(luid=b"1" * 8), DeviceIdentity(luid=b"1" * 8), MatchKey.LUID),
        (DeviceIdentity(uuid=A, luid=b"1" * 8), DeviceIdentity(uuid=A, luid=b"2" * 8), None),
        (
            DeviceIdentity(luid=b"1" * 8, node_mask=3),
            DeviceIdentity(luid=b"1" * 8, node_mask=2),
            MatchKey.LUID,
        ),
        (
            DeviceIdentity(uuid=A, luid=b"1" * 8, node_mask=1),
            DeviceIdentity(uuid=A, luid=b"1" * 8, node_mask=2),
            None,
        ),
        (DeviceIdentity(uuid=A, node_mask=1), DeviceIdentity(uuid=A, node_mask=2), MatchKey.UUID),
        (DeviceIdentity(drm=(226, 128)), DeviceIdentity(drm=(226, 128)), MatchKey.DRM),
        (DeviceIdentity(host="x"), DeviceIdentity(host="x"), MatchKey.HOST),
        (DeviceIdentity(uuid=A, host="x"), DeviceIdentity(host="x"), MatchKey.HOST),
        (DeviceIdentity(uuid=A, host="x"), DeviceIdentity(uuid=B, host="x"), None),
        (DeviceIdentity(uuid=bytes(16)), DeviceIdentity(uuid=bytes(16)), None),
        (DeviceIdentity(), DeviceIdentity(), None),
    ],
)
def test_match(left: DeviceIdentity, right: DeviceIdentity, key: MatchKey | None) -> None:
    assert left.match(right) is key
    assert right.match(left) is key


def test_an_identity_names_all_that_it_knows() -> None:
    text = str(DeviceIdentity(uuid=A, pci=PCI, drm=(226, 128), luid=b"1" * 8, host="h", alternate_uuids=(B,)))
    assert all(part in text for part in (A.hex(), B.hex(), "0000:c1:00.0", "226:128", "luid", "host h"))
    assert str(DeviceIdentity()) == "no identity"


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_uuid_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(InvalidArgument, match=f"got {size}"):
        DeviceIdentity(uuid=bytes(size))


@given(st.builds(PciAddress, *(st.integers(0, top) for top in (0xFFFF, 0xFF, 0x1F, 7))))
def test_pci_addresses_survive_text(address: PciAddress) -> None:
    assert PciAddress.parse(str(address)) == address


@pytest.mark.parametrize("text", ["", "c1", "00:00:00:00:00", "zz:00.0", "0000:c1:00.9"])
def test_what_is_no_pci_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="a PCI address must look like"):
        PciAddress.parse(text)
