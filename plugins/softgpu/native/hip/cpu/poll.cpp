#include "poll.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace softgpu::cpu
{

namespace
{

using Clock = std::chrono::steady_clock;

constexpr auto spin_time = std::chrono::microseconds(10);
constexpr auto shortest_sleep = std::chrono::microseconds(20);
constexpr auto longest_sleep = std::chrono::milliseconds(1);

uint64_t load(const WaitValue &wait)
{
    if (wait.bytes == 4)
        return __atomic_load_n(static_cast<uint32_t *>(wait.address), __ATOMIC_ACQUIRE);
    return __atomic_load_n(static_cast<uint64_t *>(wait.address), __ATOMIC_ACQUIRE);
}

bool met(const WaitValue &wait)
{
    const uint64_t all = wait.bytes == 4 ? UINT32_MAX : UINT64_MAX;
    const uint64_t word = load(wait) & wait.mask;
    switch (wait.compare) {
    case Compare::GreaterOrEqual:
        return word >= wait.value;
    case Compare::Equal:
        return word == wait.value;
    case Compare::And:
        return (word & wait.value) != 0;
    case Compare::Nor:
        return (~(word | (wait.value & wait.mask)) & all) != 0;
    }
    return true;
}

} // namespace

// The longer it has waited the longer it sleeps, always a small part of the wait: a reply after 1 ms is seen
// within some 60 us, one after a second within 1 ms, and a stream that waits for minutes costs next to
// nothing.
void poll_until_met(const WaitValue &wait)
{
    const auto start = Clock::now();
    auto waited = Clock::duration::zero();
    while (!met(wait)) {
        if (waited > spin_time) {
            const Clock::duration share = waited / 16;
            std::this_thread::sleep_for(std::clamp<Clock::duration>(share, shortest_sleep, longest_sleep));
        } else {
            __builtin_ia32_pause();
        }
        waited = Clock::now() - start;
    }
}

} // namespace softgpu::cpu
