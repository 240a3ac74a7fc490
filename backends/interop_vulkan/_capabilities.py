"""What a physical device imports and exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop.protocols import Capabilities, HandleType, SemaphoreKind, Tiling, is_windows
from interop_vulkan._driver import VK
from interop_vulkan._handle_types import TYPES, has_timelines, memory_features, semaphore_features
from interop_vulkan._image_formats import exportable_tilings

if TYPE_CHECKING:
    from interop_vulkan._driver import Functions

_EXPECTED = frozenset({HandleType.OPAQUE_FD, HandleType.DMA_BUF, HandleType.OPAQUE_WIN32})
"""Handle types whose absence is noted, on the operating system that has them."""


def capabilities(
    functions: Functions, physical: Any, listed: frozenset[str], enabled: frozenset[str] | None
) -> Capabilities:
    """Ask the driver what it imports and exports.

    ``listed`` holds the extensions that the driver lists, ``enabled`` those of a ``VkDevice`` that exists already.
    """
    notes: list[str] = []
    usable = listed if enabled is None else listed & enabled

    def offered(kind: str, what: str) -> list[HandleType]:
        result: list[HandleType] = []
        for handle_type, (_, needed) in TYPES[kind].items():
            missing = [name for name in needed if name not in usable]
            if not missing:
                result.append(handle_type)
            elif handle_type in _EXPECTED and handle_type.is_win32 == is_windows():
                absent = [name for name in missing if name not in listed]
                why = "the driver does not list" if absent else "the VkDevice was created without"
                notes.append(f"{what} as {handle_type.value}: {why} {', '.join(absent or missing)}")
        return result

    memory = {each: memory_features(functions, physical, each) for each in offered("Memory", "memory")}
    handle_types = offered("Semaphore", "semaphores")
    timeline = has_timelines(functions, physical)
    kinds = [SemaphoreKind.BINARY, *([SemaphoreKind.TIMELINE] if timeline else [])]
    semaphores = {
        kind: {each: semaphore_features(functions, physical, kind, each) for each in handle_types}
        for kind in kinds
    }
    if HandleType.HOST_ALLOCATION in memory and not memory[HandleType.HOST_ALLOCATION]:
        notes.append(
            "host memory: the driver lists VK_EXT_external_memory_host but refuses to import host pages as a "
            "storage buffer"
        )
    if not timeline:
        notes.append("the driver lacks the feature timelineSemaphore, which interop needs")
    exported = _having(memory, VK.VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT)
    importable = _having(memory, VK.VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT)
    bits = {each: TYPES["Memory"][each][0] for each in exported}
    images = {each: exportable_tilings(functions, physical, bit) for each, bit in bits.items()}
    semaphore_import = VK.VK_EXTERNAL_SEMAPHORE_FEATURE_IMPORTABLE_BIT
    semaphore_export = VK.VK_EXTERNAL_SEMAPHORE_FEATURE_EXPORTABLE_BIT
    # Host memory travels by its address once Vulkan has imported it, so being importable is enough.
    host = frozenset({HandleType.HOST_ALLOCATION})
    return Capabilities(
        memory_import=importable,
        memory_export=exported - host | importable & host,
        semaphore_import={kind: _having(each, semaphore_import) for kind, each in semaphores.items()},
        semaphore_export={kind: _having(each, semaphore_export) for kind, each in semaphores.items()},
        host_timeline=timeline,
        notes=tuple(notes),
        images={tiling: frozenset(kind for kind in images if tiling in images[kind]) for tiling in Tiling},
    )


def _having(features: dict[HandleType, int], bit: int) -> frozenset[HandleType]:
    return frozenset(handle_type for handle_type, bits in features.items() if bits & bit)
