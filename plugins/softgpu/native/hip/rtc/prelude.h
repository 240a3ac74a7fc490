// What HIP's device language has and C++ has not. Compiled in front of every kernel program, after kernel_abi.h, so
// it includes nothing: the standard headers would cost most of the compile time. __global__ and __shared__ are not
// defined here; the scanner rewrites them, as they need more than a macro can do.
#define __HIP__ 1
#define __HIPCC__ 1
#define __HIPCC_RTC__ 1
#define __HIP_DEVICE_COMPILE__ 1
#define __HIP_PLATFORM_AMD__ 1
#define __SOFTGPU__ 1
#define __device__
#define __host__
#define __constant__
#define __managed__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __restrict__ __restrict

typedef __SIZE_TYPE__ size_t;
typedef __INT8_TYPE__ int8_t;
typedef __UINT8_TYPE__ uint8_t;
typedef __INT16_TYPE__ int16_t;
typedef __UINT16_TYPE__ uint16_t;
typedef __INT32_TYPE__ int32_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __INT64_TYPE__ int64_t;
typedef __UINT64_TYPE__ uint64_t;
typedef __INTPTR_TYPE__ intptr_t;
typedef __UINTPTR_TYPE__ uintptr_t;
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef long long longlong;
typedef unsigned long long ulonglong;

// -- vectors ---------------------------------------------------------------------------------------------------
#define SOFTGPU_VECTOR(type, name, align2, align4)                                                                   \
    struct name##1 {                                                                                                 \
        type x;                                                                                                      \
    };                                                                                                               \
    struct __attribute__((aligned(align2))) name##2 {                                                                \
        typedef type softgpu_scalar;                                                                                 \
        enum {                                                                                                       \
            softgpu_lanes = 2                                                                                        \
        };                                                                                                           \
        type x, y;                                                                                                   \
    };                                                                                                               \
    struct name##3 {                                                                                                 \
        typedef type softgpu_scalar;                                                                                 \
        enum {                                                                                                       \
            softgpu_lanes = 3                                                                                        \
        };                                                                                                           \
        type x, y, z;                                                                                                \
    };                                                                                                               \
    struct __attribute__((aligned(align4))) name##4 {                                                                \
        typedef type softgpu_scalar;                                                                                 \
        enum {                                                                                                       \
            softgpu_lanes = 4                                                                                        \
        };                                                                                                           \
        type x, y, z, w;                                                                                             \
    };                                                                                                               \
    inline name##1 make_##name##1(type x) { return {x}; }                                                            \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; }                                                 \
    inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                                      \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
SOFTGPU_VECTOR(signed char, char, 2, 4)
SOFTGPU_VECTOR(unsigned char, uchar, 2, 4)
SOFTGPU_VECTOR(short, short, 4, 8)
SOFTGPU_VECTOR(unsigned short, ushort, 4, 8)
SOFTGPU_VECTOR(int, int, 8, 16)
SOFTGPU_VECTOR(unsigned, uint, 8, 16)
SOFTGPU_VECTOR(long, long, 16, 16)
SOFTGPU_VECTOR(unsigned long, ulong, 16, 16)
SOFTGPU_VECTOR(long long, longlong, 16, 16)
SOFTGPU_VECTOR(unsigned long long, ulonglong, 16, 16)
SOFTGPU_VECTOR(float, float, 8, 16)
SOFTGPU_VECTOR(double, double, 16, 16)

#define SOFTGPU_OPERATOR(op)                                                                                         \
    template <class V, int lanes = V::softgpu_lanes> inline V operator op(const V &a, const V &b)                    \
    {                                                                                                                \
        V r = a;                                                                                                     \
        r.x = a.x op b.x;                                                                                            \
        r.y = a.y op b.y;                                                                                            \
        if constexpr (lanes > 2)                                                                                     \
            r.z = a.z op b.z;                                                                                        \
        if constexpr (lanes > 3)                                                                                     \
            r.w = a.w op b.w;                                                                                        \
        return r;                                                                                                    \
    }                                                                                                                \
    template <class V, int lanes = V::softgpu_lanes>                                                                 \
    inline V operator op(const V &a, typename V::softgpu_scalar b)                                                   \
    {                                                                                                                \
        V r = a;                                                                                                     \
        r.x = a.x op b;                                                                                              \
        r.y = a.y op b;                                                                                              \
        if constexpr (lanes > 2)                                                                                     \
            r.z = a.z op b;                                                                                          \
        if constexpr (lanes > 3)                                                                                     \
            r.w = a.w op b;                                                                                          \
        return r;                                                                                                    \
    }                                                                                                                \
    template <class V, int lanes = V::softgpu_lanes>                                                                 \
    inline V operator op(typename V::softgpu_scalar a, const V &b)                                                   \
    {                                                                                                                \
        V r = b;                                                                                                     \
        r.x = a op b.x;                                                                                              \
        r.y = a op b.y;                                                                                              \
        if constexpr (lanes > 2)                                                                                     \
            r.z = a op b.z;                                                                                          \
        if constexpr (lanes > 3)                                                                                     \
            r.w = a op b.w;                                                                                          \
        return r;                                                                                                    \
    }                                                                                                                \
    template <class V, class B, int lanes = V::softgpu_lanes> inline V &operator op##=(V & a, const B & b)           \
    {                                                                                                                \
        return a = a op b;                                                                                           \
    }
