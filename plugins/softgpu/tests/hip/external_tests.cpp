// Memory and semaphores of another API.
#include "payloads.h"

#include <cstring>
#include <fcntl.h>
#include <thread>

namespace
{

constexpr size_t size = 8192;

hipExternalMemory_t import(const MemoryFile &file, unsigned long long bytes = size)
{
    hipExternalMemory_t memory = nullptr;
    const auto desc = memory_desc(file.fd(), bytes);
    OK(hipImportExternalMemory(&memory, &desc));
    return memory;
}

unsigned char *map(hipExternalMemory_t memory, unsigned long long offset, unsigned long long bytes)
{
    hipExternalMemoryBufferDesc desc{};
    desc.offset = offset;
    desc.size = bytes;
    void *address = nullptr;
    OK(hipExternalMemoryGetMappedBuffer(&address, memory, &desc));
    return static_cast<unsigned char *>(address);
}

hipExternalSemaphore_t import(const SemaphoreFile &file)
{
    hipExternalSemaphore_t semaphore = nullptr;
    const auto desc = semaphore_desc(file.fd());
    OK(hipImportExternalSemaphore(&semaphore, &desc));
    return semaphore;
}

hipStreamHandle make_stream()
{
    hipStreamHandle stream = nullptr;
    OK(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking));
    return stream;
}

const hipExternalSemaphoreParams plain{};

} // namespace

TEST(imported_memory_is_shared_both_ways)
{
    MemoryFile file(size);
    const hipExternalMemory_t memory = import(file);
    CHECK(is_open(file.fd())); // AMD's runtime leaves it with the caller
    unsigned char *mapped = map(memory, 0, size);
    OK(hipMemset(mapped, 0x5a, size));
    CHECK(file.data()[0] == 0x5a && file.data()[size - 1] == 0x5a);
    file.data()[100] = 42;
    unsigned char back = 0;
    OK(hipMemcpyDtoH(&back, mapped + 100, 1));
    CHECK(back == 42);
    EXPECT(hipErrorInvalidValue, hipMemset(mapped, 0, size + 1));
    OK(hipFree(mapped));
    OK(hipDestroyExternalMemory(memory));
    EXPECT(hipErrorInvalidValue, hipDestroyExternalMemory(memory));
    EXPECT(hipErrorInvalidValue, hipDestroyExternalMemory(nullptr));
}

TEST(mappings_with_an_offset)
{
    MemoryFile file(size);
    const hipExternalMemory_t memory = import(file);
    unsigned char *mapped = map(memory, 4096, 16);
    file.data()[4096] = 7;
    file.data()[0] = 1;
    unsigned char back = 0;
    OK(hipMemcpyDtoH(&back, mapped, 1));
    CHECK(back == 7);
    {
        const Switched bug("HIP_OFFSET_BUG", "1");
        OK(hipMemcpyDtoH(&back, mapped, 1));
        CHECK(back == 1);
    }
    unsigned char *whole = map(memory, 0, size); // overlaps the first
    OK(hipMemset(whole + 6000, 3, 1));
    CHECK(file.data()[6000] == 3);
    OK(hipDestroyExternalMemory(memory)); // mappings outlive the handle
    OK(hipMemset(whole, 4, size));
    CHECK(file.data()[size - 1] == 4);
    OK(hipFree(whole));
    OK(hipFree(mapped));
}

TEST(a_second_mapping_of_one_offset_is_lost)
{
    CHECK(run_self("map-one-offset-twice") == 0); // apart, as it leaks
}

