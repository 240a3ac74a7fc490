// libnvrtc, opened at run time.
#ifndef SOFTGPU_HIP_RTC_NVRTC_H
#define SOFTGPU_HIP_RTC_NVRTC_H
#include <cstddef>
#include <string>

namespace softgpu::rtc
{

using nvrtcProgram = struct _nvrtcProgram *;
using nvrtcResult = int; // HIP took the numbers over

#define SOFTGPU_NVRTC_FUNCTIONS(X)                                                                           \
    X(nvrtcCreateProgram,                                                                                    \
      (nvrtcProgram *, const char *, const char *, int, const char *const *, const char *const *))           \
    X(nvrtcDestroyProgram, (nvrtcProgram *))                                                                 \
    X(nvrtcCompileProgram, (nvrtcProgram, int, const char *const *))                                         \
    X(nvrtcGetProgramLogSize, (nvrtcProgram, size_t *))                                                      \
    X(nvrtcGetProgramLog, (nvrtcProgram, char *))                                                            \
    X(nvrtcGetCUBINSize, (nvrtcProgram, size_t *))                                                           \
    X(nvrtcGetCUBIN, (nvrtcProgram, char *))                                                                 \
    X(nvrtcGetPTXSize, (nvrtcProgram, size_t *))                                                             \
    X(nvrtcGetPTX, (nvrtcProgram, char *))                                                                   \
    X(nvrtcAddNameExpression, (nvrtcProgram, const char *))                                                  \
    X(nvrtcGetLoweredName, (nvrtcProgram, const char *, const char **))                                      \
    X(nvrtcGetNumSupportedArchs, (int *))                                                                    \
    X(nvrtcGetSupportedArchs, (int *))

struct Nvrtc {
#define SOFTGPU_NVRTC_MEMBER(name, arguments) nvrtcResult(*name) arguments = nullptr;
    SOFTGPU_NVRTC_FUNCTIONS(SOFTGPU_NVRTC_MEMBER)
#undef SOFTGPU_NVRTC_MEMBER
};

// Opened at the first call. nullptr when there is none, for the reason that `why` gets: a line for the log.
const Nvrtc *find_nvrtc(std::string *why);

} // namespace softgpu::rtc
#endif
