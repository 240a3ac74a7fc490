#include "fiber.h"

#include <cstdint>
#include <new>
#include <pthread.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define SOFTGPU_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SOFTGPU_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define SOFTGPU_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SOFTGPU_TSAN 1
#endif
#endif
#ifdef SOFTGPU_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef SOFTGPU_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#if !defined(__x86_64__)
#error "The stack switch below is written for x86-64"
#endif

// softgpu_fiber_switch(void **save, void *load): keeps what the System V ABI calls callee-saved, except the
// floating-point control words, which kernels do not change.
asm(R"(
    .text
    .p2align 4
    .type softgpu_fiber_switch, @function
    .hidden softgpu_fiber_switch
    .globl softgpu_fiber_switch
softgpu_fiber_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size softgpu_fiber_switch, .-softgpu_fiber_switch

    .p2align 4
    .type softgpu_fiber_start, @function
    .hidden softgpu_fiber_start
    .globl softgpu_fiber_start
softgpu_fiber_start:
    movq %r12, %rdi
    call *%r13
    ud2
    .size softgpu_fiber_start, .-softgpu_fiber_start
)");
extern "C" void softgpu_fiber_switch(void **save, void *load);
extern "C" void softgpu_fiber_start();

namespace softgpu::cpu
{

namespace
{

constexpr size_t guard_size = 4096;
constexpr size_t stack_size = 128 * 1024; // committed page by page as it is touched

struct Start {
    void (*body)(void *);
    void *argument;
};

#ifdef SOFTGPU_ASAN
void enter_first_time(void *argument)
{
    const Start start = *static_cast<Start *>(argument);
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
    start.body(start.argument);
}
#endif

} // namespace

bool context_create(Context *context, void (*body)(void *), void *argument)
{
    void *mapping = mmap(nullptr, guard_size + stack_size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (mapping == MAP_FAILED)
        return false;
    mprotect(mapping, guard_size, PROT_NONE);
    context->stack = static_cast<char *>(mapping) + guard_size;
    context->stack_size = stack_size;
    auto *top = reinterpret_cast<uintptr_t *>(static_cast<char *>(context->stack) + stack_size);
#ifdef SOFTGPU_ASAN
    top -= 2;
    auto *start = new (top) Start{body, argument};
    body = enter_first_time;
    argument = start;
#endif
    // Popped by the switch: r15 r14 r13 r12 rbx rbp, then the return address. The stack is 16-byte aligned
    // when softgpu_fiber_start begins, so its call leaves it as a function expects it.
    uintptr_t *frame = top - 9;
    frame[0] = 0;
    frame[1] = 0;
    frame[2] = reinterpret_cast<uintptr_t>(body);
    frame[3] = reinterpret_cast<uintptr_t>(argument);
    frame[4] = 0;
    frame[5] = 0;
    frame[6] = reinterpret_cast<uintptr_t>(softgpu_fiber_start);
    frame[7] = 0; // where a stack walk ends
    frame[8] = 0;
    context->stack_pointer = frame;
#ifdef SOFTGPU_TSAN
    context->sanitizer = __tsan_create_fiber(0);
#endif
    return true;
}

void context_destroy(Context *context)
{
#ifdef SOFTGPU_TSAN
    __tsan_destroy_fiber(context->sanitizer);
#endif
    munmap(static_cast<char *>(context->stack) - guard_size, guard_size + stack_size);
    *context = {};
}

void context_adopt_thread(Context *context)
{
#ifdef SOFTGPU_ASAN
    pthread_attr_t attributes;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &context->stack, &context->stack_size);
        pthread_attr_destroy(&attributes);
    }
#endif
#ifdef SOFTGPU_TSAN
    context->sanitizer = __tsan_get_current_fiber();
#endif
    (void)context;
}

void context_switch(Context *from, Context *to)
{
#ifdef SOFTGPU_ASAN
    void *fake_stack = nullptr;
    __sanitizer_start_switch_fiber(&fake_stack, to->stack, to->stack_size);
#endif
#ifdef SOFTGPU_TSAN
    __tsan_switch_to_fiber(to->sanitizer, 0);
#endif
    softgpu_fiber_switch(&from->stack_pointer, to->stack_pointer);
#ifdef SOFTGPU_ASAN
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

} // namespace softgpu::cpu
