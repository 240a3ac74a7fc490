// External semaphores: the payload file of a software Vulkan driver on the other side.
#include "support.h"

#include <atomic>
#include <fcntl.h>
#include <unistd.h>

using namespace test;

namespace
{

class Imported
{
  public:
    explicit Imported(const VulkanSemaphore &semaphore)
    {
        const auto desc = semaphore_desc(semaphore.fd);
        OK(hipImportExternalSemaphore(&handle, &desc));
    }
    ~Imported()
    {
        OK(hipDestroyExternalSemaphore(handle));
    }
    Imported(const Imported &) = delete;
    Imported &operator=(const Imported &) = delete;
    hipError_t wait(hipStreamHandle stream) const
    {
        return hipWaitExternalSemaphoresAsync(&handle, &params, 1, stream);
    }
    hipError_t signal(hipStreamHandle stream) const
    {
        return hipSignalExternalSemaphoresAsync(&handle, &params, 1, stream);
    }
    hipExternalSemaphore_t handle = nullptr;
    hipExternalSemaphoreParams params{};
};

} // namespace

TEST(semaphore, stream_waits_for_the_exporter)
{
    const VulkanSemaphore semaphore;
    const Imported imported(semaphore);
    const Stream stream;
    OK(imported.wait(stream));
    nap(0.01);
    CHECK_EQ(hipStreamQuery(stream), hipErrorNotReady);
    semaphore.signal();
    OK(hipStreamSynchronize(stream));
    CHECK(!semaphore.signalled()); // the wait took the signal
}

TEST(semaphore, signal_comes_after_the_work_before_it)
{
    const VulkanSemaphore semaphore;
    const Imported imported(semaphore);
    const Stream stream;
    Gate gate;
    gate.hold(stream);
    OK(imported.signal(stream));
    nap(0.01);
    CHECK(!semaphore.signalled());
    gate.open();
    CHECK(semaphore.wait(5.0));
}

TEST(semaphore, a_thousand_turns)
{
    const VulkanSemaphore to_hip;
    const VulkanSemaphore from_hip;
    const Imported wait(to_hip);
    const Imported signal(from_hip);
    const Stream stream;
    std::atomic<int> turns{0};
    for (int i = 0; i < 1000; ++i) {
        OK(wait.wait(stream));
        OK(hipLaunchHostFunc(stream, [](void *data) { ++*static_cast<std::atomic<int> *>(data); }, &turns));
        OK(signal.signal(stream));
        to_hip.signal();
        CHECK(from_hip.wait(5.0));
        CHECK_EQ(turns, i + 1);
    }
}

TEST(semaphore, may_be_destroyed_while_a_wait_is_pending)
{
    const VulkanSemaphore semaphore;
    const Stream stream;
    {
        const Imported imported(semaphore);
        OK(imported.wait(stream));
    }
    semaphore.signal();
    OK(hipStreamSynchronize(stream));
}

TEST(semaphore, several_at_once)
{
    const VulkanSemaphore first;
    const VulkanSemaphore second;
    const Imported one(first);
    const Imported two(second);
    const Stream stream;
    const hipExternalSemaphore_t both[] = {one.handle, two.handle};
    const hipExternalSemaphoreParams params[2] = {};
    OK(hipSignalExternalSemaphoresAsync(both, params, 2, stream));
    OK(hipWaitExternalSemaphoresAsync(both, params, 2, stream));
    OK(hipSignalExternalSemaphoresAsync(both, params, 0, stream));
    OK(hipStreamSynchronize(stream));
    CHECK(!first.signalled() && !second.signalled());
}

TEST(semaphore, elements_before_a_bad_one_are_enqueued)
{
    const VulkanSemaphore semaphore;
    const Imported imported(semaphore);
    const Stream stream;
    const hipExternalSemaphore_t with_null[] = {imported.handle, nullptr};
    hipExternalSemaphoreParams params[2] = {};
    CHECK_EQ(hipSignalExternalSemaphoresAsync(with_null, params, 2, stream), hipErrorInvalidValue);
    OK(hipStreamSynchronize(stream));
    CHECK(semaphore.signalled());
    params[0].flags = 1;
    CHECK_EQ(hipWaitExternalSemaphoresAsync(with_null, params, 1, stream), hipErrorInvalidValue);
    OK(hipStreamSynchronize(stream));
    CHECK(semaphore.signalled());
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}

