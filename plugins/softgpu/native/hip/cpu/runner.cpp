#include "runner.h"

#include <cstdio>
#include <cstdlib>

namespace softgpu::cpu
{

Runner::Runner()
{
    context_adopt_thread(&own_);
}

Runner::~Runner()
{
    for (const auto &stack : stacks_)
        context_destroy(stack.get());
}

Runner &Runner::of_this_thread()
{
    static thread_local std::unique_ptr<Runner> runner;
    if (!runner)
        runner = std::make_unique<Runner>();
    return *runner;
}

void Runner::barrier(softgpu_block *block)
{
    static_cast<Block *>(block)->runner->wait_at_barrier();
}

// Who executes next: first those past the barrier; when there is none, everyone living has arrived at it.
Context *Runner::next_context()
{
    if (ready_.empty())
        ready_.swap(waiting_);
    if (ready_.empty())
        return nullptr;
    Context *next = ready_.front();
    ready_.pop_front();
    return next;
}

Context *Runner::fresh_context()
{
    if (!idle_.empty()) {
        Context *context = idle_.back();
        idle_.pop_back();
        return context;
    }
    auto made = std::make_unique<Context>();
    if (!context_create(made.get(), stack_main, this)) {
        fprintf(stderr, "softgpu hip: no memory for the stack of a kernel thread that waits at a barrier\n");
        abort();
    }
    stacks_.push_back(std::move(made));
    return stacks_.back().get();
}

void Runner::wait_at_barrier()
{
    Context *self = running_;
    waiting_.push_back(self);
    Context *next = ready_.empty() && block_.left > 0 ? fresh_context() : next_context();
    if (next == self)
        return;
    running_ = next;
    context_switch(self, next);
}

void Runner::run_threads()
{
    kernel_->run(&block_, packed_);
}

void Runner::stack_main(void *argument)
{
    auto *self = static_cast<Runner *>(argument);
    for (;;) {
        self->run_threads();
        // This stack's threads are done. Whoever is left goes on; the last one returns to run_block().
        Context *finished = self->running_;
        self->idle_.push_back(finished);
        Context *next = self->next_context();
        self->running_ = next != nullptr ? next : &self->own_;
        context_switch(finished, self->running_);
    }
}

void Runner::run_block(const softgpu_kernel &kernel, const char *packed, Dim3 index, const LaunchShape &shape)
{
    kernel_ = &kernel;
    packed_ = packed;
    running_ = &own_;
    static_cast<softgpu_block &>(block_) = {{0, 0, 0},
                                            shape.block.x * shape.block.y * shape.block.z,
                                            {index.x, index.y, index.z},
                                            {shape.block.x, shape.block.y, shape.block.z},
                                            {shape.grid.x, shape.grid.y, shape.grid.z},
                                            barrier};
    block_.runner = this;
    run_threads();
    while (Context *next = next_context()) {
        running_ = next;
        context_switch(&own_, next);
    }
}

} // namespace softgpu::cpu
