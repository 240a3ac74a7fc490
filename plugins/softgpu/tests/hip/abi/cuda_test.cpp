// The CUDA layer over the stand-in for NVIDIA's driver: what only CUDA has, and what the driver demands.
#include "support.h"

#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

using namespace test;

namespace
{

template <class Function> Function of_driver(const char *name)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    CHECK(library != nullptr);
    void *found = dlsym(library, name);
    CHECK(found != nullptr);
    dlclose(library);
    return reinterpret_cast<Function>(found);
}

int objects_of_driver()
{
    return of_driver<int (*)()>("fake_live")();
}

// A counter that both sides see, as the stand-in's timeline semaphores are.
class Timeline
{
  public:
    Timeline() : fd(memfd_create("timeline", MFD_CLOEXEC))
    {
        OK(ftruncate(fd, sizeof *word));
        word =
            static_cast<uint64_t *>(mmap(nullptr, sizeof *word, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
        CHECK(word != MAP_FAILED);
    }
    ~Timeline()
    {
        munmap(word, sizeof *word);
        close(fd);
    }
    Timeline(const Timeline &) = delete;
    Timeline &operator=(const Timeline &) = delete;
    uint64_t value() const
    {
        return __atomic_load_n(word, __ATOMIC_ACQUIRE);
    }
    void reach(uint64_t value) const
    {
        __atomic_store_n(word, value, __ATOMIC_RELEASE);
    }
    const int fd;
    uint64_t *word = nullptr;
};

// The stand-in takes any file of CUDA's machine type, and has one kernel in it: add(words, amount, count).
std::string kernel_file()
{
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_machine = 190;
    return std::string(reinterpret_cast<const char *>(&header), sizeof header);
}

hipExternalMemoryMipmappedArrayDesc rgba8(size_t width, size_t height)
{
    hipExternalMemoryMipmappedArrayDesc desc{};
    desc.formatDesc = {8, 8, 8, 8, hipChannelFormatKindUnsigned};
    desc.extent = {width, height, 0};
    desc.flags = hipArraySurfaceLoadStore;
    desc.numLevels = 1;
    return desc;
}

} // namespace

TEST(cuda, is_no_rocm_and_no_cpu_and_says_so)
{
    hipDeviceProp_tR0600 properties;
    OK(hipGetDevicePropertiesR0600(&properties, 0));
    CHECK_EQ(std::string(properties.name), "stand-in 0 (HIP on CUDA)");
    CHECK_EQ(std::string(properties.gcnArchName), "sm_90");
    CHECK_EQ(properties.uuid.bytes[0], '\x10');
    CHECK_EQ(properties.timelineSemaphoreInteropSupported, 1);
    char address[16];
    OK(hipDeviceGetPCIBusId(address, sizeof address, 0));
    CHECK_EQ(std::string(address), "0000:c1:00.0");
}

TEST(cuda, timeline_semaphores)
{
    const Timeline timeline;
    hipExternalSemaphore_t handle = nullptr;
    const auto desc = semaphore_desc(timeline.fd, 9);
    {
        const Switch amd("HIP_MODE", "amd");
        CHECK_EQ(hipImportExternalSemaphore(&handle, &desc), hipErrorInvalidValue);
        CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
    }
    OK(hipImportExternalSemaphore(&handle, &desc));
    CHECK(is_open(timeline.fd));
    const Stream stream;
    hipExternalSemaphoreParams params{};
    params.fenceValue = uint64_t{1} << 40;
    OK(hipSignalExternalSemaphoresAsync(&handle, &params, 1, stream));
    OK(hipStreamSynchronize(stream));
    CHECK_EQ(timeline.value(), uint64_t{1} << 40);
    params.fenceValue += 2;
    OK(hipWaitExternalSemaphoresAsync(&handle, &params, 1, stream));
    timeline.reach(params.fenceValue - 1);
    nap(0.005);
    CHECK_EQ(hipStreamQuery(stream), hipErrorNotReady);
    timeline.reach(params.fenceValue);
    OK(hipStreamSynchronize(stream));
    OK(hipDestroyExternalSemaphore(handle));
}

TEST(cuda, a_semaphore_lives_until_its_last_wait_is_over)
{
    const VulkanSemaphore semaphore;
    const Stream stream;
    const int before = objects_of_driver();
    hipExternalSemaphore_t handle = nullptr;
    const auto desc = semaphore_desc(semaphore.fd);
    const hipExternalSemaphoreParams params{};
    OK(hipImportExternalSemaphore(&handle, &desc));
    OK(hipWaitExternalSemaphoresAsync(&handle, &params, 1, stream));
    OK(hipDestroyExternalSemaphore(handle));
    CHECK(objects_of_driver() > before);
    semaphore.signal();
    OK(hipDeviceSynchronize());
    CHECK_EQ(objects_of_driver(), before);
}

TEST(cuda, a_thread_keeps_the_context_it_had)
{
    const Words words(1); // the device's context exists
    std::thread([] {
        const auto current = of_driver<void *(*)()>("fake_current");
        const auto set_current = of_driver<int (*)(void *)>("cuCtxSetCurrent");
        void *memory = nullptr;
        OK(hipMalloc(&memory, 16));
        CHECK(current() == nullptr);
        int other = 0;
        set_current(&other);
        OK(hipMemset(memory, 1, 16));
        CHECK(current() == &other);
        set_current(nullptr);
        OK(hipFree(memory));
        CHECK_EQ(of_driver<int (*)()>("fake_depth")(), 0);
    }).join();
    CHECK_EQ(of_driver<int (*)()>("fake_retained")(), 1);
}

TEST(cuda, launches_in_both_forms)
{
    hipModuleHandle module = nullptr;
    hipFunctionHandle add = nullptr;
    OK(hipModuleLoadData(&module, kernel_file().data()));
    OK(hipModuleGetFunction(&add, module, "add"));
    const Words words(4, 5);
    OK(launch(add, 1, 4, nullptr, words.get(), 3u, 4u));
    struct {
        uint32_t *words;
        uint32_t amount, count;
        char tail[8]; // more than the kernel takes
    } packed{words.get(), 2, 2, {}};
    size_t size = sizeof packed;
    void *extra[] = {reinterpret_cast<void *>(1), &packed, reinterpret_cast<void *>(2), &size,
                     reinterpret_cast<void *>(3)};
    OK(hipModuleLaunchKernel(add, 1, 1, 1, 4, 1, 1, 0, nullptr, nullptr, extra));
    CHECK(words.read() == (std::vector<uint32_t>{10, 10, 8, 8}));
    size = 12;
    CHECK_EQ(hipModuleLaunchKernel(add, 1, 1, 1, 4, 1, 1, 0, nullptr, nullptr, extra), hipErrorInvalidValue);
    CHECK_EQ(hipModuleLaunchKernel(add, 1, 1, 1, 4, 1, 1, 0, nullptr, nullptr, nullptr),
             hipErrorInvalidValue);
    OK(hipModuleUnload(module));
    std::string foreign = kernel_file();
    foreign[18] = static_cast<char>(224); // a code object for AMD's GPUs
    CHECK_EQ(hipModuleLoadData(&module, foreign.data()), hipErrorNoBinaryForGpu);
    CHECK_EQ(hipModuleLoadData(&module, "this is no code object, though long enough to look at ......."),
             hipErrorInvalidImage);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidImage);
}

