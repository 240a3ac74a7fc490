// Images of other APIs: mipmapped arrays in imported memory, their levels, surfaces on them.
#include "entry.h"

using namespace softgpu;

namespace
{

constexpr unsigned known_array_flags = hipArrayLayered | hipArraySurfaceLoadStore | hipArrayTextureGather;

// false: no format of HIP's. All channels are of one size, and they come from x on.
bool read_format(const hipChannelFormatDesc &format, ArrayShape *out)
{
    const int bits[] = {format.x, format.y, format.z, format.w};
    unsigned channels = 0;
    while (channels < 4 && bits[channels] != 0)
        ++channels;
    for (unsigned i = 0; i < 4; ++i)
        if (bits[i] != (i < channels ? bits[0] : 0))
            return false;
    if (channels == 0 || channels == 3 || (bits[0] != 8 && bits[0] != 16 && bits[0] != 32))
        return false;
    if (format.f == hipChannelFormatKindSigned)
        out->kind = ChannelKind::Signed;
    else if (format.f == hipChannelFormatKindUnsigned)
        out->kind = ChannelKind::Unsigned;
    else if (format.f == hipChannelFormatKindFloat && bits[0] != 8)
        out->kind = ChannelKind::Float;
    else
        return false;
    out->bits = static_cast<unsigned>(bits[0]);
    out->channels = channels;
    return true;
}

int format_kind(ChannelKind kind)
{
    switch (kind) {
    case ChannelKind::Signed:
        return hipChannelFormatKindSigned;
    case ChannelKind::Unsigned:
        return hipChannelFormatKindUnsigned;
    case ChannelKind::Float:
        return hipChannelFormatKindFloat;
    }
    return hipChannelFormatKindUnsigned;
}

size_t halved(size_t size, unsigned times)
{
    const size_t less = size >> times;
    return size > 0 && less == 0 ? 1 : less;
}

ArrayShape level_shape(ArrayShape shape, unsigned level)
{
    shape.width = halved(shape.width, level);
    shape.height = halved(shape.height, level);
    if ((shape.flags & hipArrayLayered) == 0)
        shape.depth = halved(shape.depth, level);
    shape.levels = 1;
    return shape;
}

hipError_t get_level(hipArray_t *out, hipMipmappedArray_t handle, unsigned level)
{
    if (out == nullptr)
        return hipErrorInvalidValue;
    const auto found = runtime().mipmaps.find(handle);
    if (!found)
        return hipErrorInvalidHandle;
    if (level >= found->shape.levels)
        return hipErrorInvalidValue;
    auto made = std::make_shared<ArrayHandle>(ArrayHandle{level_shape(found->shape, level), nullptr});
    const hipError_t error = found->array->level(level, &made->array);
    if (error != hipSuccess)
        return error;
    const std::lock_guard<std::mutex> guard(found->mutex);
    *out = static_cast<hipArray_t>(runtime().arrays.add(std::move(made)));
    found->levels.push_back(*out);
    return hipSuccess;
}

hipError_t free_mipmap(hipMipmappedArray_t handle)
{
    const auto found = runtime().mipmaps.find(handle);
    if (!found)
        return hipErrorInvalidValue;
    const hipError_t error = synchronize_device(found->memory->device);
    if (error != hipSuccess)
        return error;
    if (!runtime().mipmaps.remove(handle))
        return hipErrorInvalidValue; // another thread freed it in between
    for (const void *level : found->levels)
        runtime().arrays.remove(level);
    softgpu_count("mapping", -1);
    return hipSuccess;
}

} // namespace

