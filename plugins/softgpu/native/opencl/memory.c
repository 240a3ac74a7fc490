/* cl_khr_external_memory: buffers over imported payloads. The driver below sees a buffer with
 * CL_MEM_USE_HOST_PTR. */
#include "layer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOST_POINTER_FLAGS (CL_MEM_USE_HOST_PTR | CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR)

static bool errors_like_nvidia(void)
{
    return softgpu_switch_is("CL_ERRORS", "nvidia", "standard");
}

cl_mem refuse(cl_int code, cl_int *error)
{
    if (error != NULL)
        *error = code;
    return NULL;
}

cl_mem refuse_handle(cl_context context, cl_int code, cl_int *error)
{
    if (error != NULL)
        *error = code;
    return code == 999 ? object_beside_refusal(context) : NULL;
}

/* OPAQUE_WIN32, WIN32_KMT, ..., DMA_BUF, WIN32_NAME, AHB: known names of handles, which no CPU device takes,
 * dma-bufs apart when a switch says so. */
static bool other_handle_type(cl_mem_properties name)
{
    return (name > KHR_MEMORY_HANDLE_OPAQUE_FD && name <= 0x2067) || name == 0x2069 || name == 0x2070;
}

static cl_int read_device_list(cl_context context, const cl_mem_properties **at, struct imported *imported)
{
    cl_device_id members[MAX_LISTED_DEVICES];
    const cl_uint count = context_devices(context, members);
    if (imported->device_count != 0)
        return CL_INVALID_PROPERTY;
    for (; **at != 0; *at += 1) {
        cl_device_id device = (cl_device_id)(uintptr_t)**at;
        if (imported->device_count == MAX_LISTED_DEVICES)
            return CL_INVALID_PROPERTY;
        if (!contains_device(members, count, device))
            return CL_INVALID_DEVICE;
        imported->devices[imported->device_count++] = device;
    }
    *at += 1;
    return imported->device_count == 0 ? CL_INVALID_PROPERTY : CL_SUCCESS;
}

cl_int read_memory_properties(cl_context context, const cl_mem_properties *properties,
                              struct imported *imported, bool *external, int *fd)
{
    bool handle = false;
    bool listed = false;
    bool foreign = false; /* a handle type that cannot be imported here */
    bool unknown = false;
    const cl_mem_properties *at = properties;
    *external = false;
    *fd = -1;
    while (at != NULL && *at != 0 && !unknown) {
        const cl_mem_properties name = *at++;
        if (name == KHR_MEMORY_HANDLE_OPAQUE_FD || other_handle_type(name)) {
            if (handle)
                return CL_INVALID_PROPERTY;
            handle = true;
            imported->dma_buf = name == KHR_MEMORY_HANDLE_DMA_BUF && dma_buf_offered();
            foreign = !imported->dma_buf && !(name == KHR_MEMORY_HANDLE_OPAQUE_FD && opaque_memory_offered());
            *fd = (int)(int64_t)*at++;
        } else if (name == KHR_MEM_DEVICE_HANDLE_LIST) {
            const cl_int error = read_device_list(context, &at, imported);
            if (error != CL_SUCCESS)
                return error;
            listed = true;
        } else {
            unknown = true;
        }
    }
    if (!handle && !listed)
        return CL_SUCCESS; /* nothing of ours: the driver judges it */
    if (!handle || unknown)
        return CL_INVALID_PROPERTY;
    if (!listed)
        imported->device_count = context_devices(context, imported->devices);
    if (foreign)
        return CL_INVALID_DEVICE;
    for (cl_uint i = 0; i < imported->device_count; ++i)
        if (!emulated_device(imported->devices[i]))
            return CL_INVALID_DEVICE;
    imported->property_count = (cl_uint)(at - properties) + 1;
    if (imported->property_count > MAX_PROPERTIES)
        return CL_INVALID_PROPERTY;
    memcpy(imported->properties, properties, imported->property_count * sizeof *properties);
    *external = true;
    return CL_SUCCESS;
}

cl_int map_payload(int fd, size_t size, struct imported *imported)
{
    const bool nvidia = errors_like_nvidia();
    switch (imported->dma_buf ? softgpu_memory_map_any(fd, size, &imported->memory)
                              : softgpu_memory_map(fd, size, &imported->memory)) {
    case SOFTGPU_PAYLOAD_OK:
        return CL_SUCCESS;
    case SOFTGPU_PAYLOAD_BAD_FD:
        return nvidia && fd >= 0 ? 999 : CL_INVALID_VALUE;
    case SOFTGPU_PAYLOAD_FOREIGN:
        return nvidia ? 999 : CL_INVALID_PROPERTY;
    case SOFTGPU_PAYLOAD_TOO_SMALL:
        return nvidia ? 1 : CL_INVALID_BUFFER_SIZE;
    default:
        return CL_OUT_OF_HOST_MEMORY;
    }
}

static void destroy(struct imported *imported)
{
    softgpu_memory_unmap(&imported->memory);
    if (imported->held_fd >= 0 && !stays_open_for_ever(imported->held_fd))
        close(imported->held_fd);
    free(imported);
    softgpu_count("memory", -1);
}

/* The first callback registered runs last: the application's own still find the payload mapped. */
static void CL_CALLBACK object_deleted(cl_mem object, void *argument)
{
    registry_take(registry_of_memory, object);
    destroy(argument);
}