SOFTGPU_OPERATOR(+)
SOFTGPU_OPERATOR(-)
SOFTGPU_OPERATOR(*)
SOFTGPU_OPERATOR(/)

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

// -- the thread and its block ----------------------------------------------------------------------------------
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
inline void __syncwarp() {}
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_system() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline long long clock64() { return static_cast<long long>(__builtin_ia32_rdtsc()); }
inline long long wall_clock64() { return clock64(); }
inline long long clock() { return clock64(); }

extern "C" int printf(const char *, ...);
#ifndef assert
#define assert(condition) ((condition) ? (void)0 : (printf("%s:%d: %s\n", __FILE__, __LINE__, #condition), __builtin_trap()))
#endif

// -- mathematics -----------------------------------------------------------------------------------------------
template <class T> struct softgpu_real {};
template <> struct softgpu_real<float> {
    typedef float type;
};
#define SOFTGPU_REAL(t)                                                                                              \
    template <> struct softgpu_real<t> {                                                                             \
        typedef double type;                                                                                         \
    };
SOFTGPU_REAL(double)
SOFTGPU_REAL(char)
SOFTGPU_REAL(signed char)
SOFTGPU_REAL(unsigned char)
SOFTGPU_REAL(short)
SOFTGPU_REAL(unsigned short)
SOFTGPU_REAL(int)
SOFTGPU_REAL(unsigned)
SOFTGPU_REAL(long)
SOFTGPU_REAL(unsigned long)
SOFTGPU_REAL(long long)
SOFTGPU_REAL(unsigned long long)
template <class A, class B> struct softgpu_real2 {
    typedef decltype(typename softgpu_real<A>::type() + typename softgpu_real<B>::type()) type;
};
template <class T> struct softgpu_is_float {
    enum {
        value = 0
    };
};
template <> struct softgpu_is_float<float> {
    enum {
        value = 1
    };
};

#define SOFTGPU_MATH1(name)                                                                                          \
    extern "C" double name(double) noexcept;                                                                         \
    extern "C" float name##f(float) noexcept;                                                                        \
    template <class T> inline typename softgpu_real<T>::type name(T x)                                               \
    {                                                                                                                \
        if constexpr (softgpu_is_float<T>::value)                                                                    \
            return name##f(x);                                                                                       \
        else                                                                                                         \
            return name(static_cast<double>(x));                                                                     \
    }
#define SOFTGPU_MATH2(name)                                                                                          \
    extern "C" double name(double, double) noexcept;                                                                 \
    extern "C" float name##f(float, float) noexcept;                                                                 \
    template <class A, class B> inline typename softgpu_real2<A, B>::type name(A a, B b)                             \
    {                                                                                                                \
        typedef typename softgpu_real2<A, B>::type R;                                                                \
        if constexpr (softgpu_is_float<R>::value)                                                                    \
            return name##f(a, b);                                                                                    \
        else                                                                                                         \
            return name(static_cast<double>(a), static_cast<double>(b));                                             \
    }
