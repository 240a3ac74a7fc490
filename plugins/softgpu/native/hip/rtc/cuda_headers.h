#ifndef SOFTGPU_HIP_RTC_CUDA_HEADERS_H
#define SOFTGPU_HIP_RTC_CUDA_HEADERS_H

namespace softgpu::rtc
{

struct CudaHeader {
    const char *name;
    const char *text;
};

// Included in front of every program: the macros and names that HIP has without any #include.
constexpr const char *cuda_prelude_name = "softgpu_hip.h";

// That one, hip/hip_runtime.h, and the small part of C++'s headers that kernels include: NVRTC brings none.
extern const CudaHeader cuda_headers[];
extern const int cuda_header_count;

} // namespace softgpu::rtc
#endif
