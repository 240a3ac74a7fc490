/* Core calls that pass through: each may be told to fail, and commands on imported memory may insist on its
 * having been acquired. */
#include "layer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Imported memory among a kernel's arguments. */
struct argument {
    struct argument *next;
    cl_uint index;
    cl_mem object;
};
struct kernel_arguments {
    struct argument *first;
};
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void forget(struct kernel_arguments *arguments, cl_uint index)
{
    for (struct argument **at = &arguments->first; *at != NULL; at = &(*at)->next) {
        if ((*at)->index == index) {
            struct argument *found = *at;
            *at = found->next;
            free(found);
            return;
        }
    }
}

static void remember(struct kernel_arguments *arguments, cl_uint index, cl_mem object)
{
    struct argument *argument = malloc(sizeof *argument);
    if (argument == NULL)
        return; /* only the check of its acquisition is lost */
    *argument = (struct argument){.next = arguments->first, .index = index, .object = object};
    arguments->first = argument;
}

static void note_argument(cl_kernel kernel, cl_uint index, size_t size, const void *value)
{
    cl_mem object = size == sizeof object && value != NULL ? *(const cl_mem *)value : NULL;
    const bool ours = object != NULL && registry_get(registry_of_memory, object) != NULL;
    pthread_mutex_lock(&mutex);
    struct kernel_arguments *arguments = registry_get(registry_of_kernels, kernel);
    if (arguments == NULL && ours) {
        arguments = calloc(1, sizeof *arguments);
        if (arguments != NULL && !registry_put(registry_of_kernels, kernel, arguments)) {
            free(arguments);
            arguments = NULL;
        }
    }
    if (arguments != NULL) {
        forget(arguments, index);
        if (ours)
            remember(arguments, index, object);
    }
    pthread_mutex_unlock(&mutex);
}

static bool arguments_usable(cl_kernel kernel)
{
    bool result = true;
    pthread_mutex_lock(&mutex);
    const struct kernel_arguments *arguments = registry_get(registry_of_kernels, kernel);
    for (const struct argument *at = arguments != NULL ? arguments->first : NULL; at != NULL; at = at->next)
        result = result && usable(at->object);
    pthread_mutex_unlock(&mutex);
    return result;
}

static cl_int CL_API_CALL pass_SetKernelArg(cl_kernel kernel, cl_uint index, size_t size, const void *value)
{
    cl_int error = CL_SUCCESS;
    if (fail("clSetKernelArg", &error))
        return error;
    error = target.clSetKernelArg(kernel, index, size, value);
    if (error == CL_SUCCESS)
        note_argument(kernel, index, size, value);
    return error;
}

static cl_int CL_API_CALL pass_ReleaseKernel(cl_kernel kernel)
{
    cl_uint references = 0;
    if (registry_get(registry_of_kernels, kernel) != NULL &&
        target.clGetKernelInfo(kernel, CL_KERNEL_REFERENCE_COUNT, sizeof references, &references, NULL) ==
            CL_SUCCESS &&
        references == 1) {
        struct kernel_arguments *arguments = registry_take(registry_of_kernels, kernel);
        while (arguments != NULL && arguments->first != NULL)
            forget(arguments, arguments->first->index);
        free(arguments);
    }
    return target.clReleaseKernel(kernel);
}

static cl_int CL_API_CALL pass_EnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel,
                                                    cl_uint dimensions, const size_t *offset,
                                                    const size_t *global, const size_t *local, cl_uint count,
                                                    const cl_event *events, cl_event *event)
{
    cl_int error = CL_SUCCESS;
    if (fail("clEnqueueNDRangeKernel", &error))
        return error;
    if (!arguments_usable(kernel))
        return CL_INVALID_OPERATION;
    return target.clEnqueueNDRangeKernel(queue, kernel, dimensions, offset, global, local, count, events,
                                         event);
}

static cl_int CL_API_CALL pass_EnqueueTask(cl_command_queue queue, cl_kernel kernel, cl_uint count,
                                           const cl_event *events, cl_event *event)
{
    cl_int error = CL_SUCCESS;
    if (fail("clEnqueueTask", &error))
        return error;
    if (!arguments_usable(kernel))
        return CL_INVALID_OPERATION;
    return target.clEnqueueTask(queue, kernel, count, events, event);
}

