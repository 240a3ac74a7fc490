// Mathematics and bit operations. The C library does the work; its declarations are written out because
// <cmath> is most of the compile time of a small kernel. The overloads are templates: should a program
// include <cmath> after all, its plain functions are preferred; and with a pack that is always empty (Less),
// so that its templates are, too.
template <class... T> struct softgpu_real {};
template <> struct softgpu_real<float> {
    typedef float type;
};
#define SOFTGPU_REAL(t)                                                                                      \
    template <> struct softgpu_real<t> {                                                                     \
        typedef double type;                                                                                 \
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
template <class A, class B, class... Less> struct softgpu_real2 {};
template <class A, class B> struct softgpu_real2<A, B> {
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

#define SOFTGPU_MATH1(name)                                                                                  \
    extern "C" double name(double) noexcept;                                                                 \
    extern "C" float name##f(float) noexcept;                                                                \
    template <class T, class... Less> inline typename softgpu_real<T, Less...>::type name(T x, Less...)      \
    {                                                                                                        \
        if constexpr (softgpu_is_float<T>::value)                                                            \
            return name##f(x);                                                                               \
        else                                                                                                 \
            return name(static_cast<double>(x));                                                             \
    }
#define SOFTGPU_MATH2(name)                                                                                  \
    extern "C" double name(double, double) noexcept;                                                         \
    extern "C" float name##f(float, float) noexcept;                                                         \
    template <class A, class B, class... Less>                                                               \
    inline typename softgpu_real2<A, B, Less...>::type name(A a, B b, Less...)                               \
    {                                                                                                        \
        typedef typename softgpu_real2<A, B>::type R;                                                        \
        if constexpr (softgpu_is_float<R>::value)                                                            \
            return name##f(a, b);                                                                            \
        else                                                                                                 \
            return name(static_cast<double>(a), static_cast<double>(b));                                     \
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
template <int = 0> inline float fma(float a, float b, float c)
{
    return fmaf(a, b, c);
}
template <int = 0> inline float ldexp(float x, int e)
{
    return ldexpf(x, e);
}
template <int = 0> inline float abs(float x)
{
    return __builtin_fabsf(x);
}
template <int = 0> inline double abs(double x)
{
    return __builtin_fabs(x);
}
template <int = 0> inline long abs(long x)
{
    return x < 0 ? -x : x;
}
template <int = 0> inline long long abs(long long x)
{
    return x < 0 ? -x : x;
}
template <class A, class B> inline decltype(A() + B()) min(A a, B b)
{
    return a < b ? a : b;
}
template <class A, class B> inline decltype(A() + B()) max(A a, B b)
{
    return a > b ? a : b;
}
template <int = 0> inline float min(float a, float b)
{
    return fminf(a, b);
}
template <int = 0> inline float max(float a, float b)
{
    return fmaxf(a, b);
}
template <int = 0> inline double min(double a, double b)
{
    return fmin(a, b);
}
template <int = 0> inline double max(double a, double b)
{
    return fmax(a, b);
}
// extern "C" and noexcept where the C library declares the same name, some only in newer releases of it: the
// definition here then fits a declaration that <cmath> brings.
extern "C" inline float rsqrtf(float x) noexcept
{
    return 1.0f / sqrtf(x);
}
extern "C" inline double rsqrt(double x) noexcept
{
    return 1.0 / sqrt(x);
}
inline float rsqrt(float x)
{
    return rsqrtf(x);
}
extern "C" inline float exp10f(float x) noexcept
{
    return powf(10.0f, x);
}
extern "C" inline double exp10(double x) noexcept
{
    return pow(10.0, x);
}
extern "C" inline float sinpif(float x) noexcept
{
    return sinf(3.14159265358979323846f * x);
}
extern "C" inline float cospif(float x) noexcept
{
    return cosf(3.14159265358979323846f * x);
}
extern "C" inline void sincosf(float x, float *s, float *c) noexcept
{
    *s = sinf(x);
    *c = cosf(x);
}
extern "C" inline void sincos(double x, double *s, double *c) noexcept
{
    *s = sin(x);
    *c = cos(x);
}
template <class T> inline typename softgpu_real<T>::type softgpu_as_real(T x)
{
    return x;
}
#ifndef isnan
template <class T> inline bool isnan(T x)
{
    return __builtin_isnan(softgpu_as_real(x));
}
template <class T> inline bool isinf(T x)
{
    return __builtin_isinf(softgpu_as_real(x));
}
template <class T> inline bool isfinite(T x)
{
    return __builtin_isfinite(softgpu_as_real(x));
}
template <class T> inline bool signbit(T x)
{
    return __builtin_signbit(softgpu_as_real(x));
}
#endif
extern "C" inline float __sinf(float x) noexcept
{
    return sinf(x);
}
extern "C" inline float __cosf(float x) noexcept
{
    return cosf(x);
}
extern "C" inline float __tanf(float x) noexcept
{
    return tanf(x);
}
extern "C" inline float __expf(float x) noexcept
{
    return expf(x);
}
extern "C" inline float __exp10f(float x) noexcept
{
    return exp10f(x);
}
extern "C" inline float __logf(float x) noexcept
{
    return logf(x);
}
extern "C" inline float __log2f(float x) noexcept
{
    return log2f(x);
}
extern "C" inline float __log10f(float x) noexcept
{
    return log10f(x);
}
extern "C" inline float __powf(float x, float y) noexcept
{
    return powf(x, y);
}
inline float __fdividef(float x, float y)
{
    return x / y;
}
inline float __frcp_rn(float x)
{
    return 1.0f / x;
}
inline float __fsqrt_rn(float x)
{
    return sqrtf(x);
}
inline float __saturatef(float x)
{
    return x < 0.0f ? 0.0f : x > 1.0f ? 1.0f : x;
}
inline int __float2int_rn(float x)
{
    return static_cast<int>(lrintf(x));
}
inline int __float2int_rz(float x)
{
    return static_cast<int>(x);
}
inline int __float2int_rd(float x)
{
    return static_cast<int>(floorf(x));
}
inline int __float2int_ru(float x)
{
    return static_cast<int>(ceilf(x));
}
inline float __int2float_rn(int x)
{
    return static_cast<float>(x);
}
template <class To, class From> inline To softgpu_bits(From from)
{
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}
inline int __float_as_int(float x)
{
    return softgpu_bits<int>(x);
}
inline unsigned __float_as_uint(float x)
{
    return softgpu_bits<unsigned>(x);
}
inline float __int_as_float(int x)
{
    return softgpu_bits<float>(x);
}
inline float __uint_as_float(unsigned x)
{
    return softgpu_bits<float>(x);
}
inline long long __double_as_longlong(double x)
{
    return softgpu_bits<long long>(x);
}
inline double __longlong_as_double(long long x)
{
    return softgpu_bits<double>(x);
}
inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
inline int __popcll(unsigned long long x)
{
    return __builtin_popcountll(x);
}
inline int __clz(int x)
{
    return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x));
}
inline int __clzll(long long x)
{
    return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x));
}
inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
inline int __ffsll(long long x)
{
    return __builtin_ffsll(x);
}
inline unsigned __brev(unsigned x)
{
    unsigned r = 0;
    for (int i = 0; i < 32; ++i, x >>= 1)
        r = r << 1 | (x & 1);
    return r;
}
inline int __mul24(int a, int b)
{
    return a * b;
}
inline int __mulhi(int a, int b)
{
    return static_cast<int>(static_cast<long long>(a) * b >> 32);
}
inline unsigned __umulhi(unsigned a, unsigned b)
{
    return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
template <class T> inline T __ldg(const T *p)
{
    return *p;
}
