// Streams: order within and between them, value waits, host functions.
#include "support.h"

#include <atomic>
#include <thread>

using namespace test;

namespace
{

struct Journal {
    std::atomic<unsigned> next{0};
    unsigned places[8] = {};
};

struct Entry {
    Journal *journal;
    unsigned index;
};

void note(void *data)
{
    const auto *entry = static_cast<Entry *>(data);
    entry->journal->places[entry->index] = ++entry->journal->next;
}

void set_flag(void *data)
{
    static_cast<std::atomic<bool> *>(data)->store(true);
}

void note_status(hipStreamHandle, hipError_t status, void *data)
{
    static_cast<std::atomic<int> *>(data)->store(static_cast<int>(status) + 1);
}

} // namespace

TEST(stream, keeps_its_order)
{
    const Stream stream;
    Journal journal;
    Entry entries[8];
    for (unsigned i = 0; i < 8; ++i) {
        entries[i] = {&journal, i};
        OK(hipLaunchHostFunc(stream, note, &entries[i]));
    }
    OK(hipStreamSynchronize(stream));
    for (unsigned i = 0; i < 8; ++i)
        CHECK_EQ(journal.places[i], i + 1);
}

TEST(stream, query_tells_pending_from_done)
{
    const Stream stream;
    OK(hipStreamQuery(stream));
    Gate gate;
    gate.hold(stream);
    CHECK_EQ(hipStreamQuery(stream), hipErrorNotReady);
    OK(hipGetLastError()); // "not ready" is no error
    gate.open();
    OK(hipStreamSynchronize(stream));
    OK(hipStreamQuery(stream));
}

TEST(stream, null_stream_waits_for_blocking_streams_and_they_for_it)
{
    const Stream blocking(0);
    const Stream free(hipStreamNonBlocking);
    Gate gate;
    Journal journal;
    Entry entries[] = {{&journal, 0}, {&journal, 1}, {&journal, 2}};
    gate.hold(blocking);
    OK(hipLaunchHostFunc(blocking, note, &entries[0]));
    OK(hipLaunchHostFunc(nullptr, note, &entries[1]));
    OK(hipLaunchHostFunc(blocking, note, &entries[2]));
    CHECK_EQ(hipStreamQuery(nullptr), hipErrorNotReady);
    // A non-blocking stream stands outside of that order.
    std::atomic<bool> done{false};
    OK(hipLaunchHostFunc(free, set_flag, &done));
    OK(hipStreamSynchronize(free));
    CHECK(done);
    CHECK_EQ(journal.next, 0u);
    gate.open();
    OK(hipStreamSynchronize(blocking));
    CHECK_EQ(journal.places[0], 1u);
    CHECK_EQ(journal.places[1], 2u);
    CHECK_EQ(journal.places[2], 3u);
}

TEST(stream, null_stream_leaves_non_blocking_streams_alone)
{
    const Stream free(hipStreamNonBlocking);
    Gate gate;
    gate.hold(free);
    std::atomic<bool> done{false};
    OK(hipLaunchHostFunc(nullptr, set_flag, &done));
    OK(hipStreamSynchronize(nullptr));
    CHECK(done);
    CHECK_EQ(hipStreamQuery(free), hipErrorNotReady);
}

TEST(stream, per_thread_stream_ends_with_its_thread)
{
    const auto per_thread = reinterpret_cast<hipStreamHandle>(uintptr_t{2});
    std::atomic<bool> done{false};
    std::thread([&] {
        OK(hipLaunchHostFunc(per_thread, set_flag, &done));
        OK(hipStreamSynchronize(per_thread));
        CHECK(done);
    }).join();
}

