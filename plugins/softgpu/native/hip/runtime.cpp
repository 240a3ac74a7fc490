#include "runtime.h"
#include "layer.h"
#include "switches.h"

#include <cstring>

namespace softgpu
{

namespace
{

thread_local int current_device_of_thread = 0;
thread_local hipError_t last_error_of_thread = hipSuccess;

// One stream per device for each thread that uses handle 2. Its work is done before the thread's own end
// would matter, so dropping it with the thread is safe.
thread_local std::vector<std::shared_ptr<Stream>> streams_of_thread;

std::shared_ptr<Stream> stream_of_this_thread()
{
    const auto index = static_cast<size_t>(current_device_index());
    if (streams_of_thread.size() <= index)
        streams_of_thread.resize(index + 1);
    if (!streams_of_thread[index])
        current_device().create_stream(false, 0, &streams_of_thread[index]);
    return streams_of_thread[index];
}

} // namespace

Runtime &runtime()
{
    static Runtime *const instance = [] {
        auto *made = new Runtime;
        made->devices = chosen_layer() == Layer::Cuda ? cuda_devices() : cpu_devices();
        return made;
    }();
    return *instance;
}

int device_count()
{
    return static_cast<int>(runtime().devices.size());
}

int current_device_index()
{
    return current_device_of_thread;
}

bool set_current_device(int index)
{
    if (index < 0 || index >= device_count())
        return false;
    current_device_of_thread = index;
    return true;
}

Device &current_device()
{
    return *runtime().devices[static_cast<size_t>(current_device_of_thread)];
}

std::shared_ptr<Stream> stream_of(hipStreamHandle handle, int *device)
{
    const auto number = reinterpret_cast<uintptr_t>(handle);
    if (number <= 2) {
        if (device_count() == 0)
            return nullptr;
        if (device != nullptr)
            *device = current_device_of_thread;
        return number == 2 ? stream_of_this_thread() : current_device().default_stream();
    }
    const auto found = runtime().streams.find(handle);
    if (!found)
        return nullptr;
    if (device != nullptr)
        *device = found->device;
    return found->stream;
}

hipError_t synchronize_device(int index)
{
    if (index < 0 || index >= device_count())
        return hipErrorInvalidDevice;
    return runtime().devices[static_cast<size_t>(index)]->synchronize();
}

hipError_t remember(hipError_t error)
{
    if (error != hipSuccess && error != hipErrorNotReady)
        last_error_of_thread = error;
    return error;
}

hipError_t peek_error()
{
    return last_error_of_thread;
}

hipError_t take_error()
{
    const hipError_t error = last_error_of_thread;
    last_error_of_thread = hipSuccess;
    return error;
}

const char *mode_switch(const char *key, const char *amd, const char *usual)
{
    return softgpu_switch(key, softgpu_switch_is("HIP_MODE", "amd", "") ? amd : usual);
}

} // namespace softgpu
