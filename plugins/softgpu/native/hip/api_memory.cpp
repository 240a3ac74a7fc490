// Allocation, registration and questions about pointers.
#include "entry.h"
#include "external.h"

#include <cstdio>
#include <cstdlib>

using namespace softgpu;

namespace
{

constexpr unsigned known_host_malloc_flags = 0x1 | 0x2 | 0x4 | 0x20000000 | 0x40000000 | 0x80000000;
constexpr unsigned known_host_register_flags = 0x1 | 0x2 | 0x4 | 0x8;

hipError_t allocate(void **out, size_t size)
{
    if (out == nullptr)
        return hipErrorInvalidValue;
    *out = nullptr;
    if (device_count() == 0)
        return hipErrorNoDevice;
    if (size == 0)
        return hipSuccess;
    void *memory = nullptr;
    const hipError_t error = current_device().allocate(size, &memory);
    if (error != hipSuccess)
        return error;
    runtime().ranges.add(
        {static_cast<char *>(memory), size, RangeKind::Device, current_device_index(), 0, nullptr, 0});
    softgpu_count("allocation", 1);
    *out = memory;
    return hipSuccess;
}

// The start of a device range, or why there is none. AMD's runtime aborts on an interior pointer: it finds
// the object and then fails an internal check.
hipError_t check_free(void *pointer, Range *out)
{
    const auto range = runtime().ranges.containing(pointer);
    if (!range || !range->can_free())
        return hipErrorInvalidValue;
    if (range->start != pointer) {
        fprintf(stderr,
                "softgpu hip: hipFree(%p) is %zu bytes inside an allocation that starts at %p; aborting as "
                "AMD's runtime does\n",
                pointer, static_cast<size_t>(static_cast<char *>(pointer) - range->start),
                static_cast<void *>(range->start));
        abort();
    }
    *out = *range;
    return hipSuccess;
}

hipError_t give_back(const Range &range)
{
    const auto taken = runtime().ranges.take(range.start);
    if (!taken)
        return hipErrorInvalidValue; // another thread freed it in between
    if (taken->kind == RangeKind::External)
        return unmap_external(*taken);
    softgpu_count("allocation", -1);
    return runtime().devices[static_cast<size_t>(taken->device)]->release(taken->start);
}

} // namespace

