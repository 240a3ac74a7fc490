// Initialisation, device choice and what a device says of itself.
#include "entry.h"
#include "identity.h"

#include <cstdio>
#include <cstring>

using namespace softgpu;

namespace
{

constexpr int hip_version = 7 * 10000000 + 15 * 100000; // 7.15.0, the release whose interface abi.h describes

bool valid_device(int index)
{
    return index >= 0 && index < device_count();
}

} // namespace

extern "C" {

HIP_EXPORT hipError_t hipInit(unsigned flags)
{
    return entry(__func__, [&] {
        if (flags != 0)
            return hipErrorInvalidValue;
        return device_count() > 0 ? hipSuccess : hipErrorNoDevice;
    });
}

HIP_EXPORT hipError_t hipGetDeviceCount(int *count)
{
    return entry(__func__, [&] {
        if (count == nullptr)
            return hipErrorInvalidValue;
        *count = device_count();
        return *count > 0 ? hipSuccess : hipErrorNoDevice;
    });
}

HIP_EXPORT hipError_t hipSetDevice(int index)
{
    return entry(__func__, [&] { return set_current_device(index) ? hipSuccess : hipErrorInvalidDevice; });
}

HIP_EXPORT hipError_t hipGetDevice(int *index)
{
    return entry(__func__, [&] {
        if (index == nullptr)
            return hipErrorInvalidValue;
        if (device_count() == 0)
            return hipErrorNoDevice;
        *index = current_device_index();
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipDeviceGet(int *device, int ordinal)
{
    return entry(__func__, [&] {
        if (device == nullptr)
            return hipErrorInvalidValue;
        if (!valid_device(ordinal))
            return hipErrorInvalidDevice;
        *device = ordinal;
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipGetDevicePropertiesR0600(hipDeviceProp_tR0600 *out, int index)
{
    return entry(__func__, [&] {
        if (out == nullptr)
            return hipErrorInvalidValue;
        if (!valid_device(index))
            return hipErrorInvalidDevice;
        reported_properties(index, out);
        return hipSuccess;
    });
}

// C programs built since ROCm 6 call the name above. This one serves callers that look symbols up themselves;
// it has the same structure.
HIP_EXPORT hipError_t hipGetDeviceProperties(hipDeviceProp_tR0600 *out, int index)
{
    return entry(__func__, [&] {
        if (out == nullptr)
            return hipErrorInvalidValue;
        if (!valid_device(index))
            return hipErrorInvalidDevice;
        reported_properties(index, out);
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipDeviceGetAttribute(int *out, int attribute, int index)
{
    return entry(__func__, [&] {
        if (out == nullptr)
            return hipErrorInvalidValue;
        if (!valid_device(index))
            return hipErrorInvalidDevice;
        return reported_attribute(index, attribute, out) ? hipSuccess : hipErrorInvalidValue;
    });
}

HIP_EXPORT hipError_t hipDeviceGetName(char *name, int length, int index)
{
    return entry(__func__, [&] {
        if (name == nullptr || length <= 0)
            return hipErrorInvalidValue;
        if (!valid_device(index))
            return hipErrorInvalidDevice;
        hipDeviceProp_tR0600 properties;
        reported_properties(index, &properties);
        snprintf(name, static_cast<size_t>(length), "%s", properties.name);
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipDeviceGetUuid(hipUUID *uuid, int index)
{
    return entry(__func__, [&] {
        if (uuid == nullptr)
            return hipErrorInvalidValue;
        if (!valid_device(index))
            return hipErrorInvalidDevice;
        hipDeviceProp_tR0600 properties;
        reported_properties(index, &properties);
        *uuid = properties.uuid;
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipDeviceGetPCIBusId(char *text, int length, int index)
{
    return entry(__func__, [&] {
        if (text == nullptr || length < 0)
            return hipErrorInvalidValue;
        if (!valid_device(index))
            return hipErrorInvalidDevice;
        if (!reports_pci(index))
            return hipErrorNotSupported;
        hipDeviceProp_tR0600 properties;
        reported_properties(index, &properties);
        char full[32];
        const int needed = snprintf(
            full, sizeof full, "%04x:%02x:%02x.0", static_cast<unsigned>(properties.pciDomainID),
            static_cast<unsigned>(properties.pciBusID), static_cast<unsigned>(properties.pciDeviceID));
        if (needed >= length)
            return hipErrorInvalidValue;
        std::memcpy(text, full, static_cast<size_t>(needed) + 1);
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipDeviceSynchronize()
{
    return entry(__func__, [&] {
        return device_count() > 0 ? synchronize_device(current_device_index()) : hipErrorNoDevice;
    });
}

HIP_EXPORT hipError_t hipRuntimeGetVersion(int *version)
{
    return entry(__func__, [&] {
        if (version == nullptr)
            return hipErrorInvalidValue;
        *version = hip_version;
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipDriverGetVersion(int *version)
{
    return entry(__func__, [&] {
        if (version == nullptr)
            return hipErrorInvalidValue;
        *version = hip_version;
        return hipSuccess;
    });
}

} // extern "C"
