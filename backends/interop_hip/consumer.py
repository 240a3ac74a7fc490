"""The consumer on a HIP device: images, and kernels through hiprtc."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from interop.protocols import CompileError
from interop.toolkit import DeviceConsumer, adopt, decode

if TYPE_CHECKING:
    from typing import Any

    from interop_hip._runtime import HipRuntime
    from interop_hip.image import HipImage

_COMPILATION_FAILED = 6


class HipConsumer(DeviceConsumer):
    """An opened HIP device. Calls that create objects change which HIP device is current in the calling thread."""

    runtime: HipRuntime

    def image_type(self) -> type[HipImage]:
        """Load the class of images: mipmapped arrays, or rows of memory."""
        from interop_hip.image import HipImage

        return HipImage

    def compile_text(self, text: str) -> bytearray:
        """Compile by hiprtc (``hiprtcCompileProgram``)."""
        driver = self.runtime.driver
        self.runtime.select()
        # Only AMD's compiler must be told the architecture; other runtimes compile for the current device.
        architecture = self.device.details["architecture"]
        options = [f"--offload-arch={architecture}".encode()] if architecture.startswith("gfx") else []
        with ExitStack() as undo:

            def own(program: Any) -> Any:
                undo.callback(driver.rtc, "hiprtcDestroyProgram", program.createRef())
                return program

            source = (text.encode(), b"kernel", 0, None, None)
            program = adopt(lambda: driver.rtc("hiprtcCreateProgram", *source), own)
            failure = driver.rtc_status("hiprtcCompileProgram", program, len(options), options)
            if failure == _COMPILATION_FAILED:
                log = bytearray(max(1, driver.rtc("hiprtcGetProgramLogSize", program)))
                driver.rtc("hiprtcGetProgramLog", program, log)
                raise CompileError("hip", decode(log))
            driver.check_rtc("hiprtcCompileProgram", failure)
            code = bytearray(driver.rtc("hiprtcGetCodeSize", program))
            driver.rtc("hiprtcGetCode", program, code)
        return code
