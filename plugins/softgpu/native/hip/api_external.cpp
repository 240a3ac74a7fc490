// Memory and semaphores of other APIs, with the checks and the quirks of AMD's runtime on Linux.
#include "entry.h"
#include "external.h"
#include "fd_policy.h"
#include "identity.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace softgpu;

namespace softgpu
{

hipError_t unmap_external(const Range &range)
{
    softgpu_count("mapping", -1);
    return range.external->memory->unmap(range.start);
}

} // namespace softgpu

namespace
{

constexpr int first_memory_type = 1;
constexpr int last_memory_type = 7; // 8, NvSciBuf, is refused
constexpr int first_semaphore_type = 1;
constexpr int last_semaphore_type = 4;
constexpr int timeline_fd_type = 9; // refused by AMD on every system, taken by CUDA

bool accepted_semaphore_type(int type)
{
    if (type == timeline_fd_type)
        return reports_timelines(current_device_index());
    return type >= first_semaphore_type && type <= last_semaphore_type;
}

// 801 where the runtime has no semaphores, as AMD's on Linux; assert builds of it abort instead.
bool semaphores_offered()
{
    const char *choice = mode_switch("HIP_SEMAPHORES", "0", "1");
    if (std::strcmp(choice, "abort") == 0) {
        fprintf(stderr,
                "softgpu hip: hipImportExternalSemaphore: should not reach here (HIP_SEMAPHORES=abort)\n");
        abort();
    }
    return std::strcmp(choice, "0") != 0;
}

// Elements before a bad one are enqueued all the same: so does AMD's runtime.
template <class Enqueue>
hipError_t for_each_semaphore(const hipExternalSemaphore_t *semaphores,
                              const hipExternalSemaphoreParams *params, unsigned count,
                              hipStreamHandle stream, Enqueue enqueue)
{
    if (semaphores == nullptr || params == nullptr)
        return hipErrorInvalidValue;
    const auto queue = stream_of(stream);
    if (!queue)
        return hipErrorInvalidValue;
    for (unsigned i = 0; i < count; ++i) {
        const auto found = semaphores[i] != nullptr ? runtime().semaphores.find(semaphores[i]) : nullptr;
        if (!found || params[i].flags != 0)
            return hipErrorInvalidValue;
        const hipError_t error = enqueue(*queue, found->semaphore, params[i].fenceValue);
        if (error != hipSuccess)
            return error;
    }
    return hipSuccess;
}

} // namespace

