// External memory, with AMD's checks and quirks.
#include "support.h"

#include <fcntl.h>
#include <unistd.h>
#include <vector>

using namespace test;

TEST(external, reads_and_writes_what_the_exporter_sees)
{
    VulkanMemory memory(256);
    for (unsigned i = 0; i < 256; ++i)
        memory.data[i] = static_cast<unsigned char>(i);
    hipExternalMemory_t imported = nullptr;
    unsigned char *mapped = nullptr;
    const auto desc = memory_desc(memory.fd, 256);
    const auto buffer = buffer_desc(0, 256);
    OK(hipImportExternalMemory(&imported, &desc));
    CHECK(is_open(memory.fd)); // AMD's runtime leaves it to the caller
    close(memory.fd);
    memory.fd = -1;
    OK(hipExternalMemoryGetMappedBuffer(reinterpret_cast<void **>(&mapped), imported, &buffer));
    CHECK_EQ(live("memory"), 1);
    CHECK_EQ(live("mapping"), 1);
    unsigned char received[256] = {};
    OK(hipMemcpyDtoH(received, mapped, 256));
    CHECK_EQ(std::memcmp(received, memory.data, 256), 0);
    OK(hipMemset(mapped + 10, 77, 5));
    CHECK_EQ(int{memory.data[9]}, 9);
    CHECK_EQ(int{memory.data[10]}, 77);
    CHECK_EQ(int{memory.data[14]}, 77);
    CHECK_EQ(int{memory.data[15]}, 15);
    OK(hipFree(mapped));
    OK(hipDestroyExternalMemory(imported));
}

TEST(external, mapping_outlives_the_import)
{
    const VulkanMemory memory(64);
    hipExternalMemory_t imported = nullptr;
    void *mapped = nullptr;
    const auto desc = memory_desc(memory.fd, 64, 1, hipExternalMemoryDedicated);
    const auto buffer = buffer_desc(0, 64);
    OK(hipImportExternalMemory(&imported, &desc));
    OK(hipExternalMemoryGetMappedBuffer(&mapped, imported, &buffer));
    OK(hipDestroyExternalMemory(imported));
    OK(hipMemset(mapped, 5, 64));
    CHECK_EQ(int{memory.data[63]}, 5);
    OK(hipFree(mapped));
    CHECK_EQ(hipFree(mapped), hipErrorInvalidValue);
    CHECK_EQ(hipDestroyExternalMemory(imported), hipErrorInvalidValue);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}

TEST(external, parts)
{
    const VulkanMemory memory(64);
    hipExternalMemory_t imported = nullptr;
    void *part = nullptr;
    const auto desc = memory_desc(memory.fd, 64);
    const auto buffer = buffer_desc(48, 16);
    OK(hipImportExternalMemory(&imported, &desc));
    OK(hipExternalMemoryGetMappedBuffer(&part, imported, &buffer));
    OK(hipMemset(part, 9, 16));
    CHECK_EQ(int{memory.data[47]}, 0);
    CHECK_EQ(int{memory.data[48]}, 9);
    CHECK_EQ(hipMemset(part, 9, 17), hipErrorInvalidValue);
    {
        const Switch bug("HIP_OFFSET_BUG", "1");
        OK(hipMemset(part, 3, 4)); // lands at the start of the memory
    }
    CHECK_EQ(int{memory.data[0]}, 3);
    CHECK_EQ(int{memory.data[48]}, 9);
    OK(hipFree(part));
    OK(hipDestroyExternalMemory(imported));
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}

// Rows of 128 bytes: alike, not alike, alike. Only memory of one resource alone keeps all of them.
TEST(cpu, compressed_rows)
{
    constexpr size_t row = 128;
    for (const unsigned flags : {0u, hipExternalMemoryDedicated}) {
        const VulkanMemory memory(3 * row);
        hipExternalMemory_t imported = nullptr;
        void *mapped = nullptr;
        const auto desc = memory_desc(memory.fd, 3 * row, 1, flags);
        const auto buffer = buffer_desc(0, 3 * row);
        OK(hipImportExternalMemory(&imported, &desc));
        OK(hipExternalMemoryGetMappedBuffer(&mapped, imported, &buffer));
        std::vector<unsigned char> sent(3 * row, 7);
        sent[row + 5] = 8;
        {
            const Switch compress("HIP_COMPRESS", "1");
            OK(hipMemcpy2D(mapped, row, sent.data(), row, row, 3, hipMemcpyHostToDevice));
        }
        const int lost = flags == 0 ? 0 : 7;
        CHECK_EQ(int{memory.data[31]}, 7);
        CHECK_EQ(int{memory.data[32]}, lost);
        CHECK_EQ(int{memory.data[row + 5]}, 8);
        CHECK_EQ(int{memory.data[2 * row - 1]}, 7);
        CHECK_EQ(int{memory.data[3 * row - 1]}, lost);
        OK(hipFree(mapped));
        OK(hipDestroyExternalMemory(imported));
    }
}

// CUDA gives each mapping an address of its own.
TEST(cpu, second_mapping_of_an_offset_is_lost)
{
    const VulkanMemory memory(64);
    hipExternalMemory_t imported = nullptr;
    void *first = nullptr;
    void *second = nullptr;
    const auto desc = memory_desc(memory.fd, 64);
    const auto buffer = buffer_desc(0, 64);
    OK(hipImportExternalMemory(&imported, &desc));
    const long before = live("mapping");
    OK(hipExternalMemoryGetMappedBuffer(&first, imported, &buffer));
    OK(hipExternalMemoryGetMappedBuffer(&second, imported, &buffer));
    CHECK(first == second);
    OK(hipFree(first));
    CHECK_EQ(hipFree(second), hipErrorInvalidValue);
    CHECK_EQ(live("mapping"), before + 1); // so that a leak test finds it
    leaks(1);
    OK(hipDestroyExternalMemory(imported));
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}

