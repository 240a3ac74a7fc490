// What devices say of themselves, and how many there are.
#include "support.h"

#include <thread>

using namespace test;

TEST(device, is_told_apart_and_found)
{
    int count = 0;
    OK(hipInit(0));
    OK(hipGetDeviceCount(&count));
    CHECK(count >= 1);
    hipDeviceProp_tR0600 properties;
    OK(hipGetDevicePropertiesR0600(&properties, 0));
    CHECK(std::string(properties.name).find(on_cuda() ? "(HIP on CUDA)" : "software") != std::string::npos);
    hipUUID uuid{};
    OK(hipDeviceGetUuid(&uuid, 0));
    CHECK_EQ(std::memcmp(&uuid, &properties.uuid, 16), 0);
    char name[256];
    OK(hipDeviceGetName(name, sizeof name, 0));
    CHECK_EQ(std::string(name), properties.name);
    int value = 0;
    OK(hipDeviceGetAttribute(&value, 56, 0)); // hipDeviceAttributeMaxThreadsPerBlock
    CHECK_EQ(value, properties.maxThreadsPerBlock);
    OK(hipRuntimeGetVersion(&value));
    CHECK_EQ(value / 10000000, 7);
    CHECK_EQ(std::string(hipGetErrorName(hipErrorNotSupported)), "hipErrorNotSupported");
}

TEST(cpu, has_the_uuid_of_vulkans_device)
{
    hipDeviceProp_tR0600 properties;
    OK(hipGetDevicePropertiesR0600(&properties, 0));
    CHECK_EQ(properties.uuid.bytes[1], '\x11'); // SOFTGPU_UUIDS
    CHECK_EQ(properties.uuid.bytes[15], '\xff');
    CHECK_EQ(properties.timelineSemaphoreInteropSupported, 0);
}

TEST(cpu, has_no_images)
{
    const VulkanMemory memory(4096);
    hipExternalMemory_t imported = nullptr;
    const auto desc = memory_desc(memory.fd, 4096);
    OK(hipImportExternalMemory(&imported, &desc));
    hipMipmappedArray_t image = nullptr;
    hipExternalMemoryMipmappedArrayDesc form{};
    form.formatDesc = {8, 8, 8, 8, hipChannelFormatKindUnsigned};
    form.extent = {16, 16, 0};
    form.numLevels = 1;
    CHECK_EQ(hipExternalMemoryGetMappedMipmappedArray(&image, imported, &form), hipErrorNotSupported);
    CHECK(image == nullptr);
    OK(hipDestroyExternalMemory(imported));
    CHECK_EQ(hipGetLastError(), hipErrorNotSupported);
}

TEST(device, refuses_what_is_none)
{
    int value = 0;
    hipDeviceProp_tR0600 properties;
    CHECK_EQ(hipInit(1), hipErrorInvalidValue);
    int count = 0;
    OK(hipGetDeviceCount(&count));
    CHECK_EQ(hipSetDevice(count), hipErrorInvalidDevice);
    CHECK_EQ(hipSetDevice(-1), hipErrorInvalidDevice);
    CHECK_EQ(hipGetDevicePropertiesR0600(&properties, count), hipErrorInvalidDevice);
    CHECK_EQ(hipGetDevicePropertiesR0600(nullptr, 0), hipErrorInvalidValue);
    CHECK_EQ(hipDeviceGetAttribute(&value, 123456, 0), hipErrorInvalidValue);
    CHECK_EQ(hipGetDeviceCount(nullptr), hipErrorInvalidValue);
    char small[4];
    CHECK_EQ(hipDeviceGetPCIBusId(small, sizeof small, 0), hipErrorInvalidValue);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
    OK(hipGetLastError());
}

TEST(device, errors_belong_to_their_thread)
{
    CHECK_EQ(hipSetDevice(99), hipErrorInvalidDevice);
    std::thread([] { OK(hipGetLastError()); }).join();
    CHECK_EQ(hipPeekAtLastError(), hipErrorInvalidDevice);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidDevice);
}