extern "C" {

HIP_EXPORT hipError_t hipImportExternalMemory(hipExternalMemory_t *out,
                                              const hipExternalMemoryHandleDesc *desc)
{
    return entry(__func__, [&] {
        if (out == nullptr || desc == nullptr || (desc->flags & ~hipExternalMemoryDedicated) != 0 ||
            desc->size == 0)
            return hipErrorInvalidValue;
        if (desc->type < first_memory_type || desc->type > last_memory_type)
            return hipErrorInvalidValue;
        if (device_count() == 0)
            return hipErrorNoDevice;
        std::shared_ptr<ExternalMemory> memory;
        const hipError_t error = import_fd(desc->handle.fd, current_device().takes_fd(), [&](int fd) {
            return current_device().import_memory(fd, desc->size, desc->flags != 0, &memory);
        });
        if (error == hipErrorUnknown)
            return error;
        if (error != hipSuccess)
            return hipErrorOutOfMemory; // whatever the reason was
        softgpu_count("memory", 1);
        *out = runtime().memories.add(std::make_shared<ExternalObject>(
            ExternalObject{current_device_index(), desc->size, desc->flags != 0, std::move(memory)}));
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipExternalMemoryGetMappedBuffer(void **out, hipExternalMemory_t handle,
                                                       const hipExternalMemoryBufferDesc *desc)
{
    return entry(__func__, [&] {
        if (out == nullptr || handle == nullptr || desc == nullptr || desc->flags != 0)
            return hipErrorInvalidValue;
        const auto object = runtime().memories.find(handle);
        if (!object || desc->offset > object->size || desc->size > object->size - desc->offset)
            return hipErrorInvalidValue;
        void *address = nullptr;
        const hipError_t error = object->memory->map(desc->offset, desc->size, &address);
        if (error != hipSuccess)
            return error;
        softgpu_count("mapping", 1);
        // A second mapping of one offset finds its place in the pointer map taken and is silently left out:
        // its hipFree will be an invalid value, and it is never given back. AMD's runtime does the same.
        runtime().ranges.add({static_cast<char *>(address), static_cast<size_t>(desc->size),
                              RangeKind::External, object->device, 0, object, desc->offset});
        *out = address;
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipDestroyExternalMemory(hipExternalMemory_t handle)
{
    return entry(__func__, [&] {
        if (!runtime().memories.remove(handle))
            return hipErrorInvalidValue;
        softgpu_count("memory", -1);
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipImportExternalSemaphore(hipExternalSemaphore_t *out,
                                                 const hipExternalSemaphoreHandleDesc *desc)
{
    return entry(__func__, [&] {
        if (out == nullptr || desc == nullptr)
            return hipErrorInvalidValue;
        if (device_count() == 0)
            return hipErrorNoDevice;
        if (!accepted_semaphore_type(desc->type) || desc->handle.fd == 0)
            return hipErrorInvalidValue;
        if (!semaphores_offered())
            return hipErrorNotSupported;
        std::shared_ptr<Semaphore> semaphore;
        const hipError_t error = import_fd(desc->handle.fd, current_device().takes_fd(), [&](int fd) {
            return current_device().import_semaphore(fd, desc->type == timeline_fd_type, &semaphore);
        });
        if (error == hipErrorUnknown)
            return error;
        if (error != hipSuccess)
            // AMD's runtime has one answer for all; others tell a bad handle from a type they do not know.
            return softgpu_switch_is("HIP_MODE", "amd", "") ? hipErrorNotSupported : hipErrorUnknown;
        softgpu_count("semaphore", 1);
        *out = runtime().semaphores.add(
            std::make_shared<SemaphoreHandle>(SemaphoreHandle{std::move(semaphore)}));
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipSignalExternalSemaphoresAsync(const hipExternalSemaphore_t *semaphores,
                                                       const hipExternalSemaphoreParams *params,
                                                       unsigned count, hipStreamHandle stream)
{
    return entry(__func__, [&] {
        const long delay = softgpu_switch_number("SIGNAL_DELAY_MS", 0);
        const auto delay_ms = static_cast<unsigned>(delay > 0 ? delay : 0);
        return for_each_semaphore(semaphores, params, count, stream,
                                  [&](Stream &queue, std::shared_ptr<Semaphore> semaphore, uint64_t value) {
                                      return queue.signal_semaphore(std::move(semaphore), value, delay_ms);
                                  });
    });
}

HIP_EXPORT hipError_t hipWaitExternalSemaphoresAsync(const hipExternalSemaphore_t *semaphores,
                                                     const hipExternalSemaphoreParams *params, unsigned count,
                                                     hipStreamHandle stream)
{
    return entry(__func__, [&] {
        return for_each_semaphore(semaphores, params, count, stream,
                                  [](Stream &queue, std::shared_ptr<Semaphore> semaphore, uint64_t value) {
                                      return queue.wait_semaphore(std::move(semaphore), value);
                                  });
    });
}

HIP_EXPORT hipError_t hipDestroyExternalSemaphore(hipExternalSemaphore_t handle)
{
    return entry(__func__, [&] {
        if (!runtime().semaphores.remove(handle))
            return hipErrorInvalidValue;
        softgpu_count("semaphore", -1);
        return hipSuccess;
    });
}

} // extern "C"
