// Streams, host functions, value waits.
#include "addresses.h"
#include "entry.h"
#include "identity.h"

#include <memory>

using namespace softgpu;

namespace
{

hipError_t create_stream(hipStreamHandle *out, unsigned flags, int priority)
{
    if (out == nullptr || (flags & ~hipStreamNonBlocking) != 0)
        return hipErrorInvalidValue;
    if (device_count() == 0)
        return hipErrorNoDevice;
    auto handle =
        std::make_shared<StreamHandle>(StreamHandle{current_device_index(), flags, priority, nullptr});
    const hipError_t error =
        current_device().create_stream(flags == hipStreamNonBlocking, priority, &handle->stream);
    if (error != hipSuccess)
        return error;
    softgpu_count("stream", 1);
    *out = static_cast<hipStreamHandle>(runtime().streams.add(std::move(handle)));
    return hipSuccess;
}

// The pointer must belong to the runtime, as AMD demands; flags choose the comparison.
hipError_t wait_value(hipStreamHandle stream, void *pointer, unsigned bytes, uint64_t value, unsigned flags,
                      uint64_t mask)
{
    if (pointer == nullptr || flags > static_cast<unsigned>(Compare::Nor))
        return hipErrorInvalidValue;
    int device = 0;
    const auto queue = stream_of(stream, &device);
    if (!queue)
        return hipErrorContextIsDestroyed;
    if (!reports_wait_value(device))
        return hipErrorNotSupported;
    Located word;
    if (!locate(pointer, bytes, &word) || !word.known)
        return hipErrorInvalidValue;
    return queue->wait_value({word.address, bytes, value, mask, static_cast<Compare>(flags)});
}

hipError_t write_value(hipStreamHandle stream, void *pointer, unsigned bytes, uint64_t value)
{
    if (pointer == nullptr)
        return hipErrorInvalidValue;
    int device = 0;
    const auto queue = stream_of(stream, &device);
    if (!queue)
        return hipErrorContextIsDestroyed;
    if (!reports_wait_value(device))
        return hipErrorNotSupported;
    Located word;
    if (!locate(pointer, bytes, &word) || !word.known)
        return hipErrorInvalidValue;
    return queue->write_value(word.address, bytes, value);
}

struct Callback {
    hipStreamCallback_t function;
    hipStreamHandle stream;
    void *data;
};

void run_callback(void *data)
{
    const std::unique_ptr<Callback> callback(static_cast<Callback *>(data));
    callback->function(callback->stream, hipSuccess, callback->data);
}

} // namespace

extern "C" {

HIP_EXPORT hipError_t hipStreamCreate(hipStreamHandle *out)
{
    return entry(__func__, [&] { return create_stream(out, 0, 0); });
}

HIP_EXPORT hipError_t hipStreamCreateWithFlags(hipStreamHandle *out, unsigned flags)
{
    return entry(__func__, [&] { return create_stream(out, flags, 0); });
}

HIP_EXPORT hipError_t hipStreamCreateWithPriority(hipStreamHandle *out, unsigned flags, int priority)
{
    return entry(__func__, [&] { return create_stream(out, flags, priority); });
}

HIP_EXPORT hipError_t hipDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    return entry(__func__, [&] {
        if (device_count() == 0)
            return hipErrorNoDevice;
        int lowest = 0;
        int highest = 0;
        const hipError_t error = current_device().stream_priorities(&lowest, &highest);
        if (least != nullptr)
            *least = lowest;
        if (greatest != nullptr)
            *greatest = highest;
        return error;
    });
}