TEST(external, import_checks_its_arguments)
{
    const VulkanMemory memory(64);
    hipExternalMemory_t imported = nullptr;
    const auto refused = [&](const hipExternalMemoryHandleDesc &desc) {
        const hipError_t error = hipImportExternalMemory(&imported, &desc);
        CHECK(imported == nullptr);
        CHECK(is_open(memory.fd));
        return error;
    };
    const auto good = memory_desc(memory.fd, 64);
    CHECK_EQ(hipImportExternalMemory(nullptr, &good), hipErrorInvalidValue);
    CHECK_EQ(hipImportExternalMemory(&imported, nullptr), hipErrorInvalidValue);
    CHECK_EQ(refused(memory_desc(memory.fd, 0)), hipErrorInvalidValue);
    CHECK_EQ(refused(memory_desc(memory.fd, 64, 1, 2)), hipErrorInvalidValue);
    for (const int type : {-1, 0, 8, 9, 100})
        CHECK_EQ(refused(memory_desc(memory.fd, 64, type)), hipErrorInvalidValue);
    CHECK_EQ(refused(memory_desc(-1, 64)), hipErrorOutOfMemory);
    CHECK_EQ(refused(memory_desc(4000, 64)), hipErrorOutOfMemory);
    const VulkanMemory foreign(64, "another");
    CHECK_EQ(refused(memory_desc(foreign.fd, 64)), hipErrorOutOfMemory);
    const int device_file = open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK_EQ(refused(memory_desc(device_file, 64)), hipErrorOutOfMemory);
    close(device_file);
    CHECK_EQ(hipDestroyExternalMemory(nullptr), hipErrorInvalidValue);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}

TEST(external, mapping_checks_its_arguments)
{
    const VulkanMemory memory(64);
    hipExternalMemory_t imported = nullptr;
    void *mapped = nullptr;
    const auto desc = memory_desc(memory.fd, 64);
    const auto whole = buffer_desc(0, 64);
    OK(hipImportExternalMemory(&imported, &desc));
    const auto refused = [&](const hipExternalMemoryBufferDesc &buffer) {
        const hipError_t error = hipExternalMemoryGetMappedBuffer(&mapped, imported, &buffer);
        CHECK(mapped == nullptr);
        return error;
    };
    CHECK_EQ(hipExternalMemoryGetMappedBuffer(nullptr, imported, &whole), hipErrorInvalidValue);
    CHECK_EQ(hipExternalMemoryGetMappedBuffer(&mapped, nullptr, &whole), hipErrorInvalidValue);
    CHECK_EQ(hipExternalMemoryGetMappedBuffer(&mapped, imported, nullptr), hipErrorInvalidValue);
    CHECK_EQ(refused(buffer_desc(0, 64, 1)), hipErrorInvalidValue);
    CHECK_EQ(refused(buffer_desc(1, 64)), hipErrorInvalidValue);
    CHECK_EQ(refused(buffer_desc(65, 0)), hipErrorInvalidValue);
    CHECK_EQ(refused(buffer_desc(UINT64_MAX, 2)), hipErrorInvalidValue);
    CHECK_EQ(refused(buffer_desc(2, UINT64_MAX)), hipErrorInvalidValue);
    OK(hipDestroyExternalMemory(imported));
    CHECK_EQ(hipExternalMemoryGetMappedBuffer(&mapped, imported, &whole), hipErrorInvalidValue);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}

TEST(external, size_is_not_compared_with_the_allocation)
{
    const VulkanMemory memory(4096);
    hipExternalMemory_t imported = nullptr;
    void *mapped = nullptr;
    const auto desc = memory_desc(memory.fd, 1 << 20);
    const auto buffer = buffer_desc(0, 1 << 20);
    OK(hipImportExternalMemory(&imported, &desc));
    OK(hipExternalMemoryGetMappedBuffer(&mapped, imported, &buffer));
    OK(hipMemset(mapped, 8, 4096));
    CHECK_EQ(int{memory.data[4095]}, 8);
    OK(hipFree(mapped));
    OK(hipDestroyExternalMemory(imported));
}

TEST(external, who_closes_the_fd)
{
    struct Row {
        const char *policy;
        bool after_success, after_failure; // the caller's fd is still open
        hipError_t failure;
    };
    const Row rows[] = {{"keep", true, true, hipErrorOutOfMemory},
                        {"consume", false, true, hipErrorOutOfMemory},
                        {"consume-always", false, false, hipErrorUnknown}};
    const VulkanMemory memory(64);
    const VulkanMemory foreign(64, "another");
    for (const Row &row : rows) {
        const Switch policy("HIP_FD", row.policy);
        hipExternalMemory_t imported = nullptr;
        const int good = fcntl(memory.fd, F_DUPFD_CLOEXEC, 3);
        const auto desc = memory_desc(good, 64);
        OK(hipImportExternalMemory(&imported, &desc));
        CHECK_EQ(is_open(good), row.after_success);
        OK(hipDestroyExternalMemory(imported));
        const int bad = fcntl(foreign.fd, F_DUPFD_CLOEXEC, 100);
        const auto bad_desc = memory_desc(bad, 64);
        CHECK_EQ(hipImportExternalMemory(&imported, &bad_desc), row.failure);
        CHECK_EQ(is_open(bad), row.after_failure);
        CHECK_EQ(hipGetLastError(), row.failure);
        if (row.after_success)
            close(good);
        if (row.after_failure)
            close(bad);
    }
}
