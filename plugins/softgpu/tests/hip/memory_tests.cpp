// Allocations, copies, pointers, and the answers to wrong arguments.
#include "check.h"

#include <cstring>

namespace
{

unsigned char *device_bytes(size_t size)
{
    void *memory = nullptr;
    OK(hipMalloc(&memory, size));
    return static_cast<unsigned char *>(memory);
}

} // namespace

TEST(copies_in_every_direction)
{
    unsigned char *a = device_bytes(256);
    unsigned char *b = device_bytes(256);
    unsigned char in[256], out[256] = {};
    for (int i = 0; i < 256; ++i)
        in[i] = static_cast<unsigned char>(i);
    OK(hipMemcpyHtoD(a, in, 256));
    OK(hipMemcpyDtoD(b, a, 256));
    OK(hipMemcpyDtoH(out, b, 256));
    CHECK(std::memcmp(in, out, 256) == 0);
    OK(hipMemcpy(out, in, 256, hipMemcpyHostToHost));
    OK(hipMemcpy2D(out, 16, a, 32, 8, 4, hipMemcpyDeviceToHost)); // 8 bytes out of each of 4 rows
    CHECK(out[0] == 0 && out[16] == 32 && out[16 * 3 + 7] == 32 * 3 + 7);
    OK(hipMemset2D(a, 32, 9, 8, 2));
    OK(hipMemcpyDtoH(out, a, 256));
    CHECK(out[7] == 9 && out[8] == 8 && out[39] == 9 && out[40] == 40);
    OK(hipMemsetD16(a + 1, 0x1234, 2)); // an odd address is allowed here
    OK(hipMemcpyDtoH(out, a, 8));
    CHECK(out[1] == 0x34 && out[4] == 0x12);
    OK(hipFree(a));
    OK(hipFree(b));
}

TEST(copies_are_checked)
{
    unsigned char *device = device_bytes(64);
    unsigned char host[128] = {};
    EXPECT(hipErrorInvalidValue, hipMemcpy(nullptr, device, 4, hipMemcpyDeviceToHost));
    EXPECT(hipErrorInvalidValue, hipMemcpy(host, nullptr, 4, hipMemcpyDeviceToHost));
    EXPECT(hipErrorInvalidMemcpyDirection, hipMemcpy(host, device, 4, static_cast<hipMemcpyKind>(7)));
    EXPECT(hipErrorInvalidValue, hipMemcpy(host, device, 65, hipMemcpyDeviceToHost));
    EXPECT(hipErrorInvalidValue, hipMemcpy(host, device + 60, 5, hipMemcpyDeviceToHost));
    EXPECT(hipErrorInvalidValue,
           hipMemcpy(host, host + 64, 4, hipMemcpyHostToDevice)); // neither is a device's
    EXPECT(hipSuccess, hipMemcpy(nullptr, nullptr, 0, hipMemcpyHostToDevice));
    EXPECT(hipErrorInvalidValue, hipMemset(device, 0, 65));
    EXPECT(hipErrorInvalidValue, hipMemset(nullptr, 0, 4));
    EXPECT(hipErrorInvalidValue, hipMemset(host, 0, 4));
    EXPECT(hipErrorInvalidPitchValue, hipMemcpy2D(host, 4, device, 8, 8, 2, hipMemcpyDeviceToHost));
    EXPECT(hipErrorInvalidPitchValue, hipMemset2D(device, 4, 0, 8, 2));
    int nothing = 0;
    const auto stale = reinterpret_cast<hipStreamHandle>(&nothing);
    EXPECT(hipErrorContextIsDestroyed, hipMemcpyAsync(host, device, 4, hipMemcpyDeviceToHost, stale));
    OK(hipFree(device));
}

TEST(allocations_are_checked)
{
    void *memory = &memory;
    EXPECT(hipErrorInvalidValue, hipMalloc(nullptr, 4));
    EXPECT(hipSuccess, hipMalloc(&memory, 0));
    CHECK(memory == nullptr);
    EXPECT(hipErrorOutOfMemory, hipMalloc(&memory, size_t{1} << 60));
    EXPECT(hipErrorOutOfMemory, hipMalloc(&memory, ~size_t{0}));
    EXPECT(hipSuccess, hipFree(nullptr));
    EXPECT(hipErrorInvalidValue, hipFree(&memory));
    EXPECT(hipErrorInvalidValue, hipHostMalloc(nullptr, 4, 0));
    EXPECT(hipErrorInvalidValue, hipHostMalloc(&memory, 4, 0x100));
    EXPECT(hipErrorInvalidValue, hipHostFree(&memory));
    void *device = device_bytes(16);
    EXPECT(hipErrorInvalidValue, hipHostFree(device));
    OK(hipFree(device));
    EXPECT(hipErrorInvalidValue, hipFree(device));
    Pinned<int> host;
    EXPECT(hipErrorInvalidValue, hipFree(host.data()));
}

