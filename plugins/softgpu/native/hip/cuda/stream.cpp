#include "stream.h"
#include "array.h"
#include "event.h"
#include "external.h"
#include "module.h"

#include <chrono>
#include <thread>

namespace softgpu::cuda
{

namespace
{

CUdeviceptr address_of(const void *pointer)
{
    return reinterpret_cast<CUdeviceptr>(pointer); // one address space for host and device
}

// What a wait under a mask comes to without one; false where CUDA has no such wait. It compares whole words.
bool without_mask(const WaitValue &wait, uint64_t *value)
{
    const uint64_t all = wait.bytes == 4 ? UINT32_MAX : UINT64_MAX;
    const uint64_t mask = wait.mask & all;
    *value = wait.value & all;
    if (mask == all)
        return true;
    *value &= mask;
    return wait.compare == Compare::And && *value != 0;
}

// CUDA fills whole elements at their alignment only, HIP anywhere: one strided fill per byte of the element.
CUresult fill_bytes(const Fill &fill, CUstream stream)
{
    for (unsigned i = 0; i < fill.element; ++i) {
        const CUresult code = driver().cuMemsetD2D8Async(address_of(fill.destination) + i, fill.element,
                                                         static_cast<unsigned char>(fill.value >> (8 * i)), 1,
                                                         fill.width, stream);
        if (code != success)
            return code;
    }
    return success;
}

void sleep_milliseconds(void *count)
{
    std::this_thread::sleep_for(std::chrono::milliseconds(reinterpret_cast<uintptr_t>(count)));
}

} // namespace

hipError_t CudaStream::create(Context &context, bool non_blocking, int priority, std::shared_ptr<Stream> *out)
{
    CUstream stream = nullptr;
    const hipError_t error = in_context(context, [&] {
        return driver().cuStreamCreateWithPriority(&stream, non_blocking ? stream_non_blocking : 0, priority);
    });
    if (error == hipSuccess)
        *out = std::make_shared<CudaStream>(std::make_shared<StreamCore>(context, stream));
    return error;
}

hipError_t CudaStream::copy(const Copy2D &copy)
{
    if (copy.height == 1)
        return call([&](CUstream stream) {
            return driver().cuMemcpyAsync(address_of(copy.destination), address_of(copy.source), copy.width,
                                          stream);
        });
    CUDA_MEMCPY2D rows{};
    rows.srcMemoryType = rows.dstMemoryType = memory_type_unified;
    rows.srcDevice = address_of(copy.source);
    rows.srcPitch = copy.source_pitch;
    rows.dstDevice = address_of(copy.destination);
    rows.dstPitch = copy.destination_pitch;
    rows.WidthInBytes = copy.width;
    rows.Height = copy.height;
    return call([&](CUstream stream) { return driver().cuMemcpy2DAsync(&rows, stream); });
}

hipError_t CudaStream::copy_3d(const Copy3D &copy)
{
    CUDA_MEMCPY3D box{};
    box.srcXInBytes = copy.source.x;
    box.srcY = copy.source.y;
    box.srcZ = copy.source.z;
    box.srcMemoryType = copy.source.array ? memory_type_array : memory_type_unified;
    if (copy.source.array) {
        box.srcArray = static_cast<const CudaArray &>(*copy.source.array).get();
    } else {
        box.srcDevice = address_of(copy.source.address);
        box.srcPitch = copy.source.pitch;
        box.srcHeight = copy.source.rows;
    }
    box.dstXInBytes = copy.destination.x;
    box.dstY = copy.destination.y;
    box.dstZ = copy.destination.z;
    box.dstMemoryType = copy.destination.array ? memory_type_array : memory_type_unified;
    if (copy.destination.array) {
        box.dstArray = static_cast<const CudaArray &>(*copy.destination.array).get();
    } else {
        box.dstDevice = address_of(copy.destination.address);
        box.dstPitch = copy.destination.pitch;
        box.dstHeight = copy.destination.rows;
    }
    box.WidthInBytes = copy.width;
    box.Height = copy.height;
    box.Depth = copy.depth;
    return call([&](CUstream stream) { return driver().cuMemcpy3DAsync(&box, stream); });
}

hipError_t CudaStream::fill(const Fill &fill)
{
    const CUdeviceptr start = address_of(fill.destination);
    return call([&](CUstream stream) {
        if (fill.height == 1 && start % fill.element != 0)
            return fill_bytes(fill, stream);
        if (fill.height > 1) // the API has such fills of bytes only
            return driver().cuMemsetD2D8Async(start, fill.pitch, static_cast<unsigned char>(fill.value),
                                              fill.width, fill.height, stream);
        if (fill.element == 1)
            return driver().cuMemsetD8Async(start, static_cast<unsigned char>(fill.value), fill.width,
                                            stream);
        if (fill.element == 2)
            return driver().cuMemsetD16Async(start, static_cast<unsigned short>(fill.value), fill.width,
                                             stream);
        return driver().cuMemsetD32Async(start, fill.value, fill.width, stream);
    });
}

hipError_t CudaStream::launch(std::shared_ptr<Function> function, const LaunchShape &shape,
                              const Arguments &arguments)
{
    return static_cast<CudaFunction &>(*function).launch(core_, shape, arguments);
}

hipError_t CudaStream::host_function(hipHostFn_t function, void *data)
{
    return call([&](CUstream stream) { return driver().cuLaunchHostFunc(stream, function, data); });
}

hipError_t CudaStream::wait_value(const WaitValue &wait)
{
    uint64_t value = 0;
    if (!without_mask(wait, &value))
        return hipErrorNotSupported;
    const CUdeviceptr address = address_of(wait.address);
    const auto compare = static_cast<unsigned>(wait.compare); // HIP's numbers are CUDA's
    return call([&](CUstream stream) {
        if (wait.bytes == 4)
            return driver().cuStreamWaitValue32(stream, address, static_cast<uint32_t>(value), compare);
        return driver().cuStreamWaitValue64(stream, address, value, compare);
    });
}

hipError_t CudaStream::write_value(void *address, unsigned bytes, uint64_t value)
{
    return call([&](CUstream stream) {
        if (bytes == 4)
            return driver().cuStreamWriteValue32(stream, address_of(address), static_cast<uint32_t>(value),
                                                 0);
        return driver().cuStreamWriteValue64(stream, address_of(address), value, 0);
    });
}

hipError_t CudaStream::wait_semaphore(std::shared_ptr<Semaphore> semaphore, uint64_t value)
{
    return static_cast<CudaSemaphore &>(*semaphore).wait(core_, value);
}

hipError_t CudaStream::signal_semaphore(std::shared_ptr<Semaphore> semaphore, uint64_t value,
                                        unsigned delay_ms)
{
    if (delay_ms > 0) {
        const hipError_t error =
            host_function(sleep_milliseconds, reinterpret_cast<void *>(uintptr_t{delay_ms}));
        if (error != hipSuccess)
            return error;
    }
    return static_cast<CudaSemaphore &>(*semaphore).signal(core_, value);
}

hipError_t CudaStream::record(std::shared_ptr<Event> event)
{
    return call([&](CUstream stream) {
        return driver().cuEventRecord(static_cast<CudaEvent &>(*event).get(), stream);
    });
}

hipError_t CudaStream::wait_event(std::shared_ptr<Event> event)
{
    return call([&](CUstream stream) {
        return driver().cuStreamWaitEvent(stream, static_cast<CudaEvent &>(*event).get(), 0);
    });
}

// Of memory that cuMemAlloc gave, the driver takes it back at the next synchronisation after its turn.
hipError_t CudaStream::release_later(void *allocation)
{
    return call([&](CUstream stream) { return driver().cuMemFreeAsync(address_of(allocation), stream); });
}

hipError_t CudaStream::query()
{
    return call([](CUstream stream) { return driver().cuStreamQuery(stream); });
}

hipError_t CudaStream::synchronize()
{
    return call([](CUstream stream) { return driver().cuStreamSynchronize(stream); });
}

} // namespace softgpu::cuda
