"""Shared images: texels in both directions, refusals that leave the handle, and every order of closing."""

# ruff: noqa: D103 - the name of a case says what it proves
from __future__ import annotations

import os
from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from interop.protocols import (
    FORMATS,
    ClosedError,
    DriverError,
    Handle,
    HandleError,
    HandleType,
    ImageDescriptor,
    InvalidArgument,
    MappedImage,
    ProducerImage,
    Tiling,
    Unsupported,
)
from interop.testing._bench import parts, pattern, same
from interop.testing.conformance import _strangers as strangers

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.testing._bench import Bench

pytestmark = [
    pytest.mark.interop_needs("zero-copy"),
    pytest.mark.parametrize("tiling", list(Tiling), ids=str),
]

EXTENT = (126, 70, 1)  # no tile divides it
FORMAT = FORMATS["rgba8unorm"]
KINDS: tuple[dict[str, Any], ...] = (
    {"array_layers": 3},
    {"extent": (30, 18, 9)},
    {"extent": (104, 56, 1), "mip_levels": 3},
)


def wanted(tiling: Tiling, **others: Any) -> ImageDescriptor:
    fields: dict[str, Any] = {"extent": EXTENT, "format": FORMAT, **others}
    return ImageDescriptor(tiling=tiling, **fields)