TEST(stream_ordered_allocations)
{
    hipStreamHandle stream = nullptr;
    void *memory = nullptr;
    OK(hipStreamCreate(&stream));
    OK(hipMallocAsync(&memory, 64, stream));
    OK(hipMemsetAsync(memory, 1, 64, stream));
    OK(hipFreeAsync(memory, stream));
    EXPECT(hipErrorInvalidValue, hipFreeAsync(memory, stream));
    OK(hipStreamSynchronize(stream));
    OK(hipStreamDestroy(stream));
}

TEST(registered_memory)
{
    alignas(64) static char host[256];
    void *device = nullptr;
    EXPECT(hipErrorInvalidValue, hipHostRegister(nullptr, 4, 0));
    EXPECT(hipErrorInvalidValue, hipHostRegister(host, 0, 0));
    EXPECT(hipErrorHostMemoryNotRegistered, hipHostUnregister(host));
    EXPECT(hipErrorInvalidValue, hipHostGetDevicePointer(&device, host, 0));
    OK(hipHostRegister(host, sizeof host, 0));
    EXPECT(hipErrorHostMemoryAlreadyRegistered, hipHostRegister(host, sizeof host, 0));
    OK(hipHostGetDevicePointer(&device, host, 0));
    CHECK(device == host);
    EXPECT(hipErrorInvalidValue, hipHostGetDevicePointer(&device, host, 1));
    EXPECT(hipErrorHostMemoryNotRegistered, hipHostUnregister(host + 1));
    OK(hipHostUnregister(host));
}

TEST(pointer_attributes)
{
    hipPointerAttribute_t attributes{};
    int local = 0;
    unsigned char *device = device_bytes(16);
    OK(hipPointerGetAttributes(&attributes, device + 3));
    CHECK(attributes.type == hipMemoryTypeDevice && attributes.device == 0);
    CHECK(attributes.devicePointer == device + 3 && attributes.hostPointer == nullptr);
    Pinned<int> host;
    OK(hipPointerGetAttributes(&attributes, host.data()));
    CHECK(attributes.type == hipMemoryTypeHost && attributes.hostPointer == host.data());
    OK(hipPointerGetAttributes(&attributes, &local));
    CHECK(attributes.type == hipMemoryTypeUnregistered);
    EXPECT(hipErrorInvalidValue, hipPointerGetAttributes(nullptr, device));
    OK(hipFree(device));
}

TEST(devices_and_their_properties)
{
    int number = -1;
    OK(hipInit(0));
    EXPECT(hipErrorInvalidValue, hipInit(1));
    OK(hipGetDeviceCount(&number));
    CHECK(number >= 1);
    EXPECT(hipErrorInvalidDevice, hipSetDevice(number));
    EXPECT(hipErrorInvalidDevice, hipSetDevice(-1));
    hipDeviceProp_tR0600 properties;
    OK(hipGetDevicePropertiesR0600(&properties, 0));
    CHECK(std::strstr(properties.name, "software") != nullptr);
    CHECK(properties.timelineSemaphoreInteropSupported == 0);
    EXPECT(hipErrorInvalidDevice, hipGetDevicePropertiesR0600(&properties, number));
    int value = 0;
    OK(hipDeviceGetAttribute(&value, 56, 0)); // MaxThreadsPerBlock
    CHECK(value == properties.maxThreadsPerBlock);
    OK(hipDeviceGetAttribute(&value, 10013, 0)); // CanUseStreamWaitValue
    CHECK(value == 1);
    EXPECT(hipErrorInvalidValue, hipDeviceGetAttribute(&value, 123456, 0));
    char text[13];
    OK(hipDeviceGetPCIBusId(text, 13, 0));
    CHECK(std::strlen(text) == 12);
    EXPECT(hipErrorInvalidValue, hipDeviceGetPCIBusId(text, 12, 0));
}

