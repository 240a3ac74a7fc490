#ifndef SOFTGPU_HIP_CPU_STREAM_H
#define SOFTGPU_HIP_CPU_STREAM_H
#include "../device.h"
#include "order.h"

namespace softgpu::cpu
{

class CpuStream : public Stream
{
  public:
    CpuStream(Order &order, std::shared_ptr<Queue> queue, StreamKind kind);
    ~CpuStream() override;

    hipError_t copy(const Copy2D &copy) override;
    hipError_t fill(const Fill &fill) override;
    hipError_t launch(std::shared_ptr<Function> function, const LaunchShape &shape,
                      const Arguments &arguments) override;
    hipError_t host_function(hipHostFn_t function, void *data) override;
    hipError_t wait_value(const WaitValue &wait) override;
    hipError_t write_value(void *address, unsigned bytes, uint64_t value) override;
    hipError_t wait_semaphore(std::shared_ptr<Semaphore> semaphore, uint64_t value) override;
    hipError_t signal_semaphore(std::shared_ptr<Semaphore> semaphore, uint64_t value,
                                unsigned delay_ms) override;
    hipError_t record(std::shared_ptr<Event> event) override;
    hipError_t wait_event(std::shared_ptr<Event> event) override;
    hipError_t release_later(void *allocation) override;
    hipError_t query() override;
    hipError_t synchronize() override;

  private:
    hipError_t push(std::function<void()> run, std::vector<Mark> after = {});

    Order &order_; // the device's, which is never destroyed
    std::shared_ptr<Queue> queue_;
    StreamKind kind_;
};

} // namespace softgpu::cpu
#endif
