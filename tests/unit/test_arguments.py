"""Arguments of callers: choices by value, integers of any library, and errors that name the argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop import HandleType, ImageFormat, InvalidArgument
from interop.protocols import (
    DeviceIdentity,
    MemoryDescriptor,
    SemaphoreDescriptor,
    SemaphoreKind,
    Tiling,
    as_choice,
    as_format,
    as_integer,
    round_up,
)

if TYPE_CHECKING:
    import enum


@pytest.mark.parametrize("kind", [HandleType, SemaphoreKind, Tiling])
def test_members_and_their_values_are_choices(kind: type[enum.StrEnum]) -> None:
    for member in kind:
        assert as_choice(kind, member, "it") is member
        assert as_choice(kind, member.value, "it") is member


@pytest.mark.parametrize("bad", ["no such", "", None, 4, [], SemaphoreKind.BINARY])
def test_another_value_is_refused_with_the_choices(bad: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        as_choice(Tiling, bad, "tiling")
    shown = "binary" if bad is SemaphoreKind.BINARY else bad
    assert str(caught.value) == f"tiling must be one of 'optimal', 'linear', got {shown!r}"


def test_a_choice_can_be_narrowed() -> None:
    assert as_choice(HandleType, "dma_buf", "it", among=[HandleType.DMA_BUF]) is HandleType.DMA_BUF
    for bad in ("opaque_fd", HandleType.OPAQUE_FD):
        with pytest.raises(InvalidArgument, match="it must be one of 'dma_buf', got 'opaque_fd'"):
            as_choice(HandleType, bad, "it", among=[HandleType.DMA_BUF])


@given(st.integers(-(2**70), 2**70))
def test_an_int_is_an_integer(number: int) -> None:
    assert as_integer(number, "it") == number


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64])
def test_an_integer_of_numpy_becomes_an_int(kind: type[np.integer]) -> None:
    assert type(as_integer(kind(7), "it")) is int


@pytest.mark.parametrize("bad", [1.0, "1", None, True, np.float32(1), np.bool_(True)])  # noqa: FBT003
def test_another_number_is_refused_by_the_arguments_name(bad: object) -> None:
    with pytest.raises(InvalidArgument, match="size must be an integer, got"):
        as_integer(bad, "size")


@given(st.integers(0, 2**64), st.integers(1, 2**20))
def test_rounding_up_is_the_smallest_multiple(value: int, alignment: int) -> None:
    found = round_up(value, alignment)
    assert found % alignment == 0
    assert value <= found < value + alignment


def test_a_memory_descriptor_takes_values_and_integers_of_numpy() -> None:
    made = MemoryDescriptor(
        allocation_size=np.int32(64), size=np.uint8(32), offset=np.int8(8), handle_type="dma_buf"
    )
    plain = MemoryDescriptor(allocation_size=64, size=32, offset=8, handle_type=HandleType.DMA_BUF)
    assert made == plain
    assert made.handle_type is HandleType.DMA_BUF
    assert type(made.allocation_size) is type(made.size) is type(made.offset) is int
    assert made.of_all() == MemoryDescriptor(allocation_size=64, size=64, handle_type="dma_buf")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"handle_type": "fd"}, "handle_type must be one of 'opaque_fd'"),
        ({"size": 1.5}, "size must be an integer, got 1.5"),
        ({"offset": "0"}, "offset must be an integer, got '0'"),
        ({"allocation_size": None}, "allocation_size must be an integer, got None"),
        ({"allocation_size": 2**63}, "allocation_size must be from 1 to"),
    ],
)
def test_a_memory_descriptor_names_what_is_wrong(fields: dict[str, object], words: str) -> None:
    given_fields: dict[str, object] = {
        "allocation_size": 16,
        "size": 16,
        "handle_type": "opaque_fd",
        **fields,
    }
    with pytest.raises(InvalidArgument, match=words):
        MemoryDescriptor(**given_fields)  # type: ignore[arg-type]


def test_a_semaphore_descriptor_takes_values() -> None:
    made = SemaphoreDescriptor(kind="timeline", handle_type="opaque_fd")
    assert made.kind is SemaphoreKind.TIMELINE
    assert made.handle_type is HandleType.OPAQUE_FD
    assert made.device == DeviceIdentity()
    with pytest.raises(InvalidArgument, match="kind must be one of 'binary', 'timeline', got 'event'"):
        SemaphoreDescriptor(kind="event", handle_type="opaque_fd")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="handle_type must be one of"):
        SemaphoreDescriptor(kind="binary", handle_type="fd")  # type: ignore[arg-type]


def test_an_image_format_takes_the_value_of_its_numbers() -> None:
    assert ImageFormat(4, 8, "unorm") == as_format("rgba8unorm")  # type: ignore[arg-type]
    for bad in ("rgb8", None, 8):
        with pytest.raises(InvalidArgument, match=r"format .* is unknown; use one of: r8uint"):
            as_format(bad)
