#include "cases.h"
#include "payloads.h"

#include <cstring>

namespace
{

void free_an_interior_pointer()
{
    void *memory = nullptr;
    OK(hipMalloc(&memory, 64));
    hipFree(static_cast<char *>(memory) + 8);
}

void semaphore_import_aborts()
{
    SemaphoreFile file;
    hipExternalSemaphore_t semaphore = nullptr;
    const auto desc = semaphore_desc(file.fd());
    softgpu_control("HIP_SEMAPHORES", "abort");
    hipImportExternalSemaphore(&semaphore, &desc);
}

void touch_beyond_the_allocation()
{
    MemoryFile file(4096);
    hipExternalMemory_t memory = nullptr;
    void *mapped = nullptr;
    const auto desc = memory_desc(file.fd(), 1 << 20);
    hipExternalMemoryBufferDesc buffer{};
    buffer.size = 1 << 20;
    OK(hipImportExternalMemory(&memory, &desc));
    OK(hipExternalMemoryGetMappedBuffer(&mapped, memory, &buffer));
    hipMemset(mapped, 1, 1 << 20);
}

void map_one_offset_twice()
{
    MemoryFile file(4096);
    hipExternalMemory_t memory = nullptr;
    void *first = nullptr, *second = nullptr;
    const auto desc = memory_desc(file.fd(), 4096);
    hipExternalMemoryBufferDesc buffer{};
    buffer.size = 4096;
    OK(hipImportExternalMemory(&memory, &desc));
    OK(hipExternalMemoryGetMappedBuffer(&first, memory, &buffer));
    OK(hipExternalMemoryGetMappedBuffer(&second, memory, &buffer));
    REQUIRE(first == second);
    OK(hipFree(first));
    REQUIRE(hipFree(second) == hipErrorInvalidValue);
    OK(hipDestroyExternalMemory(memory));
    REQUIRE(softgpu_live("memory") == 0 && softgpu_live("mapping") == 1);
}

// A semaphore that nobody signals, a word that nobody writes, and the process ends.
void exit_with_blocked_streams()
{
    static SemaphoreFile file;
    hipExternalSemaphore_t semaphore = nullptr;
    const auto desc = semaphore_desc(file.fd());
    const hipExternalSemaphoreParams plain{};
    hipStreamHandle a = nullptr, b = nullptr;
    void *word = nullptr;
    OK(hipStreamCreate(&a));
    OK(hipStreamCreate(&b));
    OK(hipHostMalloc(&word, 4, 0));
    std::memset(word, 0, 4);
    OK(hipImportExternalSemaphore(&semaphore, &desc));
    OK(hipWaitExternalSemaphoresAsync(&semaphore, &plain, 1, a));
    OK(hipStreamWaitValue32(b, word, 1, 0, ~0u));
    OK(hipMemsetAsync(word, 1, 4, nullptr)); // behind both
}

struct Case {
    const char *name;
    void (*run)();
};
const Case cases[] = {
    {"free-an-interior-pointer", free_an_interior_pointer},
    {"semaphore-import-aborts", semaphore_import_aborts},
    {"map-one-offset-twice", map_one_offset_twice},
    {"touch-beyond-the-allocation", touch_beyond_the_allocation},
    {"exit-with-blocked-streams", exit_with_blocked_streams},
};

} // namespace

void (*find_case(const char *name))()
{
    for (const Case &one : cases)
        if (std::strcmp(one.name, name) == 0)
            return one.run;
    return nullptr;
}

TEST(freeing_an_interior_pointer_aborts)
{
    CHECK(run_self("free-an-interior-pointer") == 128 + SIGABRT);
}

TEST(a_process_ends_cleanly_with_blocked_streams)
{
    CHECK(run_self("exit-with-blocked-streams") == 0);
}