TEST(stream, wait_event_orders_two_streams)
{
    const Stream first;
    const Stream second;
    const Event event(hipEventDisableTiming);
    Gate gate;
    Journal journal;
    Entry entries[] = {{&journal, 0}, {&journal, 1}};
    gate.hold(first);
    OK(hipLaunchHostFunc(first, note, &entries[0]));
    OK(hipEventRecord(event, first));
    OK(hipStreamWaitEvent(second, event, 0));
    OK(hipLaunchHostFunc(second, note, &entries[1]));
    nap(0.01);
    CHECK_EQ(hipStreamQuery(second), hipErrorNotReady);
    gate.open();
    OK(hipStreamSynchronize(second));
    CHECK_EQ(journal.places[0], 1u);
    CHECK_EQ(journal.places[1], 2u);
}

TEST(stream, waits_for_each_comparison)
{
    struct Row {
        unsigned flags;
        uint32_t value, mask, before, after;
    };
    const Row rows[] = {
        {0, 7, UINT32_MAX, 6, 8},                // at least
        {1, 7, UINT32_MAX, 8, 7},                // equal
        {2, 0x30, UINT32_MAX, 0x0f, 0x10},       // a common bit
        {3, 0x0f, UINT32_MAX, UINT32_MAX, 0x70}, // a bit that neither has
        {2, 0x3f, 0xf0, 0x0f, 0x10},             // a common bit that the mask leaves
        {1, 0x20, 0xf0, 0x35, 0x2a},             // equal in what the mask leaves
    };
    const Stream stream;
    for (const Row &row : rows) {
        Gate gate;
        gate.open(row.before);
        const hipError_t error = hipStreamWaitValue32(stream, gate.word(), row.value, row.flags, row.mask);
        if (on_cuda() && row.mask != UINT32_MAX && row.flags != 2) { // it compares whole words
            CHECK_EQ(error, hipErrorNotSupported);
            CHECK_EQ(hipGetLastError(), hipErrorNotSupported);
            continue;
        }
        OK(error);
        nap(0.003);
        CHECK_EQ(hipStreamQuery(stream), hipErrorNotReady);
        gate.open(row.after);
        OK(hipStreamSynchronize(stream));
    }
}

TEST(stream, writes_what_another_stream_waits_for)
{
    const Stream writer;
    const Stream waiter;
    uint64_t *word = nullptr;
    OK(hipHostMalloc(reinterpret_cast<void **>(&word), sizeof *word, 0));
    __atomic_store_n(word, uint64_t{0}, __ATOMIC_RELEASE);
    for (uint64_t value = 1; value <= 200; ++value) {
        OK(hipStreamWaitValue64(waiter, word, value << 32, 0, UINT64_MAX));
        OK(hipStreamWriteValue64(writer, word, value << 32, 0));
        OK(hipStreamSynchronize(waiter));
    }
    OK(hipStreamWriteValue32(writer, word, 5, 0));
    OK(hipStreamSynchronize(writer));
    CHECK_EQ(__atomic_load_n(word, __ATOMIC_ACQUIRE), (uint64_t{200} << 32) + 5);
    OK(hipHostFree(word));
}

TEST(stream, value_waits_check_their_arguments)
{
    const Stream stream;
    uint32_t pageable = 0;
    Gate gate;
    CHECK_EQ(hipStreamWaitValue32(stream, nullptr, 1, 0, 1), hipErrorInvalidValue);
    CHECK_EQ(hipStreamWaitValue32(stream, gate.word(), 1, 4, 1), hipErrorInvalidValue);
    CHECK_EQ(hipStreamWaitValue32(stream, &pageable, 1, 0, 1), hipErrorInvalidValue);
    CHECK_EQ(hipStreamWaitValue64(stream, gate.word(), 1, 0, 1), hipErrorInvalidValue); // runs past its end
    CHECK_EQ(hipStreamWriteValue32(stream, nullptr, 1, 0), hipErrorInvalidValue);
    CHECK_EQ(hipStreamWriteValue32(stream, &pageable, 1, 0), hipErrorInvalidValue);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
    int can = 0;
    OK(hipDeviceGetAttribute(&can, 10013, 0)); // hipDeviceAttributeCanUseStreamWaitValue
    CHECK_EQ(can, 1);
}

