"""Shared images, both ways and texel by texel, for tests/device/images.py and the contract tests."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

import interop
from interop.negotiation import offered
from interop.protocols import ImageConsumer, ImageDescriptor, ImageProducer, MappedImage, Tiling
from interop.testing.conformance import _strangers as strangers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from interop.protocols import ImageFormat

KINDS: dict[str, dict[str, Any]] = {
    # Sizes that no tile divides.
    "2D": {"extent": (317, 70, 1)},
    "2D array": {"extent": (61, 37, 1), "array_layers": 5},
    "3D": {"extent": (29, 19, 7)},
    "2D mips": {"extent": (67, 41, 1), "mip_levels": 7},
}
TIMEOUT = 10.0  # seconds that one copy may take
Texels: TypeAlias = "dict[tuple[int, int], NDArray[Any]]"
"""By level and layer."""


def texels(
    made: ImageFormat, nbytes: int, random: np.random.Generator, *, flat: bool = False
) -> NDArray[Any]:
    """Return random texels; floats that are numbers, as drivers may change the others.

    ``flat``: one random number for all, which a GPU may keep compressed.
    """
    dtype = np.dtype(made.dtype.name)
    count = nbytes // dtype.itemsize
    if flat:
        return np.repeat(texels(made, dtype.itemsize, random), count)
    if dtype.kind == "f":
        return random.standard_normal(count).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, count, dtype=dtype, endpoint=True)


def different(sent: NDArray[Any], seen: NDArray[Any], where: str) -> str:
    """Say which components differ, or nothing."""
    wrong = np.flatnonzero(sent != seen)
    if not wrong.size:
        return ""
    first = int(wrong[0])
    return (
        f"{wrong.size} of {sent.size} components wrong in {where}; number {first} is {seen[first]}, "
        f"was written as {sent[first]}"
    )


def case(
    link: interop.Link,
    made: ImageFormat,
    kind: str,
    tiling: Tiling,
    **changes: Any,
) -> str:
    """Share one image and return how that ended: "pass", "refused: ..." by whom and why, or "failed: ...".

    ``changes``: fields of the kind's descriptor that are to be others.
    """
    random = np.random.default_rng([*made.name.encode(), *kind.encode(), *tiling.encode()])
    producer, consumer = link.producer, link.consumer
    if not isinstance(producer, ImageProducer) or not isinstance(consumer, ImageConsumer):
        return "failed: a backend without images"
    with contextlib.ExitStack() as stack:
        try:
            fields = {**KINDS[kind], **changes}
            fields["extent"] = tuple(fields["extent"])
            wanted = ImageDescriptor(format=made, tiling=tiling, **fields)
            image: Any = producer.create_image(wanted, export=link.plan.handle_type)
            stack.callback(image.close)
        except interop.InteropError as error:
            return f"refused: producer: {type(error).__name__}: {one_line(error)}"
        parts = [(level, layer) for level in range(wanted.mip_levels) for layer in range(wanted.array_layers)]
        sizes = {part: wanted.part_nbytes(*part) for part in parts}
        sent = {part: texels(made, size, random) for part, size in sizes.items()}
        for (level, layer), values in sent.items():
            image.write(values, level=level, layer=layer)
        hand_over(producer, image.release)
        handle, memory = image.export_memory()
        with handle:
            try:
                mapped = consumer.import_image(handle, memory, image.descriptor)
            except interop.InteropError as error:
                if handle.closed:
                    return f"failed: a refused import took the handle: {one_line(error)}"
                return f"refused: {type(error).__name__}: {one_line(error)}"
        stack.callback(mapped.close)
        for flat in (False, True):
            answers = {part: texels(made, size, random, flat=flat) for part, size in sizes.items()}
            if wrong := exchange(link, image, mapped, sent, answers):
                return f"failed: {wrong}"
            sent = answers
            hand_over(producer, image.release)
    return "pass"


def exchange(link: interop.Link, image: Any, mapped: MappedImage, sent: Texels, answers: Texels) -> str:
    """Have the consumer read what was sent and write answers, and the producer read those; say what is wrong."""
    consumer = link.consumer
    name = link.plan.consumer.backend
    mapped.acquire(consumer.stream)
    for part, values in sent.items():
        if wrong := compare(mapped, part, values, f"what {name} read"):
            return wrong
    for (level, layer), values in answers.items():
        mapped.write(values, level=level, layer=layer, timeout=TIMEOUT)
    mapped.release(consumer.stream)
    consumer.stream.synchronize(TIMEOUT)
    hand_over(link.producer, image.acquire)
    for part, values in answers.items():
        if wrong := compare(image, part, values, f"what {name} wrote"):
            return wrong
    return ""


def compare(image: MappedImage, part: tuple[int, int], values: NDArray[Any], where: str) -> str:
    """Read a level of a layer and say what is wrong with it."""
    seen = np.zeros_like(values)
    level, layer = part
    image.read(seen, level=level, layer=layer, timeout=TIMEOUT)
    return different(values, seen, f"{where}, level {level}, layer {layer}")


def hand_over(producer: Any, record: Any) -> None:
    """Submit a transfer of ownership and wait for it."""
    with contextlib.closing(producer.prepare()) as submission:
        record(submission.begin())
        submission.submit()
        producer.wait_idle(TIMEOUT)


def share(
    consumer: str,
    cases: Sequence[tuple[str, str, str]],
    *,
    sync: str = "auto",
    vouched: bool = False,
    **changes: Any,
) -> dict[str, Any]:
    """Run cases (format, kind, tiling) over one link, each twice, and count what the second round leaves behind.

    ``changes``: as of :func:`case`. ``vouched``: the two drivers' first devices are taken for one, whatever their
    identities say.
    """
    device = 0 if vouched else None
    results: dict[str, str] = {}
    with interop.connect(
        "vulkan", consumer, path="zero-copy", sync=sync, producer_device=device, consumer_device=device
    ) as link:
        counts: list[int] = []
        for _ in range(2):
            for made, kind, tiling in cases:
                result = case(link, interop.FORMATS[made], kind, Tiling(tiling), **changes)
                name = f"{made} {kind} {tiling}"
                if results.setdefault(name, result) != result:
                    results[name] = f"failed: first {results[name]}, then {result}"
            counts.append(descriptors())
        pair = link.producer.device, link.consumer.device
        offer = str(offered(*pair, link.plan.handle_type))
        names = [link.producer.device.name, link.consumer.device.name]
    return {"results": results, "descriptors": counts[1] - counts[0], "devices": names, "offer": offer}


def in_turns(consumer: str, tiling: str, sync: str, frames: int) -> dict[str, object]:
    """Let an image go with the turns of a buffer, to the consumer and back; count the frames with wrong texels."""
    wrong = 0
    with interop.connect("vulkan", consumer, path="zero-copy", sync=sync) as link:
        made = interop.FORMATS["rgba16sint"]
        wanted = ImageDescriptor(extent=(62, 40, 1), format=made, tiling=Tiling(tiling))
        producer: Any = link.producer
        image = producer.create_image(wanted, export=link.plan.handle_type)
        handle, memory = image.export_memory()
        assert isinstance(link.consumer, ImageConsumer)
        with handle:
            mapped = link.consumer.import_image(handle, memory, image.descriptor)
        staging = producer.create_buffer(wanted.part_nbytes(), host_visible=True)
        ticket, stream = link.buffer(4), link.consumer.stream
        random = np.random.default_rng(7)
        for _ in range(frames):
            sent, answer = (texels(made, wanted.part_nbytes(), random) for _ in range(2))
            staging.host_view()[:] = sent.data.cast("B")
            with link.producer_turn(ticket) as commands:
                image.copy_from(commands, staging)
                image.release(commands)
            seen = np.zeros_like(sent)
            with link.consumer_turn(ticket):
                mapped.acquire(stream)
                mapped.read(seen, timeout=TIMEOUT)
                mapped.write(answer, timeout=TIMEOUT)
                mapped.release(stream)
            with link.producer_turn(ticket) as commands:
                image.acquire(commands)
                image.copy_to(commands, staging)
            link.producer.wait_idle(TIMEOUT)
            back = np.frombuffer(bytes(staging.host_view()), sent.dtype)
            wrong += not ((seen == sent).all() and (back == answer).all())
        for each in (mapped, staging, image):
            each.close()
    return {"wrong": wrong}


def share_over_stand_in(
    consumer: str, kinds: dict[str, dict[str, Any]], formats: Sequence[str]
) -> dict[str, Any]:
    """Share with a consumer over tests/support/libcuda.c, whose arrays lie as SwiftShader's optimal images do.

    ``kinds``: changes for each kind. Both devices are vouched for, and no semaphore is theirs in common. Also
    returns how many objects of the driver are left in the end.
    """
    results: dict[str, str] = {}
    left, offer = 0, ""
    for kind, changes in kinds.items():
        cases = [(made, kind, tiling) for made in formats for tiling in Tiling]
        found = share(consumer, cases, sync="blocking", vouched=True, **changes)
        results |= found["results"]
        left += found["descriptors"]
        offer = found["offer"]
    gc.collect()
    live = ctypes.CDLL("libcuda.so.1").fake_live()
    return {"results": results, "descriptors": left, "live": live, "offer": offer}


def strangers_files(consumer: str, tiling: str) -> dict[str, list[object]]:
    """Import images from files that are no memory of the device: each error, and whether the file stayed."""
    found: dict[str, list[object]] = {}
    pitch = 256 if Tiling(tiling) is Tiling.LINEAR else 0
    made = interop.FORMATS["rgba8unorm"]
    image = ImageDescriptor(extent=(64, 48, 1), format=made, tiling=Tiling(tiling), row_pitch=pitch)
    with interop.connect("vulkan", consumer, path="zero-copy") as link:
        handle_type = link.plan.handle_type
        assert handle_type is not None
        assert isinstance(link.consumer, ImageConsumer)
        for stranger in strangers.EVERY:
            memory = interop.protocols.MemoryDescriptor(
                allocation_size=12288, size=12288, handle_type=handle_type
            )
            with interop.Handle.adopt(stranger(), handle_type) as handle:
                before, kept = descriptors(), os.fstat(handle.value).st_ino
                try:
                    link.consumer.import_image(handle, memory, image).close()
                    error = "taken"
                except interop.InteropError as refusal:
                    error = type(refusal).__name__
                same = not handle.closed and os.fstat(handle.value).st_ino == kept
                found[stranger.__name__] = [error, same, descriptors() - before]
    return found


def one_line(error: BaseException) -> str:
    """Return an error's message without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def descriptors() -> int:
    """Return how many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))
