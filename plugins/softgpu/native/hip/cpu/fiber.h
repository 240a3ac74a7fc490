// Stacks to switch between on one thread, so that the threads of a block can wait for each other.
#ifndef SOFTGPU_HIP_CPU_FIBER_H
#define SOFTGPU_HIP_CPU_FIBER_H
#include <cstddef>

namespace softgpu::cpu
{

// A place where execution can continue: a parked stack.
struct Context {
    void *stack_pointer = nullptr;
    void *stack = nullptr; // lowest usable byte; null for a thread's own stack
    size_t stack_size = 0;
    void *sanitizer = nullptr; // the thread sanitizer's handle
};

// Gives context a new stack on which body(argument) will run at the first switch to it; body never returns.
// False: no memory.
bool context_create(Context *context, void (*body)(void *), void *argument);
void context_destroy(Context *context);
// Fills in what sanitizers need to know of the stack the caller runs on.
void context_adopt_thread(Context *context);
void context_switch(Context *from, Context *to);

} // namespace softgpu::cpu
#endif
