/* Entry points that an OpenCL loader looks for, and the table they hand out. */
#include "layer.h"

#include <pthread.h>
#include <string.h>

cl_icd_dispatch target;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static cl_icd_dispatch table;
static bool initialised;

bool fail(const char *function, cl_int *error)
{
    int code = CL_OUT_OF_RESOURCES;
    if (!softgpu_fail_now(function, &code))
        return false;
    if (error != NULL)
        *error = code;
    return true;
}

cl_int answer(const void *value, size_t size, size_t capacity, void *out, size_t *size_out)
{
    if (out != NULL) {
        if (capacity < size)
            return CL_INVALID_VALUE;
        if (size != 0)
            memcpy(out, value, size);
    }
    if (size_out != NULL)
        *size_out = size;
    return CL_SUCCESS;
}

/* Entries left NULL are filled by the loader with its own target's. */
static void fill_table(void)
{
    table.clGetPlatformInfo = layer_GetPlatformInfo;
    table.clGetDeviceInfo = layer_GetDeviceInfo;
    table.clGetExtensionFunctionAddress = layer_GetExtensionFunctionAddress;
    table.clGetExtensionFunctionAddressForPlatform = layer_GetExtensionFunctionAddressForPlatform;
    table.clCreateBufferWithProperties = layer_CreateBufferWithProperties;
    table.clCreateImageWithProperties = layer_CreateImageWithProperties;
    table.clCreateSubBuffer = layer_CreateSubBuffer;
    table.clGetMemObjectInfo = layer_GetMemObjectInfo;
    table.clGetEventInfo = layer_GetEventInfo;
    table.clRetainEvent = layer_RetainEvent;
    table.clReleaseEvent = layer_ReleaseEvent;
    intercept_core(&table);
}

SOFTGPU_EXPORT cl_int CL_API_CALL clGetLayerInfo(cl_layer_info name, size_t capacity, void *value,
                                                 size_t *size)
{
    static const char text[] = "softgpu: external memory and semaphores for CPU devices";
    const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
    switch (name) {
    case CL_LAYER_API_VERSION:
        return answer(&version, sizeof version, capacity, value, size);
    case CL_LAYER_NAME:
        return answer(text, sizeof text, capacity, value, size);
    default:
        return CL_INVALID_VALUE;
    }
}

/* ocl-icd 2.3.1 has one entry less than newer headers, and drops a layer that insists on its own number.
 *
 * Two loaders in one process share this library. Both tables lead to the same drivers, which dispatch on the
 * object, so the first one serves for the layer's own calls. */
SOFTGPU_EXPORT cl_int CL_API_CALL clInitLayer(cl_uint num_entries, const cl_icd_dispatch *target_dispatch,
                                              cl_uint *num_entries_ret,
                                              const cl_icd_dispatch **layer_dispatch_ret)
{
    const cl_uint own = sizeof(cl_icd_dispatch) / sizeof(void *);
    if (target_dispatch == NULL || num_entries_ret == NULL || layer_dispatch_ret == NULL)
        return CL_INVALID_VALUE;
    const cl_uint shared = num_entries < own ? num_entries : own;
    pthread_mutex_lock(&mutex);
    if (!initialised) {
        memcpy(&target, target_dispatch, shared * sizeof(void *));
        fill_table();
        initialised = true;
    }
    pthread_mutex_unlock(&mutex);
    *num_entries_ret = shared;
    *layer_dispatch_ret = &table;
    return CL_SUCCESS;
}

SOFTGPU_EXPORT cl_int CL_API_CALL clInitLayerWithProperties(cl_uint num_entries,
                                                            const cl_icd_dispatch *target_dispatch,
                                                            cl_uint *num_entries_ret,
                                                            const cl_icd_dispatch **layer_dispatch_ret,
                                                            const cl_layer_properties *properties);
SOFTGPU_EXPORT cl_int CL_API_CALL clDeinitLayer(void);

cl_int CL_API_CALL clInitLayerWithProperties(cl_uint num_entries, const cl_icd_dispatch *target_dispatch,
                                             cl_uint *num_entries_ret,
                                             const cl_icd_dispatch **layer_dispatch_ret,
                                             const cl_layer_properties *properties)
{
    (void)properties; /* they say when to tear down, and there is nothing to tear down */
    return clInitLayer(num_entries, target_dispatch, num_entries_ret, layer_dispatch_ret);
}

/* Objects may outlive the loader's own end, and threads end with their semaphores: nothing is freed here. */
cl_int CL_API_CALL clDeinitLayer(void)
{
    return CL_SUCCESS;
}
