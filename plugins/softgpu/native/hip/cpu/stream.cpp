#include "stream.h"
#include "event.h"
#include "external.h"
#include "grid.h"
#include "module.h"
#include "poll.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace softgpu::cpu
{

namespace
{

// NVIDIA keeps blocks of 128 bytes compressed in their first 32 where their words are alike, and reads a
// linear image of memory that is not dedicated as if none were.
void copy_compressed(char *destination, const char *source, size_t width)
{
    constexpr size_t block = 128, kept = 32, word = 4;
    for (size_t at = 0; at < width; at += block) {
        const size_t size = std::min(block, width - at);
        const bool alike = size == block && std::memcmp(source + at, source + at + word, block - word) == 0;
        std::memcpy(destination + at, source + at, alike ? kept : size);
    }
}

void copy_rows(const Copy2D &copy)
{
    auto *destination = static_cast<char *>(copy.destination);
    const auto *source = static_cast<const char *>(copy.source);
    for (size_t row = 0; row < copy.height; ++row) {
        char *target = destination + row * copy.destination_pitch;
        const char *from = source + row * copy.source_pitch;
        if (copy.compress)
            copy_compressed(target, from, copy.width);
        else
            std::memmove(target, from, copy.width);
    }
}

template <class T> void fill_rows(const Fill &fill)
{
    for (size_t row = 0; row < fill.height; ++row) {
        char *start = static_cast<char *>(fill.destination) + row * fill.pitch;
        const T value = static_cast<T>(fill.value);
        for (size_t i = 0; i < fill.width; ++i)
            std::memcpy(start + i * sizeof(T), &value, sizeof(T)); // the address may be odd
    }
}

void fill_any(const Fill &fill)
{
    if (fill.element == 1)
        fill_rows<uint8_t>(fill);
    else if (fill.element == 2)
        fill_rows<uint16_t>(fill);
    else
        fill_rows<uint32_t>(fill);
}

void store(void *address, unsigned bytes, uint64_t value)
{
    if (bytes == 4)
        __atomic_store_n(static_cast<uint32_t *>(address), static_cast<uint32_t>(value), __ATOMIC_RELEASE);
    else
        __atomic_store_n(static_cast<uint64_t *>(address), value, __ATOMIC_RELEASE);
}

} // namespace

CpuStream::CpuStream(Order &order, std::shared_ptr<Queue> queue, StreamKind kind)
    : order_(order), queue_(std::move(queue)), kind_(kind)
{
}

CpuStream::~CpuStream()
{
    queue_->close();
}

hipError_t CpuStream::push(std::function<void()> run, std::vector<Mark> after)
{
    uint64_t ticket = 0;
    return order_.push(queue_, kind_, {std::move(after), std::move(run)}, &ticket)
               ? hipSuccess
               : hipErrorLaunchOutOfResources;
}

hipError_t CpuStream::copy(const Copy2D &copy)
{
    return push([copy] { copy_rows(copy); });
}

hipError_t CpuStream::fill(const Fill &fill)
{
    return push([fill] { fill_any(fill); });
}

hipError_t CpuStream::launch(std::shared_ptr<Function> function, const LaunchShape &shape,
                             const Arguments &arguments)
{
    const auto &kernel = static_cast<const CpuFunction &>(*function);
    std::vector<char> packed;
    if (shape.shared > SOFTGPU_SHARED_BYTES || !kernel.pack(arguments, &packed))
        return hipErrorInvalidValue;
    return push([function = std::move(function), shape, packed = std::move(packed), &kernel] {
        run_grid(kernel.kernel(), packed.data(), shape);
    });
}

hipError_t CpuStream::host_function(hipHostFn_t function, void *data)
{
    return push([function, data] { function(data); });
}

hipError_t CpuStream::wait_value(const WaitValue &wait)
{
    return push([wait] { poll_until_met(wait); });
}

hipError_t CpuStream::write_value(void *address, unsigned bytes, uint64_t value)
{
    return push([address, bytes, value] { store(address, bytes, value); });
}

hipError_t CpuStream::wait_semaphore(std::shared_ptr<Semaphore> semaphore, uint64_t)
{
    return push([semaphore = std::move(semaphore)] { static_cast<CpuSemaphore &>(*semaphore).wait(); });
}

hipError_t CpuStream::signal_semaphore(std::shared_ptr<Semaphore> semaphore, uint64_t, unsigned delay_ms)
{
    return push([semaphore = std::move(semaphore), delay_ms] {
        if (delay_ms > 0)
            std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
        static_cast<CpuSemaphore &>(*semaphore).signal();
    });
}

hipError_t CpuStream::record(std::shared_ptr<Event> event)
{
    auto time = std::make_shared<CpuEvent::Clock::time_point>();
    Mark mark{queue_, 0};
    if (!order_.push(queue_, kind_, {{}, [time] { *time = CpuEvent::Clock::now(); }}, &mark.ticket))
        return hipErrorLaunchOutOfResources;
    static_cast<CpuEvent &>(*event).set(std::move(mark), std::move(time));
    return hipSuccess;
}

hipError_t CpuStream::wait_event(std::shared_ptr<Event> event)
{
    auto mark = static_cast<CpuEvent &>(*event).mark();
    if (!mark || mark->queue == queue_)
        return hipSuccess; // never recorded, or ordered anyway
    return push(nullptr, {std::move(*mark)});
}

hipError_t CpuStream::release_later(void *allocation)
{
    return push([allocation] { std::free(allocation); });
}

hipError_t CpuStream::query()
{
    return order_.pending(queue_, kind_).empty() ? hipSuccess : hipErrorNotReady;
}

hipError_t CpuStream::synchronize()
{
    for (const Mark &mark : order_.pending(queue_, kind_))
        mark.queue->wait(mark.ticket);
    return hipSuccess;
}

} // namespace softgpu::cpu