TEST(stream, destroyed_with_work_pending_it_still_runs)
{
    std::atomic<bool> done{false};
    Gate gate;
    {
        const Stream stream;
        gate.hold(stream);
        OK(hipLaunchHostFunc(stream, set_flag, &done));
    }
    CHECK(!done);
    gate.open();
    CHECK(soon([&] { return done.load(); }));
}

TEST(stream, callback_gets_success)
{
    const Stream stream;
    std::atomic<int> status{0};
    OK(hipStreamAddCallback(stream, note_status, &status, 0));
    OK(hipStreamSynchronize(stream));
    CHECK_EQ(status, hipSuccess + 1);
    CHECK_EQ(hipStreamAddCallback(stream, nullptr, nullptr, 0), hipErrorInvalidValue);
    CHECK_EQ(hipStreamAddCallback(stream, note_status, &status, 1), hipErrorInvalidValue);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}

TEST(stream, says_what_it_is)
{
    const Stream stream;
    unsigned flags = 9;
    int number = 9;
    OK(hipStreamGetFlags(stream, &flags));
    CHECK_EQ(flags, hipStreamNonBlocking);
    OK(hipStreamGetFlags(nullptr, &flags));
    CHECK_EQ(flags, 0u);
    OK(hipStreamGetDevice(stream, &number));
    CHECK_EQ(number, 0);
    OK(hipStreamGetPriority(stream, &number));
    CHECK_EQ(number, 0);
    int least = 9;
    int greatest = 9;
    OK(hipDeviceGetStreamPriorityRange(&least, &greatest));
    CHECK(greatest <= 0 && least >= 0);
    hipStreamHandle urgent = nullptr;
    OK(hipStreamCreateWithPriority(&urgent, hipStreamNonBlocking, greatest));
    OK(hipStreamGetPriority(urgent, &number));
    CHECK_EQ(number, greatest);
    OK(hipStreamDestroy(urgent));
}

TEST(stream, refuses_what_is_none)
{
    hipStreamHandle gone = nullptr;
    OK(hipStreamCreate(&gone));
    OK(hipStreamDestroy(gone));
    CHECK_EQ(hipStreamDestroy(gone), hipErrorContextIsDestroyed);
    CHECK_EQ(hipStreamSynchronize(gone), hipErrorContextIsDestroyed);
    CHECK_EQ(hipStreamQuery(gone), hipErrorContextIsDestroyed);
    CHECK_EQ(hipLaunchHostFunc(gone, set_flag, nullptr), hipErrorContextIsDestroyed);
    CHECK_EQ(hipStreamDestroy(nullptr), hipErrorInvalidHandle);
    CHECK_EQ(hipStreamCreate(nullptr), hipErrorInvalidValue);
    CHECK_EQ(hipStreamCreateWithFlags(&gone, 2), hipErrorInvalidValue);
    CHECK_EQ(hipLaunchHostFunc(nullptr, nullptr, nullptr), hipErrorInvalidValue);
    CHECK_EQ(hipPeekAtLastError(), hipErrorInvalidValue);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}

TEST(stream, many_threads_use_many_streams)
{
    std::atomic<int> ran{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&ran] {
            for (int round = 0; round < 25; ++round) {
                const Stream stream(static_cast<unsigned>(round) & 1);
                const Event event(hipEventDisableTiming);
                const auto count = [](void *data) { ++*static_cast<std::atomic<int> *>(data); };
                OK(hipLaunchHostFunc(stream, count, &ran));
                OK(hipEventRecord(event, stream));
                OK(hipStreamWaitEvent(nullptr, event, 0));
                OK(hipLaunchHostFunc(nullptr, count, &ran));
                OK(hipStreamSynchronize(stream));
                OK(hipEventSynchronize(event));
            }
        });
    for (std::thread &thread : threads)
        thread.join();
    OK(hipDeviceSynchronize());
    CHECK_EQ(ran, 200);
}
