#include "nvrtc.h"
#include "switches.h"

#include <dlfcn.h>

namespace softgpu::rtc
{

namespace
{

// By soname first: a library that the process has already (cuda-bindings opens one) is found so.
constexpr const char *names[] = {
    "libnvrtc.so.13",
    "libnvrtc.so.12",
    "libnvrtc.so",
    "/usr/local/cuda/lib64/libnvrtc.so.13",
    "/usr/local/cuda/lib64/libnvrtc.so.12",
    "/usr/local/cuda/lib64/libnvrtc.so",
};

void *open_library()
{
    const char *given = softgpu_switch("NVRTC", "");
    if (given[0] != '\0')
        return dlopen(given, RTLD_NOW);
    for (const char *name : names)
        if (void *library = dlopen(name, RTLD_NOW))
            return library;
    return nullptr;
}

struct Opened {
    Nvrtc functions;
    bool good = false;
    std::string why;
};

Opened open_nvrtc()
{
    Opened opened;
    void *library = open_library();
    if (library == nullptr) {
        const char *error = dlerror();
        opened.why = std::string("error: NVRTC cannot be loaded: ") + (error != nullptr ? error : "") +
                     "; install the CUDA toolkit's, or name the library in SOFTGPU_NVRTC\n";
        return opened;
    }
#define SOFTGPU_NVRTC_LOOK_UP(name, arguments)                                                               \
    opened.functions.name = reinterpret_cast<nvrtcResult(*) arguments>(dlsym(library, #name));               \
    if (opened.functions.name == nullptr) {                                                                  \
        opened.why = "error: this NVRTC is too old: it has no " #name "\n";                                  \
        return opened;                                                                                       \
    }
    SOFTGPU_NVRTC_FUNCTIONS(SOFTGPU_NVRTC_LOOK_UP)
#undef SOFTGPU_NVRTC_LOOK_UP
    opened.good = true;
    return opened;
}

} // namespace

const Nvrtc *find_nvrtc(std::string *why)
{
    static const auto *const opened = new Opened(open_nvrtc());
    *why += opened->why;
    return opened->good ? &opened->functions : nullptr;
}

} // namespace softgpu::rtc
