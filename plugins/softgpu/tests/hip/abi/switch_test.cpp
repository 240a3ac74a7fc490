// Switches: faults on demand, and AMD's limits.
#include "support.h"

using namespace test;

TEST(switch, fails_the_nth_call)
{
    const Switch fail("FAIL", "hipMalloc:2:2");
    void *first = nullptr;
    void *second = nullptr;
    OK(hipMalloc(&first, 4));
    CHECK_EQ(hipMalloc(&second, 4), hipErrorOutOfMemory);
    OK(hipMalloc(&second, 4));
    OK(hipFree(first));
    OK(hipFree(second));
    CHECK_EQ(hipGetLastError(), hipErrorOutOfMemory);
}

TEST(switch, fails_from_a_call_onwards)
{
    const Stream stream;
    {
        const Switch fail("FAIL", "*:2+");
        OK(hipStreamQuery(stream));
        CHECK_EQ(hipStreamQuery(stream), hipErrorUnknown);
        CHECK_EQ(hipStreamSynchronize(stream), hipErrorUnknown);
    }
    OK(hipStreamSynchronize(stream));
    CHECK_EQ(hipGetLastError(), hipErrorUnknown);
}

TEST(switch, fails_an_import_and_leaves_the_fd)
{
    const VulkanMemory memory(64);
    const VulkanSemaphore semaphore;
    hipExternalMemory_t imported = nullptr;
    hipExternalSemaphore_t handle = nullptr;
    const auto desc = memory_desc(memory.fd, 64);
    const auto other = semaphore_desc(semaphore.fd);
    {
        const Switch fail("FAIL", "hipImportExternalMemory:1:2");
        CHECK_EQ(hipImportExternalMemory(&imported, &desc), hipErrorOutOfMemory);
    }
    {
        const Switch fail("FAIL", "hipImportExternalSemaphore:1:801");
        CHECK_EQ(hipImportExternalSemaphore(&handle, &other), hipErrorNotSupported);
    }
    CHECK(imported == nullptr && handle == nullptr);
    CHECK(is_open(memory.fd) && is_open(semaphore.fd));
    CHECK_EQ(hipGetLastError(), hipErrorNotSupported);
}

TEST(switch, fails_hiprtc_too)
{
    const Switch fail("FAIL", "hiprtcCreateProgram:1:2");
    hiprtcProgram program = nullptr;
    CHECK_EQ(hiprtcCreateProgram(&program, "", "x", 0, nullptr, nullptr),
             HIPRTC_ERROR_PROGRAM_CREATION_FAILURE);
}

TEST(switch, uuid)
{
    hipUUID usual{};
    hipUUID other{};
    OK(hipDeviceGetUuid(&usual, 0));
    {
        const Switch wrong("HIP_UUID", "wrong");
        OK(hipDeviceGetUuid(&other, 0));
        CHECK(std::memcmp(&usual, &other, 16) != 0);
    }
    const Switch serial("HIP_UUID", "serial");
    OK(hipDeviceGetUuid(&other, 0));
    CHECK_EQ(std::string(other.bytes, 16), "50f79b0000000000");
}

TEST(switch, pci_address)
{
    char text[16];
    {
        const Switch given("HIP_PCI", "0001:0a:1f");
        OK(hipDeviceGetPCIBusId(text, sizeof text, 0));
        CHECK_EQ(std::string(text), "0001:0a:1f.0");
        hipDeviceProp_tR0600 properties;
        OK(hipGetDevicePropertiesR0600(&properties, 0));
        CHECK_EQ(properties.pciBusID, 10);
    }
    const Switch none("HIP_PCI", "0");
    CHECK_EQ(hipDeviceGetPCIBusId(text, sizeof text, 0), hipErrorNotSupported);
    CHECK_EQ(hipGetLastError(), hipErrorNotSupported);
}

TEST(switch, no_value_waits)
{
    Gate gate;
    const Switch none("HIP_WAIT_VALUE", "0");
    int can = 9;
    OK(hipDeviceGetAttribute(&can, 10013, 0));
    CHECK_EQ(can, 0);
    CHECK_EQ(hipStreamWaitValue32(nullptr, gate.word(), 0, 0, 1), hipErrorNotSupported);
    CHECK_EQ(hipStreamWriteValue32(nullptr, gate.word(), 0, 0), hipErrorNotSupported);
    CHECK_EQ(hipGetLastError(), hipErrorNotSupported);
}

TEST(switch, counts_calls)
{
    const long before = calls("hipStreamQuery");
    OK(hipStreamQuery(nullptr));
    OK(hipStreamQuery(nullptr));
    CHECK_EQ(calls("hipStreamQuery"), before + 2);
}

TEST(amd, is_as_on_linux)
{
    const VulkanSemaphore semaphore;
    const VulkanMemory memory(64);
    hipExternalSemaphore_t handle = nullptr;
    const auto desc = semaphore_desc(semaphore.fd);
    CHECK_EQ(hipImportExternalSemaphore(&handle, &desc), hipErrorNotSupported);
    hipUUID uuid{};
    OK(hipDeviceGetUuid(&uuid, 0));
    CHECK_EQ(std::string(uuid.bytes, 16), "50f79b0000000000");
    hipDeviceProp_tR0600 properties;
    OK(hipGetDevicePropertiesR0600(&properties, 0));
    CHECK_EQ(std::string(properties.gcnArchName), "gfx1100");
    hipExternalMemory_t imported = nullptr;
    const auto good = memory_desc(memory.fd, 64);
    OK(hipImportExternalMemory(&imported, &good));
    CHECK(is_open(memory.fd));
    OK(hipDestroyExternalMemory(imported));
    CHECK_EQ(hipGetLastError(), hipErrorNotSupported);
}

TEST(amd, single_switches_go_over_the_mode)
{
    const VulkanSemaphore semaphore;
    const Switch on("HIP_SEMAPHORES", "1");
    hipExternalSemaphore_t handle = nullptr;
    const auto desc = semaphore_desc(semaphore.fd);
    OK(hipImportExternalSemaphore(&handle, &desc));
    OK(hipDestroyExternalSemaphore(handle));
}
