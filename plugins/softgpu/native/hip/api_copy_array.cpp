// Copies of boxes, to and from arrays and between memory.
#include "addresses.h"
#include "entry.h"

using namespace softgpu;

namespace
{

enum class When {
    Now,
    Later,
};

// One side as the caller gives it: positions count texels of an array and bytes of memory.
struct Side {
    hipArray_t array;
    void *address;
    size_t pitch;
    size_t rows;
    hipPos position;
};

struct Resolved {
    Place place;
    std::shared_ptr<ArrayHandle> array;
    bool pinned; // the runtime knows the memory
};

// false: no such array, no memory, or it ends before the box does.
bool inside(const Resolved &side, size_t width, size_t height, size_t depth)
{
    const Place &place = side.place;
    if (!side.array) {
        const size_t first = (place.z * place.rows + place.y) * place.pitch + place.x;
        const size_t last = ((depth - 1) * place.rows + height - 1) * place.pitch + width;
        Located found;
        return place.address != nullptr && locate(static_cast<char *>(place.address) + first, last, &found);
    }
    const ArrayShape &shape = side.array->shape;
    const auto fits = [](size_t start, size_t size, size_t limit) {
        return start <= limit && size <= limit - start;
    };
    return fits(place.x, width, shape.width * shape.texel()) &&
           fits(place.y, height, shape.height == 0 ? 1 : shape.height) &&
           fits(place.z, depth, shape.depth == 0 ? 1 : shape.depth);
}

bool resolve(const Side &side, Resolved *out)
{
    out->place = {nullptr,         side.address,    side.pitch,     side.rows,
                  side.position.x, side.position.y, side.position.z};
    if (side.array == nullptr) {
        Located located{};
        if (side.address != nullptr)
            locate(side.address, 0, &located);
        out->place.address = located.address;
        out->pinned = located.known;
        return side.address != nullptr;
    }
    out->array = runtime().arrays.find(side.array);
    if (!out->array)
        return false;
    out->place.array = out->array->array;
    out->place.x *= out->array->shape.texel();
    out->pinned = true;
    return true;
}

// Without an array, every layer can copy the planes one by one.
hipError_t copy_planes(Stream &queue, const Copy3D &box, hipMemcpyKind kind)
{
    const auto start = [](const Place &place, size_t plane) {
        return static_cast<char *>(place.address) + ((place.z + plane) * place.rows + place.y) * place.pitch +
               place.x;
    };
    for (size_t plane = 0; plane < box.depth; ++plane) {
        const hipError_t error =
            queue.copy({start(box.destination, plane), box.destination.pitch, start(box.source, plane),
                        box.source.pitch, box.width, box.height, kind});
        if (error != hipSuccess)
            return error;
    }
    return hipSuccess;
}

bool bad_pitch(const Resolved &side, size_t width, size_t height, size_t depth)
{
    if (side.array)
        return false;
    return (height * depth > 1 && side.place.pitch < width) || (depth > 1 && side.place.rows < height);
}

// extent.width counts texels where an array takes part, else bytes.
hipError_t copy_box(const Side &destination, const Side &source, hipExtent extent, hipMemcpyKind kind,
                    hipStreamHandle stream, When when)
{
    if ((kind < hipMemcpyHostToHost || kind > hipMemcpyDefault) && kind != hipMemcpyDeviceToDeviceNoCU)
        return hipErrorInvalidMemcpyDirection;
    const auto queue = stream_of(stream);
    if (!queue)
        return device_count() > 0 ? hipErrorContextIsDestroyed : hipErrorNoDevice;
    Resolved to{};
    Resolved from{};
    if (!resolve(destination, &to) || !resolve(source, &from))
        return hipErrorInvalidValue;
    if (extent.width == 0 || extent.height == 0 || extent.depth == 0)
        return hipSuccess;
    if (to.array || from.array)
        extent.width *= (to.array ? to.array : from.array)->shape.texel();
    if (bad_pitch(to, extent.width, extent.height, extent.depth) ||
        bad_pitch(from, extent.width, extent.height, extent.depth))
        return hipErrorInvalidPitchValue;
    if (!inside(to, extent.width, extent.height, extent.depth) ||
        !inside(from, extent.width, extent.height, extent.depth))
        return hipErrorInvalidValue;
    const Copy3D box{to.place, from.place, extent.width, extent.height, extent.depth};
    const hipError_t error = to.array || from.array ? queue->copy_3d(box) : copy_planes(*queue, box, kind);
    if (error != hipSuccess || (when == When::Later && to.pinned && from.pinned))
        return error;
    return queue->synchronize();
}

hipError_t copy_parameters(const hipMemcpy3DParms *parameters, hipStreamHandle stream, When when)
{
    if (parameters == nullptr)
        return hipErrorInvalidValue;
    const hipMemcpy3DParms &p = *parameters;
    // Exactly one form per side.
    if ((p.srcArray != nullptr) == (p.srcPtr.ptr != nullptr) ||
        (p.dstArray != nullptr) == (p.dstPtr.ptr != nullptr))
        return hipErrorInvalidValue;
    return copy_box({p.dstArray, p.dstPtr.ptr, p.dstPtr.pitch, p.dstPtr.ysize, p.dstPos},
                    {p.srcArray, p.srcPtr.ptr, p.srcPtr.pitch, p.srcPtr.ysize, p.srcPos}, p.extent, p.kind,
                    stream, when);
}

// The two-dimensional calls count bytes on both sides; false: no whole texels.
bool in_texels(hipArray_t array, size_t *x, size_t *width)
{
    const auto found = runtime().arrays.find(array);
    if (!found)
        return false;
    const size_t texel = found->shape.texel();
    if (*x % texel != 0 || *width % texel != 0)
        return false;
    *x /= texel;
    *width /= texel;
    return true;
}

hipError_t copy_to_array(hipArray_t dst, size_t x, size_t y, const void *src, size_t pitch, size_t width,
                         size_t height, hipMemcpyKind kind, hipStreamHandle stream, When when)
{
    if (src == nullptr || !in_texels(dst, &x, &width))
        return hipErrorInvalidValue;
    return copy_box({dst, nullptr, 0, 0, {x, y, 0}},
                    {nullptr, const_cast<void *>(src), pitch, height, {0, 0, 0}}, {width, height, 1}, kind,
                    stream, when);
}

hipError_t copy_from_array(void *dst, size_t pitch, hipArray_t src, size_t x, size_t y, size_t width,
                           size_t height, hipMemcpyKind kind, hipStreamHandle stream, When when)
{
    if (dst == nullptr || !in_texels(src, &x, &width))
        return hipErrorInvalidValue;
    return copy_box({nullptr, dst, pitch, height, {0, 0, 0}}, {src, nullptr, 0, 0, {x, y, 0}},
                    {width, height, 1}, kind, stream, when);
}

} // namespace