static cl_int CL_API_CALL pass_EnqueueMigrateMemObjects(cl_command_queue queue, cl_uint object_count,
                                                        const cl_mem *objects, cl_mem_migration_flags flags,
                                                        cl_uint count, const cl_event *events,
                                                        cl_event *event)
{
    cl_int error = CL_SUCCESS;
    if (fail("clEnqueueMigrateMemObjects", &error))
        return error;
    for (cl_uint i = 0; objects != NULL && i < object_count; ++i)
        if (!usable(objects[i]))
            return CL_INVALID_OPERATION;
    return target.clEnqueueMigrateMemObjects(queue, object_count, objects, flags, count, events, event);
}

static cl_int CL_API_CALL pass_ReleaseContext(cl_context context)
{
    if (context != NULL)
        before_last_release(context);
    return target.clReleaseContext(context);
}

static cl_program CL_API_CALL pass_CreateProgramWithSource(cl_context context, cl_uint count,
                                                           const char **strings, const size_t *lengths,
                                                           cl_int *error)
{
    if (fail("clCreateProgramWithSource", error))
        return NULL;
    if (count != 1 || strings == NULL || strings[0] == NULL ||
        !softgpu_switch_is("CL_LINE", "ignored", "honoured"))
        return target.clCreateProgramWithSource(context, count, strings, lengths, error);
    const size_t length = lengths != NULL && lengths[0] != 0 ? lengths[0] : strlen(strings[0]);
    char *copy = malloc(length + 1);
    if (copy == NULL) {
        if (error != NULL)
            *error = CL_OUT_OF_HOST_MEMORY;
        return NULL;
    }
    memcpy(copy, strings[0], length);
    copy[length] = '\0';
    ignore_line_directives(copy, length);
    const char *text = copy;
    cl_program program = target.clCreateProgramWithSource(context, 1, &text, &length, error);
    free(copy);
    return program;
}

/* clang-format off */
#define WAIT_LIST cl_uint count, const cl_event *events, cl_event *event
#define WAITS count, events, event
#define UNPACK(...) __VA_ARGS__

