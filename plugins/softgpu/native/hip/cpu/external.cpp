#include "external.h"
#include "switches.h"

#include <cstdio>
#include <sys/mman.h>

namespace softgpu::cpu
{

namespace
{

constexpr double forever = -1.0;

// AMD's import never compares sizes: one that is too large succeeds, and the GPU faults when it gets past the
// end. Here unreadable pages are put behind the real ones, so that the fault is as certain.
hipError_t extend_with_faulting_pages(softgpu_memory *memory, uint64_t size)
{
    const size_t data_offset =
        static_cast<size_t>(static_cast<char *>(memory->data) - static_cast<char *>(memory->mapping));
    if (size > (uint64_t{1} << 46))
        return hipErrorOutOfMemory;
    const size_t whole = data_offset + static_cast<size_t>(size);
    void *space = mmap(nullptr, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED)
        return hipErrorOutOfMemory;
    void *moved = mremap(memory->mapping, memory->mapping_size, memory->mapping_size,
                         MREMAP_MAYMOVE | MREMAP_FIXED, space);
    if (moved == MAP_FAILED) {
        munmap(space, whole);
        return hipErrorOutOfMemory;
    }
    memory->mapping = space;
    memory->mapping_size = whole;
    memory->data = static_cast<char *>(space) + data_offset;
    return hipSuccess;
}

} // namespace

hipError_t CpuExternalMemory::import(int fd, uint64_t size, std::shared_ptr<ExternalMemory> *out)
{
    auto object = std::make_shared<CpuExternalMemory>();
    int mapped = softgpu_memory_map(fd, 0, &object->memory_);
    // HIP has one type for all fds: what a dma-buf is, the runtime finds out.
    if (mapped == SOFTGPU_PAYLOAD_FOREIGN && !softgpu_switch_is("DMA_BUF", "0", "0"))
        mapped = softgpu_memory_map_any(fd, 0, &object->memory_);
    if (mapped != SOFTGPU_PAYLOAD_OK)
        return hipErrorOutOfMemory;
    if (size > object->memory_.size) {
        const hipError_t error = extend_with_faulting_pages(&object->memory_, size);
        if (error != hipSuccess)
            return error;
    }
    *out = std::move(object);
    return hipSuccess;
}

CpuExternalMemory::~CpuExternalMemory()
{
    if (memory_.mapping != nullptr)
        softgpu_memory_unmap(&memory_);
}

hipError_t CpuExternalMemory::map(uint64_t offset, uint64_t, void **out)
{
    *out = static_cast<char *>(memory_.data) + offset;
    return hipSuccess;
}

hipError_t CpuExternalMemory::unmap(void *)
{
    return hipSuccess; // the pages go with the object
}

hipError_t CpuSemaphore::import(int fd, std::shared_ptr<Semaphore> *out)
{
    auto object = std::make_shared<CpuSemaphore>();
    if (softgpu_semaphore_open(fd, &object->payload_) != SOFTGPU_PAYLOAD_OK)
        return hipErrorNotSupported;
    *out = std::move(object);
    return hipSuccess;
}

CpuSemaphore::~CpuSemaphore()
{
    if (payload_ != nullptr)
        softgpu_semaphore_close(payload_);
}

void CpuSemaphore::wait()
{
    const int status = softgpu_semaphore_wait(payload_, forever, nullptr);
    if (status != SOFTGPU_PAYLOAD_OK)
        fprintf(stderr, "softgpu hip: waiting for an external semaphore failed (%d); the stream goes on\n",
                status);
}

void CpuSemaphore::signal()
{
    const int status = softgpu_semaphore_signal(payload_);
    if (status != SOFTGPU_PAYLOAD_OK)
        fprintf(stderr, "softgpu hip: signalling an external semaphore failed (%d)\n", status);
}

} // namespace softgpu::cpu
