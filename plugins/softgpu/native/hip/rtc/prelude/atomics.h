// Atomic operations. Each returns the old value.
// A value of another type is converted to the word's, as HIP's overloads do.
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
#define SOFTGPU_ATOMIC(name, expression)                                                                     \
    template <class T> inline T name(T *p, typename softgpu_same<T>::type v)                                 \
    {                                                                                                        \
        return softgpu_update(p, [v](T old) -> T { return expression; });                                    \
    }                                                                                                        \
    template <class T> inline T name##_system(T *p, typename softgpu_same<T>::type v)                        \
    {                                                                                                        \
        return name(p, v);                                                                                   \
    }                                                                                                        \
    template <class T> inline T name##_block(T *p, typename softgpu_same<T>::type v)                         \
    {                                                                                                        \
        return name(p, v);                                                                                   \
    }
SOFTGPU_ATOMIC(atomicAdd, old + v)
SOFTGPU_ATOMIC(atomicSub, old - v)
SOFTGPU_ATOMIC(atomicExch, v)
SOFTGPU_ATOMIC(atomicMin, v < old ? v : old)
SOFTGPU_ATOMIC(atomicMax, v > old ? v : old)
SOFTGPU_ATOMIC(atomicAnd, old &v)
SOFTGPU_ATOMIC(atomicOr, old | v)
SOFTGPU_ATOMIC(atomicXor, old ^ v)
SOFTGPU_ATOMIC(atomicInc, old >= v ? 0 : old + 1)
SOFTGPU_ATOMIC(atomicDec, old == 0 || old > v ? v : old - 1)
template <class T>
inline T atomicCAS(T *p, typename softgpu_same<T>::type expected, typename softgpu_same<T>::type v)
{
    __atomic_compare_exchange(p, &expected, &v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return expected;
}
