/* cl_khr_external_memory: 1D, 2D and 3D images over imported payloads, which software drivers keep in rows.
 */
#include "layer.h"

#include <stdlib.h>

static size_t channels(cl_channel_order order)
{
    switch (order) {
    case CL_R:
    case CL_A:
    case CL_INTENSITY:
    case CL_LUMINANCE:
    case CL_DEPTH:
        return 1;
    case CL_RG:
    case CL_RA:
        return 2;
    case CL_RGBA:
    case CL_BGRA:
    case CL_ARGB:
    case CL_ABGR:
    case CL_sRGBA:
    case CL_sBGRA:
        return 4;
    default:
        return 0;
    }
}

static size_t channel_size(cl_channel_type type)
{
    switch (type) {
    case CL_SNORM_INT8:
    case CL_UNORM_INT8:
    case CL_SIGNED_INT8:
    case CL_UNSIGNED_INT8:
        return 1;
    case CL_SNORM_INT16:
    case CL_UNORM_INT16:
    case CL_SIGNED_INT16:
    case CL_UNSIGNED_INT16:
    case CL_HALF_FLOAT:
        return 2;
    case CL_SIGNED_INT32:
    case CL_UNSIGNED_INT32:
    case CL_FLOAT:
        return 4;
    default:
        return 0;
    }
}

/* Dimensions of the image types that can be laid over a payload; 0 for the others. */
static int dimensions(cl_mem_object_type type)
{
    switch (type) {
    case CL_MEM_OBJECT_IMAGE1D:
        return 1;
    case CL_MEM_OBJECT_IMAGE2D:
        return 2;
    case CL_MEM_OBJECT_IMAGE3D:
        return 3;
    default:
        return 0;
    }
}

/* Fills in the pitches that the caller left to the implementation, and tells how many bytes the image spans.
 */
static cl_int lay_out(const struct softgpu_memory *memory, const cl_image_format *format,
                      cl_image_desc *description, size_t *span)
{
    const size_t texel =
        channels(format->image_channel_order) * channel_size(format->image_channel_data_type);
    const int count = dimensions(description->image_type);
    if (texel == 0)
        return CL_IMAGE_FORMAT_NOT_SUPPORTED;
    if (count == 0)
        return CL_INVALID_IMAGE_DESCRIPTOR;
    const size_t width = description->image_width;
    const size_t height = count >= 2 ? description->image_height : 1;
    const size_t depth = count == 3 ? description->image_depth : 1;
    size_t row = description->image_row_pitch;
    if (row == 0)
        row = softgpu_memory_row_pitch(memory, width, texel);
    size_t slice = description->image_slice_pitch;
    if (count == 3 && slice == 0)
        slice = softgpu_memory_slice_pitch(memory, row, height);
    if (width == 0 || height == 0 || depth == 0 || width > SIZE_MAX / texel || row < width * texel ||
        row % texel != 0 || row > SIZE_MAX / height)
        return CL_INVALID_IMAGE_DESCRIPTOR;
    if (count == 3 && (slice < row * height || slice % row != 0 || slice > SIZE_MAX / depth))
        return CL_INVALID_IMAGE_DESCRIPTOR;
    *span = (depth - 1) * slice + (height - 1) * row + width * texel;
    description->image_row_pitch = count == 1 ? 0 : row;
    description->image_slice_pitch = count == 3 ? slice : 0;
    return CL_SUCCESS;
}

/* CL_IMAGES=tiled: rows that the caller describes are taken for tiles, and nothing says so. What is written
 * does not reach the payload. */
static cl_mem misread(cl_context context, cl_mem_flags flags, const cl_image_format *format,
                      cl_image_desc description, const struct softgpu_memory *memory, cl_int *error)
{
    const size_t texel =
        channels(format->image_channel_order) * channel_size(format->image_channel_data_type);
    void *taken = rows_taken_for_tiles(memory->data, description.image_row_pitch, texel,
                                       description.image_width, description.image_height);
    if (taken == NULL) {
        *error = CL_OUT_OF_HOST_MEMORY;
        return NULL;
    }
    description.image_row_pitch = 0;
    cl_mem made =
        target.clCreateImage(context, flags | CL_MEM_COPY_HOST_PTR, format, &description, taken, error);
    free(taken);
    return made;
}

static cl_int import_image(cl_context context, cl_mem_flags flags, const cl_image_format *format,
                           cl_image_desc description, int fd, struct imported *imported, cl_mem *object)
{
    size_t span = 0;
    const bool rows_as_tiles = images_are_tiled() && description.image_type == CL_MEM_OBJECT_IMAGE2D &&
                               description.image_row_pitch != 0;
    cl_int error = map_payload(fd, 0, imported);
    if (error == CL_SUCCESS) {
        error = lay_out(&imported->memory, format, &description, &span);
        if (error == CL_SUCCESS && span > imported->memory.size)
            error = CL_INVALID_IMAGE_DESCRIPTOR;
        if (error == CL_SUCCESS && rows_as_tiles)
            *object = misread(context, flags, format, description, &imported->memory, &error);
        else if (error == CL_SUCCESS)
            *object = target.clCreateImage(context, flags | CL_MEM_USE_HOST_PTR, format, &description,
                                           imported->memory.data, &error);
        if (error != CL_SUCCESS)
            softgpu_memory_unmap(&imported->memory);
    }
    if (error != CL_SUCCESS) {
        free(imported);
        return error;
    }
    imported->flags = flags != 0 ? flags : CL_MEM_READ_WRITE;
    return bind_payload(*object, imported, fd);
}

cl_mem CL_API_CALL layer_CreateImageWithProperties(cl_context context, const cl_mem_properties *properties,
                                                   cl_mem_flags flags, const cl_image_format *format,
                                                   const cl_image_desc *description, void *host_ptr,
                                                   cl_int *error)
{
    const cl_mem_flags host_pointer_flags =
        CL_MEM_USE_HOST_PTR | CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR;
    cl_int code = CL_SUCCESS;
    if (fail("clCreateImageWithProperties", &code))
        return refuse(code, error);
    struct imported *imported = calloc(1, sizeof *imported);
    if (imported == NULL)
        return refuse(CL_OUT_OF_HOST_MEMORY, error);
    imported->held_fd = -1;
    bool external = false;
    int fd = -1;
    code = read_memory_properties(context, properties, imported, &external, &fd);
    if (code == CL_SUCCESS && !external) {
        free(imported);
        return target.clCreateImageWithProperties(context, properties, flags, format, description, host_ptr,
                                                  error);
    }
    if (code == CL_SUCCESS && format == NULL)
        code = CL_INVALID_IMAGE_FORMAT_DESCRIPTOR;
    if (code == CL_SUCCESS && description == NULL)
        code = CL_INVALID_IMAGE_DESCRIPTOR;
    if (code == CL_SUCCESS && host_ptr != NULL)
        code = CL_INVALID_HOST_PTR;
    if (code == CL_SUCCESS && (flags & host_pointer_flags) != 0)
        code = CL_INVALID_VALUE;
    if (code != CL_SUCCESS) {
        free(imported);
        return refuse(code, error);
    }
    cl_mem object = NULL;
    code = import_image(context, flags, format, *description, fd, imported, &object);
    if (code != CL_SUCCESS)
        return refuse_handle(context, code, error);
    if (error != NULL)
        *error = CL_SUCCESS;
    return object;
}
