/* The part of OpenCL's binary interface that the layer touches: types, constants and the loaders' dispatch
 * table.
 *
 * Declared here so that the layer builds where no OpenCL headers are installed. Values, layouts and positions
 * are fixed by the OpenCL specification and the ICD loaders; the static asserts below hold them. */
#ifndef SOFTGPU_OPENCL_ABI_H
#define SOFTGPU_OPENCL_ABI_H

#include <stddef.h>
#include <stdint.h>

typedef int32_t cl_int;
typedef uint32_t cl_uint;
typedef uint64_t cl_ulong;
typedef uint64_t cl_bitfield;
typedef uint64_t cl_properties;
typedef cl_uint cl_bool, cl_version, cl_platform_info, cl_device_info, cl_context_info, cl_command_queue_info,
    cl_mem_info, cl_event_info, cl_kernel_info, cl_command_type, cl_mem_object_type, cl_buffer_create_type,
    cl_channel_order, cl_channel_type, cl_layer_info, cl_layer_api_version, cl_semaphore_info_khr,
    cl_semaphore_type_khr, cl_external_semaphore_handle_type_khr;
typedef cl_bitfield cl_device_type, cl_mem_flags, cl_map_flags, cl_mem_migration_flags,
    cl_command_queue_properties, cl_device_exec_capabilities;
typedef cl_properties cl_mem_properties, cl_queue_properties, cl_semaphore_properties_khr,
    cl_layer_properties;
typedef cl_ulong cl_semaphore_payload_khr;
typedef intptr_t cl_context_properties;

typedef struct _cl_platform_id *cl_platform_id;
typedef struct _cl_device_id *cl_device_id;
typedef struct _cl_context *cl_context;
typedef struct _cl_command_queue *cl_command_queue;
typedef struct _cl_mem *cl_mem;
typedef struct _cl_program *cl_program;
typedef struct _cl_kernel *cl_kernel;
typedef struct _cl_event *cl_event;
typedef struct _cl_semaphore_khr *cl_semaphore_khr;

typedef struct {
    cl_channel_order image_channel_order;
    cl_channel_type image_channel_data_type;
} cl_image_format;

typedef struct {
    cl_mem_object_type image_type;
    size_t image_width;
    size_t image_height;
    size_t image_depth;
    size_t image_array_size;
    size_t image_row_pitch;
    size_t image_slice_pitch;
    cl_uint num_mip_levels;
    cl_uint num_samples;
    cl_mem mem_object;
} cl_image_desc;

typedef struct {
    cl_version version;
    char name[64];
} cl_name_version;

_Static_assert(sizeof(cl_image_format) == 8, "cl_image_format");
_Static_assert(sizeof(cl_image_desc) == 72, "cl_image_desc");
_Static_assert(sizeof(cl_name_version) == 68, "cl_name_version");

enum {
    CL_SUCCESS = 0,
    CL_OUT_OF_RESOURCES = -5,
    CL_OUT_OF_HOST_MEMORY = -6,
    CL_IMAGE_FORMAT_NOT_SUPPORTED = -10,
    CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST = -14,
    CL_INVALID_VALUE = -30,
    CL_INVALID_DEVICE = -33,
    CL_INVALID_CONTEXT = -34,
    CL_INVALID_COMMAND_QUEUE = -36,
    CL_INVALID_HOST_PTR = -37,
    CL_INVALID_MEM_OBJECT = -38,
    CL_INVALID_IMAGE_FORMAT_DESCRIPTOR = -39,
    CL_INVALID_EVENT_WAIT_LIST = -57,
    CL_INVALID_OPERATION = -59,
    CL_INVALID_BUFFER_SIZE = -61,
    CL_INVALID_PROPERTY = -64,
    CL_INVALID_IMAGE_DESCRIPTOR = -65
};

