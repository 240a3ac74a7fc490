"""The consumer on a CUDA device: images, and kernels through NVRTC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols import CompileError
from interop.toolkit import DeviceConsumer

if TYPE_CHECKING:
    from interop_cuda._runtime import CudaRuntime
    from interop_cuda.image import CudaImage

# Names of stdint.h, and half as OpenCL guarantees it: a format to store floats in.
_MORE_NAMES = """\
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
struct half
{
    unsigned short bits;
    half() = default;
    __device__ half(float value) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value)); }
    __device__ operator float() const
    {
        float value;
        asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
        return value;
    }
};
"""
_NEWER = "NVRTC may be newer than the driver: install the one of the driver's CUDA version, or a newer driver"


class CudaConsumer(DeviceConsumer):
    """An opened CUDA device. Calls that enqueue make its context current in the calling thread; others do not."""

    runtime: CudaRuntime
    more_names = _MORE_NAMES
    # The answers to code that the driver cannot read.
    load_hints = dict.fromkeys((200, 209, 218, 222), _NEWER)

    def image_type(self) -> type[CudaImage]:
        """Load the class of images: mipmapped arrays, or rows of memory."""
        from interop_cuda.image import CudaImage

        return CudaImage

    def compile_text(self, text: str) -> bytes:
        """Compile by NVRTC (``nvrtcCompileProgram``)."""
        capability = int(self.device.details["compute capability"].replace(".", ""))
        code, log = self.runtime.driver.compile(text, "kernel", capability)
        if code is None:
            raise CompileError("cuda", log)
        return code
