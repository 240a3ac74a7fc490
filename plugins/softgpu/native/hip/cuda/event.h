#ifndef SOFTGPU_HIP_CUDA_EVENT_H
#define SOFTGPU_HIP_CUDA_EVENT_H
#include "../device.h"
#include "context.h"

namespace softgpu::cuda
{

class CudaEvent : public Event
{
  public:
    static hipError_t create(Context &context, bool timing, std::shared_ptr<Event> *out);
    CudaEvent(Context &context, CUevent event) : context_(context), event_(event)
    {
    }
    ~CudaEvent() override;
    CUevent get() const
    {
        return event_;
    }

    hipError_t query() override;
    hipError_t synchronize() override;
    hipError_t elapsed(Event &later, float *milliseconds) override;

  private:
    Context &context_;
    const CUevent event_;
};

} // namespace softgpu::cuda
#endif