enum {
    CL_FALSE = 0,
    CL_TRUE = 1,
    CL_COMPLETE = 0,
    CL_QUEUED = 3,
    CL_PLATFORM_EXTENSIONS = 0x0904,
    CL_PLATFORM_EXTENSIONS_WITH_VERSION = 0x0907,
    CL_DEVICE_TYPE = 0x1000,
    CL_DEVICE_EXECUTION_CAPABILITIES = 0x1029,
    CL_DEVICE_NAME = 0x102B,
    CL_DEVICE_EXTENSIONS = 0x1030,
    CL_DEVICE_EXTENSIONS_WITH_VERSION = 0x1060,
    CL_CONTEXT_DEVICES = 0x1081,
    CL_QUEUE_CONTEXT = 0x1090,
    CL_QUEUE_DEVICE = 0x1091,
    CL_QUEUE_PROPERTIES = 0x1093,
    CL_MEM_FLAGS = 0x1101,
    CL_MEM_HOST_PTR = 0x1103,
    CL_MEM_CONTEXT = 0x1106,
    CL_MEM_PROPERTIES = 0x110A,
    CL_KERNEL_REFERENCE_COUNT = 0x1192,
    CL_EVENT_COMMAND_TYPE = 0x11D1,
    CL_COMMAND_USER = 0x1204,
    CL_CONTEXT_REFERENCE_COUNT = 0x1080,
    CL_EVENT_COMMAND_EXECUTION_STATUS = 0x11D3,
    CL_EVENT_CONTEXT = 0x11D4,
    CL_LAYER_API_VERSION = 0x4240,
    CL_LAYER_NAME = 0x4241,
    CL_LAYER_API_VERSION_100 = 100
};

enum {
    CL_DEVICE_TYPE_CPU = 1 << 1
};
enum {
    CL_EXEC_NATIVE_KERNEL = 1 << 1
};
enum {
    CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE = 1 << 0
};
enum {
    CL_MEM_READ_WRITE = 1 << 0,
    CL_MEM_WRITE_ONLY = 1 << 1,
    CL_MEM_READ_ONLY = 1 << 2,
    CL_MEM_USE_HOST_PTR = 1 << 3,
    CL_MEM_ALLOC_HOST_PTR = 1 << 4,
    CL_MEM_COPY_HOST_PTR = 1 << 5
};
enum {
    CL_MEM_OBJECT_IMAGE2D = 0x10F1,
    CL_MEM_OBJECT_IMAGE3D = 0x10F2,
    CL_MEM_OBJECT_IMAGE1D = 0x10F4
};
enum {
    CL_R = 0x10B0,
    CL_A = 0x10B1,
    CL_RG = 0x10B2,
    CL_RA = 0x10B3,
    CL_RGBA = 0x10B5,
    CL_BGRA = 0x10B6,
    CL_ARGB = 0x10B7,
    CL_INTENSITY = 0x10B8,
    CL_LUMINANCE = 0x10B9,
    CL_DEPTH = 0x10BD,
    CL_sRGBA = 0x10C1,
    CL_sBGRA = 0x10C2,
    CL_ABGR = 0x10C3
};
enum {
    CL_SNORM_INT8 = 0x10D0,
    CL_SNORM_INT16 = 0x10D1,
    CL_UNORM_INT8 = 0x10D2,
    CL_UNORM_INT16 = 0x10D3,
    CL_SIGNED_INT8 = 0x10D7,
    CL_SIGNED_INT16 = 0x10D8,
    CL_SIGNED_INT32 = 0x10D9,
    CL_UNSIGNED_INT8 = 0x10DA,
    CL_UNSIGNED_INT16 = 0x10DB,
    CL_UNSIGNED_INT32 = 0x10DC,
    CL_HALF_FLOAT = 0x10DD,
    CL_FLOAT = 0x10DE
};

/* x86-64 has one calling convention here. */
#define CL_API_CALL
#define CL_CALLBACK

typedef void(CL_CALLBACK *cl_mem_callback)(cl_mem object, void *data);
typedef void(CL_CALLBACK *cl_event_callback)(cl_event event, cl_int status, void *data);
typedef void(CL_CALLBACK *cl_program_callback)(cl_program program, void *data);
typedef void(CL_CALLBACK *cl_context_callback)(const char *text, const void *info, size_t size, void *data);
typedef void(CL_CALLBACK *cl_native_kernel)(void *arguments);

/* clang-format off */
#define ABI_INFO(handle, name) cl_int (*name)(handle, cl_uint, size_t, void *, size_t *)
#define ABI_WAIT_LIST cl_uint, const cl_event *, cl_event *
#define ABI_SIZES const size_t *
#define ABI_UNUSED(first, last) void *unused_##first[last - first + 1]

