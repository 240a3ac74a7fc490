// What a device layer must offer. The API files (api_*.cpp) check arguments as AMD's runtime does, keep
// handles and pointers, and then call these; a layer does the work on its kind of device and checks nothing
// twice.
//
// Rules for a layer:
//   - Every operation of a Stream is asynchronous to the caller and ordered after what that stream got
//   before.
//   - A stream keeps alive whatever its pending work uses (modules, semaphores, events): it takes shared_ptr.
//   - Functions may be called from any thread. Errors come back as hipError_t, never as exceptions; only
//     std::bad_alloc may pass.
//   - Device pointers and host pointers are plain addresses; a layer with another address space for host
//   memory
//     answers it in host_device_pointer().
//
// Images of other APIs. The calls to use with imported memory, in this order:
//     hipExternalMemoryGetMappedMipmappedArray, hipGetMipmappedArrayLevel (or hipMipmappedArrayGetLevel),
//     hipMemcpy3D, hipMemcpy3DAsync, hipMemcpy2DToArray and hipMemcpy2DFromArray (both also Async) with the
//     level, hipArrayGetInfo, hipCreateSurfaceObject and hipDestroySurfaceObject for kernels,
//     hipFreeMipmappedArray (or hipMipmappedArrayDestroy), which also ends the levels.
// A layer without images leaves the functions for them as they are: they answer hipErrorNotSupported.
//
// Two layers: cpu/ on the host's processors, cuda/ on NVIDIA GPUs through libcuda.so.1. layer.h chooses.
#ifndef SOFTGPU_HIP_DEVICE_H
#define SOFTGPU_HIP_DEVICE_H
#include "abi.h"

#include <memory>
#include <string>
#include <vector>

namespace softgpu
{

struct Dim3 {
    unsigned x, y, z;
};

struct LaunchShape {
    Dim3 grid;
    Dim3 block;
    size_t shared; // bytes of dynamic shared memory per block
};

// Kernel arguments in one of HIP's two forms: an address per argument, or all of them packed in order, each
// at its natural alignment.
struct Arguments {
    void **addresses;
    const void *packed;
    size_t packed_size;
};

struct Copy2D {
    void *destination;
    size_t destination_pitch;
    const void *source;
    size_t source_pitch;
    size_t width; // bytes
    size_t height;
    hipMemcpyKind kind;
    bool compress = false; // imitate memory whose compressed blocks another API takes for plain ones
};

struct Fill {
    void *destination;
    size_t pitch;     // bytes from row to row
    uint32_t value;   // the low `element` bytes count
    unsigned element; // 1, 2 or 4
    size_t width;     // elements
    size_t height;
};

enum class ChannelKind {
    Signed,
    Unsigned,
    Float,
};

// An image inside imported memory.
struct ArrayShape {
    uint64_t offset; // bytes
    size_t width;    // texels
    size_t height;   // 0: one dimension
    size_t depth;    // 0: at most two dimensions; layers, if the flags say so
    ChannelKind kind;
    unsigned bits;     // of each channel: 8, 16 or 32
    unsigned channels; // 1, 2 or 4
    unsigned flags;    // hipArrayLayered, hipArraySurfaceLoadStore, hipArrayTextureGather
    unsigned levels;

