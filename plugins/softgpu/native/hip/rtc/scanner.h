// Finds the kernels of a preprocessed program and rewrites the words that no macro can stand for.
#ifndef SOFTGPU_HIP_RTC_SCANNER_H
#define SOFTGPU_HIP_RTC_SCANNER_H
#include <string>
#include <string_view>
#include <vector>

namespace softgpu::rtc
{

struct Scanned {
    std::string text; // with __global__, __shared__ and __noinline__ replaced; lines stay where they are
    std::vector<std::string> kernels; // qualified names of defined kernels that are no templates, each once
    bool dynamic_shared;              // there is an extern __shared__ array
};

Scanned scan(std::string_view preprocessed);

} // namespace softgpu::rtc
#endif
