// Runs the blocks of a kernel on the calling thread.
#ifndef SOFTGPU_HIP_CPU_RUNNER_H
#define SOFTGPU_HIP_CPU_RUNNER_H
#include "../device.h"
#include "../kernel_abi.h"
#include "fiber.h"

#include <deque>
#include <memory>
#include <vector>

namespace softgpu::cpu
{

// Threads of a block run one after another on one stack for as long as none meets a barrier. One that does
// parks its stack, and another stack starts the threads that are left; when all are parked or done, the
// parked ones go on. So a kernel without barriers costs no switch, and one with barriers a stack per waiting
// thread.
class Runner
{
  public:
    Runner();
    ~Runner();
    Runner(const Runner &) = delete;
    Runner &operator=(const Runner &) = delete;

    void run_block(const softgpu_kernel &kernel, const char *packed, Dim3 index, const LaunchShape &shape);

    static Runner &of_this_thread();

  private:
    // First member of the block handed to the kernel, so that barrier() finds its runner.
    struct Block : softgpu_block {
        Runner *runner;
    };

    static void barrier(softgpu_block *block);
    static void stack_main(void *self);
    void wait_at_barrier();
    void run_threads();
    Context *next_context();
    Context *fresh_context();

    Block block_{};
    const softgpu_kernel *kernel_ = nullptr;
    const char *packed_ = nullptr;
    Context own_;                   // this thread's own stack
    Context *running_ = nullptr;    // whose stack executes now
    std::deque<Context *> waiting_; // at the barrier
    std::deque<Context *> ready_;   // past it
    std::vector<Context *> idle_;   // stacks to use again
    std::vector<std::unique_ptr<Context>> stacks_;
};

} // namespace softgpu::cpu
#endif