extern "C" {

HIP_EXPORT hipError_t hipMemcpy3D(const hipMemcpy3DParms *parameters)
{
    return entry(__func__, [&] { return copy_parameters(parameters, nullptr, When::Now); });
}

HIP_EXPORT hipError_t hipMemcpy3DAsync(const hipMemcpy3DParms *parameters, hipStreamHandle stream)
{
    return entry(__func__, [&] { return copy_parameters(parameters, stream, When::Later); });
}

HIP_EXPORT hipError_t hipMemcpy2DToArray(hipArray_t dst, size_t x, size_t y, const void *src, size_t pitch,
                                         size_t width, size_t height, hipMemcpyKind kind)
{
    return entry(__func__, [&] {
        return copy_to_array(dst, x, y, src, pitch, width, height, kind, nullptr, When::Now);
    });
}

HIP_EXPORT hipError_t hipMemcpy2DToArrayAsync(hipArray_t dst, size_t x, size_t y, const void *src,
                                              size_t pitch, size_t width, size_t height, hipMemcpyKind kind,
                                              hipStreamHandle stream)
{
    return entry(__func__, [&] {
        return copy_to_array(dst, x, y, src, pitch, width, height, kind, stream, When::Later);
    });
}

HIP_EXPORT hipError_t hipMemcpy2DFromArray(void *dst, size_t pitch, hipArray_t src, size_t x, size_t y,
                                           size_t width, size_t height, hipMemcpyKind kind)
{
    return entry(__func__, [&] {
        return copy_from_array(dst, pitch, src, x, y, width, height, kind, nullptr, When::Now);
    });
}

HIP_EXPORT hipError_t hipMemcpy2DFromArrayAsync(void *dst, size_t pitch, hipArray_t src, size_t x, size_t y,
                                                size_t width, size_t height, hipMemcpyKind kind,
                                                hipStreamHandle stream)
{
    return entry(__func__, [&] {
        return copy_from_array(dst, pitch, src, x, y, width, height, kind, stream, When::Later);
    });
}

} // extern "C"