cl_int bind_payload(cl_mem object, struct imported *imported, int fd)
{
    cl_int error = CL_SUCCESS;
    if (!registry_put(registry_of_memory, object, imported))
        error = CL_OUT_OF_HOST_MEMORY;
    else
        error = target.clSetMemObjectDestructorCallback(object, object_deleted, imported);
    if (error != CL_SUCCESS) {
        registry_take(registry_of_memory, object);
        target.clReleaseMemObject(object);
        softgpu_memory_unmap(&imported->memory);
        free(imported);
        return error;
    }
    softgpu_count("memory", 1);
    /* CL_FD=keep: as Intel's driver, which leaves the number open for good. */
    if (softgpu_switch_is("CL_FD", "hold", "consume") || softgpu_switch_is("CL_FD", "nvidia", "consume"))
        imported->held_fd = fd;
    else if (softgpu_switch_is("CL_FD", "consume", "consume"))
        close(fd);
    return CL_SUCCESS;
}

static cl_int import_buffer(cl_context context, cl_mem_flags flags, size_t size, int fd,
                            struct imported *imported, cl_mem *object)
{
    cl_int error = map_payload(fd, size, imported);
    if (error != CL_SUCCESS) {
        free(imported);
        return error;
    }
    *object =
        target.clCreateBuffer(context, flags | CL_MEM_USE_HOST_PTR, size, imported->memory.data, &error);
    if (error != CL_SUCCESS) {
        softgpu_memory_unmap(&imported->memory);
        free(imported);
        return error;
    }
    imported->flags = flags != 0 ? flags : CL_MEM_READ_WRITE;
    return bind_payload(*object, imported, fd);
}

cl_mem CL_API_CALL layer_CreateBufferWithProperties(cl_context context, const cl_mem_properties *properties,
                                                    cl_mem_flags flags, size_t size, void *host_ptr,
                                                    cl_int *error)
{
    cl_int code = CL_SUCCESS;
    if (fail("clCreateBufferWithProperties", &code))
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
        return target.clCreateBufferWithProperties(context, properties, flags, size, host_ptr, error);
    }
    if (code == CL_SUCCESS && host_ptr != NULL)
        code = CL_INVALID_HOST_PTR;
    if (code == CL_SUCCESS && (flags & HOST_POINTER_FLAGS) != 0)
        code = errors_like_nvidia() ? CL_INVALID_HOST_PTR : CL_INVALID_VALUE;
    if (code == CL_SUCCESS && size == 0)
        code = CL_INVALID_BUFFER_SIZE;
    if (code != CL_SUCCESS) {
        free(imported);
        return refuse(code, error);
    }
    cl_mem object = NULL;
    code = import_buffer(context, flags, size, fd, imported, &object);
    if (code != CL_SUCCESS)
        return refuse_handle(context, code, error);
    if (error != NULL)
        *error = CL_SUCCESS;
    return object;
}

static void CL_CALLBACK sub_buffer_deleted(cl_mem object, void *argument)
{
    registry_take(registry_of_memory, object);
    free(argument);
}

/* Sub-buffers of imports are known as such: they hide the host pointer too and share their parent's turn. */
cl_mem CL_API_CALL layer_CreateSubBuffer(cl_mem buffer, cl_mem_flags flags, cl_buffer_create_type type,
                                         const void *info, cl_int *error)
{
    cl_int code = CL_SUCCESS;
    if (fail("clCreateSubBuffer", &code))
        return refuse(code, error);
    struct imported *parent = registry_get(registry_of_memory, buffer);
    if (parent == NULL)
        return target.clCreateSubBuffer(buffer, flags, type, info, error);
    if ((flags & HOST_POINTER_FLAGS) != 0)
        return refuse(CL_INVALID_VALUE, error);
    struct imported *child = calloc(1, sizeof *child);
    if (child == NULL)
        return refuse(CL_OUT_OF_HOST_MEMORY, error);
    cl_mem object = target.clCreateSubBuffer(buffer, flags, type, info, &code);
    if (code != CL_SUCCESS) {
        free(child);
        return refuse(code, error);
    }
    const cl_mem_flags access = CL_MEM_READ_WRITE | CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY;
    child->parent = parent;
    child->held_fd = -1;
    child->flags = (flags & access) != 0 ? flags : flags | (parent->flags & access);
    const bool known = registry_put(registry_of_memory, object, child);
    code = known ? target.clSetMemObjectDestructorCallback(object, sub_buffer_deleted, child)
                 : CL_OUT_OF_HOST_MEMORY;
    if (code != CL_SUCCESS) {
        registry_take(registry_of_memory, object);
        target.clReleaseMemObject(object);
        free(child);
        return refuse(code, error);
    }
    if (error != NULL)
        *error = CL_SUCCESS;
    return object;
}

cl_int CL_API_CALL layer_GetMemObjectInfo(cl_mem object, cl_mem_info name, size_t capacity, void *value,
                                          size_t *size)
{
    cl_int error = CL_SUCCESS;
    if (fail("clGetMemObjectInfo", &error))
        return error;
    const struct imported *imported = registry_get(registry_of_memory, object);
    void *const no_pointer = NULL;
    if (imported != NULL && name == CL_MEM_FLAGS)
        return answer(&imported->flags, sizeof imported->flags, capacity, value, size);
    if (imported != NULL && name == CL_MEM_HOST_PTR)
        return answer(&no_pointer, sizeof no_pointer, capacity, value, size);
    if (imported != NULL && name == CL_MEM_PROPERTIES)
        return answer(imported->properties, imported->property_count * sizeof imported->properties[0],
                      capacity, value, size);
    return target.clGetMemObjectInfo(object, name, capacity, value, size);
}
