// HIP's vector types with their arithmetic.
#define SOFTGPU_VECTOR(type, name, align2, align4)                                                           \
    struct name##1                                                                                           \
    {                                                                                                        \
        type x;                                                                                              \
    };                                                                                                       \
    struct __attribute__((aligned(align2))) name##2                                                          \
    {                                                                                                        \
        typedef type softgpu_scalar;                                                                         \
        enum {                                                                                               \
            softgpu_lanes = 2                                                                                \
        };                                                                                                   \
        type x, y;                                                                                           \
    };                                                                                                       \
    struct name##3                                                                                           \
    {                                                                                                        \
        typedef type softgpu_scalar;                                                                         \
        enum {                                                                                               \
            softgpu_lanes = 3                                                                                \
        };                                                                                                   \
        type x, y, z;                                                                                        \
    };                                                                                                       \
    struct __attribute__((aligned(align4))) name##4                                                          \
    {                                                                                                        \
        typedef type softgpu_scalar;                                                                         \
        enum {                                                                                               \
            softgpu_lanes = 4                                                                                \
        };                                                                                                   \
        type x, y, z, w;                                                                                     \
    };                                                                                                       \
    inline name##1 make_##name##1(type x)                                                                    \
    {                                                                                                        \
        return {x};                                                                                          \
    }                                                                                                        \
    inline name##2 make_##name##2(type x, type y)                                                            \
    {                                                                                                        \
        return {x, y};                                                                                       \
    }                                                                                                        \
    inline name##3 make_##name##3(type x, type y, type z)                                                    \
    {                                                                                                        \
        return {x, y, z};                                                                                    \
    }                                                                                                        \
    inline name##4 make_##name##4(type x, type y, type z, type w)                                            \
    {                                                                                                        \
        return {x, y, z, w};                                                                                 \
    }
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

#define SOFTGPU_OPERATOR(op)                                                                                 \
    template <class V, int lanes = V::softgpu_lanes> inline V operator op(const V &a, const V &b)            \
    {                                                                                                        \
        V r = a;                                                                                             \
        r.x = a.x op b.x;                                                                                    \
        r.y = a.y op b.y;                                                                                    \
        if constexpr (lanes > 2)                                                                             \
            r.z = a.z op b.z;                                                                                \
        if constexpr (lanes > 3)                                                                             \
            r.w = a.w op b.w;                                                                                \
        return r;                                                                                            \
    }                                                                                                        \
    template <class V, int lanes = V::softgpu_lanes>                                                         \
    inline V operator op(const V &a, typename V::softgpu_scalar b)                                           \
    {                                                                                                        \
        V r = a;                                                                                             \
        r.x = a.x op b;                                                                                      \
        r.y = a.y op b;                                                                                      \
        if constexpr (lanes > 2)                                                                             \
            r.z = a.z op b;                                                                                  \
        if constexpr (lanes > 3)                                                                             \
            r.w = a.w op b;                                                                                  \
        return r;                                                                                            \
    }                                                                                                        \
    template <class V, int lanes = V::softgpu_lanes>                                                         \
    inline V operator op(typename V::softgpu_scalar a, const V &b)                                           \
    {                                                                                                        \
        V r = b;                                                                                             \
        r.x = a op b.x;                                                                                      \
        r.y = a op b.y;                                                                                      \
        if constexpr (lanes > 2)                                                                             \
            r.z = a op b.z;                                                                                  \
        if constexpr (lanes > 3)                                                                             \
            r.w = a op b.w;                                                                                  \
        return r;                                                                                            \
    }                                                                                                        \
    template <class V, class B, int lanes = V::softgpu_lanes> inline V &operator op## = (V & a, const B &b)  \
    {                                                                                                        \
        return a = a op b;                                                                                   \
    }
SOFTGPU_OPERATOR(+)
SOFTGPU_OPERATOR(-)
SOFTGPU_OPERATOR(*)
SOFTGPU_OPERATOR(/)

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z)
    {
    }
};
