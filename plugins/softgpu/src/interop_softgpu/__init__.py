"""Software drivers for machines without a GPU: Vulkan, OpenCL and HIP with shared memory and semaphores.

:func:`interop_softgpu.activate.activate` points the API loaders of this process at them. Installed beside
``interop`` that happens by itself, but only for an API whose hardware is missing.
"""

from __future__ import annotations

__version__ = "0.1.0"
