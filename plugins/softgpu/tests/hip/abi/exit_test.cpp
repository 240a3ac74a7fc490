// Ways to end: with streams that are still blocked, and the aborts and faults that AMD's runtime has.
#include "support.h"

#include <csignal>
#include <cstdlib>
#include <thread>
#include <unistd.h>

using namespace test;

namespace
{

// The sanitizers would report what these children are meant to die of.
Ended run_faulty_child(const char *name)
{
    setenv("ASAN_OPTIONS", "handle_segv=0:handle_sigbus=0:detect_leaks=0", 1);
    setenv("TSAN_OPTIONS", "handle_segv=0:handle_sigbus=0", 1);
    const Ended ended = run_child(name);
    unsetenv("ASAN_OPTIONS");
    unsetenv("TSAN_OPTIONS");
    return ended;
}

void clean(const char *name)
{
    const Ended ended = run_child(name);
    if (ended.exit_status != 0 || ended.seconds > 10.0 || !ended.output.empty())
        fail(__FILE__, __LINE__,
             std::string(name) + ": exit status " + std::to_string(ended.exit_status) + ", signal " +
                 std::to_string(ended.signal) + " after " + std::to_string(ended.seconds) + " s\n" +
                 ended.output);
}

} // namespace

CHILD(value_wait)
{
    hipStreamHandle stream = nullptr;
    uint32_t *word = nullptr;
    OK(hipStreamCreate(&stream));
    OK(hipHostMalloc(reinterpret_cast<void **>(&word), 4, 0));
    __atomic_store_n(word, 0u, __ATOMIC_RELEASE);
    OK(hipStreamWaitValue32(stream, word, 1, 0, UINT32_MAX));
    nap(0.02);
    return 0;
}

CHILD(semaphore_wait)
{
    const VulkanSemaphore semaphore;
    const auto desc = semaphore_desc(semaphore.fd);
    const hipExternalSemaphoreParams params{};
    hipExternalSemaphore_t handle = nullptr;
    OK(hipImportExternalSemaphore(&handle, &desc));
    OK(hipWaitExternalSemaphoresAsync(&handle, &params, 1, nullptr));
    nap(0.02);
    return 0;
}

CHILD(host_function)
{
    hipStreamHandle stream = nullptr;
    OK(hipStreamCreate(&stream));
    OK(hipLaunchHostFunc(stream, [](void *) { nap(1000.0); }, nullptr));
    nap(0.02);
    return 0;
}

CHILD(per_thread_stream)
{
    uint32_t *word = nullptr;
    const auto per_thread = reinterpret_cast<hipStreamHandle>(uintptr_t{2});
    OK(hipHostMalloc(reinterpret_cast<void **>(&word), 4, 0));
    __atomic_store_n(word, 0u, __ATOMIC_RELEASE);
    OK(hipStreamWaitValue32(per_thread, word, 1, 0, UINT32_MAX));
    nap(0.02);
    return 0;
}

CHILD(running_kernel)
{
    const std::string code = compile(R"(
extern "C" __global__ void spin(volatile unsigned *word) { while (*word == 0) __syncthreads(); })");
    hipModuleHandle module = nullptr;
    hipFunctionHandle function = nullptr;
    uint32_t *word = nullptr;
    OK(hipModuleLoadData(&module, code.data()));
    OK(hipModuleGetFunction(&function, module, "spin"));
    OK(hipMalloc(reinterpret_cast<void **>(&word), 4));
    OK(hipMemset(word, 0, 4));
    OK(launch(function, 1, 32, nullptr, word));
    nap(0.02);
    return 0;
}

CHILD(interior_free)
{
    char *pointer = nullptr;
    OK(hipMalloc(reinterpret_cast<void **>(&pointer), 64));
    OK(hipFree(pointer + 1));
    return 0;
}

CHILD(semaphore_assertion)
{
    const Switch abort("HIP_SEMAPHORES", "abort");
    const VulkanSemaphore semaphore;
    hipExternalSemaphore_t handle = nullptr;
    const auto desc = semaphore_desc(semaphore.fd);
    return hipImportExternalSemaphore(&handle, &desc);
}

CHILD(past_the_end)
{
    const VulkanMemory memory(4096);
    hipExternalMemory_t imported = nullptr;
    unsigned char *mapped = nullptr;
    const auto desc = memory_desc(memory.fd, 1 << 20);
    const auto buffer = buffer_desc(0, 1 << 20);
    OK(hipImportExternalMemory(&imported, &desc));
    OK(hipExternalMemoryGetMappedBuffer(reinterpret_cast<void **>(&mapped), imported, &buffer));
    return hipMemset(mapped + 16384, 1, 1);
}

TEST(exit, with_a_stream_blocked_by_a_value)
{
    clean("value_wait");
}

TEST(exit_external, with_a_stream_blocked_by_a_semaphore)
{
    clean("semaphore_wait");
}

TEST(exit, with_a_host_function_that_does_not_return)
{
    clean("host_function");
}

TEST(exit, with_a_blocked_stream_of_the_thread)
{
    clean("per_thread_stream");
}

TEST(exit_kernel, with_a_kernel_that_does_not_return)
{
    clean("running_kernel");
}

TEST(exit, freeing_an_interior_pointer_aborts)
{
    const Ended ended = run_faulty_child("interior_free");
    CHECK_EQ(ended.signal, SIGABRT);
    CHECK(ended.output.find("1 bytes inside an allocation") != std::string::npos);
}

TEST(exit_external, semaphore_assertion_aborts)
{
    const Ended ended = run_faulty_child("semaphore_assertion");
    CHECK_EQ(ended.signal, SIGABRT);
    CHECK(ended.output.find("should not reach here") != std::string::npos);
}

TEST(exit_external, memory_past_the_end_faults)
{
    const Ended ended = run_faulty_child("past_the_end");
    CHECK(ended.signal == SIGSEGV || ended.signal == SIGBUS);
}
