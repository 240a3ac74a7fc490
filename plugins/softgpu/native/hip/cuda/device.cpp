// An NVIDIA GPU as a HIP device: a stand-in for ROCm, and named as one.
#include "../device.h"
#include "array.h"
#include "event.h"
#include "external.h"
#include "module.h"
#include "stream.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace softgpu
{

namespace cuda
{

namespace
{

class CudaDevice : public Device
{
  public:
    explicit CudaDevice(CUdevice device)
        : device_(device), context_(device), retired_(context_),
          null_(std::make_shared<CudaStream>(std::make_shared<StreamCore>(context_, legacy_stream())))
    {
    }

    void properties(hipDeviceProp_tR0600 *out) override;
    bool has_pci() const override
    {
        return true;
    }
    bool stream_wait_value() const override
    {
        return number(Attribute::CanUse64BitStreamMemOps) != 0;
    }
    bool timeline_semaphores() const override
    {
        return number(Attribute::TimelineSemaphoreInteropSupported) != 0;
    }
    bool maps_arrays() const override
    {
        return true;
    }
    bool takes_fd() const override
    {
        return true;
    }
    hipError_t memory_info(size_t *free, size_t *total) override
    {
        return in_context(context_, [&] { return driver().cuMemGetInfo(free, total); });
    }
    hipError_t stream_priorities(int *least, int *greatest) override
    {
        return in_context(context_, [&] { return driver().cuCtxGetStreamPriorityRange(least, greatest); });
    }

    hipError_t allocate(size_t size, void **out) override;
    hipError_t release(void *allocation) override
    {
        return in_context(context_,
                          [&] { return driver().cuMemFree(reinterpret_cast<CUdeviceptr>(allocation)); });
    }
    hipError_t allocate_host(size_t size, unsigned flags, void **out) override;
    hipError_t release_host(void *allocation) override
    {
        return in_context(context_, [&] { return driver().cuMemFreeHost(allocation); });
    }
    hipError_t register_host(void *address, size_t size, unsigned flags) override;
    hipError_t unregister_host(void *address) override
    {
        return in_context(context_, [&] { return driver().cuMemHostUnregister(address); });
    }
    hipError_t host_device_pointer(void *host, void **out) override;

    std::shared_ptr<Stream> default_stream() override
    {
        return null_;
    }
    hipError_t create_stream(bool non_blocking, int priority, std::shared_ptr<Stream> *out) override
    {
        return CudaStream::create(context_, non_blocking, priority, out);
    }
    hipError_t create_event(bool timing, std::shared_ptr<Event> *out) override
    {
        return CudaEvent::create(context_, timing, out);
    }
    hipError_t load_module(const void *image, std::shared_ptr<Module> *out) override
    {
        std::shared_ptr<Image> loaded;
        const hipError_t error = Image::load(context_, retired_, image, &loaded);
        if (error == hipSuccess)
            *out = std::make_shared<CudaModule>(std::move(loaded));
        return error;
    }
    hipError_t synchronize() override
    {
        const hipError_t error = in_context(context_, [] { return driver().cuCtxSynchronize(); });
        retired_.reap();
        return error;
    }
    hipError_t import_memory(int fd, uint64_t size, bool dedicated,
                             std::shared_ptr<ExternalMemory> *out) override
    {
        return CudaExternalMemory::import(context_, fd, size, dedicated, out);
    }
    hipError_t import_semaphore(int fd, bool timeline, std::shared_ptr<Semaphore> *out) override
    {
        retired_.reap();
        return CudaSemaphore::import(context_, retired_, fd, timeline, out);
    }
    hipError_t create_surface(const std::shared_ptr<Array> &array, std::shared_ptr<Surface> *out) override
    {
        return CudaSurface::create(context_, *array, out);
    }

  private:
    // 0 where the driver does not know the question.
    int number(Attribute attribute) const
    {
        int value = 0;
        return driver().cuDeviceGetAttribute(&value, attribute, device_) == success ? value : 0;
    }
    size_t bytes(Attribute attribute) const
    {
        return static_cast<size_t>(std::max(0, number(attribute)));
    }
    void describe_limits(hipDeviceProp_tR0600 *out) const;
    void describe_memory(hipDeviceProp_tR0600 *out) const;
    void describe_abilities(hipDeviceProp_tR0600 *out) const;

    const CUdevice device_;
    Context context_;
    Retired retired_;
    std::shared_ptr<CudaStream> null_;
};

hipError_t CudaDevice::allocate(size_t size, void **out)
{
    CUdeviceptr address = 0;
    const hipError_t error = in_context(context_, [&] { return driver().cuMemAlloc(&address, size); });
    if (error == hipSuccess)
        *out = reinterpret_cast<void *>(address);
    return error;
}

// Portable and mapped always, as HIP's pinned memory is; of the flags only write-combining is left.
hipError_t CudaDevice::allocate_host(size_t size, unsigned flags, void **out)
{
    const unsigned wanted = host_portable | host_mapped | (flags & host_write_combined);
    return in_context(context_, [&] { return driver().cuMemHostAlloc(out, size, wanted); });
}

hipError_t CudaDevice::register_host(void *address, size_t size, unsigned flags)
{
    const unsigned wanted = host_portable | host_mapped | flags; // HIP's numbers are CUDA's
    return in_context(context_, [&] { return driver().cuMemHostRegister(address, size, wanted); });
}

hipError_t CudaDevice::host_device_pointer(void *host, void **out)
{
    CUdeviceptr address = 0;
    const hipError_t error =
        in_context(context_, [&] { return driver().cuMemHostGetDevicePointer(&address, host, 0); });
    if (error == hipSuccess)
        *out = reinterpret_cast<void *>(address);
    return error;
}

void CudaDevice::properties(hipDeviceProp_tR0600 *out)
{
    std::memset(out, 0, sizeof *out);
    char name[200] = "NVIDIA GPU";
    driver().cuDeviceGetName(name, sizeof name, device_);
    snprintf(out->name, sizeof out->name, "%s (HIP on CUDA)", name);
    CUuuid uuid{};
    driver().cuDeviceGetUuid(&uuid, device_);
    std::memcpy(out->uuid.bytes, uuid.bytes, sizeof out->uuid.bytes);
    out->major = number(Attribute::ComputeCapabilityMajor);
    out->minor = number(Attribute::ComputeCapabilityMinor);
    snprintf(out->gcnArchName, sizeof out->gcnArchName, "sm_%d%d", out->major, out->minor);
    out->pciDomainID = number(Attribute::PciDomainId);
    out->pciBusID = number(Attribute::PciBusId);
    out->pciDeviceID = number(Attribute::PciDeviceId);
    describe_limits(out);
    describe_memory(out);
    describe_abilities(out);
}

void CudaDevice::describe_limits(hipDeviceProp_tR0600 *out) const
{
    out->maxThreadsPerBlock = number(Attribute::MaxThreadsPerBlock);
    out->maxThreadsPerMultiProcessor = number(Attribute::MaxThreadsPerMultiprocessor);
    out->maxBlocksPerMultiProcessor = number(Attribute::MaxBlocksPerMultiprocessor);
    out->maxThreadsDim[0] = number(Attribute::MaxBlockDimX);
    out->maxThreadsDim[1] = number(Attribute::MaxBlockDimY);
    out->maxThreadsDim[2] = number(Attribute::MaxBlockDimZ);
    out->maxGridSize[0] = number(Attribute::MaxGridDimX);
    out->maxGridSize[1] = number(Attribute::MaxGridDimY);
    out->maxGridSize[2] = number(Attribute::MaxGridDimZ);
    out->regsPerBlock = number(Attribute::MaxRegistersPerBlock);
    out->regsPerMultiprocessor = number(Attribute::MaxRegistersPerMultiprocessor);
    out->warpSize = number(Attribute::WarpSize);
    out->multiProcessorCount = number(Attribute::MultiprocessorCount);
    out->clockRate = number(Attribute::ClockRate);
    // In the order of hipDeviceProp_t, from maxTexture1D on.
    out->textureLimits[0] = number(Attribute::MaximumTexture1DWidth);
    out->textureLimits[3] = number(Attribute::MaximumTexture2DWidth);
    out->textureLimits[4] = number(Attribute::MaximumTexture2DHeight);
    out->textureLimits[12] = number(Attribute::MaximumTexture3DWidth);
    out->textureLimits[13] = number(Attribute::MaximumTexture3DHeight);
    out->textureLimits[14] = number(Attribute::MaximumTexture3DDepth);
}

void CudaDevice::describe_memory(hipDeviceProp_tR0600 *out) const
{
    driver().cuDeviceTotalMem(&out->totalGlobalMem, device_);
    // HIP has no opt-in: a launch may take all of it.
    out->sharedMemPerBlock = out->sharedMemPerBlockOptin = bytes(Attribute::MaxSharedMemoryPerBlockOptin);
    out->sharedMemPerMultiprocessor = out->maxSharedMemoryPerMultiProcessor =
        bytes(Attribute::MaxSharedMemoryPerMultiprocessor);
    out->reservedSharedMemPerBlock = bytes(Attribute::ReservedSharedMemoryPerBlock);
    out->totalConstMem = bytes(Attribute::TotalConstantMemory);
    out->memPitch = bytes(Attribute::MaxPitch);
    out->textureAlignment = bytes(Attribute::TextureAlignment);
    out->texturePitchAlignment = bytes(Attribute::TexturePitchAlignment);
    out->surfaceAlignment = bytes(Attribute::SurfaceAlignment);
    out->memoryClockRate = number(Attribute::MemoryClockRate);
    out->memoryBusWidth = number(Attribute::GlobalMemoryBusWidth);
    out->l2CacheSize = number(Attribute::L2CacheSize);
    out->persistingL2CacheMaxSize = number(Attribute::MaxPersistingL2CacheSize);
    out->accessPolicyMaxWindowSize = number(Attribute::MaxAccessPolicyWindowSize);
    out->globalL1CacheSupported = number(Attribute::GlobalL1CacheSupported);
    out->localL1CacheSupported = number(Attribute::LocalL1CacheSupported);
    out->ECCEnabled = number(Attribute::EccEnabled);
}

void CudaDevice::describe_abilities(hipDeviceProp_tR0600 *out) const
{
    out->kernelExecTimeoutEnabled = number(Attribute::KernelExecTimeout);
    out->integrated = number(Attribute::Integrated);
    out->canMapHostMemory = number(Attribute::CanMapHostMemory);
    out->computeMode = number(Attribute::ComputeMode);
    out->concurrentKernels = number(Attribute::ConcurrentKernels);
    out->asyncEngineCount = number(Attribute::AsyncEngineCount);
    out->deviceOverlap = out->asyncEngineCount > 0 ? 1 : 0;
    out->unifiedAddressing = number(Attribute::UnifiedAddressing);
    out->streamPrioritiesSupported = number(Attribute::StreamPrioritiesSupported);
    out->managedMemory = number(Attribute::ManagedMemory);
    out->isMultiGpuBoard = number(Attribute::MultiGpuBoard);
    out->multiGpuBoardGroupID = number(Attribute::MultiGpuBoardGroupId);
    out->hostNativeAtomicSupported = number(Attribute::HostNativeAtomicSupported);
    out->singleToDoublePrecisionPerfRatio = number(Attribute::SingleToDoublePrecisionPerfRatio);
    out->pageableMemoryAccess = number(Attribute::PageableMemoryAccess);
    out->pageableMemoryAccessUsesHostPageTables = number(Attribute::PageableMemoryAccessUsesHostPageTables);
    out->directManagedMemAccessFromHost = number(Attribute::DirectManagedMemAccessFromHost);
    out->concurrentManagedAccess = number(Attribute::ConcurrentManagedAccess);
    out->computePreemptionSupported = number(Attribute::ComputePreemptionSupported);
    out->canUseHostPointerForRegisteredMem = number(Attribute::CanUseHostPointerForRegisteredMem);
    out->cooperativeLaunch = number(Attribute::CooperativeLaunch);
    out->hostRegisterSupported = number(Attribute::HostRegisterSupported);
    out->timelineSemaphoreInteropSupported = number(Attribute::TimelineSemaphoreInteropSupported);
    out->memoryPoolsSupported = 0; // the API has none
}

} // namespace
} // namespace cuda

std::vector<std::unique_ptr<Device>> cuda_devices()
{
    std::vector<std::unique_ptr<Device>> devices;
    const int count = cuda::cuda_device_count();
    for (int i = 0; i < count; ++i) {
        cuda::CUdevice device = 0;
        if (cuda::driver().cuDeviceGet(&device, i) == cuda::success)
            devices.push_back(std::make_unique<cuda::CudaDevice>(device));
    }
    return devices;
}

} // namespace softgpu
