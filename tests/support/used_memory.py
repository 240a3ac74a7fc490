"""The memory of a GPU as the device programs measure it, in a process with a driver of its own."""

from __future__ import annotations

from device_memory import DeviceMemory  # of tests/device


def measure(uuid: list[int]) -> int | None:
    """Return the bytes in use on the GPU with that uuid, or None where the driver knows none."""
    memory = DeviceMemory.find(bytes(uuid))
    if memory is None:
        return None
    used = memory.used()
    memory.close()
    return used