#define PASS(name, parameters, arguments)                                   \
    static cl_int CL_API_CALL pass_##name(UNPACK parameters)                \
    {                                                                       \
        cl_int error = CL_SUCCESS;                                          \
        if (fail("cl" #name, &error))                                       \
            return error;                                                   \
        return target.cl##name(UNPACK arguments);                           \
    }

#define CREATE(result, name, parameters, arguments)                         \
    static result CL_API_CALL pass_##name(UNPACK parameters, cl_int *error) \
    {                                                                       \
        if (fail("cl" #name, error))                                        \
            return NULL;                                                    \
        return target.cl##name(UNPACK arguments, error);                    \
    }

/* Commands on one or two memory objects. */
#define USE(name, first, second, parameters, arguments)                     \
    static cl_int CL_API_CALL pass_##name(UNPACK parameters, WAIT_LIST)     \
    {                                                                       \
        cl_int error = CL_SUCCESS;                                          \
        if (fail("cl" #name, &error))                                       \
            return error;                                                   \
        if (!usable(first) || !usable(second))                              \
            return CL_INVALID_OPERATION;                                    \
        return target.cl##name(UNPACK arguments, WAITS);                    \
    }

#define MAP(name, parameters, arguments)                                                 \
    static void *CL_API_CALL pass_##name(UNPACK parameters, WAIT_LIST, cl_int *error)    \
    {                                                                                    \
        if (fail("cl" #name, error))                                                     \
            return NULL;                                                                 \
        if (!usable(object)) {                                                           \
            if (error != NULL)                                                           \
                *error = CL_INVALID_OPERATION;                                           \
            return NULL;                                                                 \
        }                                                                                \
        return target.cl##name(UNPACK arguments, WAITS, error);                          \
    }

/* Commands that only wait. */
#define BEHIND(name)                                                                         \
    static cl_int CL_API_CALL pass_##name(cl_command_queue queue, WAIT_LIST)                 \
    {                                                                                        \
        cl_int error = CL_SUCCESS;                                                           \
        if (fail("cl" #name, &error))                                                        \
            return error;                                                                    \
        error = target.cl##name(queue, WAITS);                                               \
        if (error == CL_SUCCESS)                                                             \
            note_user_events(queue, count, events);                                          \
        return error;                                                                        \
    }

PASS(GetDeviceIDs, (cl_platform_id platform, cl_device_type type, cl_uint capacity, cl_device_id *devices, cl_uint *count),
     (platform, type, capacity, devices, count))
PASS(GetContextInfo, (cl_context context, cl_context_info name, size_t capacity, void *value, size_t *size),
     (context, name, capacity, value, size))
PASS(GetCommandQueueInfo, (cl_command_queue queue, cl_command_queue_info name, size_t capacity, void *value, size_t *size),
     (queue, name, capacity, value, size))
PASS(BuildProgram, (cl_program program, cl_uint count, const cl_device_id *devices, const char *options,
                    void(CL_CALLBACK *notify)(cl_program, void *), void *data),
     (program, count, devices, options, notify, data))
PASS(WaitForEvents, (cl_uint count, const cl_event *events), (count, events))
PASS(Flush, (cl_command_queue queue), (queue))
PASS(Finish, (cl_command_queue queue), (queue))
PASS(SetUserEventStatus, (cl_event event, cl_int status), (event, status))
PASS(SetEventCallback, (cl_event event, cl_int type, void(CL_CALLBACK *notify)(cl_event, cl_int, void *), void *data),
     (event, type, notify, data))
PASS(SetMemObjectDestructorCallback, (cl_mem object, void(CL_CALLBACK *notify)(cl_mem, void *), void *data),
     (object, notify, data))
BEHIND(EnqueueMarkerWithWaitList)
BEHIND(EnqueueBarrierWithWaitList)

CREATE(cl_context, CreateContext,
       (const cl_context_properties *properties, cl_uint count, const cl_device_id *devices,
        void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *), void *data),
       (properties, count, devices, notify, data))
CREATE(cl_command_queue, CreateCommandQueue,
       (cl_context context, cl_device_id device, cl_command_queue_properties properties), (context, device, properties))
CREATE(cl_command_queue, CreateCommandQueueWithProperties,
       (cl_context context, cl_device_id device, const cl_queue_properties *properties), (context, device, properties))
CREATE(cl_mem, CreateBuffer, (cl_context context, cl_mem_flags flags, size_t size, void *host_ptr),
       (context, flags, size, host_ptr))
CREATE(cl_mem, CreateImage,
       (cl_context context, cl_mem_flags flags, const cl_image_format *format, const cl_image_desc *description, void *host_ptr),
       (context, flags, format, description, host_ptr))
CREATE(cl_kernel, CreateKernel, (cl_program program, const char *name), (program, name))
CREATE(cl_event, CreateUserEvent, (cl_context context), (context))

USE(EnqueueReadBuffer, object, NULL,
    (cl_command_queue queue, cl_mem object, cl_bool blocking, size_t offset, size_t size, void *data),
    (queue, object, blocking, offset, size, data))
USE(EnqueueWriteBuffer, object, NULL,
    (cl_command_queue queue, cl_mem object, cl_bool blocking, size_t offset, size_t size, const void *data),
    (queue, object, blocking, offset, size, data))
USE(EnqueueFillBuffer, object, NULL,
    (cl_command_queue queue, cl_mem object, const void *pattern, size_t pattern_size, size_t offset, size_t size),
    (queue, object, pattern, pattern_size, offset, size))
USE(EnqueueCopyBuffer, from, to,
    (cl_command_queue queue, cl_mem from, cl_mem to, size_t from_offset, size_t to_offset, size_t size),
    (queue, from, to, from_offset, to_offset, size))
USE(EnqueueReadBufferRect, object, NULL,
    (cl_command_queue queue, cl_mem object, cl_bool blocking, const size_t *origin, const size_t *host_origin,
     const size_t *region, size_t row, size_t slice, size_t host_row, size_t host_slice, void *data),
    (queue, object, blocking, origin, host_origin, region, row, slice, host_row, host_slice, data))
USE(EnqueueWriteBufferRect, object, NULL,
    (cl_command_queue queue, cl_mem object, cl_bool blocking, const size_t *origin, const size_t *host_origin,
     const size_t *region, size_t row, size_t slice, size_t host_row, size_t host_slice, const void *data),
    (queue, object, blocking, origin, host_origin, region, row, slice, host_row, host_slice, data))
USE(EnqueueCopyBufferRect, from, to,
    (cl_command_queue queue, cl_mem from, cl_mem to, const size_t *from_origin, const size_t *to_origin,
     const size_t *region, size_t from_row, size_t from_slice, size_t to_row, size_t to_slice),
    (queue, from, to, from_origin, to_origin, region, from_row, from_slice, to_row, to_slice))
USE(EnqueueReadImage, object, NULL,
    (cl_command_queue queue, cl_mem object, cl_bool blocking, const size_t *origin, const size_t *region, size_t row,
     size_t slice, void *data),
    (queue, object, blocking, origin, region, row, slice, data))
USE(EnqueueWriteImage, object, NULL,
    (cl_command_queue queue, cl_mem object, cl_bool blocking, const size_t *origin, const size_t *region, size_t row,
     size_t slice, const void *data),
    (queue, object, blocking, origin, region, row, slice, data))
USE(EnqueueFillImage, object, NULL,
    (cl_command_queue queue, cl_mem object, const void *colour, const size_t *origin, const size_t *region),
    (queue, object, colour, origin, region))
USE(EnqueueCopyImage, from, to,
    (cl_command_queue queue, cl_mem from, cl_mem to, const size_t *from_origin, const size_t *to_origin, const size_t *region),
    (queue, from, to, from_origin, to_origin, region))
USE(EnqueueCopyImageToBuffer, from, to,
    (cl_command_queue queue, cl_mem from, cl_mem to, const size_t *origin, const size_t *region, size_t offset),
    (queue, from, to, origin, region, offset))
USE(EnqueueCopyBufferToImage, from, to,
    (cl_command_queue queue, cl_mem from, cl_mem to, size_t offset, const size_t *origin, const size_t *region),
    (queue, from, to, offset, origin, region))
USE(EnqueueUnmapMemObject, object, NULL, (cl_command_queue queue, cl_mem object, void *data), (queue, object, data))

MAP(EnqueueMapBuffer,
    (cl_command_queue queue, cl_mem object, cl_bool blocking, cl_map_flags flags, size_t offset, size_t size),
    (queue, object, blocking, flags, offset, size))
MAP(EnqueueMapImage,
    (cl_command_queue queue, cl_mem object, cl_bool blocking, cl_map_flags flags, const size_t *origin,
     const size_t *region, size_t *row, size_t *slice),
    (queue, object, blocking, flags, origin, region, row, slice))
/* clang-format on */

void intercept_core(cl_icd_dispatch *table)
{
#define SET(name) table->cl##name = pass_##name
    SET(SetKernelArg);
    SET(ReleaseKernel);
    SET(ReleaseContext);
    SET(EnqueueNDRangeKernel);
    SET(EnqueueTask);
    SET(EnqueueMigrateMemObjects);
    SET(GetDeviceIDs);
    SET(GetContextInfo);
    SET(GetCommandQueueInfo);
    SET(BuildProgram);
    SET(WaitForEvents);
    SET(Flush);
    SET(Finish);
    SET(SetUserEventStatus);
    SET(SetEventCallback);
    SET(SetMemObjectDestructorCallback);
    SET(EnqueueMarkerWithWaitList);
    SET(EnqueueBarrierWithWaitList);
    SET(CreateContext);
    SET(CreateCommandQueue);
    SET(CreateCommandQueueWithProperties);
    SET(CreateBuffer);
    SET(CreateImage);
    SET(CreateProgramWithSource);
    SET(CreateKernel);
    SET(CreateUserEvent);
    SET(EnqueueReadBuffer);
    SET(EnqueueWriteBuffer);
    SET(EnqueueFillBuffer);
    SET(EnqueueCopyBuffer);
    SET(EnqueueReadBufferRect);
    SET(EnqueueWriteBufferRect);
    SET(EnqueueCopyBufferRect);
    SET(EnqueueReadImage);
    SET(EnqueueWriteImage);
    SET(EnqueueFillImage);
    SET(EnqueueCopyImage);
    SET(EnqueueCopyImageToBuffer);
    SET(EnqueueCopyBufferToImage);
    SET(EnqueueUnmapMemObject);
    SET(EnqueueMapBuffer);
    SET(EnqueueMapImage);
#undef SET
}
