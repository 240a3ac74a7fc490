"""Formats of images, and which images a device creates and exports."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from interop.protocols import FORMATS, DriverError, ImageDescriptor, Numbers, Tiling, Unsupported
from interop_vulkan._driver import NULL, VK, check, struct

if TYPE_CHECKING:
    from interop_vulkan._driver import Functions

TILINGS = {Tiling.OPTIMAL: VK.VK_IMAGE_TILING_OPTIMAL, Tiling.LINEAR: VK.VK_IMAGE_TILING_LINEAR}
_NAMES = {Numbers.UINT: "UINT", Numbers.SINT: "SINT", Numbers.UNORM: "UNORM", Numbers.FLOAT: "SFLOAT"}
_COPIED: int = VK.VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK.VK_IMAGE_USAGE_TRANSFER_DST_BIT
# Most useful first. Drivers offer fewer formats for shaders that write, and few linear ones.
_USAGES: tuple[int, ...] = (
    _COPIED | VK.VK_IMAGE_USAGE_SAMPLED_BIT | VK.VK_IMAGE_USAGE_STORAGE_BIT,
    _COPIED | VK.VK_IMAGE_USAGE_SAMPLED_BIT,
    _COPIED,
)


def image_type(image: ImageDescriptor) -> int:
    """Return the ``VkImageType``."""
    return int(VK.VK_IMAGE_TYPE_3D if image.is_3d else VK.VK_IMAGE_TYPE_2D)


def image_format(image: ImageDescriptor) -> int:
    """Return the ``VkFormat``."""
    made = image.format
    letters = "".join(f"{letter}{made.bits}" for letter in "RGBA"[: made.components])
    return int(getattr(VK, f"VK_FORMAT_{letters}_{_NAMES[made.numbers]}"))


def exportable_tilings(functions: Functions, physical: Any, bit: int) -> frozenset[Tiling]:
    """Return the tilings in which the device exports a small image of a common format."""
    found: list[Tiling] = []
    for tiling in Tiling:
        image = ImageDescriptor(extent=(64, 64, 1), format=FORMATS["rgba8unorm"], tiling=tiling)
        with contextlib.suppress(Unsupported):
            ask(functions, physical, image, bit)
            found.append(tiling)
    return frozenset(found)


def ask(functions: Functions, physical: Any, image: ImageDescriptor, bit: int) -> tuple[int, bool]:
    """Return the usage that the driver offers for an image, and whether it needs a dedicated allocation.

    Creating an image that the answer excludes is undefined behaviour; SwiftShader crashes. Raises :class:`Unsupported`.

    Note:
        ``vkGetPhysicalDeviceImageFormatProperties2``.
    """
    refusal = ""
    for usage in _USAGES:
        found = struct("VkExternalImageFormatProperties")
        answer = struct("VkImageFormatProperties2", pNext=found if bit else NULL)
        external = struct("VkPhysicalDeviceExternalImageFormatInfo", handleType=bit) if bit else NULL
        question = struct(
            "VkPhysicalDeviceImageFormatInfo2",
            pNext=external,
            format=image_format(image),
            type=image_type(image),
            tiling=TILINGS[image.tiling],
            usage=usage,
        )
        function = "vkGetPhysicalDeviceImageFormatProperties2"
        try:
            check(function, getattr(functions, function)(physical, question, answer))
        except DriverError as error:
            if error.name != "VK_ERROR_FORMAT_NOT_SUPPORTED":
                raise
            refusal = str(error)
            continue
        features = int(found.externalMemoryProperties.externalMemoryFeatures)
        refusal = _refusal(image, answer.imageFormatProperties)
        if bit and not features & VK.VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT:
            refusal = f"{function} reports the memory of such images as not exportable by this handle type"
        if not refusal:
            return usage, bool(features & VK.VK_EXTERNAL_MEMORY_FEATURE_DEDICATED_ONLY_BIT)
    kind = "3D" if image.is_3d else "2D"
    raise Unsupported(f"{image.tiling} {kind} images of {image.format} in Vulkan", refusal)


def _refusal(image: ImageDescriptor, limits: Any) -> str:
    """Return the limits of ``VkImageFormatProperties`` that the image exceeds, as text."""
    most = limits.maxExtent
    pairs = (
        ("width", image.extent[0], most.width),
        ("height", image.extent[1], most.height),
        ("depth", image.extent[2], most.depth),
        ("mip levels", image.mip_levels, limits.maxMipLevels),
        ("array layers", image.array_layers, limits.maxArrayLayers),
    )
    return "; ".join(
        f"the {what} is {asked}, the driver allows at most {limit}"
        for what, asked, limit in pairs
        if asked > limit
    )