TEST(switches_change_the_identity)
{
    hipDeviceProp_tR0600 plain, changed;
    hipUUID uuid;
    OK(hipGetDevicePropertiesR0600(&plain, 0));
    {
        const Switched mode("HIP_MODE", "amd");
        OK(hipGetDevicePropertiesR0600(&changed, 0));
        CHECK(std::strcmp(changed.gcnArchName, "gfx1100") == 0);
        for (const char byte : changed.uuid.bytes)
            CHECK((byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f'));
        const Switched own("HIP_UUID", "vulkan"); // what is said itself wins
        OK(hipDeviceGetUuid(&uuid, 0));
        CHECK(std::memcmp(&uuid, &plain.uuid, sizeof uuid) == 0);
    }
    {
        const Switched wrong("HIP_UUID", "wrong");
        OK(hipDeviceGetUuid(&uuid, 0));
        CHECK(std::memcmp(&uuid, &plain.uuid, sizeof uuid) != 0);
    }
    char text[32];
    {
        const Switched pci("HIP_PCI", "0");
        EXPECT(hipErrorNotSupported, hipDeviceGetPCIBusId(text, sizeof text, 0));
        OK(hipGetDevicePropertiesR0600(&changed, 0));
        CHECK(changed.pciBusID == 0 && changed.pciDomainID == 0 && changed.pciDeviceID == 0);
    }
    {
        const Switched pci("HIP_PCI", "0001:c3:05");
        OK(hipDeviceGetPCIBusId(text, sizeof text, 0));
        CHECK(std::strcmp(text, "0001:c3:05.0") == 0);
    }
    {
        const Switched none("HIP_WAIT_VALUE", "0");
        Pinned<uint32_t> word;
        int value = 1;
        OK(hipDeviceGetAttribute(&value, 10013, 0));
        CHECK(value == 0);
        EXPECT(hipErrorNotSupported, hipStreamWaitValue32(nullptr, word.data(), 0, 0, ~0u));
    }
}

TEST(errors_are_kept_per_thread)
{
    hipGetLastError();
    EXPECT(hipErrorInvalidValue, hipMalloc(nullptr, 4));
    EXPECT(hipErrorInvalidValue, hipPeekAtLastError());
    EXPECT(hipErrorInvalidValue, hipGetLastError());
    EXPECT(hipSuccess, hipGetLastError());
    CHECK(std::strcmp(hipGetErrorName(hipErrorNotSupported), "hipErrorNotSupported") == 0);
    const char *text = nullptr;
    OK(hipDrvGetErrorString(hipErrorNotReady, &text));
    CHECK(text != nullptr && text[0] != '\0');
    EXPECT(hipErrorInvalidValue, hipDrvGetErrorName(static_cast<hipError_t>(12345), &text));
}

TEST(calls_fail_when_told_to)
{
    void *memory = nullptr;
    {
        const Switched fail("FAIL", "hipMalloc:2:2");
        OK(hipMalloc(&memory, 16));
        OK(hipFree(memory));
        EXPECT(hipErrorOutOfMemory, hipMalloc(&memory, 16));
        OK(hipMalloc(&memory, 16));
        OK(hipFree(memory));
    }
    const Switched fail("FAIL", "hipStreamCreate:1");
    hipStreamHandle stream = nullptr;
    EXPECT(hipErrorUnknown, hipStreamCreate(&stream));
}

TEST(stream_and_event_arguments)
{
    hipStreamHandle stream = nullptr;
    hipEventHandle event = nullptr;
    Pinned<uint32_t> word;
    uint32_t unknown = 0;
    EXPECT(hipErrorInvalidValue, hipStreamCreate(nullptr));
    EXPECT(hipErrorInvalidValue, hipStreamCreateWithFlags(&stream, 2));
    EXPECT(hipErrorInvalidHandle, hipStreamDestroy(nullptr));
    OK(hipStreamCreate(&stream));
    EXPECT(hipErrorInvalidValue, hipStreamWaitValue32(stream, nullptr, 1, 0, ~0u));
    EXPECT(hipErrorInvalidValue, hipStreamWaitValue32(stream, word.data(), 1, 4, ~0u));
    EXPECT(hipErrorInvalidValue, hipStreamWaitValue32(stream, &unknown, 0, 0, ~0u)); // not HIP's memory
    EXPECT(hipErrorInvalidValue,
           hipStreamWaitValue64(stream, word.data(), 0, 0, ~uint64_t{0})); // only 4 bytes
    EXPECT(hipErrorInvalidValue, hipLaunchHostFunc(stream, nullptr, nullptr));
    EXPECT(hipErrorInvalidValue, hipEventCreate(nullptr));
    EXPECT(hipErrorInvalidValue, hipEventCreateWithFlags(&event, 0x100));
    EXPECT(hipErrorInvalidHandle, hipEventRecord(nullptr, stream));
    EXPECT(hipErrorInvalidHandle, hipStreamWaitEvent(stream, nullptr, 0));
    OK(hipEventCreate(&event));
    EXPECT(hipErrorInvalidValue, hipStreamWaitEvent(stream, event, 1));
    OK(hipStreamDestroy(stream));
    EXPECT(hipErrorContextIsDestroyed, hipStreamDestroy(stream));
    EXPECT(hipErrorContextIsDestroyed, hipEventRecord(event, stream));
    OK(hipEventDestroy(event));
}
