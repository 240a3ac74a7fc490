// Vulkan's memory and semaphores as CUDA imports them. A successful import closes the fd that it was given,
// and so do some failures (999 for a file that is no memory): fd_policy.h keeps that from the caller.
#ifndef SOFTGPU_HIP_CUDA_EXTERNAL_H
#define SOFTGPU_HIP_CUDA_EXTERNAL_H
#include "../device.h"
#include "uses.h"

namespace softgpu::cuda
{

class CudaExternalMemory : public ExternalMemory
{
  public:
    static hipError_t import(Context &context, int fd, uint64_t size, bool dedicated,
                             std::shared_ptr<ExternalMemory> *out);
    CudaExternalMemory(Context &context, CUexternalMemory memory) : context_(context), memory_(memory)
    {
    }
    ~CudaExternalMemory() override;
    hipError_t map(uint64_t offset, uint64_t size, void **out) override;
    hipError_t unmap(void *address) override;
    hipError_t map_array(const ArrayShape &shape, std::shared_ptr<MipmappedArray> *out) override;

  private:
    Context &context_;
    const CUexternalMemory memory_;
};

class CudaSemaphore : public Semaphore
{
  public:
    static hipError_t import(Context &context, Retired &retired, int fd, bool timeline,
                             std::shared_ptr<Semaphore> *out);
    CudaSemaphore(Retired &retired, CUexternalSemaphore semaphore) : retired_(retired), semaphore_(semaphore)
    {
    }
    ~CudaSemaphore() override;
    hipError_t wait(const std::shared_ptr<StreamCore> &stream, uint64_t value);
    hipError_t signal(const std::shared_ptr<StreamCore> &stream, uint64_t value);

  private:
    Retired &retired_;
    Uses uses_;
    const CUexternalSemaphore semaphore_;
};

} // namespace softgpu::cuda
#endif
