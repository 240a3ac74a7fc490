#include "identity.h"
#include "runtime.h"
#include "switches.h"

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstring>

namespace softgpu
{

namespace
{

Device &device_at(int index)
{
    return *runtime().devices[static_cast<size_t>(index)];
}

void apply_uuid(int index, hipUUID *uuid)
{
    const char *form = mode_switch("HIP_UUID", "serial", "vulkan");
    if (std::strcmp(form, "serial") == 0) {
        // AMD reports the board's serial number as 16 ASCII characters, which no Vulkan driver does.
        char text[17];
        snprintf(text, sizeof text, "50f79b0000%06x", static_cast<unsigned>(index) & 0xffffffu);
        std::memcpy(uuid->bytes, text, sizeof uuid->bytes);
    } else if (std::strcmp(form, "wrong") == 0) {
        for (char &byte : uuid->bytes)
            byte = static_cast<char>(~byte);
    }
}

void apply_pci(int index, hipDeviceProp_tR0600 *out)
{
    if (!reports_pci(index)) {
        out->pciDomainID = out->pciBusID = out->pciDeviceID = 0;
        return;
    }
    unsigned domain = 0;
    unsigned bus = 0;
    unsigned device = 0;
    // HIP_PCI may also hold an address, so that matching by address can be tested against any Vulkan driver.
    if (std::sscanf(softgpu_switch("HIP_PCI", "1"), "%x:%x:%x", &domain, &bus, &device) == 3) {
        out->pciDomainID = static_cast<int>(domain);
        out->pciBusID = static_cast<int>(bus);
        out->pciDeviceID = static_cast<int>(device);
    }
}

constexpr int attribute_can_use_stream_wait_value = 10013;
constexpr int attribute_image_support = 10014;

struct PropertyAttribute {
    int attribute;
    size_t offset;
    bool wide; // a size_t
};

#define INT_ATTRIBUTE(number, member) {number, offsetof(hipDeviceProp_tR0600, member), false}
#define SIZE_ATTRIBUTE(number, member) {number, offsetof(hipDeviceProp_tR0600, member), true}
constexpr PropertyAttribute property_attributes[] = {
    INT_ATTRIBUTE(2, asyncEngineCount),
    INT_ATTRIBUTE(3, canMapHostMemory),
    INT_ATTRIBUTE(4, canUseHostPointerForRegisteredMem),
    INT_ATTRIBUTE(5, clockRate),
    INT_ATTRIBUTE(6, computeMode),
    INT_ATTRIBUTE(7, computePreemptionSupported),
    INT_ATTRIBUTE(8, concurrentKernels),
    INT_ATTRIBUTE(9, concurrentManagedAccess),
    INT_ATTRIBUTE(10, cooperativeLaunch),
    INT_ATTRIBUTE(11, cooperativeMultiDeviceLaunch),
    INT_ATTRIBUTE(12, deviceOverlap),
    INT_ATTRIBUTE(13, directManagedMemAccessFromHost),
    INT_ATTRIBUTE(14, globalL1CacheSupported),
    INT_ATTRIBUTE(15, hostNativeAtomicSupported),
    INT_ATTRIBUTE(16, integrated),
    INT_ATTRIBUTE(17, isMultiGpuBoard),
    INT_ATTRIBUTE(18, kernelExecTimeoutEnabled),
    INT_ATTRIBUTE(19, l2CacheSize),
    INT_ATTRIBUTE(20, localL1CacheSupported),
    INT_ATTRIBUTE(22, luidDeviceNodeMask),
    INT_ATTRIBUTE(23, major),
    INT_ATTRIBUTE(24, managedMemory),
    INT_ATTRIBUTE(25, maxBlocksPerMultiProcessor),
    INT_ATTRIBUTE(26, maxThreadsDim[0]),
    INT_ATTRIBUTE(27, maxThreadsDim[1]),
    INT_ATTRIBUTE(28, maxThreadsDim[2]),
    INT_ATTRIBUTE(29, maxGridSize[0]),
    INT_ATTRIBUTE(30, maxGridSize[1]),
    INT_ATTRIBUTE(31, maxGridSize[2]),
    INT_ATTRIBUTE(56, maxThreadsPerBlock),
    INT_ATTRIBUTE(57, maxThreadsPerMultiProcessor),
    SIZE_ATTRIBUTE(58, memPitch),
    INT_ATTRIBUTE(59, memoryBusWidth),
    INT_ATTRIBUTE(60, memoryClockRate),
    INT_ATTRIBUTE(61, minor),
    INT_ATTRIBUTE(62, multiGpuBoardGroupID),
    INT_ATTRIBUTE(63, multiProcessorCount),
    INT_ATTRIBUTE(65, pageableMemoryAccess),
    INT_ATTRIBUTE(66, pageableMemoryAccessUsesHostPageTables),
    INT_ATTRIBUTE(67, pciBusID),
    INT_ATTRIBUTE(68, pciDeviceID),
    INT_ATTRIBUTE(69, pciDomainID),
    INT_ATTRIBUTE(70, persistingL2CacheMaxSize),
    INT_ATTRIBUTE(71, regsPerBlock),
    INT_ATTRIBUTE(72, regsPerMultiprocessor),
    SIZE_ATTRIBUTE(73, reservedSharedMemPerBlock),
    SIZE_ATTRIBUTE(74, sharedMemPerBlock),
    SIZE_ATTRIBUTE(75, sharedMemPerBlockOptin),
    SIZE_ATTRIBUTE(76, sharedMemPerMultiprocessor),
    INT_ATTRIBUTE(77, singleToDoublePrecisionPerfRatio),
    INT_ATTRIBUTE(78, streamPrioritiesSupported),
    SIZE_ATTRIBUTE(79, surfaceAlignment),
    INT_ATTRIBUTE(80, tccDriver),
    SIZE_ATTRIBUTE(81, textureAlignment),
    SIZE_ATTRIBUTE(82, texturePitchAlignment),
    SIZE_ATTRIBUTE(83, totalConstMem),
    SIZE_ATTRIBUTE(84, totalGlobalMem),
    INT_ATTRIBUTE(85, unifiedAddressing),
    INT_ATTRIBUTE(87, warpSize),
    INT_ATTRIBUTE(88, memoryPoolsSupported),
    INT_ATTRIBUTE(90, hostRegisterSupported),
    INT_ATTRIBUTE(91, memoryPoolSupportedHandleTypes),
    SIZE_ATTRIBUTE(10002, maxSharedMemoryPerMultiProcessor),
    INT_ATTRIBUTE(10011, isLargeBar),
    INT_ATTRIBUTE(10012, asicRevision),
    INT_ATTRIBUTE(10015, multiProcessorCount), // physical count
};
#undef INT_ATTRIBUTE
#undef SIZE_ATTRIBUTE

// Known, and not offered by any layer: virtual memory management, host NUMA id, dma-buf export, fabric,
// images.
constexpr int absent_attributes[] = {1, 89, 92, 93, 94, 95, 10016};

int read_member(const hipDeviceProp_tR0600 &properties, const PropertyAttribute &entry)
{
    const char *member = reinterpret_cast<const char *>(&properties) + entry.offset;
    if (entry.wide) {
        size_t value;
        std::memcpy(&value, member, sizeof value);
        return static_cast<int>(std::min<size_t>(value, INT_MAX));
    }
    int value;
    std::memcpy(&value, member, sizeof value);
    return value;
}

} // namespace

bool reports_pci(int device)
{
    return device_at(device).has_pci() && !softgpu_switch_is("HIP_PCI", "0", "1");
}

bool reports_wait_value(int device)
{
    return device_at(device).stream_wait_value() && !softgpu_switch_is("HIP_WAIT_VALUE", "0", "1");
}

bool reports_timelines(int device)
{
    return device_at(device).timeline_semaphores() && !softgpu_switch_is("HIP_MODE", "amd", "");
}

void reported_properties(int device, hipDeviceProp_tR0600 *out)
{
    device_at(device).properties(out);
    out->timelineSemaphoreInteropSupported = reports_timelines(device) ? 1 : 0;
    apply_uuid(device, &out->uuid);
    apply_pci(device, out);
    const char *arch = mode_switch("HIP_ARCH", "gfx1100", out->gcnArchName);
    if (arch != out->gcnArchName)
        snprintf(out->gcnArchName, sizeof out->gcnArchName, "%s", arch);
}

bool reported_attribute(int device, int attribute, int *out)
{
    if (attribute == attribute_can_use_stream_wait_value) {
        *out = reports_wait_value(device) ? 1 : 0;
        return true;
    }
    if (attribute == attribute_image_support) {
        *out = device_at(device).maps_arrays() ? 1 : 0;
        return true;
    }
    for (const int absent : absent_attributes) {
        if (attribute == absent) {
            *out = 0;
            return true;
        }
    }
    for (const PropertyAttribute &entry : property_attributes) {
        if (attribute != entry.attribute)
            continue;
        hipDeviceProp_tR0600 properties;
        reported_properties(device, &properties);
        *out = read_member(properties, entry);
        return true;
    }
    return false;
}

} // namespace softgpu