HIP_EXPORT hipError_t hipStreamDestroy(hipStreamHandle stream)
{
    return entry(__func__, [&] {
        if (stream == nullptr)
            return hipErrorInvalidHandle;
        if (!runtime().streams.remove(stream))
            return hipErrorContextIsDestroyed;
        softgpu_count("stream", -1);
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipStreamSynchronize(hipStreamHandle stream)
{
    return entry(__func__, [&] {
        const auto queue = stream_of(stream);
        return queue ? queue->synchronize() : hipErrorContextIsDestroyed;
    });
}

HIP_EXPORT hipError_t hipStreamQuery(hipStreamHandle stream)
{
    return entry(__func__, [&] {
        const auto queue = stream_of(stream);
        return queue ? queue->query() : hipErrorContextIsDestroyed;
    });
}

HIP_EXPORT hipError_t hipStreamWaitEvent(hipStreamHandle stream, hipEventHandle event, unsigned flags)
{
    return entry(__func__, [&] {
        if (event == nullptr)
            return hipErrorInvalidHandle;
        if (flags != 0)
            return hipErrorInvalidValue;
        const auto queue = stream_of(stream);
        if (!queue)
            return hipErrorContextIsDestroyed;
        const auto found = runtime().events.find(event);
        return found ? queue->wait_event(found->event) : hipErrorInvalidHandle;
    });
}

HIP_EXPORT hipError_t hipStreamGetFlags(hipStreamHandle stream, unsigned *flags)
{
    return entry(__func__, [&] {
        const auto found = runtime().streams.find(stream);
        if (flags == nullptr)
            return hipErrorInvalidValue;
        if (stream != nullptr && !found)
            return hipErrorContextIsDestroyed;
        *flags = found ? found->flags : 0;
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipStreamGetPriority(hipStreamHandle stream, int *priority)
{
    return entry(__func__, [&] {
        const auto found = runtime().streams.find(stream);
        if (priority == nullptr)
            return hipErrorInvalidValue;
        if (stream != nullptr && !found)
            return hipErrorContextIsDestroyed;
        *priority = found ? found->priority : 0;
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipStreamGetDevice(hipStreamHandle stream, int *device)
{
    return entry(__func__, [&] {
        if (device == nullptr)
            return hipErrorInvalidValue;
        return stream_of(stream, device) ? hipSuccess : hipErrorContextIsDestroyed;
    });
}

HIP_EXPORT hipError_t hipLaunchHostFunc(hipStreamHandle stream, hipHostFn_t function, void *data)
{
    return entry(__func__, [&] {
        if (function == nullptr)
            return hipErrorInvalidValue;
        const auto queue = stream_of(stream);
        return queue ? queue->host_function(function, data) : hipErrorContextIsDestroyed;
    });
}

HIP_EXPORT hipError_t hipStreamAddCallback(hipStreamHandle stream, hipStreamCallback_t function, void *data,
                                           unsigned flags)
{
    return entry(__func__, [&] {
        if (function == nullptr || flags != 0)
            return hipErrorInvalidValue;
        const auto queue = stream_of(stream);
        if (!queue)
            return hipErrorContextIsDestroyed;
        auto callback = std::make_unique<Callback>(Callback{function, stream, data});
        const hipError_t error = queue->host_function(run_callback, callback.get());
        if (error == hipSuccess)
            callback.release(); // run_callback owns it now
        return error;
    });
}

HIP_EXPORT hipError_t hipStreamWaitValue32(hipStreamHandle stream, void *pointer, uint32_t value,
                                           unsigned flags, uint32_t mask)
{
    return entry(__func__, [&] { return wait_value(stream, pointer, 4, value, flags, mask); });
}

HIP_EXPORT hipError_t hipStreamWaitValue64(hipStreamHandle stream, void *pointer, uint64_t value,
                                           unsigned flags, uint64_t mask)
{
    return entry(__func__, [&] { return wait_value(stream, pointer, 8, value, flags, mask); });
}

HIP_EXPORT hipError_t hipStreamWriteValue32(hipStreamHandle stream, void *pointer, uint32_t value, unsigned)
{
    return entry(__func__, [&] { return write_value(stream, pointer, 4, value); });
}

HIP_EXPORT hipError_t hipStreamWriteValue64(hipStreamHandle stream, void *pointer, uint64_t value, unsigned)
{
    return entry(__func__, [&] { return write_value(stream, pointer, 8, value); });
}

} // extern "C"
