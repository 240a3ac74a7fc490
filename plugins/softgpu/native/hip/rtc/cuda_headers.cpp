#include "cuda_headers.h"

namespace softgpu::rtc
{

namespace
{

// Mathematics of whole numbers is double precision in C++; CUDA alone finds the call ambiguous.
constexpr const char *prelude = R"(#pragma once
#define __HIP__ 1
#define __HIPCC__ 1
#define __HIPCC_RTC__ 1
#define __HIP_DEVICE_COMPILE__ 1
#define __HIP_PLATFORM_NVIDIA__ 1
#define __SOFTGPU__ 1
#define HIP_DYNAMIC_SHARED(type, name) extern __shared__ type name[];
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long int64_t;
typedef unsigned long uint64_t;
typedef long intptr_t;
typedef unsigned long uintptr_t;
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
template <class T> struct softgpu_whole {};
#define SOFTGPU_WHOLE(t) template <> struct softgpu_whole<t> { typedef double real; };
SOFTGPU_WHOLE(char) SOFTGPU_WHOLE(signed char) SOFTGPU_WHOLE(unsigned char) SOFTGPU_WHOLE(short)
SOFTGPU_WHOLE(unsigned short) SOFTGPU_WHOLE(int) SOFTGPU_WHOLE(unsigned) SOFTGPU_WHOLE(long)
SOFTGPU_WHOLE(unsigned long) SOFTGPU_WHOLE(long long) SOFTGPU_WHOLE(unsigned long long)
#undef SOFTGPU_WHOLE
#define SOFTGPU_OF_WHOLE(f) \
    template <class T> __device__ inline typename softgpu_whole<T>::real f(T x) { return f(double(x)); }
SOFTGPU_OF_WHOLE(acos) SOFTGPU_OF_WHOLE(asin) SOFTGPU_OF_WHOLE(atan) SOFTGPU_OF_WHOLE(cbrt)
SOFTGPU_OF_WHOLE(ceil) SOFTGPU_OF_WHOLE(cos) SOFTGPU_OF_WHOLE(cosh) SOFTGPU_OF_WHOLE(exp)
SOFTGPU_OF_WHOLE(exp2) SOFTGPU_OF_WHOLE(fabs) SOFTGPU_OF_WHOLE(floor) SOFTGPU_OF_WHOLE(log)
SOFTGPU_OF_WHOLE(log10) SOFTGPU_OF_WHOLE(log2) SOFTGPU_OF_WHOLE(round) SOFTGPU_OF_WHOLE(rsqrt)
SOFTGPU_OF_WHOLE(sin) SOFTGPU_OF_WHOLE(sinh) SOFTGPU_OF_WHOLE(sqrt) SOFTGPU_OF_WHOLE(tan)
SOFTGPU_OF_WHOLE(tanh) SOFTGPU_OF_WHOLE(trunc)
#undef SOFTGPU_OF_WHOLE
)";

constexpr const char *cstdint = R"(#pragma once
namespace std
{
using ::int8_t; using ::int16_t; using ::int32_t; using ::int64_t; using ::intptr_t;
using ::uint8_t; using ::uint16_t; using ::uint32_t; using ::uint64_t; using ::uintptr_t;
}
)";

constexpr const char *cstddef_text = R"(#pragma once
typedef decltype(static_cast<char *>(nullptr) - static_cast<char *>(nullptr)) ptrdiff_t;
namespace std
{
using ::size_t; using ::ptrdiff_t;
typedef decltype(nullptr) nullptr_t;
}
#ifndef offsetof
#define offsetof(type, member) __builtin_offsetof(type, member)
#endif
)";

constexpr const char *cmath = R"(#pragma once
namespace std
{
using ::abs; using ::acos; using ::acosh; using ::asin; using ::asinh; using ::atan; using ::atan2;
using ::atanh; using ::cbrt; using ::ceil; using ::copysign; using ::cos; using ::cosh; using ::erf;
using ::erfc; using ::exp; using ::exp2; using ::expm1; using ::fabs; using ::floor; using ::fma;
using ::fmax; using ::fmin; using ::fmod; using ::hypot; using ::isfinite; using ::isinf; using ::isnan;
using ::log; using ::log10; using ::log1p; using ::log2; using ::pow; using ::rint; using ::round;
using ::sin; using ::sinh; using ::sqrt; using ::tan; using ::tanh; using ::trunc;
}
)";

