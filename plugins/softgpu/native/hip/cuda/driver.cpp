#include "driver.h"

#include <dlfcn.h>

namespace softgpu::cuda
{

namespace
{

constexpr const char *library_name = "libcuda.so.1";

struct Opened {
    Driver functions;
    bool good = false;
    std::string why;
};

bool look_up(void *library, Driver *out, std::string *why)
{
#define SOFTGPU_CUDA_LOOK_UP(name, symbol, arguments)                                                        \
    out->name = reinterpret_cast<CUresult(*) arguments>(dlsym(library, symbol));                             \
    if (out->name == nullptr) {                                                                              \
        *why = std::string(library_name) + " is too old: it has no " + symbol;                               \
        return false;                                                                                        \
    }
    SOFTGPU_CUDA_FUNCTIONS(SOFTGPU_CUDA_LOOK_UP)
#undef SOFTGPU_CUDA_LOOK_UP
    out->cuFuncLoad = reinterpret_cast<decltype(out->cuFuncLoad)>(dlsym(library, "cuFuncLoad"));
    out->cuFuncGetParamInfo =
        reinterpret_cast<decltype(out->cuFuncGetParamInfo)>(dlsym(library, "cuFuncGetParamInfo"));
    return true;
}

// Never closed: the process may use CUDA besides, and its own end takes the library down in the right order.
Opened open_driver()
{
    Opened opened;
    void *library = dlopen(library_name, RTLD_NOW);
    if (library == nullptr) {
        const char *error = dlerror();
        opened.why = error != nullptr ? error : library_name;
        return opened;
    }
    if (!look_up(library, &opened.functions, &opened.why))
        return opened;
    const CUresult code = opened.functions.cuInit(0);
    opened.good = code == success;
    if (!opened.good)
        opened.why = "cuInit answered " + std::to_string(code);
    return opened;
}

const Opened &opened_driver()
{
    static const auto *const opened = new Opened(open_driver());
    return *opened;
}

} // namespace

const Driver *find_driver(std::string *why)
{
    const Opened &opened = opened_driver();
    if (why != nullptr)
        *why = opened.why;
    return opened.good ? &opened.functions : nullptr;
}

const Driver &driver()
{
    return opened_driver().functions;
}

int cuda_device_count(std::string *why)
{
    const Driver *found = find_driver(why);
    int count = 0;
    if (found == nullptr)
        return 0;
    const CUresult code = found->cuDeviceGetCount(&count);
    if (why != nullptr && code != success)
        *why = "cuDeviceGetCount answered " + std::to_string(code);
    else if (why != nullptr && count == 0)
        *why = "it lists no device";
    return code == success ? count : 0;
}

hipError_t translate(CUresult code)
{
    switch (code) {
    case unsupported_ptx_version:
        return hipErrorNoBinaryForGpu;
    case hipSuccess:
    case hipErrorInvalidValue:
    case hipErrorOutOfMemory:
    case hipErrorNotInitialized:
    case hipErrorNoDevice:
    case hipErrorInvalidDevice:
    case hipErrorInvalidImage:
    case hipErrorInvalidContext:
    case hipErrorMapFailed:
    case hipErrorNoBinaryForGpu:
    case hipErrorInvalidKernelFile:
    case hipErrorFileNotFound:
    case hipErrorSharedObjectInitFailed:
    case hipErrorOperatingSystem:
    case hipErrorInvalidHandle:
    case hipErrorNotFound:
    case hipErrorNotReady:
    case hipErrorIllegalAddress:
    case hipErrorLaunchOutOfResources:
    case hipErrorContextIsDestroyed:
    case hipErrorHostMemoryAlreadyRegistered:
    case hipErrorHostMemoryNotRegistered:
    case hipErrorLaunchFailure:
    case hipErrorNotSupported:
        return static_cast<hipError_t>(code);
    default:
        return hipErrorUnknown;
    }
}

} // namespace softgpu::cuda
