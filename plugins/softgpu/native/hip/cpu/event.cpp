#include "event.h"

namespace softgpu::cpu
{

void CpuEvent::set(Mark mark, Time time)
{
    const std::lock_guard<std::mutex> guard(mutex_);
    mark_ = std::move(mark);
    time_ = std::move(time);
}

std::optional<Mark> CpuEvent::mark()
{
    const std::lock_guard<std::mutex> guard(mutex_);
    return mark_;
}

hipError_t CpuEvent::query()
{
    const auto recorded = mark();
    return !recorded || recorded->queue->done(recorded->ticket) ? hipSuccess : hipErrorNotReady;
}

hipError_t CpuEvent::synchronize()
{
    if (const auto recorded = mark())
        recorded->queue->wait(recorded->ticket);
    return hipSuccess;
}

hipError_t CpuEvent::elapsed(Event &later, float *milliseconds)
{
    auto &end = static_cast<CpuEvent &>(later);
    if (query() != hipSuccess || end.query() != hipSuccess)
        return hipErrorNotReady;
    const auto time_of = [](CpuEvent &event) {
        const std::lock_guard<std::mutex> guard(event.mutex_);
        return *event.time_;
    };
    *milliseconds = std::chrono::duration<float, std::milli>(time_of(end) - time_of(*this)).count();
    return hipSuccess;
}

} // namespace softgpu::cpu