constexpr const char *cstring = R"(#pragma once
namespace std
{
using ::memcpy; using ::memset;
}
)";

constexpr const char *climits = R"(#pragma once
#define CHAR_BIT 8
#define SCHAR_MIN (-128)
#define SCHAR_MAX 127
#define UCHAR_MAX 255
#define SHRT_MIN (-32768)
#define SHRT_MAX 32767
#define USHRT_MAX 65535
#define INT_MAX 2147483647
#define INT_MIN (-INT_MAX - 1)
#define UINT_MAX 4294967295u
#define LONG_MAX 9223372036854775807l
#define LONG_MIN (-LONG_MAX - 1)
#define ULONG_MAX 18446744073709551615ul
#define LLONG_MAX 9223372036854775807ll
#define LLONG_MIN (-LLONG_MAX - 1)
#define ULLONG_MAX 18446744073709551615ull
)";

constexpr const char *cfloat = R"(#pragma once
#define FLT_MIN 1.17549435e-38f
#define FLT_MAX 3.40282347e+38f
#define FLT_EPSILON 1.19209290e-07f
#define DBL_MIN 2.2250738585072014e-308
#define DBL_MAX 1.7976931348623157e+308
#define DBL_EPSILON 2.2204460492503131e-16
)";

constexpr const char *limits = R"(#pragma once
namespace std
{
template <class T> struct numeric_limits {
    static constexpr bool is_specialized = false;
};
template <class T> struct softgpu_whole_limits {
    static constexpr bool is_specialized = true, is_integer = true, is_signed = T(-1) < T(0);
    static constexpr int digits = int(sizeof(T) * 8) - is_signed;
    __device__ static constexpr T max() { return T(~0ull >> (64 - digits)); }
    __device__ static constexpr T min() { return T(is_signed ? -max() - 1 : 0); }
    __device__ static constexpr T lowest() { return min(); }
};
#define SOFTGPU_WHOLE(t) template <> struct numeric_limits<t> : softgpu_whole_limits<t> {};
SOFTGPU_WHOLE(char) SOFTGPU_WHOLE(signed char) SOFTGPU_WHOLE(unsigned char) SOFTGPU_WHOLE(short)
SOFTGPU_WHOLE(unsigned short) SOFTGPU_WHOLE(int) SOFTGPU_WHOLE(unsigned) SOFTGPU_WHOLE(long)
SOFTGPU_WHOLE(unsigned long) SOFTGPU_WHOLE(long long) SOFTGPU_WHOLE(unsigned long long)
#undef SOFTGPU_WHOLE
#define SOFTGPU_REAL(t, bits, least, most, step, endless, none)                     \
    template <> struct numeric_limits<t> {                                          \
        static constexpr bool is_specialized = true, is_integer = false, is_signed = true; \
        static constexpr int digits = bits;                                         \
        __device__ static constexpr t min() { return least; }                       \
        __device__ static constexpr t max() { return most; }                        \
        __device__ static constexpr t lowest() { return -most; }                    \
        __device__ static constexpr t epsilon() { return step; }                    \
        __device__ static t infinity() { return endless; }                          \
        __device__ static t quiet_NaN() { return none; }                            \
    };
SOFTGPU_REAL(float, 24, 1.17549435e-38f, 3.40282347e+38f, 1.19209290e-07f,
             __int_as_float(0x7f800000), __int_as_float(0x7fffffff))
SOFTGPU_REAL(double, 53, 2.2250738585072014e-308, 1.7976931348623157e+308, 2.2204460492503131e-16,
             __longlong_as_double(0x7ff0000000000000ll), __longlong_as_double(0x7fffffffffffffffll))
#undef SOFTGPU_REAL
}
)";

} // namespace

const CudaHeader cuda_headers[] = {
    {cuda_prelude_name, prelude},
    {"hip/hip_runtime.h", "#pragma once\n"},
    {"cstdint", cstdint},
    {"stdint.h", "#pragma once\n"},
    {"cstddef", cstddef_text},
    {"stddef.h", cstddef_text},
    {"cmath", cmath},
    {"math.h", "#pragma once\n"},
    {"cstring", cstring},
    {"string.h", "#pragma once\n"},
    {"climits", climits},
    {"limits.h", climits},
    {"cfloat", cfloat},
    {"float.h", cfloat},
    {"limits", limits},
};
const int cuda_header_count = static_cast<int>(sizeof cuda_headers / sizeof cuda_headers[0]);

} // namespace softgpu::rtc
