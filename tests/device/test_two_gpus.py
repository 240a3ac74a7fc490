"""Two GPUs: each consumer is matched with the Vulkan device that it is, and pairs that are not one are refused."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import interop
from interop import registry

FRAMES = 20
SOURCE = """
KERNEL void add(GLOBAL_MEM unsigned int *words, unsigned int amount, unsigned int count)
{
    unsigned int i = GLOBAL_ID(0);
    if (i < count) words[i] += amount;
}
"""
COUNT = 4096


def hardware(name: str) -> list[interop.DeviceInfo]:
    """Return the backend's devices that are no software, or none where it cannot be used."""
    try:
        return [device for device in registry.load_backend(name).devices() if not device.software]
    except interop.BackendUnavailable:
        return []


@pytest.fixture(scope="module")
def producers() -> list[interop.DeviceInfo]:
    """The first two GPUs of Vulkan."""
    found = hardware("vulkan")
    if len(found) < 2:
        pytest.skip(f"needs two GPUs, Vulkan lists {len(found)}")
    return found[:2]


@pytest.mark.device
@pytest.mark.parametrize("consumer", ["opencl", "hip", "cuda"])
def test_links_on_both_at_once(producers: list[interop.DeviceInfo], consumer: str) -> None:
    if len(hardware(consumer)) < 2:
        pytest.skip(f"{consumer} lists fewer than two GPUs")
    with contextlib.ExitStack() as links:
        both = [
            links.enter_context(interop.connect("vulkan", consumer, producer_device=each.index))
            for each in (*producers, *producers)
        ]
        for link, info in zip(both, (*producers, *producers), strict=True):
            assert link.plan.producer.identity.uuid == info.identity.uuid
            assert link.plan.consumer.identity.uuid == info.identity.uuid
            assert link.plan.match == "uuid"
            assert link.plan.path == "zero-copy"
        buffers = [link.buffer((COUNT,), "uint32") for link in both]
        kernels = [link.consumer.compile(SOURCE).kernel("add") for link in both]
        for frame in range(FRAMES):
            for number, (link, buffer, add) in enumerate(zip(both, buffers, kernels, strict=True)):
                with link.producer_turn(buffer) as commands:
                    commands.fill(buffer, 1000 * number + frame)
                with link.consumer_turn(buffer) as view:
                    add(view, np.uint32(7), np.uint32(COUNT), global_size=COUNT)
        for number, (link, buffer) in enumerate(zip(both, buffers, strict=True)):
            words = np.empty(COUNT, np.uint32)
            with link.consumer_turn(buffer) as view:
                view.read(words)
            assert (words == 1000 * number + FRAMES - 1 + 7).all()


@pytest.mark.device
@pytest.mark.parametrize("consumer", ["opencl", "hip", "cuda"])
def test_wrong_pairs_are_refused_by_name(producers: list[interop.DeviceInfo], consumer: str) -> None:
    found = hardware(consumer)
    for producer in producers:
        for other in found:
            if other.identity.uuid == producer.identity.uuid:
                continue
            with pytest.raises(interop.DeviceMismatch) as refused, contextlib.ExitStack() as opened:
                opened.enter_context(
                    interop.connect(
                        "vulkan",
                        consumer,
                        producer_device=producer.index,
                        consumer_device=other.index,
                        path="zero-copy",
                    )
                )
            assert producer.name in str(refused.value)
            assert other.name in str(refused.value)
