#ifndef SOFTGPU_HIP_CUDA_STREAM_H
#define SOFTGPU_HIP_CUDA_STREAM_H
#include "../device.h"
#include "uses.h"

namespace softgpu::cuda
{

class CudaStream : public Stream
{
  public:
    static hipError_t create(Context &context, bool non_blocking, int priority, std::shared_ptr<Stream> *out);
    explicit CudaStream(std::shared_ptr<StreamCore> core) : core_(std::move(core))
    {
    }

    hipError_t copy(const Copy2D &copy) override;
    hipError_t copy_3d(const Copy3D &copy) override;
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
    // Runs body(stream) in the stream's context.
    template <class Body> hipError_t call(Body body)
    {
        return in_context(core_->context, [&] { return body(core_->stream); });
    }

    std::shared_ptr<StreamCore> core_;
};

} // namespace softgpu::cuda
#endif
