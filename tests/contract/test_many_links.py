"""Several consumers of one buffer, several producers, and links of several threads at the same time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import fresh
import many_links
import pytest
import software
from validation import complaints

if TYPE_CHECKING:
    from interop_softgpu.activate import VulkanChoice

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")

WAYS: list[tuple[VulkanChoice, str]] = [
    ("swiftshader", "native"),
    ("swiftshader", "bridged"),
    ("lavapipe", "bridged"),
    ("lavapipe", "blocking"),
]


def call(function: Any, environment: dict[str, str], **arguments: Any) -> dict[str, Any]:
    found: dict[str, Any] = fresh.call(function, environment, timeout=110, **arguments)
    return found


@pytest.mark.parametrize("consumers", [["hip", "opencl"], ["opencl", "hip", "numpy"]], ids="-".join)
@pytest.mark.parametrize(("vulkan", "sync"), WAYS)
def test_one_buffer_for_several_consumers(vulkan: VulkanChoice, sync: str, consumers: list[str]) -> None:
    if sync == "native" and "numpy" in consumers:
        consumers = ["opencl", "hip", "opencl"]
    found = call(many_links.fan_out, software.environment(vulkan), consumers=consumers, sync=sync)
    assert (found["wrong"], found["left"]) == ([], [])


@pytest.mark.validation
def test_the_layer_has_nothing_to_say_about_several_consumers() -> None:
    environment = software.environment(
        "swiftshader",
        VK_INSTANCE_LAYERS="VK_LAYER_KHRONOS_validation",
        VK_LAYER_ENABLES="VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT",
    )
    arguments: dict[str, Any] = {"consumers": ["hip", "opencl"], "sync": "native", "count": 16}
    done = fresh.attempt(many_links.fan_out, environment, timeout=100, **arguments)
    assert done.status == 0, done.output
    assert complaints(done.output) == []
    assert done.result["wrong"] == []


@pytest.mark.parametrize("producer", ["shared", "adopted", "own"])
@pytest.mark.parametrize(("vulkan", "sync"), WAYS)
def test_a_link_for_each_thread(vulkan: VulkanChoice, sync: str, producer: str) -> None:
    consumers = ["hip", "opencl", "hip", "opencl"]
    found = call(
        many_links.links_of_threads,
        software.environment(vulkan),
        consumers=consumers,
        producer=producer,
        sync=sync,
    )
    assert (found["wrong"], found["left"]) == ([], [])


@pytest.mark.parametrize("consumer", ["opencl", "hip"])
@pytest.mark.parametrize(("vulkan", "sync"), WAYS)
def test_threads_of_one_link(vulkan: VulkanChoice, sync: str, consumer: str) -> None:
    found = call(many_links.threads_of_a_link, software.environment(vulkan), consumer=consumer, sync=sync)
    assert found["wrong"] == []


@pytest.mark.parametrize("consumer", ["opencl", "hip", "numpy"])
@pytest.mark.parametrize("vulkan", ["swiftshader", "lavapipe"])
def test_two_producers_of_one_consumer(vulkan: VulkanChoice, consumer: str) -> None:
    found = call(many_links.one_consumer_of_two_producers, software.environment(vulkan), consumer=consumer)
    assert found["wrong"] == 0


@pytest.mark.parametrize("consumer", ["opencl", "hip"])
def test_a_buffer_of_another_producer_is_refused(consumer: str) -> None:
    found = call(many_links.foreign_buffer, software.environment("swiftshader"), consumer=consumer)
    assert "expected a buffer of the producer on" in found["message"]
    assert found["wrong"] == 0
