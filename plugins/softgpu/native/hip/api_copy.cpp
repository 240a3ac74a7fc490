// Copies and fills.
#include "addresses.h"
#include "entry.h"

using namespace softgpu;

namespace
{

enum class When {
    Now,   // the caller gets control back when it is done
    Later, // as soon as it is enqueued, if the host side is pinned
};

bool known_kind(int kind)
{
    return (kind >= hipMemcpyHostToHost && kind <= hipMemcpyDefault) || kind == hipMemcpyDeviceToDeviceNoCU;
}

// Last byte used, counted from the start; 0 for an empty copy.
size_t extent(size_t pitch, size_t width, size_t height)
{
    return width == 0 || height == 0 ? 0 : pitch * (height - 1) + width;
}

hipError_t copy_2d(Copy2D copy, hipStreamHandle stream, When when)
{
    if (!known_kind(copy.kind))
        return hipErrorInvalidMemcpyDirection;
    const auto queue = stream_of(stream);
    if (!queue)
        return device_count() > 0 ? hipErrorContextIsDestroyed : hipErrorNoDevice;
    if (copy.width == 0 || copy.height == 0)
        return hipSuccess;
    if (copy.destination == nullptr || copy.source == nullptr)
        return hipErrorInvalidValue;
    if (copy.height > 1 && (copy.destination_pitch < copy.width || copy.source_pitch < copy.width))
        return hipErrorInvalidPitchValue;
    Located destination;
    Located source;
    if (!locate(copy.destination, extent(copy.destination_pitch, copy.width, copy.height), &destination) ||
        !locate(copy.source, extent(copy.source_pitch, copy.width, copy.height), &source))
        return hipErrorInvalidValue;
    if (!destination.known && !source.known && copy.kind != hipMemcpyHostToHost &&
        copy.kind != hipMemcpyDefault)
        return hipErrorInvalidValue;
    copy.destination = destination.address;
    copy.source = source.address;
    copy.compress = destination.shared && copy.height > 1 && softgpu_switch_is("HIP_COMPRESS", "1", "0");
    const hipError_t error = queue->copy(copy);
    // Pageable host memory: AMD's runtime waits, as it could not pin it for as long as the copy takes.
    const bool pageable = !destination.known || !source.known;
    if (error != hipSuccess || (when == When::Later && !pageable))
        return error;
    return queue->synchronize();
}

hipError_t copy_1d(void *destination, const void *source, size_t size, hipMemcpyKind kind,
                   hipStreamHandle stream, When when)
{
    return copy_2d({destination, size, source, size, size, 1, kind}, stream, when);
}

hipError_t fill(Fill fill, hipStreamHandle stream, When when)
{
    const auto queue = stream_of(stream);
    if (!queue)
        return device_count() > 0 ? hipErrorContextIsDestroyed : hipErrorNoDevice;
    if (fill.width == 0 || fill.height == 0)
        return hipSuccess;
    if (fill.destination == nullptr)
        return hipErrorInvalidValue;
    const size_t row = fill.width * fill.element;
    if (fill.height > 1 && fill.pitch < row)
        return hipErrorInvalidPitchValue;
    Located destination;
    if (!locate(fill.destination, extent(fill.pitch, row, fill.height), &destination) || !destination.known)
        return hipErrorInvalidValue;
    fill.destination = destination.address;
    const hipError_t error = queue->fill(fill);
    return error == hipSuccess && when == When::Now ? queue->synchronize() : error;
}

Fill row_of(void *destination, uint32_t value, unsigned element, size_t count)
{
    return {destination, 0, value, element, count, 1};
}

// The parameter form holds a host or a device pointer per side, chosen by its memory type.
hipError_t copy_param_2d(const hip_Memcpy2D *param, hipStreamHandle stream, When when)
{
    if (param == nullptr || param->srcArray != nullptr || param->dstArray != nullptr)
        return hipErrorInvalidValue;
    const char *source = static_cast<const char *>(
        param->srcMemoryType == hipMemoryTypeHost ? param->srcHost : param->srcDevice);
    char *destination =
        static_cast<char *>(param->dstMemoryType == hipMemoryTypeHost ? param->dstHost : param->dstDevice);
    if (source == nullptr || destination == nullptr)
        return hipErrorInvalidValue;
    source += param->srcY * param->srcPitch + param->srcXInBytes;
    destination += param->dstY * param->dstPitch + param->dstXInBytes;
    return copy_2d({destination, param->dstPitch, source, param->srcPitch, param->WidthInBytes, param->Height,
                    hipMemcpyDefault},
                   stream, when);
}

} // namespace

