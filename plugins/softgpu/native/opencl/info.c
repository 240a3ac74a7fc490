/* What emulated devices and their platforms say about themselves. */
#include "layer.h"

#include <stdlib.h>
#include <string.h>

#define EXTENSION_COUNT 8
#define VERSION(major, minor, patch)                                                                         \
    (((cl_version)(major) << 22) | ((cl_version)(minor) << 12) | (cl_version)(patch))
#define NAME_SUFFIX " (software)"

static const struct extension {
    const char *name;
    cl_version version;
    enum {
        ALWAYS,
        WITH_OPAQUE_MEMORY,
        WITH_DMA_BUF,
        WITH_SEMAPHORES,
        WITH_OPAQUE_FDS,
        WITH_SYNC_FDS,
        WITH_UUID
    } when;
} extensions[EXTENSION_COUNT] = {
    {"cl_khr_external_memory", VERSION(1, 0, 1), ALWAYS},
    {"cl_khr_external_memory_opaque_fd", VERSION(1, 0, 0), WITH_OPAQUE_MEMORY},
    {"cl_khr_external_memory_dma_buf", VERSION(1, 0, 0), WITH_DMA_BUF},
    {"cl_khr_semaphore", VERSION(1, 0, 0), WITH_SEMAPHORES},
    {"cl_khr_external_semaphore", VERSION(1, 0, 1), WITH_SEMAPHORES},
    {"cl_khr_external_semaphore_opaque_fd", VERSION(1, 0, 0), WITH_OPAQUE_FDS},
    {"cl_khr_external_semaphore_sync_fd", VERSION(1, 0, 1), WITH_SYNC_FDS},
    {"cl_khr_device_uuid", VERSION(1, 0, 0), WITH_UUID},
};

static const uint8_t driver_uuid[16] = "interop softgpu";

/* DMA_BUF: "0", "1", or "only", as Intel's driver, which takes no other handles of memory. */
bool opaque_memory_offered(void)
{
    return !softgpu_switch_is("DMA_BUF", "only", "0");
}

bool dma_buf_offered(void)
{
    return !softgpu_switch_is("DMA_BUF", "0", "0");
}

bool semaphores_offered(void)
{
    return !softgpu_switch_is("CL_SEMAPHORES", "0", "1");
}

static bool like_nvidia(void)
{
    return softgpu_switch_is("CL_QUERIES", "nvidia", "full");
}

bool semaphore_export_offered(void)
{
    return semaphores_offered() && !like_nvidia();
}

/* CL_UUID: an index into the Vulkan CPU devices, "wrong" or "none". */
static bool vulkan_uuid(uint8_t uuid[16])
{
    uint8_t uuids[16][16];
    if (softgpu_switch_is("CL_UUID", "none", "0"))
        return false;
    const int count = softgpu_vulkan_cpu_uuids(uuids, 16);
    const long index = softgpu_switch_number("CL_UUID", 0);
    if (index < 0 || index >= count)
        return false;
    memcpy(uuid, uuids[index], 16);
    if (softgpu_switch_is("CL_UUID", "wrong", "0"))
        for (int i = 0; i < 16; ++i)
            uuid[i] = (uint8_t)~uuid[i];
    return true;
}

static bool offered(const struct extension *extension)
{
    uint8_t uuid[16];
    switch (extension->when) {
    case WITH_OPAQUE_MEMORY:
        return opaque_memory_offered();
    case WITH_DMA_BUF:
        return dma_buf_offered();
    case WITH_SEMAPHORES:
        return semaphores_offered();
    case WITH_OPAQUE_FDS:
        return semaphores_offered() && softgpu_offers_opaque_fd();
    case WITH_SYNC_FDS:
        return semaphores_offered() && softgpu_offers_sync_fd();
    case WITH_UUID:
        return vulkan_uuid(uuid);
    default:
        return true;
    }
}

