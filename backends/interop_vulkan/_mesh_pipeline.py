"""The graphics pipeline of meshes, and their camera."""

from __future__ import annotations

import contextlib
import math
import struct as packing
from importlib import resources
from typing import TYPE_CHECKING, Any

from interop_vulkan._driver import VK, struct
from interop_vulkan._pipeline import new_pipeline, shader_stage

if TYPE_CHECKING:
    from interop_vulkan._context import Context
    from interop_vulkan._target import Target

_PUSH = packing.Struct("<16f2i3f")  # the block View of mesh.vert
_RELIEF = 0.2
_EYE = (0.0, 1.95, 2.0)
_NEAR, _FAR = 0.5, 6.0
_VIEW_ANGLE = math.radians(45)


def create_pipeline(context: Context, layout: Any, target: Target, undo: contextlib.ExitStack) -> Any:
    """Create the ``VkPipeline`` of all meshes of a device. ``undo`` destroys it.

    Layouts and render passes of all meshes are compatible (specification, "Pipeline Layout Compatibility" and
    "Render Pass Compatibility"). The drawing sets viewport and scissor.
    """
    with contextlib.ExitStack() as shaders:
        stages = [
            shader_stage(context, _shader("mesh.vert"), VK.VK_SHADER_STAGE_VERTEX_BIT, shaders),
            shader_stage(context, _shader("mesh.frag"), VK.VK_SHADER_STAGE_FRAGMENT_BIT, shaders),
        ]
        return new_pipeline(context, "Graphics", _pipeline_info(stages, layout, target), undo)


def camera(rows: int, columns: int, aspect: float) -> bytes:
    """Return the push constants: a camera above the near edge, looking down at the middle of the grid."""
    longest = max(rows, columns)
    extent = (columns / longest, rows / longest)
    distance = math.hypot(*_EYE)
    back = tuple(part / distance for part in _EYE)  # from the middle to the eye
    up = (0.0, back[2], -back[1])  # at right angles to `back`, as the eye has x = 0
    focal = 1 / math.tan(_VIEW_ANGLE / 2)
    depth = _FAR / (_NEAR - _FAR)
    # Rows of view and projection multiplied; clip space has y downwards and depth from 0 to 1.
    across = (focal / max(aspect, 1.0), 0.0, 0.0, 0.0)
    down = tuple(-focal * min(aspect, 1.0) * part for part in (*up, 0.0))
    behind = (*back, -distance)  # view-space z
    deep = tuple(depth * part for part in behind[:3]), depth * behind[3] + _NEAR * depth
    matrix = (across, down, (*deep[0], deep[1]), tuple(-part for part in behind))
    by_column = [matrix[row][column] for column in range(4) for row in range(4)]
    return _PUSH.pack(*by_column, columns, rows, *extent, _RELIEF)


def _shader(name: str) -> bytes:
    """Read a compiled shader of this package."""
    return resources.files("interop_vulkan").joinpath("shaders", f"{name}.spv").read_bytes()


def _pipeline_info(stages: list[Any], layout: Any, target: Target) -> Any:
    """Return the ``VkGraphicsPipelineCreateInfo``: strips, no vertex buffers, depth test, no blending."""
    dynamic = [VK.VK_DYNAMIC_STATE_VIEWPORT, VK.VK_DYNAMIC_STATE_SCISSOR]
    return struct(
        "VkGraphicsPipelineCreateInfo",
        stageCount=len(stages),
        pStages=stages,
        pVertexInputState=struct("VkPipelineVertexInputStateCreateInfo"),
        pInputAssemblyState=struct(
            "VkPipelineInputAssemblyStateCreateInfo", topology=VK.VK_PRIMITIVE_TOPOLOGY_TRIANGLE_STRIP
        ),
        pViewportState=struct("VkPipelineViewportStateCreateInfo", viewportCount=1, scissorCount=1),
        pRasterizationState=struct(
            "VkPipelineRasterizationStateCreateInfo", lineWidth=1.0, cullMode=VK.VK_CULL_MODE_NONE
        ),
        pMultisampleState=struct(
            "VkPipelineMultisampleStateCreateInfo", rasterizationSamples=VK.VK_SAMPLE_COUNT_1_BIT
        ),
        pDepthStencilState=struct(
            "VkPipelineDepthStencilStateCreateInfo",
            depthTestEnable=1,
            depthWriteEnable=1,
            depthCompareOp=VK.VK_COMPARE_OP_LESS,
        ),
        pColorBlendState=struct(
            "VkPipelineColorBlendStateCreateInfo",
            attachmentCount=1,
            pAttachments=[struct("VkPipelineColorBlendAttachmentState", colorWriteMask=0xF)],
        ),
        pDynamicState=struct(
            "VkPipelineDynamicStateCreateInfo", dynamicStateCount=len(dynamic), pDynamicStates=dynamic
        ),
        layout=layout,
        renderPass=target.render_pass,
    )