TEST(memory_import_arguments)
{
    MemoryFile file(size);
    hipExternalMemory_t untouched = &file;
    hipExternalMemory_t memory = untouched;
    auto desc = memory_desc(file.fd(), size);
    EXPECT(hipErrorInvalidValue, hipImportExternalMemory(nullptr, &desc));
    EXPECT(hipErrorInvalidValue, hipImportExternalMemory(&memory, nullptr));
    desc.flags = 2;
    EXPECT(hipErrorInvalidValue, hipImportExternalMemory(&memory, &desc));
    desc = memory_desc(file.fd(), 0);
    EXPECT(hipErrorInvalidValue, hipImportExternalMemory(&memory, &desc));
    for (const int type : {-1, 0, 8, 9}) {
        desc = memory_desc(file.fd(), size);
        desc.type = type;
        EXPECT(hipErrorInvalidValue, hipImportExternalMemory(&memory, &desc));
    }
    const int null_file = open("/dev/null", O_RDWR | O_CLOEXEC);
    MemoryFile foreign(size, "somebody else's");
    for (const int fd : {-1, 9999, null_file, foreign.fd()}) {
        desc = memory_desc(fd, size);
        EXPECT(hipErrorOutOfMemory, hipImportExternalMemory(&memory, &desc));
    }
    CHECK(memory == untouched);
    CHECK(is_open(foreign.fd()));
    CHECK(fcntl(null_file, F_GETFD) >= 0);
    close(null_file);
    desc = memory_desc(file.fd(), size);
    desc.flags = hipExternalMemoryDedicated;
    OK(hipImportExternalMemory(&memory, &desc));
    OK(hipDestroyExternalMemory(memory));
}

TEST(map_arguments)
{
    MemoryFile file(size);
    const hipExternalMemory_t memory = import(file);
    void *address = nullptr;
    hipExternalMemoryBufferDesc desc{};
    desc.size = size;
    EXPECT(hipErrorInvalidValue, hipExternalMemoryGetMappedBuffer(nullptr, memory, &desc));
    EXPECT(hipErrorInvalidValue, hipExternalMemoryGetMappedBuffer(&address, nullptr, &desc));
    EXPECT(hipErrorInvalidValue, hipExternalMemoryGetMappedBuffer(&address, memory, nullptr));
    desc.flags = 1;
    EXPECT(hipErrorInvalidValue, hipExternalMemoryGetMappedBuffer(&address, memory, &desc));
    desc.flags = 0;
    desc.offset = 1; // one byte too far
    EXPECT(hipErrorInvalidValue, hipExternalMemoryGetMappedBuffer(&address, memory, &desc));
    desc.offset = ~0ull; // the sum would wrap
    EXPECT(hipErrorInvalidValue, hipExternalMemoryGetMappedBuffer(&address, memory, &desc));
    CHECK(address == nullptr);
    OK(hipDestroyExternalMemory(memory));
}

TEST(a_size_beyond_the_allocation_is_accepted_and_faults)
{
    MemoryFile file(4096);
    const hipExternalMemory_t memory = import(file, 1 << 20);
    unsigned char *mapped = map(memory, 0, 1 << 20);
    OK(hipMemset(mapped, 1, 4096));
    CHECK(file.data()[4095] == 1);
    OK(hipFree(mapped));
    OK(hipDestroyExternalMemory(memory));
    const int status = run_self("touch-beyond-the-allocation");
    CHECK(status == 128 + SIGSEGV || status == 1); // 1: the address sanitizer's own exit
}

TEST(fds_are_consumed_when_told_to)
{
    MemoryFile file(size);
    hipExternalMemory_t memory = nullptr;
    {
        const Switched consume("HIP_FD", "consume");
        auto desc = memory_desc(dup(file.fd()), size);
        OK(hipImportExternalMemory(&memory, &desc));
        CHECK(!is_open(desc.handle.fd));
        OK(hipDestroyExternalMemory(memory));
        desc = memory_desc(open("/dev/null", O_RDWR), size);
        EXPECT(hipErrorOutOfMemory, hipImportExternalMemory(&memory, &desc));
        CHECK(fcntl(desc.handle.fd, F_GETFD) >= 0);
        close(desc.handle.fd);
    }
    const Switched always("HIP_FD", "consume-always");
    auto desc = memory_desc(open("/dev/null", O_RDWR), size);
    EXPECT(hipErrorUnknown, hipImportExternalMemory(&memory, &desc));
    CHECK(fcntl(desc.handle.fd, F_GETFD) < 0);
    desc = memory_desc(dup(file.fd()), 0); // refused before anything looks at it
    EXPECT(hipErrorInvalidValue, hipImportExternalMemory(&memory, &desc));
    CHECK(is_open(desc.handle.fd));
    close(desc.handle.fd);
}

