#include "prelude_text.h"

// The headers as they lie in the source tree, so that an editor sees C++ and not a string.
asm(R"(
    .section .rodata
    .global softgpu_prelude_begin
    .hidden softgpu_prelude_begin
    .global softgpu_prelude_end
    .hidden softgpu_prelude_end
softgpu_prelude_begin:
    .incbin ")" SOFTGPU_HIP_SOURCE R"(/kernel_abi.h"
    .incbin ")" SOFTGPU_HIP_SOURCE R"(/rtc/prelude/language.h"
    .incbin ")" SOFTGPU_HIP_SOURCE R"(/rtc/prelude/vectors.h"
    .incbin ")" SOFTGPU_HIP_SOURCE R"(/rtc/prelude/threads.h"
    .incbin ")" SOFTGPU_HIP_SOURCE R"(/rtc/prelude/math.h"
    .incbin ")" SOFTGPU_HIP_SOURCE R"(/rtc/prelude/atomics.h"
    .incbin ")" SOFTGPU_HIP_SOURCE R"(/rtc/prelude/table.h"
softgpu_prelude_end:
    .byte 0
    .text
)");
extern "C" const char softgpu_prelude_begin[];
extern "C" const char softgpu_prelude_end[];

namespace softgpu::rtc
{

std::string_view prelude()
{
    return {softgpu_prelude_begin, static_cast<size_t>(softgpu_prelude_end - softgpu_prelude_begin)};
}

} // namespace softgpu::rtc
