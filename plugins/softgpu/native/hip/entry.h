// What every exported function starts and ends with.
#ifndef SOFTGPU_HIP_ENTRY_H
#define SOFTGPU_HIP_ENTRY_H
#include "api.h"
#include "runtime.h"
#include "switches.h"

#include <new>

namespace softgpu
{

// Counts the call, lets a FAIL switch end it, runs it, keeps its error for hipGetLastError.
template <class Body> hipError_t entry(const char *function, Body body)
{
    int injected = hipErrorUnknown;
    if (softgpu_fail_now(function, &injected))
        return remember(static_cast<hipError_t>(injected));
    try {
        return remember(body());
    } catch (const std::bad_alloc &) {
        return remember(hipErrorOutOfMemory);
    }
}

} // namespace softgpu

#endif
