// hiprtc's options as NVRTC wants them.
#ifndef SOFTGPU_HIP_RTC_CUDA_OPTIONS_H
#define SOFTGPU_HIP_RTC_CUDA_OPTIONS_H
#include <string>
#include <vector>

namespace softgpu::rtc
{

struct CudaOptions {
    std::vector<std::string> words;
    int architecture = 0; // 90 for sm_90; 0: none was named, which every GPU of AMD's counts as
};

// false: an option that is not known; the log says which.
bool translate_options(const std::vector<std::string> &given, CudaOptions *out, std::string *log);

} // namespace softgpu::rtc
#endif