TEST(devices, each_thread_has_its_own_current_one)
{
    int count = 0;
    OK(hipGetDeviceCount(&count));
    CHECK_EQ(count, 3);
    OK(hipSetDevice(2));
    std::thread([] {
        int current = 9;
        OK(hipGetDevice(&current));
        CHECK_EQ(current, 0);
    }).join();
    int current = 9;
    OK(hipGetDevice(&current));
    CHECK_EQ(current, 2);
    hipUUID uuids[3];
    char addresses[3][16];
    for (int i = 0; i < 3; ++i) {
        OK(hipDeviceGetUuid(&uuids[i], i));
        OK(hipDeviceGetPCIBusId(addresses[i], sizeof addresses[i], i));
    }
    CHECK(std::memcmp(&uuids[0], &uuids[1], 16) != 0 && std::memcmp(&uuids[1], &uuids[2], 16) != 0);
    CHECK(std::string(addresses[0]) != addresses[1]);
    OK(hipSetDevice(0));
}

TEST(devices, imports_say_device_0_wherever_they_are)
{
    OK(hipSetDevice(1));
    const VulkanMemory memory(64);
    hipExternalMemory_t imported = nullptr;
    void *mapped = nullptr;
    const auto desc = memory_desc(memory.fd, 64);
    const auto buffer = buffer_desc(0, 64);
    OK(hipImportExternalMemory(&imported, &desc));
    OK(hipExternalMemoryGetMappedBuffer(&mapped, imported, &buffer));
    hipPointerAttribute_t attributes{};
    OK(hipPointerGetAttributes(&attributes, mapped));
    CHECK_EQ(attributes.device, 0);
    const Words words(1);
    OK(hipPointerGetAttributes(&attributes, words.get()));
    CHECK_EQ(attributes.device, 1);
    OK(hipFree(mapped));
    OK(hipDestroyExternalMemory(imported));
    OK(hipSetDevice(0));
}

TEST(devices, events_order_their_streams)
{
    const Stream first;
    OK(hipSetDevice(1));
    const Stream second;
    int device = 9;
    OK(hipStreamGetDevice(second, &device));
    CHECK_EQ(device, 1);
    const Event event;
    Gate gate;
    gate.hold(first);
    OK(hipEventRecord(event, first));
    OK(hipStreamWaitEvent(second, event, 0));
    CHECK_EQ(hipStreamQuery(second), hipErrorNotReady);
    gate.open();
    OK(hipDeviceSynchronize()); // of device 1 only
    OK(hipStreamQuery(second));
    OK(hipSetDevice(0));
}

TEST(no_devices, every_call_says_so)
{
    int count = 9;
    CHECK_EQ(hipInit(0), hipErrorNoDevice);
    CHECK_EQ(hipGetDeviceCount(&count), hipErrorNoDevice);
    CHECK_EQ(count, 0);
    void *pointer = nullptr;
    hipStreamHandle stream = nullptr;
    hipEventHandle event = nullptr;
    CHECK_EQ(hipMalloc(&pointer, 4), hipErrorNoDevice);
    CHECK_EQ(hipHostMalloc(&pointer, 4, 0), hipErrorNoDevice);
    CHECK_EQ(hipStreamCreate(&stream), hipErrorNoDevice);
    CHECK_EQ(hipEventCreate(&event), hipErrorNoDevice);
    CHECK_EQ(hipDeviceSynchronize(), hipErrorNoDevice);
    CHECK_EQ(hipSetDevice(0), hipErrorInvalidDevice);
    CHECK(hipStreamSynchronize(nullptr) != hipSuccess);
    const VulkanMemory memory(64);
    const auto desc = memory_desc(memory.fd, 64);
    CHECK_EQ(hipImportExternalMemory(&pointer, &desc), hipErrorNoDevice);
    hipDeviceProp_tR0600 properties;
    CHECK_EQ(hipGetDevicePropertiesR0600(&properties, 0), hipErrorInvalidDevice);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidDevice);
}