TEST(semaphore, checks_its_arguments)
{
    const VulkanSemaphore semaphore;
    hipExternalSemaphore_t handle = nullptr;
    const auto good = semaphore_desc(semaphore.fd);
    CHECK_EQ(hipImportExternalSemaphore(nullptr, &good), hipErrorInvalidValue);
    CHECK_EQ(hipImportExternalSemaphore(&handle, nullptr), hipErrorInvalidValue);
    for (const int type : {-1, 0, 5, 8, 9, 10}) { // timelines are out of AMD's range
        if (type == 9 && on_cuda())
            continue; // cuda_test.cpp imports one
        const auto desc = semaphore_desc(semaphore.fd, type);
        CHECK_EQ(hipImportExternalSemaphore(&handle, &desc), hipErrorInvalidValue);
    }
    const auto zero = semaphore_desc(0);
    CHECK_EQ(hipImportExternalSemaphore(&handle, &zero), hipErrorInvalidValue);
    const auto closed = semaphore_desc(-1);
    CHECK(hipImportExternalSemaphore(&handle, &closed) != hipSuccess);
    const VulkanMemory memory(8192);
    const auto no_semaphore = semaphore_desc(memory.fd);
    CHECK(hipImportExternalSemaphore(&handle, &no_semaphore) != hipSuccess);
    CHECK(handle == nullptr);
    CHECK(is_open(semaphore.fd) && is_open(memory.fd));
    CHECK_EQ(hipDestroyExternalSemaphore(nullptr), hipErrorInvalidValue);

    const Imported imported(semaphore);
    CHECK_EQ(hipSignalExternalSemaphoresAsync(nullptr, &imported.params, 1, nullptr), hipErrorInvalidValue);
    CHECK_EQ(hipWaitExternalSemaphoresAsync(&imported.handle, nullptr, 1, nullptr), hipErrorInvalidValue);
    hipStreamHandle gone = nullptr;
    OK(hipStreamCreate(&gone));
    OK(hipStreamDestroy(gone));
    CHECK_EQ(imported.signal(gone), hipErrorInvalidValue);
    CHECK_EQ(imported.wait(gone), hipErrorInvalidValue);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}

TEST(semaphore, destroyed_twice_is_an_error)
{
    const VulkanSemaphore semaphore;
    hipExternalSemaphore_t gone = nullptr;
    const auto desc = semaphore_desc(semaphore.fd);
    OK(hipImportExternalSemaphore(&gone, &desc));
    OK(hipDestroyExternalSemaphore(gone));
    CHECK_EQ(hipDestroyExternalSemaphore(gone), hipErrorInvalidValue);
    const hipExternalSemaphoreParams params{};
    CHECK_EQ(hipWaitExternalSemaphoresAsync(&gone, &params, 1, nullptr), hipErrorInvalidValue);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}

TEST(semaphore, not_supported_when_switched_off)
{
    const VulkanSemaphore semaphore;
    const Switch none("HIP_SEMAPHORES", "0");
    hipExternalSemaphore_t handle = nullptr;
    const auto desc = semaphore_desc(semaphore.fd);
    CHECK_EQ(hipImportExternalSemaphore(&handle, &desc), hipErrorNotSupported);
    CHECK(handle == nullptr && is_open(semaphore.fd));
    CHECK_EQ(hipGetLastError(), hipErrorNotSupported);
}

TEST(semaphore, who_closes_the_fd)
{
    const VulkanSemaphore semaphore;
    const Switch policy("HIP_FD", "consume");
    const int copy = fcntl(semaphore.fd, F_DUPFD_CLOEXEC, 3);
    hipExternalSemaphore_t handle = nullptr;
    const auto desc = semaphore_desc(copy);
    OK(hipImportExternalSemaphore(&handle, &desc));
    CHECK(!is_open(copy));
    OK(hipDestroyExternalSemaphore(handle));
}

TEST(semaphore, delayed_signal)
{
    const VulkanSemaphore semaphore;
    const Imported imported(semaphore);
    const Stream stream;
    const Switch late("SIGNAL_DELAY_MS", "100");
    const double start = now();
    OK(imported.signal(stream));
    CHECK(now() - start < 0.09);
    CHECK(semaphore.wait(5.0));
    CHECK(now() - start >= 0.1);
}