extern "C" {

HIP_EXPORT hipError_t hipMemcpy(void *dst, const void *src, size_t size, hipMemcpyKind kind)
{
    return entry(__func__, [&] { return copy_1d(dst, src, size, kind, nullptr, When::Now); });
}

HIP_EXPORT hipError_t hipMemcpyWithStream(void *dst, const void *src, size_t size, hipMemcpyKind kind,
                                          hipStreamHandle stream)
{
    return entry(__func__, [&] { return copy_1d(dst, src, size, kind, stream, When::Now); });
}

HIP_EXPORT hipError_t hipMemcpyAsync(void *dst, const void *src, size_t size, hipMemcpyKind kind,
                                     hipStreamHandle stream)
{
    return entry(__func__, [&] { return copy_1d(dst, src, size, kind, stream, When::Later); });
}

HIP_EXPORT hipError_t hipMemcpyHtoD(void *dst, const void *src, size_t size)
{
    return entry(__func__,
                 [&] { return copy_1d(dst, src, size, hipMemcpyHostToDevice, nullptr, When::Now); });
}

HIP_EXPORT hipError_t hipMemcpyDtoH(void *dst, void *src, size_t size)
{
    return entry(__func__,
                 [&] { return copy_1d(dst, src, size, hipMemcpyDeviceToHost, nullptr, When::Now); });
}

HIP_EXPORT hipError_t hipMemcpyDtoD(void *dst, void *src, size_t size)
{
    return entry(__func__,
                 [&] { return copy_1d(dst, src, size, hipMemcpyDeviceToDevice, nullptr, When::Now); });
}

HIP_EXPORT hipError_t hipMemcpyHtoDAsync(void *dst, const void *src, size_t size, hipStreamHandle stream)
{
    return entry(__func__,
                 [&] { return copy_1d(dst, src, size, hipMemcpyHostToDevice, stream, When::Later); });
}

HIP_EXPORT hipError_t hipMemcpyDtoHAsync(void *dst, void *src, size_t size, hipStreamHandle stream)
{
    return entry(__func__,
                 [&] { return copy_1d(dst, src, size, hipMemcpyDeviceToHost, stream, When::Later); });
}

HIP_EXPORT hipError_t hipMemcpyDtoDAsync(void *dst, void *src, size_t size, hipStreamHandle stream)
{
    return entry(__func__,
                 [&] { return copy_1d(dst, src, size, hipMemcpyDeviceToDevice, stream, When::Later); });
}

HIP_EXPORT hipError_t hipMemcpy2D(void *dst, size_t dpitch, const void *src, size_t spitch, size_t width,
                                  size_t height, hipMemcpyKind kind)
{
    return entry(__func__, [&] {
        return copy_2d({dst, dpitch, src, spitch, width, height, kind}, nullptr, When::Now);
    });
}

HIP_EXPORT hipError_t hipMemcpy2DAsync(void *dst, size_t dpitch, const void *src, size_t spitch, size_t width,
                                       size_t height, hipMemcpyKind kind, hipStreamHandle stream)
{
    return entry(__func__, [&] {
        return copy_2d({dst, dpitch, src, spitch, width, height, kind}, stream, When::Later);
    });
}

HIP_EXPORT hipError_t hipMemcpyParam2D(const hip_Memcpy2D *param)
{
    return entry(__func__, [&] { return copy_param_2d(param, nullptr, When::Now); });
}

HIP_EXPORT hipError_t hipMemcpyParam2DAsync(const hip_Memcpy2D *param, hipStreamHandle stream)
{
    return entry(__func__, [&] { return copy_param_2d(param, stream, When::Later); });
}

HIP_EXPORT hipError_t hipMemset(void *dst, int value, size_t size)
{
    return entry(__func__, [&] {
        return fill(row_of(dst, static_cast<uint32_t>(value), 1, size), nullptr, When::Now);
    });
}

HIP_EXPORT hipError_t hipMemsetAsync(void *dst, int value, size_t size, hipStreamHandle stream)
{
    return entry(__func__, [&] {
        return fill(row_of(dst, static_cast<uint32_t>(value), 1, size), stream, When::Later);
    });
}

HIP_EXPORT hipError_t hipMemsetD8(void *dst, unsigned char value, size_t count)
{
    return entry(__func__, [&] { return fill(row_of(dst, value, 1, count), nullptr, When::Now); });
}

HIP_EXPORT hipError_t hipMemsetD8Async(void *dst, unsigned char value, size_t count, hipStreamHandle stream)
{
    return entry(__func__, [&] { return fill(row_of(dst, value, 1, count), stream, When::Later); });
}

HIP_EXPORT hipError_t hipMemsetD16(void *dst, unsigned short value, size_t count)
{
    return entry(__func__, [&] { return fill(row_of(dst, value, 2, count), nullptr, When::Now); });
}

HIP_EXPORT hipError_t hipMemsetD16Async(void *dst, unsigned short value, size_t count, hipStreamHandle stream)
{
    return entry(__func__, [&] { return fill(row_of(dst, value, 2, count), stream, When::Later); });
}

HIP_EXPORT hipError_t hipMemsetD32(void *dst, int value, size_t count)
{
    return entry(__func__, [&] {
        return fill(row_of(dst, static_cast<uint32_t>(value), 4, count), nullptr, When::Now);
    });
}

HIP_EXPORT hipError_t hipMemsetD32Async(void *dst, int value, size_t count, hipStreamHandle stream)
{
    return entry(__func__, [&] {
        return fill(row_of(dst, static_cast<uint32_t>(value), 4, count), stream, When::Later);
    });
}

HIP_EXPORT hipError_t hipMemset2D(void *dst, size_t pitch, int value, size_t width, size_t height)
{
    return entry(__func__, [&] {
        return fill({dst, pitch, static_cast<uint32_t>(value), 1, width, height}, nullptr, When::Now);
    });
}

HIP_EXPORT hipError_t hipMemset2DAsync(void *dst, size_t pitch, int value, size_t width, size_t height,
                                       hipStreamHandle stream)
{
    return entry(__func__, [&] {
        return fill({dst, pitch, static_cast<uint32_t>(value), 1, width, height}, stream, When::Later);
    });
}

} // extern "C"