TEST(cuda, a_module_lives_until_its_last_launch_is_over)
{
    const Stream stream;
    const Words words(1, 1);
    const int before = objects_of_driver();
    {
        Gate gate;
        gate.hold(stream);
        hipModuleHandle module = nullptr;
        hipFunctionHandle add = nullptr;
        OK(hipModuleLoadData(&module, kernel_file().data()));
        OK(hipModuleGetFunction(&add, module, "add"));
        OK(launch(add, 1, 1, stream, words.get(), 6u, 1u));
        OK(hipModuleUnload(module));
        CHECK(objects_of_driver() > before + 1); // the gate, and something else
    }
    OK(hipDeviceSynchronize());
    CHECK_EQ(words.read()[0], 7u);
    CHECK_EQ(objects_of_driver(), before);
}

TEST(cuda, a_module_collects_no_streams)
{
    hipModuleHandle module = nullptr;
    hipFunctionHandle add = nullptr;
    OK(hipModuleLoadData(&module, kernel_file().data()));
    OK(hipModuleGetFunction(&add, module, "add"));
    const Words words(1);
    const int before = objects_of_driver();
    for (int i = 0; i < 50; ++i) {
        const Stream stream;
        OK(launch(add, 1, 1, stream, words.get(), 1u, 1u));
        OK(hipStreamSynchronize(stream));
    }
    CHECK(objects_of_driver() <= before + 1);
    CHECK_EQ(words.read()[0], 50u);
    OK(hipModuleUnload(module));
}

