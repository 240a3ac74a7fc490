// Process-wide state of the runtime: the devices, each thread's current device and last error, live handles.
#ifndef SOFTGPU_HIP_RUNTIME_H
#define SOFTGPU_HIP_RUNTIME_H
#include "device.h"
#include "ranges.h"
#include "registry.h"

#include <mutex>

namespace softgpu
{

struct StreamHandle {
    int device;
    unsigned flags;
    int priority;
    std::shared_ptr<Stream> stream;
};

struct EventHandle {
    bool timing;
    bool recorded;
    std::shared_ptr<Event> event;
};

struct FunctionHandle {
    std::shared_ptr<Function> function;
};

// A loaded module and what was handed out of it, which ends with it.
struct ModuleHandle {
    std::shared_ptr<Module> module;
    std::mutex mutex;
    std::vector<const void *> functions;
    std::vector<const void *> globals;
};

struct SemaphoreHandle {
    std::shared_ptr<Semaphore> semaphore;
};

// An image in imported memory, and the levels that were handed out of it, which end with it.
struct MipmapHandle {
    std::shared_ptr<ExternalObject> memory;
    ArrayShape shape;
    std::shared_ptr<MipmappedArray> array;
    std::mutex mutex;
    std::vector<const void *> levels;
};

struct ArrayHandle {
    ArrayShape shape; // of this level
    std::shared_ptr<Array> array;
};

struct SurfaceHandle {
    std::shared_ptr<Surface> surface;
};

// Allocated once and never destroyed: streams may still be blocked when the process exits, and their threads
// must find it whole.
struct Runtime {
    std::vector<std::unique_ptr<Device>> devices;
    Ranges ranges;
    Registry<StreamHandle> streams;
    Registry<EventHandle> events;
    Registry<ModuleHandle> modules;
    Registry<FunctionHandle> functions;
    Registry<ExternalObject> memories;
    Registry<SemaphoreHandle> semaphores;
    Registry<MipmapHandle> mipmaps;
    Registry<ArrayHandle> arrays;
    std::mutex surfaces_mutex;
    std::unordered_map<uint64_t, std::shared_ptr<SurfaceHandle>> surfaces; // by the number that kernels get
};
Runtime &runtime();

int device_count();
int current_device_index();
bool set_current_device(int index);
Device &current_device();

// A stream argument: null and 1 are the current device's legacy stream, 2 the calling thread's own. nullptr
// when the handle is none.
std::shared_ptr<Stream> stream_of(hipStreamHandle handle, int *device = nullptr);

// Waits for all the work of one device, as hipFree and hipDeviceSynchronize do.
hipError_t synchronize_device(int index);

hipError_t remember(hipError_t error); // sets the thread's last error; success and not-ready do not
hipError_t peek_error();
hipError_t take_error();

// A switch that HIP_MODE=amd sets too, unless it is given itself.
const char *mode_switch(const char *key, const char *amd, const char *usual);

} // namespace softgpu
#endif