TEST(semaphore_waits_do_not_block_the_caller)
{
    SemaphoreFile file;
    const hipExternalSemaphore_t semaphore = import(file);
    CHECK(file.references() == 2 && is_open(file.fd()));
    const hipStreamHandle stream = make_stream();
    for (int i = 0; i < 20; ++i) {
        OK(hipWaitExternalSemaphoresAsync(&semaphore, &plain, 1, stream));
        EXPECT(hipErrorNotReady, hipStreamQuery(stream));
        file.signal();
        OK(hipStreamSynchronize(stream));
        CHECK(!file.signalled()); // a binary semaphore's wait takes the signal
    }
    OK(hipSignalExternalSemaphoresAsync(&semaphore, &plain, 1, stream));
    OK(hipStreamSynchronize(stream));
    CHECK(file.signalled());
    OK(hipStreamDestroy(stream));
    OK(hipDestroyExternalSemaphore(semaphore));
    CHECK(file.references() == 1);
    EXPECT(hipErrorInvalidValue, hipDestroyExternalSemaphore(semaphore));
    EXPECT(hipErrorInvalidValue, hipDestroyExternalSemaphore(nullptr));
}

TEST(semaphores_order_two_streams)
{
    SemaphoreFile there, back;
    const hipExternalSemaphore_t ping = import(there), pong = import(back);
    const hipStreamHandle a = make_stream(), b = make_stream();
    uint32_t *word = nullptr;
    OK(hipMalloc(reinterpret_cast<void **>(&word), 4));
    Pinned<uint32_t> seen(100);
    for (uint32_t i = 0; i < 100; ++i) {
        if (i % 2 == 0) { // half of the frames enqueue the consumer first
            OK(hipWaitExternalSemaphoresAsync(&ping, &plain, 1, b));
            OK(hipMemcpyAsync(seen.data() + i, word, 4, hipMemcpyDeviceToHost, b));
            OK(hipSignalExternalSemaphoresAsync(&pong, &plain, 1, b));
        }
        OK(hipMemsetD32Async(word, static_cast<int>(i + 1), 1, a));
        OK(hipSignalExternalSemaphoresAsync(&ping, &plain, 1, a));
        OK(hipWaitExternalSemaphoresAsync(&pong, &plain, 1, a));
        if (i % 2 != 0) {
            OK(hipWaitExternalSemaphoresAsync(&ping, &plain, 1, b));
            OK(hipMemcpyAsync(seen.data() + i, word, 4, hipMemcpyDeviceToHost, b));
            OK(hipSignalExternalSemaphoresAsync(&pong, &plain, 1, b));
        }
    }
    OK(hipStreamSynchronize(a));
    OK(hipStreamSynchronize(b));
    for (uint32_t i = 0; i < 100; ++i)
        CHECK(seen.get(i) == i + 1);
    OK(hipFree(word));
    OK(hipDestroyExternalSemaphore(ping));
    OK(hipDestroyExternalSemaphore(pong));
    OK(hipStreamDestroy(a));
    OK(hipStreamDestroy(b));
}

TEST(semaphore_import_arguments)
{
    SemaphoreFile file;
    hipExternalSemaphore_t semaphore = nullptr;
    auto desc = semaphore_desc(file.fd());
    EXPECT(hipErrorInvalidValue, hipImportExternalSemaphore(nullptr, &desc));
    EXPECT(hipErrorInvalidValue, hipImportExternalSemaphore(&semaphore, nullptr));
    for (const int type : {-1, 0, 5, 9, 10}) { // 9 and 10 are timelines
        desc = semaphore_desc(file.fd());
        desc.type = type;
        EXPECT(hipErrorInvalidValue, hipImportExternalSemaphore(&semaphore, &desc));
    }
    desc = semaphore_desc(0);
    EXPECT(hipErrorInvalidValue, hipImportExternalSemaphore(&semaphore, &desc));
    MemoryFile foreign(size);
    for (const int fd : {-1, 9999, foreign.fd()}) {
        desc = semaphore_desc(fd);
        EXPECT(hipErrorUnknown, hipImportExternalSemaphore(&semaphore, &desc));
        const Switched mode("HIP_MODE", "amd");
        const Switched offered("HIP_SEMAPHORES", "1");
        EXPECT(hipErrorNotSupported, hipImportExternalSemaphore(&semaphore, &desc));
    }
    {
        const Switched mode("HIP_MODE", "amd");
        desc = semaphore_desc(file.fd());
        EXPECT(hipErrorNotSupported, hipImportExternalSemaphore(&semaphore, &desc));
    }
    CHECK(semaphore == nullptr && is_open(foreign.fd()));
    CHECK(run_self("semaphore-import-aborts") == 128 + SIGABRT);
}