def texels(image: ImageDescriptor, seed: int) -> list[bytes]:
    """Return bytes for every part. Of floats they are small numbers, which no driver changes."""
    found = [pattern(image.part_nbytes(*part), seed + index) for index, part in enumerate(parts(image))]
    if image.format.dtype.name.startswith("float"):
        size = image.format.bits // 8
        one = bytes(size - 2) + (b"\0\x3c" if size == 2 else b"\x80\x3f")  # noqa: PLR2004 - 1.0 of 16 and 32 bits
        found = [one * (len(part) // size) for part in found]
        found = [part if (seed + index) % 2 else bytes(len(part)) for index, part in enumerate(found)]
    return found


def flat(image: ImageDescriptor, byte: int) -> list[bytes]:
    """Return the same byte for every part: texels that a GPU may keep compressed."""
    return [bytes([byte]) * image.part_nbytes(*part) for part in parts(image)]


def both_ways(bench: Bench, image: ImageDescriptor) -> None:
    """Send texels from the producer to the consumer, and others back; at last some that compress well."""
    theirs, mapped = bench.share_image(image)
    assert isinstance(theirs, ProducerImage)
    assert isinstance(mapped, MappedImage)
    assert (mapped.shape, mapped.format) == (image.shape, image.format)
    assert mapped.descriptor == theirs.descriptor
    bench.put_image(theirs, texels(image, 1))
    for seen, sent in zip(bench.read_image(mapped), texels(image, 1), strict=True):
        same(seen, sent)
    for sent_back in (texels(image, 100), flat(image, 0), flat(image, 0x3C)):
        bench.write_image(mapped, sent_back)
        for seen, sent in zip(bench.get_image(theirs), sent_back, strict=True):
            same(seen, sent)
        bench.put_image(theirs, sent_back)


def right_or_refused(bench: Bench, image: ImageDescriptor) -> None:
    """Have every texel right, or a refusal with a reason that leaves the handle with its owner."""
    try:
        theirs = bench.create_image(image)
    except Unsupported as error:
        assert str(error)
        return
    handle, memory = theirs.export_memory()
    with handle:
        before = os.fstat(handle.value) if handle.type.is_fd else None
        try:
            bench.take_image(handle, memory, theirs.descriptor).close()
        except Unsupported as error:
            assert str(error)
            assert not handle.closed
            assert before is None or os.fstat(handle.value).st_ino == before.st_ino
            return
    both_ways(bench, image)


def test_both_ways(bench: Bench, tiling: Tiling) -> None:
    both_ways(bench, wanted(tiling))


def test_formats_are_right_or_refused(bench: Bench, tiling: Tiling) -> None:
    for made in ("r8uint", "rg16sint", "r32float", "rgba16float", "rgba32uint"):
        right_or_refused(bench, wanted(tiling, format=FORMATS[made]))


def test_kinds_are_right_or_refused(bench: Bench, tiling: Tiling) -> None:
    for fields in KINDS:
        if tiling is Tiling.LINEAR:
            with pytest.raises(InvalidArgument, match="a linear image must"):
                wanted(tiling, **fields)
        else:
            right_or_refused(bench, wanted(tiling, **fields))


def test_success_consumes_the_handle(bench: Bench, tiling: Tiling) -> None:
    image = bench.create_image(wanted(tiling))
    handle, memory = image.export_memory()
    bench.take_image(handle, memory, image.descriptor)
    assert handle.closed
    with pytest.raises((ClosedError, HandleError)):
        bench.take_image(handle, memory, image.descriptor)


def test_refused_import_leaves_the_handle_good(bench: Bench, tiling: Tiling) -> None:
    """A handle of another type than described, texels that do not fit in, rows without a pitch."""
    image = bench.create_image(wanted(tiling))
    bench.put_image(image, texels(wanted(tiling), 1))
    handle, memory = image.export_memory()
    with handle:
        other = next(kind for kind in HandleType if kind is not handle.type)
        tall = replace(image.descriptor, extent=(EXTENT[0], 4096, 1))
        with pytest.raises(HandleError):
            bench.take_image(handle, replace(memory, handle_type=other), image.descriptor)
        with pytest.raises(InvalidArgument):
            bench.take_image(handle, memory, tall)
        with pytest.raises(InvalidArgument):
            bench.take_image(handle, memory, replace(image.descriptor, offset=memory.allocation_size))
        if tiling is Tiling.LINEAR:
            with pytest.raises(InvalidArgument):
                bench.take_image(handle, memory, replace(image.descriptor, row_pitch=0))
        assert not handle.closed
        mapped = bench.take_image(handle, memory, image.descriptor)
    same(bench.read_image(mapped)[0], texels(wanted(tiling), 1)[0])


def test_strangers_descriptors(bench: Bench, tiling: Tiling) -> None:
    image = bench.create_image(wanted(tiling))
    handle, memory = image.export_memory()
    handle.close()
    if not handle.type.is_fd:
        pytest.skip("memory does not travel by file descriptor here")
    for stranger in (strangers.dev_null, strangers.small_memfd):
        with Handle.adopt(stranger(), handle.type) as wrong:
            before = os.fstat(wrong.value)
            with pytest.raises((HandleError, DriverError)):
                bench.take_image(wrong, memory, image.descriptor)
            now = os.fstat(wrong.value)
            assert (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino)


def test_copies_are_checked(bench: Bench, tiling: Tiling) -> None:
    _, mapped = bench.share_image(wanted(tiling))
    size = mapped.descriptor.part_nbytes()
    mapped.acquire(bench.consumer.stream)
    for bad in (bytearray(size - 1), bytearray(size + 1), bytes(size)):
        with pytest.raises(InvalidArgument):
            mapped.read(bad)
    for level, layer in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        with pytest.raises(InvalidArgument):
            mapped.write(bytes(size), level=level, layer=layer)
    mapped.release(bench.consumer.stream)
    bench.consumer.stream.synchronize(bench.timeout)


def test_use_after_close(bench: Bench, tiling: Tiling) -> None:
    _, mapped = bench.share_image(wanted(tiling))
    size = mapped.descriptor.part_nbytes()
    mapped.close()
    mapped.close()
    uses: tuple[Callable[[], object], ...] = (
        lambda: mapped.native,
        lambda: mapped.read(bytearray(size)),
        lambda: mapped.write(bytes(size)),
        lambda: mapped.acquire(bench.consumer.stream),
        lambda: mapped.release(bench.consumer.stream),
    )
    for use in uses:
        with pytest.raises(ClosedError):
            use()


def test_any_order_of_closing(bench: Bench, tiling: Tiling) -> None:
    """Image, a further handle and the import; what is still open keeps its texels."""
    for order in permutations(range(3)):
        image, mapped = bench.share_image(wanted(tiling))
        bench.put_image(image, texels(wanted(tiling), 1))
        handle, _ = image.export_memory()
        bench.producer.wait_idle(bench.timeout)
        for which in order:
            (image.close, handle.close, mapped.close)[which]()
            if which == 2:  # noqa: PLR2004 - the import
                break
            same(bench.read_image(mapped)[0], texels(wanted(tiling), 1)[0])
        image.close()
        handle.close()


def test_closed_consumer_imports_nothing(bench: Bench, tiling: Tiling) -> None:
    image = bench.create_image(wanted(tiling))
    handle, memory = image.export_memory()
    other: Any = bench.pair.consumers.open_consumer(bench.pair.consumer)
    other.close()
    with handle, pytest.raises(ClosedError):
        other.import_image(handle, memory, image.descriptor)


def test_many_cycles_leave_nothing(bench: Bench, tiling: Tiling) -> None:
    image = bench.create_image(wanted(tiling))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112, PTH208
    for _ in range(20):
        handle, memory = image.export_memory()
        bench.take_image(handle, memory, image.descriptor).close()
    after = len(os.listdir("/proc/self/fd")) if before else 0  # noqa: PTH208
    assert after <= before