/* In the order of every loader; the numbers are positions. */
typedef struct {
    ABI_UNUSED(0, 0);
    ABI_INFO(cl_platform_id, clGetPlatformInfo);
    cl_int (*clGetDeviceIDs)(cl_platform_id, cl_device_type, cl_uint, cl_device_id *, cl_uint *);
    ABI_INFO(cl_device_id, clGetDeviceInfo);
    cl_context (*clCreateContext)(const cl_context_properties *, cl_uint, const cl_device_id *, cl_context_callback, void *, cl_int *);
    ABI_UNUSED(5, 5);
    cl_int (*clRetainContext)(cl_context);
    cl_int (*clReleaseContext)(cl_context);
    ABI_INFO(cl_context, clGetContextInfo);
    cl_command_queue (*clCreateCommandQueue)(cl_context, cl_device_id, cl_command_queue_properties, cl_int *);
    ABI_UNUSED(10, 11);
    ABI_INFO(cl_command_queue, clGetCommandQueueInfo);
    ABI_UNUSED(13, 13);
    cl_mem (*clCreateBuffer)(cl_context, cl_mem_flags, size_t, void *, cl_int *);
    ABI_UNUSED(15, 17);
    cl_int (*clReleaseMemObject)(cl_mem);
    ABI_UNUSED(19, 19);
    ABI_INFO(cl_mem, clGetMemObjectInfo);
    ABI_UNUSED(21, 25);
    cl_program (*clCreateProgramWithSource)(cl_context, cl_uint, const char **, ABI_SIZES, cl_int *);
    ABI_UNUSED(27, 29);
    cl_int (*clBuildProgram)(cl_program, cl_uint, const cl_device_id *, const char *, cl_program_callback, void *);
    ABI_UNUSED(31, 33);
    cl_kernel (*clCreateKernel)(cl_program, const char *, cl_int *);
    ABI_UNUSED(35, 36);
    cl_int (*clReleaseKernel)(cl_kernel);
    cl_int (*clSetKernelArg)(cl_kernel, cl_uint, size_t, const void *);
    ABI_INFO(cl_kernel, clGetKernelInfo);
    ABI_UNUSED(40, 40);
    cl_int (*clWaitForEvents)(cl_uint, const cl_event *);
    ABI_INFO(cl_event, clGetEventInfo);
    cl_int (*clRetainEvent)(cl_event);
    cl_int (*clReleaseEvent)(cl_event);
    ABI_UNUSED(45, 45);
    cl_int (*clFlush)(cl_command_queue);
    cl_int (*clFinish)(cl_command_queue);
    cl_int (*clEnqueueReadBuffer)(cl_command_queue, cl_mem, cl_bool, size_t, size_t, void *, ABI_WAIT_LIST);
    cl_int (*clEnqueueWriteBuffer)(cl_command_queue, cl_mem, cl_bool, size_t, size_t, const void *, ABI_WAIT_LIST);
    cl_int (*clEnqueueCopyBuffer)(cl_command_queue, cl_mem, cl_mem, size_t, size_t, size_t, ABI_WAIT_LIST);
    cl_int (*clEnqueueReadImage)(cl_command_queue, cl_mem, cl_bool, ABI_SIZES, ABI_SIZES, size_t, size_t, void *, ABI_WAIT_LIST);
    cl_int (*clEnqueueWriteImage)(cl_command_queue, cl_mem, cl_bool, ABI_SIZES, ABI_SIZES, size_t, size_t, const void *, ABI_WAIT_LIST);
    cl_int (*clEnqueueCopyImage)(cl_command_queue, cl_mem, cl_mem, ABI_SIZES, ABI_SIZES, ABI_SIZES, ABI_WAIT_LIST);
    cl_int (*clEnqueueCopyImageToBuffer)(cl_command_queue, cl_mem, cl_mem, ABI_SIZES, ABI_SIZES, size_t, ABI_WAIT_LIST);
    cl_int (*clEnqueueCopyBufferToImage)(cl_command_queue, cl_mem, cl_mem, size_t, ABI_SIZES, ABI_SIZES, ABI_WAIT_LIST);
    void *(*clEnqueueMapBuffer)(cl_command_queue, cl_mem, cl_bool, cl_map_flags, size_t, size_t, ABI_WAIT_LIST, cl_int *);
    void *(*clEnqueueMapImage)(cl_command_queue, cl_mem, cl_bool, cl_map_flags, ABI_SIZES, ABI_SIZES, size_t *, size_t *, ABI_WAIT_LIST, cl_int *);
    cl_int (*clEnqueueUnmapMemObject)(cl_command_queue, cl_mem, void *, ABI_WAIT_LIST);
    cl_int (*clEnqueueNDRangeKernel)(cl_command_queue, cl_kernel, cl_uint, ABI_SIZES, ABI_SIZES, ABI_SIZES, ABI_WAIT_LIST);
    cl_int (*clEnqueueTask)(cl_command_queue, cl_kernel, ABI_WAIT_LIST);
    cl_int (*clEnqueueNativeKernel)(cl_command_queue, cl_native_kernel, void *, size_t, cl_uint, const cl_mem *, const void **, ABI_WAIT_LIST);
    ABI_UNUSED(62, 64);
    void *(*clGetExtensionFunctionAddress)(const char *);
    ABI_UNUSED(66, 80);
    cl_int (*clSetEventCallback)(cl_event, cl_int, cl_event_callback, void *);
    cl_mem (*clCreateSubBuffer)(cl_mem, cl_mem_flags, cl_buffer_create_type, const void *, cl_int *);
    cl_int (*clSetMemObjectDestructorCallback)(cl_mem, cl_mem_callback, void *);
    cl_event (*clCreateUserEvent)(cl_context, cl_int *);
    cl_int (*clSetUserEventStatus)(cl_event, cl_int);
    cl_int (*clEnqueueReadBufferRect)(cl_command_queue, cl_mem, cl_bool, ABI_SIZES, ABI_SIZES, ABI_SIZES, size_t, size_t, size_t, size_t, void *, ABI_WAIT_LIST);
    cl_int (*clEnqueueWriteBufferRect)(cl_command_queue, cl_mem, cl_bool, ABI_SIZES, ABI_SIZES, ABI_SIZES, size_t, size_t, size_t, size_t, const void *, ABI_WAIT_LIST);
    cl_int (*clEnqueueCopyBufferRect)(cl_command_queue, cl_mem, cl_mem, ABI_SIZES, ABI_SIZES, ABI_SIZES, size_t, size_t, size_t, size_t, ABI_WAIT_LIST);
    ABI_UNUSED(89, 95);
    cl_mem (*clCreateImage)(cl_context, cl_mem_flags, const cl_image_format *, const cl_image_desc *, void *, cl_int *);
    ABI_UNUSED(97, 101);
    cl_int (*clEnqueueFillBuffer)(cl_command_queue, cl_mem, const void *, size_t, size_t, size_t, ABI_WAIT_LIST);
    cl_int (*clEnqueueFillImage)(cl_command_queue, cl_mem, const void *, ABI_SIZES, ABI_SIZES, ABI_WAIT_LIST);
    cl_int (*clEnqueueMigrateMemObjects)(cl_command_queue, cl_uint, const cl_mem *, cl_mem_migration_flags, ABI_WAIT_LIST);
    cl_int (*clEnqueueMarkerWithWaitList)(cl_command_queue, ABI_WAIT_LIST);
    cl_int (*clEnqueueBarrierWithWaitList)(cl_command_queue, ABI_WAIT_LIST);
    void *(*clGetExtensionFunctionAddressForPlatform)(cl_platform_id, const char *);
    ABI_UNUSED(108, 122);
    cl_command_queue (*clCreateCommandQueueWithProperties)(cl_context, cl_device_id, const cl_queue_properties *, cl_int *);
    ABI_UNUSED(124, 145);
    cl_mem (*clCreateBufferWithProperties)(cl_context, const cl_mem_properties *, cl_mem_flags, size_t, void *, cl_int *);
    cl_mem (*clCreateImageWithProperties)(cl_context, const cl_mem_properties *, cl_mem_flags, const cl_image_format *, const cl_image_desc *, void *, cl_int *);
    ABI_UNUSED(148, 148);
} cl_icd_dispatch;
/* clang-format on */

#define ABI_AT(name, position)                                                                               \
    _Static_assert(offsetof(cl_icd_dispatch, name) == (position) * sizeof(void *), #name " is misplaced")
ABI_AT(clGetDeviceInfo, 3);
ABI_AT(clGetCommandQueueInfo, 12);
ABI_AT(clGetMemObjectInfo, 20);
ABI_AT(clBuildProgram, 30);
ABI_AT(clGetKernelInfo, 39);
ABI_AT(clGetEventInfo, 42);
ABI_AT(clEnqueueReadBuffer, 48);
ABI_AT(clEnqueueNDRangeKernel, 59);
ABI_AT(clGetExtensionFunctionAddress, 65);
ABI_AT(clSetEventCallback, 81);
ABI_AT(clEnqueueCopyBufferRect, 88);
ABI_AT(clCreateImage, 96);
ABI_AT(clEnqueueFillBuffer, 102);
ABI_AT(clGetExtensionFunctionAddressForPlatform, 107);
ABI_AT(clCreateCommandQueueWithProperties, 123);
ABI_AT(clCreateImageWithProperties, 147);
_Static_assert(sizeof(cl_icd_dispatch) == 149 * sizeof(void *), "cl_icd_dispatch");

#endif
