"""Formats and descriptors of images: what cannot be is refused, with its numbers, before a driver sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop import FORMATS, HandleType, ImageDescriptor, ImageFormat, InvalidArgument
from interop.negotiation import offered
from interop.protocols import (
    DTYPES,
    Capabilities,
    DeviceIdentity,
    DeviceInfo,
    MemoryDescriptor,
    Numbers,
    Tiling,
    as_format,
)
from interop.toolkit import check_image

RGBA8 = FORMATS["rgba8unorm"]
formats = st.sampled_from(list(FORMATS.values()))
lengths = st.integers(1, 5000)
extents = st.tuples(lengths, lengths, st.integers(1, 64))


def image(*extent: int, made: ImageFormat = RGBA8, **others: Any) -> ImageDescriptor:
    return ImageDescriptor(extent=extent, format=made, **others)


def memory(size: int) -> MemoryDescriptor:
    return MemoryDescriptor(allocation_size=size, size=size, handle_type=HandleType.OPAQUE_FD)


@given(st.integers(-1, 5), st.sampled_from([-8, 0, 1, 8, 10, 16, 24, 32, 64]), st.sampled_from(list(Numbers)))
def test_a_format_is_in_the_table_or_cannot_be_made(components: int, bits: int, numbers: Numbers) -> None:
    known = [
        made
        for made in FORMATS.values()
        if (made.components, made.bits, made.numbers) == (components, bits, numbers)
    ]
    if known:
        assert ImageFormat(components, bits, numbers) == known[0] == FORMATS[known[0].name]
        return
    with pytest.raises(InvalidArgument, match=str(bits)):
        ImageFormat(components, bits, numbers)


@given(formats)
def test_a_texel_has_the_size_of_its_components(made: ImageFormat) -> None:
    assert made.texel_size == made.components * np.dtype(made.dtype.name).itemsize
    assert as_format(made.name) is as_format(as_format(made)) is FORMATS[str(made)]
    assert made.name == f"{ {1: 'r', 2: 'rg', 4: 'rgba'}[made.components] }{made.bits}{made.numbers}"


@pytest.mark.parametrize(
    ("name", "dtype", "size"),
    [
        ("r8unorm", "uint8", 1),
        ("rg16float", "float16", 4),
        ("rgba8sint", "int8", 4),
        ("rgba32uint", "uint32", 16),
    ],
)
def test_some_formats(name: str, dtype: str, size: int) -> None:
    assert (FORMATS[name].dtype, FORMATS[name].texel_size) == (DTYPES[dtype], size)


def test_there_are_thirty_formats() -> None:
    assert len(FORMATS) == 30
    assert not {"r8float", "r32unorm", "rgb8unorm"} & FORMATS.keys()


def test_a_name_that_is_none_is_answered_with_those_that_are() -> None:
    with pytest.raises(InvalidArgument, match=r"'bgra8'.*r8uint.*rgba32float"):
        as_format("bgra8")


@given(formats, extents, st.integers(1, 16), st.integers(1, 13), st.integers(0, 2**62))
def test_what_is_made_has_levels_and_parts_that_fit(
    made: ImageFormat, extent: tuple[int, int, int], layers: int, levels: int, offset: int
) -> None:
    try:
        whole = image(*extent, made=made, array_layers=layers, mip_levels=levels, offset=offset)
    except InvalidArgument:
        assert (layers > 1 and extent[2] > 1) or 2 ** (levels - 1) > max(extent)
        return
    for level in range(levels):
        for axis, length in enumerate(whole.level_extent(level)):
            assert length == max(1, extent[axis] // 2**level)
        shape = whole.part_shape(level, layers - 1)
        assert whole.part_nbytes(level) == int(np.prod(shape)) * np.dtype(made.dtype.name).itemsize
        assert len(shape) == (4 if extent[2] > 1 else 3)
    assert whole.shape[-3:] == (extent[1], extent[0], made.components)
    assert whole.shape[:-3] == ((layers,) if layers > 1 else (extent[2],) if extent[2] > 1 else ())
    assert whole.level_extent(levels - 1) == whole.part_shape(levels - 1)[-2::-1] + (
        () if whole.is_3d else (1,)
    )


@pytest.mark.parametrize(
    ("extent", "others", "words"),
    [
        ((0, 1, 1), {}, r"extent.*\(0, 1, 1\)"),
        ((1, -1, 1), {}, r"extent.*\(1, -1, 1\)"),
        ((1, 1, 2**31), {}, "extent.*2147483648"),
        ((1,), {}, "width, height and depth"),
        ((1, 2.5, 1), {}, "width, height and depth"),
        ((1, 1), {"tiling": "linaer"}, "tiling must be one of 'optimal', 'linear', got 'linaer'"),
        ((1, 1), {"made": "rgba9unorm"}, "rgba9unorm"),
        ((1, 1), {"mip_levels": 1.0}, "mip_levels must be an integer"),
        ((1, 1, 1, 1), {}, "width, height and depth"),
        ((4, 4, 1), {"mip_levels": 0}, "mip_levels must be from 1 to 3 .*got 0"),
        ((4, 4, 1), {"mip_levels": 4}, "mip_levels must be from 1 to 3 .*got 4"),
        ((4, 4, 1), {"array_layers": 0}, "array_layers.*got 0"),
        ((4, 4, 1), {"array_layers": 2**31}, "array_layers.*2147483648"),
        ((4, 4, 2), {"array_layers": 3}, "array_layers must be 1 for a depth of 2, got 3"),
        ((4, 4, 1), {"offset": -1}, "offset.*got -1"),
        ((4, 4, 1), {"offset": 2**63}, "offset.*9223372036854775808"),
        ((4, 4, 1), {"row_pitch": 16}, "row_pitch must be 0 for optimal tiling, got 16"),
        (
            (4, 4, 1),
            {"tiling": Tiling.LINEAR, "row_pitch": 15},
            "row_pitch must be 0 or at least 16 bytes .*got 15",
        ),
        ((4, 4, 1), {"tiling": Tiling.LINEAR, "row_pitch": -16}, "row_pitch.*got -16"),
        ((4, 4, 1), {"tiling": Tiling.LINEAR, "row_pitch": 2**63}, "row_pitch.*got 9223372036854775808"),
        ((4, 4, 2), {"tiling": Tiling.LINEAR}, "a linear image must be 2D with one level and one layer"),
        (
            (4, 4, 1),
            {"tiling": Tiling.LINEAR, "array_layers": 2},
            "a linear image must be 2D with one level and one layer",
        ),
        (
            (4, 4, 1),
            {"tiling": Tiling.LINEAR, "mip_levels": 2},
            "a linear image must be 2D with one level and one layer",
        ),
    ],
)
def test_a_descriptor_that_cannot_be_names_the_value(
    extent: tuple[int, ...], others: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidArgument, match=words):
        image(*extent, **others)


@pytest.mark.parametrize(("level", "layer"), [(-1, 0), (3, 0), (0, -1), (0, 2)])
def test_a_part_that_is_not_there(level: int, layer: int) -> None:
    whole = image(7, 5, 1, mip_levels=3, array_layers=2)
    assert whole.part_shape(2, 1) == (1, 1, 4)
    for ask in (whole.part_shape, whole.part_nbytes):
        with pytest.raises(
            InvalidArgument,
            match=rf"level must be from 0 to 2, got {level}|layer must be from 0 to 1, got {layer}",
        ):
            ask(level, layer)


@given(formats, lengths, lengths, st.integers(0, 300), st.integers(0, 10000), st.integers(1, 2**33))
def test_rows_lie_in_the_allocation_or_are_refused(
    made: ImageFormat, width: int, height: int, gap: int, offset: int, size: int
) -> None:
    pitch = width * made.texel_size + gap
    rows = image(width, height, 1, made=made, tiling=Tiling.LINEAR, row_pitch=pitch, offset=offset)
    last = offset + (height - 1) * pitch + width * made.texel_size
    if last <= size:
        check_image(memory(size), rows)
    else:
        with pytest.raises(InvalidArgument, match=f"at offset {offset}, the allocation has {size}"):
            check_image(memory(size), rows)


@given(formats, extents, st.integers(1, 3), st.integers(1, 4096))
def test_texels_of_every_level_and_layer_need_room(
    made: ImageFormat, extent: tuple[int, int, int], layers: int, offset: int
) -> None:
    layers = 1 if extent[2] > 1 else layers
    levels = max(extent).bit_length()
    whole = image(*extent, made=made, array_layers=layers, mip_levels=levels, offset=offset)
    parts = [whole.part_nbytes(level, layer) for level in range(levels) for layer in range(layers)]
    check_image(memory(offset + sum(parts)), whole)
    with pytest.raises(InvalidArgument, match=f"needs at least {sum(parts)} bytes"):
        check_image(memory(offset + sum(parts) - 1), whole)


def device(backend: str, *notes: str, **images: set[HandleType]) -> DeviceInfo:
    offers = Capabilities(
        images={Tiling(tiling): frozenset(types) for tiling, types in images.items()}, image_notes=notes
    )
    return DeviceInfo(backend=backend, index=0, name=backend, identity=DeviceIdentity(), capabilities=offers)


def test_a_pair_shares_what_both_offer_and_says_what_lacks() -> None:
    fd = {HandleType.OPAQUE_FD}
    producer = device("vulkan", linear=fd, optimal=fd | {HandleType.DMA_BUF})
    both = offered(producer, device("cuda", linear=fd, optimal=fd), HandleType.OPAQUE_FD)
    assert (both.tilings, both.reasons) == ((Tiling.OPTIMAL, Tiling.LINEAR), ())
    assert str(both) == "yes, optimal and linear"
    rows = offered(producer, device("hip", "no arrays", linear=fd), HandleType.OPAQUE_FD)
    assert str(rows) == "yes, linear (hip imports no optimal images by opaque_fd; no arrays)"
    other = offered(producer, device("hip", linear=fd), HandleType.DMA_BUF)
    assert other.tilings == ()
    assert str(other).startswith("no (hip imports no optimal images by dma_buf; vulkan exports no linear")
    assert (
        str(offered(producer, producer, None))
        == "no (memory is staged, and the staged path copies no images)"
    )


def test_rows_without_a_pitch_are_not_imported() -> None:
    rows = image(4, 4, 1, tiling=Tiling.LINEAR)
    with pytest.raises(InvalidArgument, match="needs its row pitch"):
        check_image(memory(4096), rows)
    check_image(memory(4096), replace(rows, row_pitch=64))


wild = st.integers(-(2**70), 2**70) | st.integers(-2, 20)


@given(st.tuples(wild, wild, wild), formats, wild, wild, st.sampled_from(list(Tiling)), wild, wild)
def test_any_numbers_are_an_image_whose_parts_can_be_counted_or_refused(
    extent: tuple[int, int, int],
    made: ImageFormat,
    levels: int,
    layers: int,
    tiling: Tiling,
    pitch: int,
    offset: int,
) -> None:
    try:
        whole = ImageDescriptor(
            extent=extent,
            format=made,
            mip_levels=levels,
            array_layers=layers,
            tiling=tiling,
            row_pitch=pitch,
            offset=offset,
        )
    except InvalidArgument:
        return
    assert min(*whole.extent, whole.mip_levels, whole.array_layers) >= 1
    assert 0 <= whole.offset < 2**63
    assert whole.tiling is Tiling.LINEAR or not whole.row_pitch
    assert all(length > 0 for length in whole.shape)
    assert whole.level_extent(levels - 1) == tuple(max(1, length >> (levels - 1)) for length in extent)