extern "C" {

HIP_EXPORT hipError_t hipExternalMemoryGetMappedMipmappedArray(
    hipMipmappedArray_t *out, hipExternalMemory_t handle, const hipExternalMemoryMipmappedArrayDesc *desc)
{
    return entry(__func__, [&] {
        if (out == nullptr || handle == nullptr || desc == nullptr)
            return hipErrorInvalidValue;
        ArrayShape shape{};
        shape.offset = desc->offset;
        shape.width = desc->extent.width;
        shape.height = desc->extent.height;
        shape.depth = desc->extent.depth;
        shape.flags = desc->flags;
        shape.levels = desc->numLevels;
        if (shape.width == 0 || shape.levels == 0 || (shape.flags & ~known_array_flags) != 0 ||
            !read_format(desc->formatDesc, &shape))
            return hipErrorInvalidValue;
        const auto object = runtime().memories.find(handle);
        if (!object || shape.offset >= object->size)
            return hipErrorInvalidValue;
        auto made = std::make_shared<MipmapHandle>();
        const hipError_t error = object->memory->map_array(shape, &made->array);
        if (error != hipSuccess)
            return error;
        made->memory = object;
        made->shape = shape;
        softgpu_count("mapping", 1);
        *out = static_cast<hipMipmappedArray_t>(runtime().mipmaps.add(std::move(made)));
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipGetMipmappedArrayLevel(hipArray_t *out, hipMipmappedArray_t handle, unsigned level)
{
    return entry(__func__, [&] { return get_level(out, handle, level); });
}

HIP_EXPORT hipError_t hipMipmappedArrayGetLevel(hipArray_t *out, hipMipmappedArray_t handle, unsigned level)
{
    return entry(__func__, [&] { return get_level(out, handle, level); });
}

HIP_EXPORT hipError_t hipFreeMipmappedArray(hipMipmappedArray_t handle)
{
    return entry(__func__, [&] { return free_mipmap(handle); });
}

HIP_EXPORT hipError_t hipMipmappedArrayDestroy(hipMipmappedArray_t handle)
{
    return entry(__func__, [&] { return free_mipmap(handle); });
}

HIP_EXPORT hipError_t hipArrayGetInfo(hipChannelFormatDesc *format, hipExtent *extent, unsigned *flags,
                                      hipArray_t array)
{
    return entry(__func__, [&] {
        const auto found = runtime().arrays.find(array);
        if (!found)
            return hipErrorInvalidHandle;
        const ArrayShape &shape = found->shape;
        const auto bits = [&](unsigned channel) {
            return channel < shape.channels ? static_cast<int>(shape.bits) : 0;
        };
        if (format != nullptr)
            *format = {bits(0), bits(1), bits(2), bits(3), format_kind(shape.kind)};
        if (extent != nullptr)
            *extent = {shape.width, shape.height, shape.depth};
        if (flags != nullptr)
            *flags = shape.flags;
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipCreateSurfaceObject(hipSurfaceObject_t *out, const hipResourceDesc *desc)
{
    return entry(__func__, [&] {
        if (out == nullptr || desc == nullptr || desc->resType != hipResourceTypeArray)
            return hipErrorInvalidValue;
        if (device_count() == 0)
            return hipErrorNoDevice;
        const auto found = runtime().arrays.find(desc->res.array);
        if (!found)
            return hipErrorInvalidValue;
        auto made = std::make_shared<SurfaceHandle>();
        const hipError_t error = current_device().create_surface(found->array, &made->surface);
        if (error != hipSuccess)
            return error;
        const uint64_t number = made->surface->handle();
        const std::lock_guard<std::mutex> guard(runtime().surfaces_mutex);
        runtime().surfaces[number] = std::move(made);
        softgpu_count("surface", 1);
        *out = reinterpret_cast<hipSurfaceObject_t>(number);
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipDestroySurfaceObject(hipSurfaceObject_t surface)
{
    return entry(__func__, [&] {
        const std::lock_guard<std::mutex> guard(runtime().surfaces_mutex);
        if (runtime().surfaces.erase(reinterpret_cast<uint64_t>(surface)) == 0)
            return hipErrorInvalidValue;
        softgpu_count("surface", -1);
        return hipSuccess;
    });
}

} // extern "C"
