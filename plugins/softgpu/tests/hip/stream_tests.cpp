// Order: within a stream, between streams, with the null stream, with the host.
#include "check.h"

#include <atomic>
#include <thread>

namespace
{

constexpr uint32_t everything = 0xffffffffu;

struct Streams {
    hipStreamHandle a = nullptr;
    hipStreamHandle b = nullptr;
    explicit Streams(unsigned flags = 0)
    {
        OK(hipStreamCreateWithFlags(&a, flags));
        OK(hipStreamCreateWithFlags(&b, flags));
    }
    ~Streams()
    {
        hipStreamDestroy(a);
        hipStreamDestroy(b);
    }
};

void increment(void *counter)
{
    static_cast<std::atomic<int> *>(counter)->fetch_add(1);
}

} // namespace

TEST(work_of_a_stream_runs_in_order)
{
    const Streams streams;
    Pinned<uint32_t> word;
    uint32_t *device = nullptr;
    OK(hipMalloc(reinterpret_cast<void **>(&device), 4));
    for (int i = 0; i < 500; ++i)
        OK(hipMemsetD32Async(device, i, 1, streams.a));
    OK(hipMemcpyAsync(word.data(), device, 4, hipMemcpyDeviceToHost, streams.a));
    OK(hipStreamSynchronize(streams.a));
    CHECK(word.get() == 499);
    OK(hipFree(device));
}

TEST(null_stream_orders_blocking_streams)
{
    const Streams streams;
    Pinned<uint32_t> gate;
    std::atomic<int> before{0}, null{0}, after{0};
    OK(hipStreamWaitValue32(streams.a, gate.data(), 1, 0, everything));
    OK(hipLaunchHostFunc(streams.a, increment, &before));
    OK(hipLaunchHostFunc(nullptr, increment, &null));
    OK(hipLaunchHostFunc(streams.b, increment, &after));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(before == 0 && null == 0 && after == 0);
    EXPECT(hipErrorNotReady, hipStreamQuery(nullptr));
    EXPECT(hipErrorNotReady, hipStreamQuery(streams.b));
    gate.set(0, 1);
    OK(hipStreamSynchronize(streams.b));
    CHECK(before == 1 && null == 1 && after == 1);
}

TEST(non_blocking_streams_ignore_the_null_stream)
{
    const Streams streams(hipStreamNonBlocking);
    Pinned<uint32_t> gate;
    std::atomic<int> count{0};
    OK(hipStreamWaitValue32(streams.a, gate.data(), 1, 0, everything));
    OK(hipLaunchHostFunc(nullptr, increment, &count));
    OK(hipStreamSynchronize(nullptr));
    OK(hipLaunchHostFunc(streams.b, increment, &count));
    OK(hipStreamSynchronize(streams.b));
    CHECK(count == 2);
    gate.set(0, 1);
    OK(hipDeviceSynchronize());
}

TEST(events_order_streams)
{
    const Streams streams(hipStreamNonBlocking);
    Pinned<uint32_t> gate;
    hipEventHandle event = nullptr;
    std::atomic<int> count{0};
    OK(hipEventCreate(&event));
    EXPECT(hipSuccess, hipEventQuery(event)); // never recorded
    OK(hipStreamWaitValue32(streams.a, gate.data(), 1, 0, everything));
    OK(hipEventRecord(event, streams.a));
    OK(hipStreamWaitEvent(streams.b, event, 0));
    OK(hipLaunchHostFunc(streams.b, increment, &count));
    EXPECT(hipErrorNotReady, hipEventQuery(event));
    EXPECT(hipErrorNotReady, hipStreamQuery(streams.b));
    CHECK(count == 0);
    gate.set(0, 1);
    OK(hipEventSynchronize(event));
    OK(hipStreamSynchronize(streams.b));
    CHECK(count == 1);
    OK(hipEventDestroy(event));
    EXPECT(hipErrorInvalidHandle, hipEventDestroy(event));
}

TEST(events_measure_time)
{
    const Streams streams;
    hipEventHandle start = nullptr, stop = nullptr, untimed = nullptr;
    OK(hipEventCreate(&start));
    OK(hipEventCreate(&stop));
    OK(hipEventCreateWithFlags(&untimed, hipEventDisableTiming));
    float milliseconds = -1;
    EXPECT(hipErrorInvalidHandle, hipEventElapsedTime(&milliseconds, start, stop)); // not recorded
    OK(hipEventRecord(start, streams.a));
    OK(hipLaunchHostFunc(
        streams.a, [](void *) { std::this_thread::sleep_for(std::chrono::milliseconds(20)); }, nullptr));
    OK(hipEventRecord(stop, streams.a));
    EXPECT(hipErrorNotReady, hipEventElapsedTime(&milliseconds, start, stop));
    OK(hipEventSynchronize(stop));
    OK(hipEventElapsedTime(&milliseconds, start, stop));
    CHECK(milliseconds >= 20 && milliseconds < 5000);
    OK(hipEventRecord(untimed, streams.a));
    OK(hipEventSynchronize(untimed));
    EXPECT(hipErrorInvalidHandle, hipEventElapsedTime(&milliseconds, start, untimed));
    OK(hipEventDestroy(start));
    OK(hipEventDestroy(stop));
    OK(hipEventDestroy(untimed));
}