/* A word of a list separated by blanks. */
static const char *find_word(const char *list, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += length)
        if ((at == list || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return at;
    return NULL;
}

/* The driver's string, in a buffer that has room for more bytes; NULL when it has none. */
static char *device_string(cl_device_id device, cl_device_info name, size_t room)
{
    size_t size = 0;
    if (target.clGetDeviceInfo(device, name, 0, NULL, &size) != CL_SUCCESS)
        return NULL;
    char *text = calloc(1, size + room + 1);
    if (text != NULL && target.clGetDeviceInfo(device, name, size, text, NULL) != CL_SUCCESS) {
        free(text);
        return NULL;
    }
    return text;
}

bool emulated_device(cl_device_id device)
{
    cl_device_type type = 0;
    if (device == NULL ||
        target.clGetDeviceInfo(device, CL_DEVICE_TYPE, sizeof type, &type, NULL) != CL_SUCCESS ||
        (type & CL_DEVICE_TYPE_CPU) == 0)
        return false;
    char *own = device_string(device, CL_DEVICE_EXTENSIONS, 0);
    const bool native = own != NULL && find_word(own, "cl_khr_external_memory") != NULL;
    free(own);
    return !native;
}

bool emulated_platform(cl_platform_id platform)
{
    cl_device_id devices[MAX_LISTED_DEVICES];
    cl_uint count = 0;
    if (target.clGetDeviceIDs(platform, CL_DEVICE_TYPE_CPU, MAX_LISTED_DEVICES, devices, &count) !=
        CL_SUCCESS)
        return false;
    for (cl_uint i = 0; i < count && i < MAX_LISTED_DEVICES; ++i)
        if (emulated_device(devices[i]))
            return true;
    return false;
}

/* Extensions that are ours are listed once; those that a switch takes away are cut out of the driver's own
 * list. */
static void edit_extensions(char *list)
{
    for (int i = 0; i < EXTENSION_COUNT; ++i) {
        const char *name = extensions[i].name;
        char *found = (char *)find_word(list, name);
        const bool wanted = offered(&extensions[i]);
        if (wanted && found == NULL) {
            const size_t length = strlen(list);
            if (length != 0 && list[length - 1] != ' ')
                strcat(list, " ");
            strcat(list, name);
        } else if (!wanted && found != NULL) {
            const char *rest = found + strlen(name);
            rest += *rest == ' ';
            memmove(found, rest, strlen(rest) + 1);
        }
    }
}

static cl_int answer_extensions(char *list, size_t capacity, void *value, size_t *size)
{
    if (list == NULL)
        return CL_OUT_OF_HOST_MEMORY;
    edit_extensions(list);
    const cl_int result = answer(list, strlen(list) + 1, capacity, value, size);
    free(list);
    return result;
}

/* Takes over the driver's list, which has room for all of ours. */
static cl_int answer_versions(cl_name_version *list, size_t count, size_t capacity, void *value, size_t *size)
{
    for (int i = 0; i < EXTENSION_COUNT; ++i) {
        size_t at = 0;
        while (at < count && strcmp(list[at].name, extensions[i].name) != 0)
            at += 1;
        if (offered(&extensions[i])) {
            strcpy(list[at].name, extensions[i].name);
            list[at].version = extensions[i].version;
            count += at == count;
        } else if (at < count) {
            list[at] = list[--count];
        }
    }
    const cl_int result = answer(list, count * sizeof *list, capacity, value, size);
    free(list);
    return result;
}

/* The list that the driver states, with room for ours; an older driver has none and starts with ours. */
static cl_name_version *room_for_versions(size_t bytes)
{
    return calloc(1, bytes + EXTENSION_COUNT * sizeof(cl_name_version));
}

static size_t extensions_room(void)
{
    size_t room = 0;
    for (int i = 0; i < EXTENSION_COUNT; ++i)
        room += strlen(extensions[i].name) + 1;
    return room;
}

static cl_int answer_type(cl_uint type, bool any, size_t capacity, void *value, size_t *size)
{
    return answer(&type, any ? sizeof type : 0, capacity, value, size);
}

static cl_int answer_memory_types(bool any, size_t capacity, void *value, size_t *size)
{
    cl_uint types[2];
    size_t count = 0;
    if (opaque_memory_offered())
        types[count++] = KHR_MEMORY_HANDLE_OPAQUE_FD;
    if (dma_buf_offered())
        types[count++] = KHR_MEMORY_HANDLE_DMA_BUF;
    return answer(types, any ? count * sizeof types[0] : 0, capacity, value, size);
}

static cl_int answer_semaphore_handles(bool any, size_t capacity, void *value, size_t *size)
{
    cl_uint types[2];
    size_t count = 0;
    if (any && softgpu_offers_opaque_fd())
        types[count++] = KHR_SEMAPHORE_HANDLE_OPAQUE_FD;
    if (any && softgpu_offers_sync_fd())
        types[count++] = KHR_SEMAPHORE_HANDLE_SYNC_FD;
    return answer(types, count * sizeof types[0], capacity, value, size);
}

/* Answers that a platform and its devices share; false when the name is none of these. */
static bool answer_handle_types(cl_uint name, size_t capacity, void *value, size_t *size, cl_int *result)
{
    switch (name) {
    case KHR_PLATFORM_EXTERNAL_MEMORY_IMPORT_HANDLE_TYPES:
    case KHR_DEVICE_EXTERNAL_MEMORY_IMPORT_HANDLE_TYPES:
        *result = answer_memory_types(true, capacity, value, size);
        return true;
    case KHR_DEVICE_EXTERNAL_MEMORY_IMPORT_ASSUME_LINEAR_IMAGES:
        *result = answer_memory_types(!like_nvidia() && !images_are_tiled(), capacity, value, size);
        return true;
    case KHR_PLATFORM_SEMAPHORE_TYPES:
    case KHR_DEVICE_SEMAPHORE_TYPES:
        *result = like_nvidia() ? CL_INVALID_VALUE
                                : answer_type(KHR_SEMAPHORE_TYPE_BINARY, true, capacity, value, size);
        break;
    case KHR_PLATFORM_SEMAPHORE_IMPORT_HANDLE_TYPES:
    case KHR_DEVICE_SEMAPHORE_IMPORT_HANDLE_TYPES:
        *result = answer_semaphore_handles(true, capacity, value, size);
        break;
    case KHR_PLATFORM_SEMAPHORE_EXPORT_HANDLE_TYPES:
    case KHR_DEVICE_SEMAPHORE_EXPORT_HANDLE_TYPES:
        *result = answer_semaphore_handles(semaphore_export_offered(), capacity, value, size);
        break;
    default:
        return false;
    }
    if (!semaphores_offered())
        *result = CL_INVALID_VALUE;
    return true;
}

cl_int CL_API_CALL layer_GetPlatformInfo(cl_platform_id platform, cl_platform_info name, size_t capacity,
                                         void *value, size_t *size)
{
    cl_int result = CL_SUCCESS;
    if (fail("clGetPlatformInfo", &result))
        return result;
    const bool ours =
        name == CL_PLATFORM_EXTENSIONS || name == CL_PLATFORM_EXTENSIONS_WITH_VERSION ||
        (name >= KHR_PLATFORM_SEMAPHORE_TYPES && name <= KHR_PLATFORM_SEMAPHORE_EXPORT_HANDLE_TYPES) ||
        name == KHR_PLATFORM_EXTERNAL_MEMORY_IMPORT_HANDLE_TYPES;
    if (!ours || !emulated_platform(platform))
        return target.clGetPlatformInfo(platform, name, capacity, value, size);
    if (answer_handle_types(name, capacity, value, size, &result))
        return result;
    size_t bytes = 0;
    result = target.clGetPlatformInfo(platform, name, 0, NULL, &bytes);
    if (name == CL_PLATFORM_EXTENSIONS) {
        char *list = calloc(1, bytes + extensions_room() + 2);
        if (list != NULL && bytes != 0)
            target.clGetPlatformInfo(platform, name, bytes, list, NULL);
        return answer_extensions(list, capacity, value, size);
    }
    if (result != CL_SUCCESS)
        return result;
    cl_name_version *list = room_for_versions(bytes);
    if (list == NULL)
        return CL_OUT_OF_HOST_MEMORY;
    if (bytes != 0)
        target.clGetPlatformInfo(platform, name, bytes, list, NULL);
    return answer_versions(list, bytes / sizeof *list, capacity, value, size);
}

static cl_int answer_uuids(cl_device_id device, cl_device_info name, size_t capacity, void *value,
                           size_t *size)
{
    static const uint8_t luid[8];
    const cl_bool luid_valid = CL_FALSE;
    const cl_uint node_mask = 0;
    uint8_t uuid[16];
    if (!vulkan_uuid(uuid)) {
        /* Without Vulkan a driver that has UUIDs of its own keeps them, unless a switch takes them. */
        return softgpu_switch_is("CL_UUID", "none", "0")
                   ? CL_INVALID_VALUE
                   : target.clGetDeviceInfo(device, name, capacity, value, size);
    }
    switch (name) {
    case KHR_DEVICE_UUID:
        return answer(uuid, sizeof uuid, capacity, value, size);
    case KHR_DRIVER_UUID:
        return answer(driver_uuid, sizeof driver_uuid, capacity, value, size);
    case KHR_DEVICE_LUID_VALID:
        return answer(&luid_valid, sizeof luid_valid, capacity, value, size);
    case KHR_DEVICE_LUID:
        return answer(luid, sizeof luid, capacity, value, size);
    default:
        return answer(&node_mask, sizeof node_mask, capacity, value, size);
    }
}

static cl_int answer_name(cl_device_id device, size_t capacity, void *value, size_t *size)
{
    char *text = device_string(device, CL_DEVICE_NAME, sizeof NAME_SUFFIX);
    if (text == NULL)
        return CL_OUT_OF_HOST_MEMORY;
    strcat(text, NAME_SUFFIX);
    const cl_int result = answer(text, strlen(text) + 1, capacity, value, size);
    free(text);
    return result;
}

cl_int CL_API_CALL layer_GetDeviceInfo(cl_device_id device, cl_device_info name, size_t capacity, void *value,
                                       size_t *size)
{
    cl_int result = CL_SUCCESS;
    if (fail("clGetDeviceInfo", &result))
        return result;
    if (!emulated_device(device))
        return target.clGetDeviceInfo(device, name, capacity, value, size);
    if (name >= KHR_DEVICE_UUID && name <= KHR_DEVICE_NODE_MASK)
        return answer_uuids(device, name, capacity, value, size);
    if (answer_handle_types(name, capacity, value, size, &result))
        return result;
    if (name == CL_DEVICE_NAME)
        return answer_name(device, capacity, value, size);
    if (name == CL_DEVICE_EXTENSIONS)
        return answer_extensions(device_string(device, name, extensions_room() + 1), capacity, value, size);
    if (name != CL_DEVICE_EXTENSIONS_WITH_VERSION)
        return target.clGetDeviceInfo(device, name, capacity, value, size);
    size_t bytes = 0;
    result = target.clGetDeviceInfo(device, name, 0, NULL, &bytes);
    if (result != CL_SUCCESS)
        return result;
    cl_name_version *list = room_for_versions(bytes);
    if (list == NULL)
        return CL_OUT_OF_HOST_MEMORY;
    if (bytes != 0)
        target.clGetDeviceInfo(device, name, bytes, list, NULL);
    return answer_versions(list, bytes / sizeof *list, capacity, value, size);
}

static void *own_function(const char *name)
{
    static const struct function {
        const char *name;
        void (*address)(void);
        bool semaphore;
    } functions[] = {
        {"clEnqueueAcquireExternalMemObjectsKHR", (void (*)(void))layer_EnqueueAcquireExternalMemObjectsKHR,
         false},
        {"clEnqueueReleaseExternalMemObjectsKHR", (void (*)(void))layer_EnqueueReleaseExternalMemObjectsKHR,
         false},
        {"clCreateSemaphoreWithPropertiesKHR", (void (*)(void))layer_CreateSemaphoreWithPropertiesKHR, true},
        {"clEnqueueWaitSemaphoresKHR", (void (*)(void))layer_EnqueueWaitSemaphoresKHR, true},
        {"clEnqueueSignalSemaphoresKHR", (void (*)(void))layer_EnqueueSignalSemaphoresKHR, true},
        {"clGetSemaphoreInfoKHR", (void (*)(void))layer_GetSemaphoreInfoKHR, true},
        {"clReleaseSemaphoreKHR", (void (*)(void))layer_ReleaseSemaphoreKHR, true},
        {"clRetainSemaphoreKHR", (void (*)(void))layer_RetainSemaphoreKHR, true},
        {"clGetSemaphoreHandleForTypeKHR", (void (*)(void))layer_GetSemaphoreHandleForTypeKHR, true},
        {"clReImportSemaphoreSyncFdKHR", (void (*)(void))layer_ReImportSemaphoreSyncFdKHR, true},
    };
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; ++i)
        if (strcmp(functions[i].name, name) == 0)
            return functions[i].semaphore && !semaphores_offered() ? NULL : (void *)functions[i].address;
    return NULL;
}

void *CL_API_CALL layer_GetExtensionFunctionAddressForPlatform(cl_platform_id platform, const char *name)
{
    void *own = name != NULL && emulated_platform(platform) ? own_function(name) : NULL;
    return own != NULL ? own : target.clGetExtensionFunctionAddressForPlatform(platform, name);
}

/* Of OpenCL 1.1: it names no platform, so only what no driver here offers is answered with ours. */
void *CL_API_CALL layer_GetExtensionFunctionAddress(const char *name)
{
    void *theirs = target.clGetExtensionFunctionAddress(name);
    return theirs != NULL || name == NULL ? theirs : own_function(name);
}
