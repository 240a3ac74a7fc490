#ifndef SOFTGPU_HIP_CPU_EVENT_H
#define SOFTGPU_HIP_CPU_EVENT_H
#include "../device.h"
#include "queue.h"

#include <chrono>
#include <optional>

namespace softgpu::cpu
{

// The latest record of an event: a mark in a queue, and the time at which it was reached.
class CpuEvent : public Event
{
  public:
    using Clock = std::chrono::steady_clock;
    using Time = std::shared_ptr<Clock::time_point>; // read only after the mark is done

    void set(Mark mark, Time time);
    std::optional<Mark> mark();

    hipError_t query() override;
    hipError_t synchronize() override;
    hipError_t elapsed(Event &later, float *milliseconds) override;

  private:
    std::mutex mutex_;
    std::optional<Mark> mark_;
    Time time_;
};

} // namespace softgpu::cpu
#endif