TEST(a_destroyed_stream_finishes_its_work)
{
    hipStreamHandle stream = nullptr;
    Pinned<uint32_t> gate;
    std::atomic<int> count{0};
    OK(hipStreamCreate(&stream));
    OK(hipStreamWaitValue32(stream, gate.data(), 1, 0, everything));
    OK(hipLaunchHostFunc(stream, increment, &count));
    OK(hipStreamDestroy(stream));
    CHECK(count == 0);
    EXPECT(hipErrorContextIsDestroyed, hipStreamQuery(stream));
    gate.set(0, 1);
    OK(hipDeviceSynchronize()); // knows of it still
    CHECK(count == 1);
}

TEST(callbacks_get_their_stream)
{
    struct Seen {
        hipStreamHandle stream;
        hipError_t status;
    } seen{nullptr, hipErrorUnknown};
    const Streams streams;
    OK(hipStreamAddCallback(
        streams.a,
        [](hipStreamHandle stream, hipError_t status, void *data) {
            *static_cast<Seen *>(data) = {stream, status};
        },
        &seen, 0));
    OK(hipStreamSynchronize(streams.a));
    CHECK(seen.stream == streams.a && seen.status == hipSuccess);
    EXPECT(hipErrorInvalidValue, hipStreamAddCallback(streams.a, nullptr, nullptr, 0));
}

TEST(waits_compare_as_asked)
{
    struct Row {
        unsigned flags;
        uint64_t value, mask, blocked, open;
    };
    constexpr Row rows[] = {
        {0, 5, everything, 4, 6},               // >=
        {1, 5, everything, 6, 5},               // ==
        {2, 4, everything, 3, 12},              // &
        {3, 0xfffffff0u, everything, 0xf, 0xe}, // nor: some bit set in neither
        {0, 5, 0x0f, 0xf4, 0xf5},               // masked
    };
    const Streams streams;
    for (const Row &row : rows) {
        Pinned<uint32_t> narrow;
        narrow.set(0, static_cast<uint32_t>(row.blocked));
        OK(hipStreamWaitValue32(streams.a, narrow.data(), static_cast<uint32_t>(row.value), row.flags,
                                static_cast<uint32_t>(row.mask)));
        std::this_thread::sleep_for(std::chrono::milliseconds(3));
        EXPECT(hipErrorNotReady, hipStreamQuery(streams.a));
        narrow.set(0, static_cast<uint32_t>(row.open));
        OK(hipStreamSynchronize(streams.a));
    }
    Pinned<uint64_t> wide;
    OK(hipStreamWaitValue64(streams.a, wide.data(), uint64_t{1} << 40, 0, ~uint64_t{0}));
    OK(hipStreamWriteValue64(streams.b, wide.data(), uint64_t{1} << 40, 0));
    OK(hipStreamSynchronize(streams.a));
    CHECK(wide.get() == uint64_t{1} << 40);
}

TEST(a_plain_store_wakes_a_waiting_stream_promptly)
{
    const Streams streams;
    Pinned<uint32_t> gate;
    double best = 1;
    for (uint32_t i = 1; i <= 20; ++i) {
        OK(hipStreamWaitValue32(streams.a, gate.data(), i, 0, everything));
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        const auto start = Clock::now();
        gate.set(0, i);
        OK(hipStreamSynchronize(streams.a));
        best = std::min(best, seconds_since(start));
    }
    CHECK(best < 0.005);
}

TEST(threads_use_streams_of_their_own)
{
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0};
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([t, &wrong] {
            hipStreamHandle stream = nullptr;
            if (hipSetDevice(0) != hipSuccess || hipStreamCreateWithFlags(&stream, 1) != hipSuccess)
                ++wrong;
            for (int i = 0; i < 50; ++i) {
                unsigned char *device = nullptr;
                unsigned char back[64];
                const auto value = static_cast<unsigned char>(t * 50 + i);
                if (hipMalloc(reinterpret_cast<void **>(&device), 64) != hipSuccess ||
                    hipMemsetAsync(device, value, 64, stream) != hipSuccess ||
                    hipMemcpyAsync(back, device, 64, hipMemcpyDeviceToHost, stream) != hipSuccess ||
                    back[63] != value || hipFree(device) != hipSuccess)
                    ++wrong;
            }
            hipStreamDestroy(stream);
        });
    for (std::thread &thread : threads)
        thread.join();
    CHECK(wrong == 0);
}

TEST(a_stream_per_thread)
{
    const auto per_thread = reinterpret_cast<hipStreamHandle>(uintptr_t{2});
    std::atomic<int> count{0};
    OK(hipLaunchHostFunc(per_thread, increment, &count));
    OK(hipStreamSynchronize(per_thread));
    std::thread([&] {
        hipLaunchHostFunc(per_thread, increment, &count);
        hipStreamSynchronize(per_thread);
    }).join();
    CHECK(count == 2);
}