TEST(semaphore_batches)
{
    SemaphoreFile one, two;
    const hipExternalSemaphore_t semaphores[2] = {import(one), import(two)};
    const hipStreamHandle stream = make_stream();
    hipExternalSemaphoreParams params[2] = {};
    EXPECT(hipErrorInvalidValue, hipSignalExternalSemaphoresAsync(nullptr, params, 1, stream));
    EXPECT(hipErrorInvalidValue, hipSignalExternalSemaphoresAsync(semaphores, nullptr, 1, stream));
    EXPECT(hipSuccess, hipSignalExternalSemaphoresAsync(semaphores, params, 0, stream));
    OK(hipSignalExternalSemaphoresAsync(semaphores, params, 2, stream));
    OK(hipWaitExternalSemaphoresAsync(semaphores, params, 2, stream));
    OK(hipStreamSynchronize(stream));
    CHECK(!one.signalled() && !two.signalled());
    // A bad element is found when its turn comes: the one before it is on its way.
    params[1].flags = 1;
    EXPECT(hipErrorInvalidValue, hipSignalExternalSemaphoresAsync(semaphores, params, 2, stream));
    OK(hipStreamSynchronize(stream));
    CHECK(one.signalled() && !two.signalled());
    const hipExternalSemaphore_t with_null[2] = {semaphores[1], nullptr};
    params[1].flags = 0;
    EXPECT(hipErrorInvalidValue, hipSignalExternalSemaphoresAsync(with_null, params, 2, stream));
    OK(hipStreamSynchronize(stream));
    CHECK(two.signalled());
    OK(hipStreamDestroy(stream));
    EXPECT(hipErrorInvalidValue, hipSignalExternalSemaphoresAsync(semaphores, params, 1, stream));
    EXPECT(hipErrorInvalidValue, hipWaitExternalSemaphoresAsync(semaphores, params, 1, stream));
    OK(hipDestroyExternalSemaphore(semaphores[0]));
    OK(hipDestroyExternalSemaphore(semaphores[1]));
}

TEST(signals_can_come_late)
{
    SemaphoreFile file;
    const hipExternalSemaphore_t semaphore = import(file);
    const hipStreamHandle stream = make_stream();
    const Switched late("SIGNAL_DELAY_MS", "50");
    const auto start = Clock::now();
    OK(hipSignalExternalSemaphoresAsync(&semaphore, &plain, 1, stream));
    CHECK(seconds_since(start) < 0.04 && !file.signalled());
    OK(hipStreamSynchronize(stream));
    CHECK(seconds_since(start) >= 0.05 && file.signalled());
    OK(hipStreamDestroy(stream));
    OK(hipDestroyExternalSemaphore(semaphore));
}

TEST(a_semaphore_destroyed_under_a_wait_lives_until_it_is_over)
{
    SemaphoreFile file;
    const hipExternalSemaphore_t semaphore = import(file);
    const hipStreamHandle stream = make_stream();
    OK(hipWaitExternalSemaphoresAsync(&semaphore, &plain, 1, stream));
    OK(hipDestroyExternalSemaphore(semaphore));
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    file.signal();
    OK(hipStreamSynchronize(stream));
    CHECK(file.references() == 1);
    OK(hipStreamDestroy(stream));
}
