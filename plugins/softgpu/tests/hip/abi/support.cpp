#include "support.h"

#include <dlfcn.h>
#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace test
{

namespace
{

// By library: the program has these functions too, from payload.c's neighbours.
template <class Function> Function of_library(const char *library, const char *name)
{
    void *loaded = dlopen(library, RTLD_NOW | RTLD_NOLOAD);
    CHECK(loaded != nullptr);
    void *found = dlsym(loaded, name);
    CHECK(found != nullptr);
    dlclose(loaded);
    return reinterpret_cast<Function>(found);
}

constexpr const char *libraries[] = {"libamdhip64.so", "libhiprtc.so"};

long sum(const char *function, const char *argument)
{
    long result = 0;
    for (const char *library : libraries)
        result += of_library<long (*)(const char *)>(library, function)(argument);
    return result;
}

void control(const char *key, const char *value)
{
    for (const char *library : libraries)
        OK(of_library<int (*)(const char *, const char *)>(library, "softgpu_control")(key, value));
}

constexpr size_t swiftshader_padding = 15;
constexpr size_t stand_in_least_memory = 4096;

} // namespace

bool on_cuda()
{
    const char *layer = getenv("SOFTGPU_HIP_DEVICE");
    return layer != nullptr && std::strcmp(layer, "cuda") == 0;
}

long live(const char *kind)
{
    return sum("softgpu_live", kind);
}

long calls(const char *function)
{
    return sum("softgpu_calls", function);
}

Switch::Switch(const char *key, const char *value) : key_(key)
{
    control(key, value);
}

Switch::~Switch()
{
    control(key_, nullptr);
}

Stream::Stream(unsigned flags)
{
    OK(hipStreamCreateWithFlags(&handle_, flags));
}

Stream::~Stream()
{
    OK(hipStreamDestroy(handle_));
}

Event::Event(unsigned flags)
{
    OK(hipEventCreateWithFlags(&handle_, flags));
}

Event::~Event()
{
    OK(hipEventDestroy(handle_));
}

Gate::Gate()
{
    OK(hipHostMalloc(reinterpret_cast<void **>(&word_), sizeof *word_, 0));
    open(0);
}

Gate::~Gate()
{
    open(INT32_MAX); // CUDA counts around
    OK(hipHostFree(word_));
}

void Gate::hold(hipStreamHandle stream, uint32_t value)
{
    OK(hipStreamWaitValue32(stream, word_, value, 0, UINT32_MAX));
}

void Gate::open(uint32_t value)
{
    __atomic_store_n(word_, value, __ATOMIC_RELEASE);
}

Words::Words(size_t count, uint32_t value) : count_(count)
{
    OK(hipMalloc(reinterpret_cast<void **>(&data_), count * sizeof *data_));
    OK(hipMemsetD32(data_, static_cast<int>(value), count));
}

Words::~Words()
{
    OK(hipFree(data_));
}

std::vector<uint32_t> Words::read() const
{
    std::vector<uint32_t> values(count_);
    OK(hipMemcpyDtoH(values.data(), data_, count_ * sizeof *data_));
    return values;
}

VulkanMemory::VulkanMemory(size_t bytes, const char *name) : size(bytes)
{
    length_ = size + swiftshader_padding;
    if (on_cuda() && std::strncmp(name, "SwiftShader", 11) == 0)
        length_ = std::max(length_, stand_in_least_memory);
    fd = memfd_create(name, MFD_CLOEXEC);
    CHECK(fd >= 0);
    OK(ftruncate(fd, static_cast<off_t>(length_)));
    void *mapping = mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(mapping != MAP_FAILED);
    data = static_cast<unsigned char *>(mapping);
}

VulkanMemory::~VulkanMemory()
{
    munmap(data, length_);
    if (fd >= 0)
        close(fd);
}

VulkanSemaphore::VulkanSemaphore()
{
    if (!on_cuda()) {
        OK(softgpu_semaphore_create(&payload_, &fd));
        return;
    }
    fd = memfd_create("semaphore", MFD_CLOEXEC);
    CHECK(fd >= 0);
    OK(ftruncate(fd, sizeof *word_));
    void *mapping = mmap(nullptr, sizeof *word_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(mapping != MAP_FAILED);
    word_ = static_cast<uint64_t *>(mapping);
}

VulkanSemaphore::~VulkanSemaphore()
{
    if (payload_ != nullptr)
        softgpu_semaphore_close(payload_);
    else
        munmap(word_, sizeof *word_);
    if (fd >= 0)
        close(fd);
}

void VulkanSemaphore::signal() const
{
    if (payload_ != nullptr)
        OK(softgpu_semaphore_signal(payload_));
    else
        __atomic_store_n(word_, uint64_t{1}, __ATOMIC_RELEASE);
}

bool VulkanSemaphore::signalled() const
{
    return payload_ != nullptr ? softgpu_semaphore_signalled(payload_)
                               : __atomic_load_n(word_, __ATOMIC_ACQUIRE) != 0;
}

bool VulkanSemaphore::wait(double seconds) const
{
    if (payload_ != nullptr)
        return softgpu_semaphore_wait(payload_, seconds, nullptr) == SOFTGPU_PAYLOAD_OK;
    for (const double limit = now() + seconds; now() < limit; nap(0.0001))
        if (__atomic_exchange_n(word_, uint64_t{0}, __ATOMIC_ACQ_REL) != 0)
            return true;
    return false;
}

bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

hipExternalMemoryHandleDesc memory_desc(int fd, uint64_t size, int type, unsigned flags)
{
    hipExternalMemoryHandleDesc desc{};
    desc.type = type;
    desc.handle.fd = fd;
    desc.size = size;
    desc.flags = flags;
    return desc;
}

hipExternalMemoryBufferDesc buffer_desc(uint64_t offset, uint64_t size, unsigned flags)
{
    hipExternalMemoryBufferDesc desc{};
    desc.offset = offset;
    desc.size = size;
    desc.flags = flags;
    return desc;
}

hipExternalSemaphoreHandleDesc semaphore_desc(int fd, int type)
{
    hipExternalSemaphoreHandleDesc desc{};
    desc.type = type;
    desc.handle.fd = fd;
    return desc;
}

std::string compile(const std::string &source, const std::vector<const char *> &options)
{
    hiprtcProgram program = nullptr;
    OK(hiprtcCreateProgram(&program, source.c_str(), "test.hip", 0, nullptr, nullptr));
    if (hiprtcCompileProgram(program, static_cast<int>(options.size()), options.data()) != HIPRTC_SUCCESS) {
        size_t size = 0;
        OK(hiprtcGetProgramLogSize(program, &size));
        std::string log(size, '\0');
        OK(hiprtcGetProgramLog(program, log.data()));
        fail(__FILE__, __LINE__, log);
    }
    size_t size = 0;
    OK(hiprtcGetCodeSize(program, &size));
    std::string code(size, '\0');
    OK(hiprtcGetCode(program, code.data()));
    OK(hiprtcDestroyProgram(&program));
    CHECK(program == nullptr);
    return code;
}

Module::Module(const std::string &source, const std::vector<const char *> &options)
{
    OK(hipModuleLoadData(&handle, compile(source, options).data()));
}

Module::~Module()
{
    OK(hipModuleUnload(handle));
}

hipFunctionHandle Module::function(const char *name) const
{
    hipFunctionHandle found = nullptr;
    OK(hipModuleGetFunction(&found, handle, name));
    return found;
}

} // namespace test