    size_t texel() const
    {
        return size_t{bits} / 8 * channels;
    }
};

// One level of an image.
class Array
{
  public:
    virtual ~Array() = default;
};

class MipmappedArray
{
  public:
    virtual ~MipmappedArray() = default;
    virtual hipError_t level(unsigned index, std::shared_ptr<Array> *out) = 0;
};

// What kernels read and write an image through.
class Surface
{
  public:
    virtual ~Surface() = default;
    virtual uint64_t handle() const = 0;
};

// One side of a Copy3D: an array, or memory with rows and planes.
struct Place {
    std::shared_ptr<Array> array; // empty: memory
    void *address;
    size_t pitch; // bytes from row to row
    size_t rows;  // from plane to plane
    size_t x;     // bytes
    size_t y;
    size_t z;
};

struct Copy3D {
    Place destination;
    Place source;
    size_t width; // bytes
    size_t height;
    size_t depth;
};

enum class Compare : unsigned {
    GreaterOrEqual = 0,
    Equal = 1,
    And = 2,
    Nor = 3,
};

struct WaitValue {
    void *address;
    unsigned bytes; // 4 or 8
    uint64_t value;
    uint64_t mask;
    Compare compare;
};

class Function
{
  public:
    virtual ~Function() = default;
    virtual unsigned max_threads_per_block() const = 0;
};

class Module
{
  public:
    virtual ~Module() = default;
    virtual hipError_t function(const char *name, std::shared_ptr<Function> *out) = 0;
    virtual hipError_t global(const char *name, void **address, size_t *size) = 0;
};

class Event
{
  public:
    virtual ~Event() = default;
    virtual hipError_t
    query() = 0; // hipErrorNotReady while the recorded work is pending; success if never recorded
    virtual hipError_t synchronize() = 0;
    virtual hipError_t elapsed(Event &later, float *milliseconds) = 0;
};

class Semaphore
{
  public:
    virtual ~Semaphore() = default;
};

class ExternalMemory
{
  public:
    virtual ~ExternalMemory() = default;
    virtual hipError_t map(uint64_t offset, uint64_t size, void **out) = 0;
    virtual hipError_t unmap(void *address) = 0;
    // The memory holds an image; its driver object ends the mapping.
    virtual hipError_t map_array(const ArrayShape &, std::shared_ptr<MipmappedArray> *)
    {
        return hipErrorNotSupported;
    }
};

class Stream
{
  public:
    virtual ~Stream() = default; // pending work still runs
    virtual hipError_t copy(const Copy2D &copy) = 0;
    virtual hipError_t copy_3d(const Copy3D &) // at least one side is an array
    {
        return hipErrorNotSupported;
    }
    virtual hipError_t fill(const Fill &fill) = 0;
    virtual hipError_t launch(std::shared_ptr<Function> function, const LaunchShape &shape,
                              const Arguments &arguments) = 0;
    virtual hipError_t host_function(hipHostFn_t function, void *data) = 0;
    // Whether "greater or equal" counts around (as CUDA's does) is the layer's; values less than 2^31, or
    // 2^63, apart are the same to all. hipErrorNotSupported for a mask that leaves bits out, where the
    // hardware compares whole words.
    virtual hipError_t wait_value(const WaitValue &wait) = 0;
    virtual hipError_t write_value(void *address, unsigned bytes, uint64_t value) = 0;
    virtual hipError_t wait_semaphore(std::shared_ptr<Semaphore> semaphore, uint64_t value) = 0;
    // delay_ms: a fault switch; the signal comes this much later than its turn.
    virtual hipError_t signal_semaphore(std::shared_ptr<Semaphore> semaphore, uint64_t value,
                                        unsigned delay_ms) = 0;
    virtual hipError_t record(std::shared_ptr<Event> event) = 0;
    virtual hipError_t wait_event(std::shared_ptr<Event> event) = 0;
    virtual hipError_t release_later(void *allocation) = 0; // gives device memory back in stream order
    virtual hipError_t query() = 0;
    virtual hipError_t synchronize() = 0;
};

class Device
{
  public:
    virtual ~Device() = default;

    // Everything the hardware says of itself; the API overlays the HIP_UUID, HIP_PCI and HIP_ARCH switches.
    virtual void properties(hipDeviceProp_tR0600 *out) = 0;
    virtual bool has_pci() const = 0;
    virtual bool stream_wait_value() const = 0;
    virtual bool timeline_semaphores() const = 0; // handle type 9 may be imported
    virtual bool maps_arrays() const = 0;         // images of other APIs
    virtual bool takes_fd() const = 0;            // a successful import closes the fd that it was given
    virtual hipError_t memory_info(size_t *free, size_t *total) = 0;
    virtual hipError_t stream_priorities(int *least, int *greatest)
    {
        *least = *greatest = 0;
        return hipSuccess;
    }

    virtual hipError_t allocate(size_t size, void **out) = 0;
    virtual hipError_t release(void *allocation) = 0;
    virtual hipError_t allocate_host(size_t size, unsigned flags, void **out) = 0;
    virtual hipError_t release_host(void *allocation) = 0;
    virtual hipError_t register_host(void *address, size_t size, unsigned flags) = 0;
    virtual hipError_t unregister_host(void *address) = 0;
    virtual hipError_t host_device_pointer(void *host, void **out) = 0;

    virtual std::shared_ptr<Stream> default_stream() = 0; // the legacy null stream
    virtual hipError_t create_stream(bool non_blocking, int priority, std::shared_ptr<Stream> *out) = 0;
    virtual hipError_t create_event(bool timing, std::shared_ptr<Event> *out) = 0;
    virtual hipError_t load_module(const void *image, std::shared_ptr<Module> *out) = 0;
    virtual hipError_t synchronize() = 0;

    virtual hipError_t import_memory(int fd, uint64_t size, bool dedicated,
                                     std::shared_ptr<ExternalMemory> *out) = 0;
    virtual hipError_t import_semaphore(int fd, bool timeline, std::shared_ptr<Semaphore> *out) = 0;
    virtual hipError_t create_surface(const std::shared_ptr<Array> &, std::shared_ptr<Surface> *)
    {
        return hipErrorNotSupported;
    }
};

// Layers. Each returns the devices it finds; none is an empty list.
std::vector<std::unique_ptr<Device>> cpu_devices();
std::vector<std::unique_ptr<Device>> cuda_devices();

} // namespace softgpu
#endif
