// Names and texts of error codes, and the calls that answer them.
#include "entry.h"

namespace softgpu
{
namespace
{

struct ErrorText {
    hipError_t code;
    const char *name;
    const char *text;
};

constexpr ErrorText texts[] = {
    {hipSuccess, "hipSuccess", "no error"},
    {hipErrorInvalidValue, "hipErrorInvalidValue", "invalid argument"},
    {hipErrorOutOfMemory, "hipErrorOutOfMemory", "out of memory"},
    {hipErrorNotInitialized, "hipErrorNotInitialized", "initialization error"},
    {hipErrorInvalidConfiguration, "hipErrorInvalidConfiguration", "invalid configuration argument"},
    {hipErrorInvalidPitchValue, "hipErrorInvalidPitchValue", "invalid pitch argument"},
    {hipErrorInvalidMemcpyDirection, "hipErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {hipErrorNoDevice, "hipErrorNoDevice", "no ROCm-capable device is detected"},
    {hipErrorInvalidDevice, "hipErrorInvalidDevice", "invalid device ordinal"},
    {hipErrorInvalidImage, "hipErrorInvalidImage", "device kernel image is invalid"},
    {hipErrorInvalidContext, "hipErrorInvalidContext", "invalid device context"},
    {hipErrorMapFailed, "hipErrorMapFailed", "mapping of buffer object failed"},
    {hipErrorNoBinaryForGpu, "hipErrorNoBinaryForGpu",
     "no kernel image is available for execution on the device"},
    {hipErrorInvalidKernelFile, "hipErrorInvalidKernelFile", "invalid kernel file"},
    {hipErrorFileNotFound, "hipErrorFileNotFound", "file not found"},
    {hipErrorSharedObjectInitFailed, "hipErrorSharedObjectInitFailed", "shared object initialization failed"},
    {hipErrorOperatingSystem, "hipErrorOperatingSystem",
     "OS call failed or operation not supported on this OS"},
    {hipErrorInvalidHandle, "hipErrorInvalidHandle", "invalid resource handle"},
    {hipErrorNotFound, "hipErrorNotFound", "named symbol not found"},
    {hipErrorNotReady, "hipErrorNotReady", "device not ready"},
    {hipErrorIllegalAddress, "hipErrorIllegalAddress", "an illegal memory access was encountered"},
    {hipErrorLaunchOutOfResources, "hipErrorLaunchOutOfResources", "too many resources requested for launch"},
    {hipErrorContextIsDestroyed, "hipErrorContextIsDestroyed", "context is destroyed"},
    {hipErrorHostMemoryAlreadyRegistered, "hipErrorHostMemoryAlreadyRegistered",
     "part or all of the requested memory range is already mapped"},
    {hipErrorHostMemoryNotRegistered, "hipErrorHostMemoryNotRegistered",
     "pointer does not correspond to a registered memory region"},
    {hipErrorLaunchFailure, "hipErrorLaunchFailure", "unspecified launch failure"},
    {hipErrorNotSupported, "hipErrorNotSupported", "operation not supported"},
    {hipErrorUnknown, "hipErrorUnknown", "unknown error"},
};

const ErrorText *find(hipError_t code)
{
    for (const ErrorText &entry : texts)
        if (entry.code == code)
            return &entry;
    return nullptr;
}

} // namespace
} // namespace softgpu

using namespace softgpu;

extern "C" {

HIP_EXPORT const char *hipGetErrorName(hipError_t error)
{
    const ErrorText *found = find(error);
    return found != nullptr ? found->name : "hipErrorUnknown";
}

HIP_EXPORT const char *hipGetErrorString(hipError_t error)
{
    const ErrorText *found = find(error);
    return found != nullptr ? found->text : "unknown error";
}

HIP_EXPORT hipError_t hipDrvGetErrorName(hipError_t error, const char **out)
{
    const ErrorText *found = find(error);
    if (out == nullptr || found == nullptr)
        return hipErrorInvalidValue;
    *out = found->name;
    return hipSuccess;
}

HIP_EXPORT hipError_t hipDrvGetErrorString(hipError_t error, const char **out)
{
    const ErrorText *found = find(error);
    if (out == nullptr || found == nullptr)
        return hipErrorInvalidValue;
    *out = found->text;
    return hipSuccess;
}

HIP_EXPORT hipError_t hipGetLastError()
{
    return take_error();
}

HIP_EXPORT hipError_t hipPeekAtLastError()
{
    return peek_error();
}

} // extern "C"
