// The CPU as a device.
#include "../device.h"
#include "event.h"
#include "external.h"
#include "module.h"
#include "order.h"
#include "stream.h"
#include "switches.h"

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <unistd.h>

namespace softgpu
{

namespace cpu
{

namespace
{

constexpr size_t allocation_alignment = 256; // what hipMalloc promises
constexpr int max_devices = 64;

size_t physical_memory()
{
    return static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

class CpuDevice : public Device
{
  public:
    CpuDevice(int index, const uint8_t *uuid)
        : index_(index), null_(std::make_shared<CpuStream>(order_, order_.null_queue(), StreamKind::Null))
    {
        std::memcpy(uuid_.bytes, uuid, sizeof uuid_.bytes);
    }

    void properties(hipDeviceProp_tR0600 *out) override;
    bool has_pci() const override
    {
        return true;
    }
    bool stream_wait_value() const override
    {
        return true;
    }
    bool timeline_semaphores() const override
    {
        return false;
    }
    bool maps_arrays() const override
    {
        return false;
    }
    bool takes_fd() const override
    {
        return false;
    }
    hipError_t memory_info(size_t *free, size_t *total) override
    {
        *total = physical_memory();
        *free = static_cast<size_t>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
        return hipSuccess;
    }

    hipError_t allocate(size_t size, void **out) override
    {
        if (size > physical_memory())
            return hipErrorOutOfMemory;
        *out = std::aligned_alloc(allocation_alignment,
                                  (size + allocation_alignment - 1) & ~(allocation_alignment - 1));
        return *out != nullptr ? hipSuccess : hipErrorOutOfMemory;
    }
    hipError_t release(void *allocation) override
    {
        std::free(allocation);
        return hipSuccess;
    }
    // Pinned memory starts on a page, as a page is what a driver pins.
    hipError_t allocate_host(size_t size, unsigned, void **out) override
    {
        const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        if (size > physical_memory())
            return hipErrorOutOfMemory;
        *out = std::aligned_alloc(page, (size + page - 1) & ~(page - 1));
        return *out != nullptr ? hipSuccess : hipErrorOutOfMemory;
    }
    hipError_t release_host(void *allocation) override
    {
        return release(allocation);
    }
    hipError_t register_host(void *, size_t, unsigned) override
    {
        return hipSuccess;
    }
    hipError_t unregister_host(void *) override
    {
        return hipSuccess;
    }
    hipError_t host_device_pointer(void *host, void **out) override
    {
        *out = host;
        return hipSuccess;
    }

    std::shared_ptr<Stream> default_stream() override
    {
        return null_;
    }
    hipError_t create_stream(bool non_blocking, int, std::shared_ptr<Stream> *out) override
    {
        const StreamKind kind = non_blocking ? StreamKind::NonBlocking : StreamKind::Blocking;
        *out = std::make_shared<CpuStream>(order_, order_.add(kind), kind);
        return hipSuccess;
    }
    hipError_t create_event(bool, std::shared_ptr<Event> *out) override
    {
        *out = std::make_shared<CpuEvent>();
        return hipSuccess;
    }
    hipError_t load_module(const void *image, std::shared_ptr<Module> *out) override
    {
        std::shared_ptr<Image> loaded;
        const hipError_t error = Image::load(image, &loaded);
        if (error == hipSuccess)
            *out = std::make_shared<CpuModule>(std::move(loaded));
        return error;
    }
    hipError_t synchronize() override
    {
        for (const Mark &mark : order_.pending_of_all())
            mark.queue->wait(mark.ticket);
        return hipSuccess;
    }
    hipError_t import_memory(int fd, uint64_t size, bool, std::shared_ptr<ExternalMemory> *out) override
    {
        return CpuExternalMemory::import(fd, size, out);
    }
    hipError_t import_semaphore(int fd, bool, std::shared_ptr<Semaphore> *out) override
    {
        return CpuSemaphore::import(fd, out);
    }

  private:
    int index_;
    hipUUID uuid_{};
    Order order_;
    std::shared_ptr<CpuStream> null_;
};

void CpuDevice::properties(hipDeviceProp_tR0600 *out)
{
    std::memset(out, 0, sizeof *out);
    if (index_ == 0)
        snprintf(out->name, sizeof out->name, "CPU (softgpu HIP, software)");
    else
        snprintf(out->name, sizeof out->name, "CPU (softgpu HIP, software) #%d", index_);
    snprintf(out->gcnArchName, sizeof out->gcnArchName, "softgpu");
    out->uuid = uuid_;
    out->totalGlobalMem = physical_memory();
    out->sharedMemPerBlock = out->sharedMemPerMultiprocessor = out->maxSharedMemoryPerMultiProcessor =
        out->sharedMemPerBlockOptin = SOFTGPU_SHARED_BYTES;
    out->regsPerBlock = out->regsPerMultiprocessor = 65536;
    out->warpSize = 1; // threads of a block run one after another between barriers
    out->memPitch = INT_MAX;
    out->maxThreadsPerBlock = SOFTGPU_MAX_BLOCK;
    out->maxThreadsPerMultiProcessor = SOFTGPU_MAX_BLOCK;
    std::fill(out->maxThreadsDim, out->maxThreadsDim + 3, static_cast<int>(SOFTGPU_MAX_BLOCK));
    std::fill(out->maxGridSize, out->maxGridSize + 3, INT_MAX);
    out->clockRate = 1000000;
    out->totalConstMem = INT_MAX;
    out->major = 11; // as gfx11 reports
    out->textureAlignment = out->texturePitchAlignment = out->surfaceAlignment = 256;
    out->multiProcessorCount = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    out->integrated = 1;
    out->canMapHostMemory = 1;
    out->concurrentKernels = 1;
    out->pciDomainID = 0xffff; // no hardware has it, so it matches none
    out->pciBusID = 0xf0;
    out->pciDeviceID = index_;
    out->asyncEngineCount = 1;
    out->unifiedAddressing = 1;
    out->memoryClockRate = 1000000;
    out->memoryBusWidth = 64;
    out->l2CacheSize = 1 << 20;
    out->hostNativeAtomicSupported = 1;
    out->singleToDoublePrecisionPerfRatio = 2;
    out->pageableMemoryAccess = out->pageableMemoryAccessUsesHostPageTables = 1;
    out->canUseHostPointerForRegisteredMem = 1;
    out->maxBlocksPerMultiProcessor = 1;
    out->hostRegisterSupported = 1;
    out->isLargeBar = 1;
}

} // namespace
} // namespace cpu

// One device per software Vulkan device, with its uuid, so that the two sides find each other. HIP_DEVICES
// gives another number; the uuids beyond the known ones differ in their last byte.
std::vector<std::unique_ptr<Device>> cpu_devices()
{
    uint8_t uuids[cpu::max_devices][16] = {};
    const int known = std::max(1, softgpu_vulkan_cpu_uuids(uuids, cpu::max_devices));
    const long wanted = std::clamp<long>(softgpu_switch_number("HIP_DEVICES", known), 0, cpu::max_devices);
    std::vector<std::unique_ptr<Device>> devices;
    for (int i = 0; i < wanted; ++i) {
        if (i >= known) {
            std::memcpy(uuids[i], uuids[0], sizeof uuids[i]);
            uuids[i][15] = static_cast<uint8_t>(uuids[i][15] + i);
        }
        devices.push_back(std::make_unique<cpu::CpuDevice>(i, uuids[i]));
    }
    return devices;
}

} // namespace softgpu
