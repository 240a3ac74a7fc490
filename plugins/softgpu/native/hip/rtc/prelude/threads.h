// The executing thread, its block, barriers and fences.
static __thread uint3 threadIdx, blockIdx, blockDim, gridDim;
static __thread softgpu_block *softgpu_current;
static constexpr int warpSize = 1;

// Other threads run meanwhile, on this same thread of the operating system, so threadIdx has to be put back.
inline void __syncthreads()
{
    const uint3 mine = threadIdx;
    __asm__ __volatile__("" ::: "memory");
    softgpu_current->barrier(softgpu_current);
    __asm__ __volatile__("" ::: "memory");
    threadIdx = mine;
}
inline void __syncwarp()
{
}
inline void __threadfence()
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
inline void __threadfence_block()
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
inline void __threadfence_system()
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
inline long long clock64()
{
    return static_cast<long long>(__builtin_ia32_rdtsc());
}
inline long long wall_clock64()
{
    return clock64();
}
inline long long clock()
{
    return clock64();
}

extern "C" int printf(const char *, ...);
#ifndef assert
#define assert(condition)                                                                                    \
    ((condition) ? (void)0 : (printf("%s:%d: %s\n", __FILE__, __LINE__, #condition), __builtin_trap()))
#endif
