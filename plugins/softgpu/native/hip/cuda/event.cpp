#include "event.h"

namespace softgpu::cuda
{

hipError_t CudaEvent::create(Context &context, bool timing, std::shared_ptr<Event> *out)
{
    CUevent event = nullptr;
    const hipError_t error = in_context(
        context, [&] { return driver().cuEventCreate(&event, timing ? 0 : event_disable_timing); });
    if (error == hipSuccess)
        *out = std::make_shared<CudaEvent>(context, event);
    return error;
}

// Work that records it or waits for it may be pending: the driver keeps what that needs.
CudaEvent::~CudaEvent()
{
    in_context(context_, [&] { return driver().cuEventDestroy(event_); });
}

hipError_t CudaEvent::query()
{
    return in_context(context_, [&] { return driver().cuEventQuery(event_); });
}

hipError_t CudaEvent::synchronize()
{
    return in_context(context_, [&] { return driver().cuEventSynchronize(event_); });
}

hipError_t CudaEvent::elapsed(Event &later, float *milliseconds)
{
    return in_context(context_, [&] {
        return driver().cuEventElapsedTime(milliseconds, event_, static_cast<CudaEvent &>(later).event_);
    });
}

} // namespace softgpu::cuda
