"""What the Vulkan validation layer said in a process's output."""

from __future__ import annotations

LAYER = "VK_LAYER_KHRONOS_validation"
WORDS = ("VUID-", "Validation Error", "Validation Warning", "UNASSIGNED", "SYNC-HAZARD", "THREADING")
OWN_TIMEOUT = "UNASSIGNED-VkSemaphore-state-timeout"
"""The layer has waited 10 seconds for another thread of its own, "most likely a validation bug". It says that to
correct programs that wait for a timeline in one thread and signal or ask it in another
(KhronosGroup/Vulkan-ValidationLayers#4649 and #4968, which 1.3.239 of Debian 12 has)."""


def complaints(output: str) -> list[str]:
    """Return the lines in which it complains of the program."""
    lines = [line for line in output.splitlines() if any(word in line for word in WORDS)]
    return [line for line in lines if OWN_TIMEOUT not in line]