SOFTGPU_MATH1(sin)
SOFTGPU_MATH1(cos)
SOFTGPU_MATH1(tan)
SOFTGPU_MATH1(asin)
SOFTGPU_MATH1(acos)
SOFTGPU_MATH1(atan)
SOFTGPU_MATH1(sinh)
SOFTGPU_MATH1(cosh)
SOFTGPU_MATH1(tanh)
SOFTGPU_MATH1(asinh)
SOFTGPU_MATH1(acosh)
SOFTGPU_MATH1(atanh)
SOFTGPU_MATH1(exp)
SOFTGPU_MATH1(exp2)
SOFTGPU_MATH1(expm1)
SOFTGPU_MATH1(log)
SOFTGPU_MATH1(log2)
SOFTGPU_MATH1(log10)
SOFTGPU_MATH1(log1p)
SOFTGPU_MATH1(sqrt)
SOFTGPU_MATH1(cbrt)
SOFTGPU_MATH1(fabs)
SOFTGPU_MATH1(floor)
SOFTGPU_MATH1(ceil)
SOFTGPU_MATH1(round)
SOFTGPU_MATH1(trunc)
SOFTGPU_MATH1(rint)
SOFTGPU_MATH1(nearbyint)
SOFTGPU_MATH1(erf)
SOFTGPU_MATH1(erfc)
SOFTGPU_MATH1(tgamma)
SOFTGPU_MATH1(lgamma)
SOFTGPU_MATH2(pow)
SOFTGPU_MATH2(atan2)
SOFTGPU_MATH2(fmod)
SOFTGPU_MATH2(remainder)
SOFTGPU_MATH2(hypot)
SOFTGPU_MATH2(fmin)
SOFTGPU_MATH2(fmax)
SOFTGPU_MATH2(fdim)
SOFTGPU_MATH2(copysign)
extern "C" double fma(double, double, double) noexcept;
extern "C" float fmaf(float, float, float) noexcept;
extern "C" double ldexp(double, int) noexcept;
extern "C" float ldexpf(float, int) noexcept;
extern "C" long lrintf(float) noexcept;
extern "C" int abs(int) noexcept;
template <int = 0> inline float fma(float a, float b, float c) { return fmaf(a, b, c); }
template <int = 0> inline float ldexp(float x, int e) { return ldexpf(x, e); }
template <int = 0> inline float abs(float x) { return __builtin_fabsf(x); }
template <int = 0> inline double abs(double x) { return __builtin_fabs(x); }
template <int = 0> inline long abs(long x) { return x < 0 ? -x : x; }
template <int = 0> inline long long abs(long long x) { return x < 0 ? -x : x; }
template <class A, class B> inline decltype(A() + B()) min(A a, B b) { return a < b ? a : b; }
template <class A, class B> inline decltype(A() + B()) max(A a, B b) { return a > b ? a : b; }
template <int = 0> inline float min(float a, float b) { return fminf(a, b); }
template <int = 0> inline float max(float a, float b) { return fmaxf(a, b); }
template <int = 0> inline double min(double a, double b) { return fmin(a, b); }
template <int = 0> inline double max(double a, double b) { return fmax(a, b); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline float exp10f(float x) { return powf(10.0f, x); }
inline double exp10(double x) { return pow(10.0, x); }
inline float sinpif(float x) { return sinf(3.14159265358979323846f * x); }
inline float cospif(float x) { return cosf(3.14159265358979323846f * x); }
inline void sincosf(float x, float *s, float *c)
{
    *s = sinf(x);
    *c = cosf(x);
}
inline void sincos(double x, double *s, double *c)
{
    *s = sin(x);
    *c = cos(x);
}
template <class T> inline typename softgpu_real<T>::type softgpu_as_real(T x) { return x; }
#ifndef isnan
template <class T> inline bool isnan(T x) { return __builtin_isnan(softgpu_as_real(x)); }
template <class T> inline bool isinf(T x) { return __builtin_isinf(softgpu_as_real(x)); }
template <class T> inline bool isfinite(T x) { return __builtin_isfinite(softgpu_as_real(x)); }
template <class T> inline bool signbit(T x) { return __builtin_signbit(softgpu_as_real(x)); }
#endif
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __tanf(float x) { return tanf(x); }
inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return exp10f(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __log10f(float x) { return log10f(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __saturatef(float x) { return x < 0.0f ? 0.0f : x > 1.0f ? 1.0f : x; }
inline int __float2int_rn(float x) { return static_cast<int>(lrintf(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline int __float2int_rd(float x) { return static_cast<int>(floorf(x)); }
inline int __float2int_ru(float x) { return static_cast<int>(ceilf(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
template <class To, class From> inline To softgpu_bits(From from)
{
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}
inline int __float_as_int(float x) { return softgpu_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return softgpu_bits<unsigned>(x); }
inline float __int_as_float(int x) { return softgpu_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return softgpu_bits<float>(x); }
inline long long __double_as_longlong(double x) { return softgpu_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return softgpu_bits<double>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x)
{
    unsigned r = 0;
    for (int i = 0; i < 32; ++i, x >>= 1)
        r = r << 1 | (x & 1);
    return r;
}
inline int __mul24(int a, int b) { return a * b; }
inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<long long>(a) * b >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b)
{
    return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
template <class T> inline T __ldg(const T *p) { return *p; }

// -- atomics ---------------------------------------------------------------------------------------------------
// Each returns the old value. A value of another type is converted to the word's, as HIP's overloads do.
template <class T> struct softgpu_same {
    typedef T type;
};
template <class T, class Change> inline T softgpu_update(T *p, Change change)
{
    T old;
    __atomic_load(p, &old, __ATOMIC_RELAXED);
    for (;;) {
        T next = change(old);
        if (__atomic_compare_exchange(p, &old, &next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            return old;
    }
}
#define SOFTGPU_ATOMIC(name, expression)                                                                             \
    template <class T> inline T name(T *p, typename softgpu_same<T>::type v)                                         \
    {                                                                                                                \
        return softgpu_update(p, [v](T old) -> T { return expression; });                                            \
    }                                                                                                                \
    template <class T> inline T name##_system(T *p, typename softgpu_same<T>::type v) { return name(p, v); }         \
    template <class T> inline T name##_block(T *p, typename softgpu_same<T>::type v) { return name(p, v); }
SOFTGPU_ATOMIC(atomicAdd, old + v)
SOFTGPU_ATOMIC(atomicSub, old - v)
SOFTGPU_ATOMIC(atomicExch, v)
SOFTGPU_ATOMIC(atomicMin, v < old ? v : old)
SOFTGPU_ATOMIC(atomicMax, v > old ? v : old)
SOFTGPU_ATOMIC(atomicAnd, old & v)
SOFTGPU_ATOMIC(atomicOr, old | v)
SOFTGPU_ATOMIC(atomicXor, old ^ v)
SOFTGPU_ATOMIC(atomicInc, old >= v ? 0 : old + 1)
SOFTGPU_ATOMIC(atomicDec, old == 0 || old > v ? v : old - 1)
template <class T> inline T atomicCAS(T *p, typename softgpu_same<T>::type expected, typename softgpu_same<T>::type v)
{
    __atomic_compare_exchange(p, &expected, &v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return expected;
}

// -- the kernel table ------------------------------------------------------------------------------------------
template <unsigned... I> struct softgpu_indices {};
template <unsigned N, unsigned... I> struct softgpu_count_to : softgpu_count_to<N - 1, N - 1, I...> {};
template <unsigned... I> struct softgpu_count_to<0, I...> {
    typedef softgpu_indices<I...> type;
};

template <class... A> struct softgpu_layout {
    struct table {
        unsigned offset[sizeof...(A) + 1];
    };
    static constexpr unsigned size[sizeof...(A) + 1] = {sizeof(A)..., 0};
    static constexpr table place()
    {
        const unsigned align[sizeof...(A) + 1] = {alignof(A)..., 1};
        table t = {};
        unsigned end = 0;
        for (unsigned i = 0; i < sizeof...(A); ++i) {
            t.offset[i] = (end + align[i] - 1) / align[i] * align[i];
            end = t.offset[i] + size[i];
        }
        return t;
    }
    static constexpr table places = place();
};

template <auto kernel> struct softgpu_entry;
template <class... A, void (*kernel)(A...)> struct softgpu_entry<kernel> {
    typedef softgpu_layout<A...> layout;

    static void threads(softgpu_block *block, A... arguments)
    {
        softgpu_current = block;
        blockIdx = {block->index.x, block->index.y, block->index.z};
        blockDim = {block->block.x, block->block.y, block->block.z};
        gridDim = {block->grid.x, block->grid.y, block->grid.z};
        while (block->left != 0) {
            softgpu_dim &next = block->next;
            threadIdx = {next.x, next.y, next.z};
            --block->left;
            if (++next.x == block->block.x) {
                next.x = 0;
                if (++next.y == block->block.y) {
                    next.y = 0;
                    ++next.z;
                }
            }
            kernel(arguments...);
        }
    }
    template <unsigned... I> static void unpack(softgpu_block *block, const char *packed, softgpu_indices<I...>)
    {
        (void)packed;
        threads(block, *reinterpret_cast<const A *>(packed + layout::places.offset[I])...);
    }
    static void run(softgpu_block *block, const char *packed)
    {
        unpack(block, packed, typename softgpu_count_to<sizeof...(A)>::type());
    }
    static softgpu_kernel named(const char *name)
    {
        return {name,         reinterpret_cast<const void *>(kernel), run, sizeof...(A), layout::size,
                layout::places.offset};
    }
};
