#include "entry.h"

using namespace softgpu;

namespace
{

constexpr unsigned known_event_flags = hipEventBlockingSync | hipEventDisableTiming | hipEventInterprocess |
                                       hipEventReleaseToDevice | hipEventReleaseToSystem;

hipError_t create_event(hipEventHandle *out, unsigned flags)
{
    if (out == nullptr || (flags & ~known_event_flags) != 0)
        return hipErrorInvalidValue;
    if ((flags & hipEventInterprocess) != 0)
        return hipErrorNotSupported;
    if (device_count() == 0)
        return hipErrorNoDevice;
    auto handle =
        std::make_shared<EventHandle>(EventHandle{(flags & hipEventDisableTiming) == 0, false, nullptr});
    const hipError_t error = current_device().create_event(handle->timing, &handle->event);
    if (error != hipSuccess)
        return error;
    softgpu_count("event", 1);
    *out = static_cast<hipEventHandle>(runtime().events.add(std::move(handle)));
    return hipSuccess;
}

} // namespace

extern "C" {

HIP_EXPORT hipError_t hipEventCreate(hipEventHandle *out)
{
    return entry(__func__, [&] { return create_event(out, 0); });
}

HIP_EXPORT hipError_t hipEventCreateWithFlags(hipEventHandle *out, unsigned flags)
{
    return entry(__func__, [&] { return create_event(out, flags); });
}

HIP_EXPORT hipError_t hipEventRecord(hipEventHandle event, hipStreamHandle stream)
{
    return entry(__func__, [&] {
        const auto found = runtime().events.find(event);
        if (!found)
            return hipErrorInvalidHandle;
        const auto queue = stream_of(stream);
        if (!queue)
            return hipErrorContextIsDestroyed;
        const hipError_t error = queue->record(found->event);
        if (error == hipSuccess)
            __atomic_store_n(&found->recorded, true, __ATOMIC_RELEASE);
        return error;
    });
}

HIP_EXPORT hipError_t hipEventQuery(hipEventHandle event)
{
    return entry(__func__, [&] {
        const auto found = runtime().events.find(event);
        return found ? found->event->query() : hipErrorInvalidHandle;
    });
}

HIP_EXPORT hipError_t hipEventSynchronize(hipEventHandle event)
{
    return entry(__func__, [&] {
        const auto found = runtime().events.find(event);
        return found ? found->event->synchronize() : hipErrorInvalidHandle;
    });
}

HIP_EXPORT hipError_t hipEventElapsedTime(float *milliseconds, hipEventHandle start, hipEventHandle stop)
{
    return entry(__func__, [&] {
        if (milliseconds == nullptr)
            return hipErrorInvalidValue;
        const auto first = runtime().events.find(start);
        const auto second = runtime().events.find(stop);
        if (!first || !second || !first->timing || !second->timing)
            return hipErrorInvalidHandle;
        if (!__atomic_load_n(&first->recorded, __ATOMIC_ACQUIRE) ||
            !__atomic_load_n(&second->recorded, __ATOMIC_ACQUIRE))
            return hipErrorInvalidHandle;
        return first->event->elapsed(*second->event, milliseconds);
    });
}

HIP_EXPORT hipError_t hipEventDestroy(hipEventHandle event)
{
    return entry(__func__, [&] {
        if (!runtime().events.remove(event))
            return hipErrorInvalidHandle;
        softgpu_count("event", -1);
        return hipSuccess;
    });
}

} // extern "C"