TEST(cuda, images)
{
    const VulkanMemory memory(32 * 16 * 4);
    const int before = objects_of_driver();
    hipExternalMemory_t imported = nullptr;
    hipMipmappedArray_t image = nullptr;
    hipArray_t level = nullptr;
    const auto desc = memory_desc(memory.fd, 32 * 16 * 4, 1, hipExternalMemoryDedicated);
    const auto form = rgba8(32, 16);
    OK(hipImportExternalMemory(&imported, &desc));
    OK(hipExternalMemoryGetMappedMipmappedArray(&image, imported, &form));
    OK(hipGetMipmappedArrayLevel(&level, image, 0));
    hipChannelFormatDesc format{};
    hipExtent extent{};
    unsigned flags = 0;
    OK(hipArrayGetInfo(&format, &extent, &flags, level));
    CHECK(format.x == 8 && format.w == 8 && format.f == hipChannelFormatKindUnsigned);
    CHECK(extent.width == 32 && extent.height == 16 && flags == hipArraySurfaceLoadStore);

    std::vector<uint32_t> sent(5 * 3);
    for (uint32_t i = 0; i < 15; ++i)
        sent[i] = 0x01020304u * (i + 1);
    hipMemcpy3DParms box{};
    box.srcPtr = {sent.data(), 5 * 4, 5 * 4, 3};
    box.dstArray = level;
    box.dstPos = {7, 2, 0}; // texels
    box.extent = {5, 3, 1};
    box.kind = hipMemcpyHostToDevice;
    OK(hipMemcpy3D(&box));
    for (size_t y = 0; y < 3; ++y)
        CHECK_EQ(std::memcmp(memory.data + ((y + 2) * 32 + 7) * 4, &sent[y * 5], 5 * 4), 0);
    std::vector<uint32_t> received(5 * 3);
    OK(hipMemcpy2DFromArray(received.data(), 20, level, 7 * 4, 2, 20, 3, hipMemcpyDeviceToHost));
    CHECK(received == sent);
    const Stream stream;
    const Words words(15);
    OK(hipMemcpy2DFromArrayAsync(words.get(), 20, level, 7 * 4, 2, 20, 3, hipMemcpyDeviceToDevice, stream));
    OK(hipStreamSynchronize(stream));
    CHECK(words.read() == sent);

    box.dstPos = {28, 2, 0};
    CHECK_EQ(hipMemcpy3D(&box), hipErrorInvalidValue); // past the row's end
    box.dstPos = {7, 2, 0};
    box.srcPtr.pitch = 16;
    CHECK_EQ(hipMemcpy3D(&box), hipErrorInvalidPitchValue);
    CHECK_EQ(hipMemcpy2DToArray(level, 2, 0, sent.data(), 20, 20, 3, hipMemcpyHostToDevice),
             hipErrorInvalidValue); // no whole texels
    CHECK_EQ(hipGetMipmappedArrayLevel(&level, image, 1), hipErrorInvalidValue);
    OK(hipDestroyExternalMemory(imported)); // the image outlives it
    OK(hipFreeMipmappedArray(image));
    CHECK_EQ(hipFreeMipmappedArray(image), hipErrorInvalidValue);
    CHECK_EQ(hipArrayGetInfo(&format, &extent, &flags, level), hipErrorInvalidHandle);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidHandle);
    OK(hipStreamSynchronize(stream));
    CHECK(objects_of_driver() <= before + 2); // the stream and the words
}

TEST(cuda, image_descriptions_are_checked)
{
    const VulkanMemory memory(4096);
    hipExternalMemory_t imported = nullptr;
    const auto desc = memory_desc(memory.fd, 4096);
    OK(hipImportExternalMemory(&imported, &desc));
    const auto refused = [&](void (*change)(hipExternalMemoryMipmappedArrayDesc &)) {
        auto form = rgba8(16, 16);
        change(form);
        hipMipmappedArray_t image = nullptr;
        CHECK_EQ(hipExternalMemoryGetMappedMipmappedArray(&image, imported, &form), hipErrorInvalidValue);
        CHECK(image == nullptr);
    };
    refused([](auto &form) { form.formatDesc.w = 0; }); // three channels
    refused([](auto &form) { form.formatDesc.y = 16; });
    refused([](auto &form) { form.formatDesc.f = hipChannelFormatKindFloat; }); // of 8 bits
    refused([](auto &form) { form.flags = 4; });
    refused([](auto &form) { form.numLevels = 0; });
    refused([](auto &form) { form.extent.width = 0; });
    refused([](auto &form) { form.offset = 4096; });
    OK(hipDestroyExternalMemory(imported));
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}

TEST(cuda, surfaces)
{
    const VulkanMemory memory(4096);
    hipExternalMemory_t imported = nullptr;
    hipMipmappedArray_t image = nullptr;
    const auto desc = memory_desc(memory.fd, 4096);
    const auto form = rgba8(16, 16);
    OK(hipImportExternalMemory(&imported, &desc));
    OK(hipExternalMemoryGetMappedMipmappedArray(&image, imported, &form));
    hipResourceDesc resource{};
    OK(hipGetMipmappedArrayLevel(&resource.res.array, image, 0));
    hipSurfaceObject_t surface = nullptr;
    OK(hipCreateSurfaceObject(&surface, &resource));
    CHECK(surface != nullptr);
    CHECK_EQ(live("surface"), 1);
    OK(hipDestroySurfaceObject(surface));
    CHECK_EQ(hipDestroySurfaceObject(surface), hipErrorInvalidValue);
    resource.resType = 2;
    CHECK_EQ(hipCreateSurfaceObject(&surface, &resource), hipErrorInvalidValue);
    OK(hipFreeMipmappedArray(image));
    OK(hipDestroyExternalMemory(imported));
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}