extern "C" {

HIP_EXPORT hipError_t hipMalloc(void **out, size_t size)
{
    return entry(__func__, [&] { return allocate(out, size); });
}

HIP_EXPORT hipError_t hipMallocAsync(void **out, size_t size, hipStreamHandle stream)
{
    return entry(__func__, [&] { return stream_of(stream) ? allocate(out, size) : hipErrorInvalidValue; });
}

HIP_EXPORT hipError_t hipFree(void *pointer)
{
    return entry(__func__, [&] {
        if (pointer == nullptr)
            return hipSuccess;
        Range range{};
        hipError_t error = check_free(pointer, &range);
        if (error != hipSuccess)
            return error;
        error = synchronize_device(range.device);
        return error == hipSuccess ? give_back(range) : error;
    });
}

HIP_EXPORT hipError_t hipFreeAsync(void *pointer, hipStreamHandle stream)
{
    return entry(__func__, [&] {
        const auto queue = stream_of(stream);
        Range range{};
        if (pointer == nullptr || !queue)
            return hipErrorInvalidValue;
        const hipError_t error = check_free(pointer, &range);
        if (error != hipSuccess)
            return error;
        if (range.kind == RangeKind::External || !runtime().ranges.take(pointer))
            return hipErrorInvalidValue;
        softgpu_count("allocation", -1);
        return queue->release_later(pointer);
    });
}

HIP_EXPORT hipError_t hipHostMalloc(void **out, size_t size, unsigned flags)
{
    return entry(__func__, [&] {
        if (out == nullptr)
            return hipErrorInvalidValue;
        *out = nullptr;
        if ((flags & ~known_host_malloc_flags) != 0)
            return hipErrorInvalidValue;
        if (device_count() == 0)
            return hipErrorNoDevice;
        if (size == 0)
            return hipSuccess;
        const hipError_t error = current_device().allocate_host(size, flags, out);
        if (error != hipSuccess)
            return error;
        runtime().ranges.add(
            {static_cast<char *>(*out), size, RangeKind::Host, current_device_index(), flags, nullptr, 0});
        softgpu_count("host_allocation", 1);
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipHostFree(void *pointer)
{
    return entry(__func__, [&] {
        if (pointer == nullptr)
            return hipSuccess;
        const auto range = runtime().ranges.containing(pointer);
        if (!range || range->kind != RangeKind::Host || range->start != pointer)
            return hipErrorInvalidValue;
        const hipError_t error = synchronize_device(range->device);
        if (error != hipSuccess)
            return error;
        if (!runtime().ranges.take(pointer))
            return hipErrorInvalidValue;
        softgpu_count("host_allocation", -1);
        return runtime().devices[static_cast<size_t>(range->device)]->release_host(pointer);
    });
}

HIP_EXPORT hipError_t hipHostRegister(void *pointer, size_t size, unsigned flags)
{
    return entry(__func__, [&] {
        if (pointer == nullptr || size == 0 || (flags & ~known_host_register_flags) != 0)
            return hipErrorInvalidValue;
        if (device_count() == 0)
            return hipErrorNoDevice;
        if (runtime().ranges.containing(pointer))
            return hipErrorHostMemoryAlreadyRegistered;
        const hipError_t error = current_device().register_host(pointer, size, flags);
        if (error != hipSuccess)
            return error;
        runtime().ranges.add({static_cast<char *>(pointer), size, RangeKind::Registered,
                              current_device_index(), flags, nullptr, 0});
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipHostUnregister(void *pointer)
{
    return entry(__func__, [&] {
        const auto range = runtime().ranges.containing(pointer);
        if (!range || range->kind != RangeKind::Registered || range->start != pointer)
            return hipErrorHostMemoryNotRegistered;
        const hipError_t error = synchronize_device(range->device);
        if (error != hipSuccess)
            return error;
        runtime().ranges.take(pointer);
        return runtime().devices[static_cast<size_t>(range->device)]->unregister_host(pointer);
    });
}

HIP_EXPORT hipError_t hipHostGetDevicePointer(void **out, void *host, unsigned flags)
{
    return entry(__func__, [&] {
        if (out == nullptr || host == nullptr || flags != 0)
            return hipErrorInvalidValue;
        *out = nullptr;
        const auto range = runtime().ranges.containing(host);
        if (!range || range->is_device())
            return hipErrorInvalidValue;
        return current_device().host_device_pointer(host, out);
    });
}

HIP_EXPORT hipError_t hipMemGetInfo(size_t *free, size_t *total)
{
    return entry(__func__, [&] {
        if (free == nullptr || total == nullptr)
            return hipErrorInvalidValue;
        return device_count() > 0 ? current_device().memory_info(free, total) : hipErrorNoDevice;
    });
}

HIP_EXPORT hipError_t hipPointerGetAttributes(hipPointerAttribute_t *out, const void *pointer)
{
    return entry(__func__, [&] {
        if (out == nullptr || pointer == nullptr)
            return hipErrorInvalidValue;
        *out = {};
        const auto range = runtime().ranges.containing(pointer);
        if (!range) {
            out->type = hipMemoryTypeUnregistered;
            out->device = -2; // hipInvalidDeviceId
            return hipSuccess;
        }
        void *address = const_cast<void *>(pointer);
        out->type = range->is_device() ? hipMemoryTypeDevice : hipMemoryTypeHost;
        // AMD never notes the device of an import, so it answers 0 wherever the memory lies.
        out->device = range->kind == RangeKind::External ? 0 : range->device;
        out->devicePointer = address;
        out->hostPointer = range->is_device() ? nullptr : address;
        out->allocationFlags = range->flags;
        return range->is_device() ? hipSuccess
                                  : current_device().host_device_pointer(address, &out->devicePointer);
    });
}

} // extern "C"
