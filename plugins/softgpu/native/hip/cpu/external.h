// Vulkan's memory and semaphores as the CPU sees them: the payload files of software drivers.
#ifndef SOFTGPU_HIP_CPU_EXTERNAL_H
#define SOFTGPU_HIP_CPU_EXTERNAL_H
#include "../device.h"
#include "payload.h"

namespace softgpu::cpu
{

class CpuExternalMemory : public ExternalMemory
{
  public:
    static hipError_t import(int fd, uint64_t size, std::shared_ptr<ExternalMemory> *out);
    ~CpuExternalMemory() override;
    hipError_t map(uint64_t offset, uint64_t size, void **out) override;
    hipError_t unmap(void *address) override;

  private:
    softgpu_memory memory_{};
};

class CpuSemaphore : public Semaphore
{
  public:
    static hipError_t import(int fd, std::shared_ptr<Semaphore> *out);
    ~CpuSemaphore() override;
    void wait();
    void signal();

  private:
    softgpu_semaphore *payload_ = nullptr;
};

} // namespace softgpu::cpu
#endif
