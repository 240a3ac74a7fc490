#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "layer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct instance {
    struct instance *following;
    const void *key;
    get_proc_addr function;
    vk_handle handle;
    destroy_function destroy;
    semaphore_properties_function semaphore_properties;
};

static pthread_mutex_t listing = PTHREAD_MUTEX_INITIALIZER;
static struct instance *instances;
static struct device *devices;

/* Dispatchable handles begin with the loader's table, one for an instance or device and all that hangs on it.
 */
static const void *key_of(const void *handle)
{
    return *(const void *const *)handle;
}

static struct instance *instance_of(const void *handle)
{
    pthread_mutex_lock(&listing);
    struct instance *found = instances;
    while (found != NULL && found->key != key_of(handle))
        found = found->following;
    pthread_mutex_unlock(&listing);
    return found;
}

static struct device *device_of(const void *handle)
{
    pthread_mutex_lock(&listing);
    struct device *found = devices;
    while (found != NULL && found->key != key_of(handle))
        found = found->following;
    pthread_mutex_unlock(&listing);
    return found;
}

/* The link to the next layer, which the loader hides in the chain; steps on to the one after it. */
static struct layer_link *take_link(const void *info, int32_t type)
{
    for (const struct chained *at = ((const struct chained *)info)->next; at != NULL; at = at->next) {
        struct layer_create_info *found = (struct layer_create_info *)(uintptr_t)at;
        if (at->type == type && found->function == LAYER_LINK_INFO) {
            struct layer_link *link = found->link;
            found->link = link->next;
            return link;
        }
    }
    return NULL;
}

static bool fails(const char *function, int32_t *result)
{
    *result = VK_ERROR_TOO_MANY_OBJECTS;
    return softgpu_fail_now(function, result);
}

/* -- instances -- */

static int32_t create_instance(const void *info, const void *allocator, vk_handle *out)
{
    const struct layer_link *link = take_link(info, TYPE_LOADER_INSTANCE_CREATE_INFO);
    struct instance *made = calloc(1, sizeof *made);
    if (link == NULL || made == NULL) {
        free(made);
        return VK_ERROR_INITIALIZATION_FAILED;
    }
    create_instance_function create =
        (create_instance_function)link->instance_function(NULL, "vkCreateInstance");
    const int32_t result = create(info, allocator, out);
    if (result != VK_SUCCESS) {
        free(made);
        return result;
    }
    made->key = key_of(*out);
    made->handle = *out;
    made->function = link->instance_function;
    made->destroy = (destroy_function)made->function(*out, "vkDestroyInstance");
    made->semaphore_properties =
        (semaphore_properties_function)made->function(*out, "vkGetPhysicalDeviceExternalSemaphoreProperties");
    if (made->semaphore_properties == NULL)
        made->semaphore_properties = (semaphore_properties_function)made->function(
            *out, "vkGetPhysicalDeviceExternalSemaphorePropertiesKHR");
    pthread_mutex_lock(&listing);
    made->following = instances;
    instances = made;
    pthread_mutex_unlock(&listing);
    return VK_SUCCESS;
}

static void destroy_instance(vk_handle instance, const void *allocator)
{
    struct instance *found = instance != NULL ? instance_of(instance) : NULL;
    if (found == NULL)
        return;
    pthread_mutex_lock(&listing);
    struct instance **at = &instances;
    while (*at != found)
        at = &(*at)->following;
    *at = found->following;
    pthread_mutex_unlock(&listing);
    found->destroy(instance, allocator);
    free(found);
}

static bool binary(const struct external_semaphore_info *info)
{
    for (const struct chained *at = info->next; at != NULL; at = at->next)
        if (at->type == TYPE_SEMAPHORE_TYPE_CREATE_INFO)
            return ((const struct semaphore_type_info *)(const void *)at)->semaphore_type == SEMAPHORE_BINARY;
    return true;
}

static void semaphore_properties(vk_handle physical, const struct external_semaphore_info *info,
                                 struct external_semaphore_properties *answer)
{
    struct instance *instance = instance_of(physical);
    instance->semaphore_properties(physical, info, answer);
    if (info->handle_type == HANDLE_OPAQUE_FD && !softgpu_offers_opaque_fd())
        answer->exported_from_imported = answer->compatible = answer->features = 0;
    if (info->handle_type == HANDLE_SYNC_FD && softgpu_offers_sync_fd() && binary(info)) {
        answer->exported_from_imported = answer->compatible = HANDLE_SYNC_FD;
        answer->features = FEATURE_EXPORTABLE | FEATURE_IMPORTABLE;
    }
}

/* -- devices -- */

static bool look_up(struct device *device)
{
#define LOOK_UP(field, name) (device->field = (void *)device->function(device->handle, name))
    return LOOK_UP(destroy, "vkDestroyDevice") && LOOK_UP(create_semaphore, "vkCreateSemaphore") &&
           LOOK_UP(destroy_semaphore, "vkDestroySemaphore") && LOOK_UP(create_fence, "vkCreateFence") &&
           LOOK_UP(destroy_fence, "vkDestroyFence") && LOOK_UP(wait_fences, "vkWaitForFences") &&
           LOOK_UP(reset_fences, "vkResetFences") && LOOK_UP(submit, "vkQueueSubmit") &&
           (LOOK_UP(submit_2, "vkQueueSubmit2") || LOOK_UP(submit_2, "vkQueueSubmit2KHR") || true) &&
           (LOOK_UP(get_fd, "vkGetSemaphoreFdKHR") || true) &&
           (LOOK_UP(import_fd, "vkImportSemaphoreFdKHR") || true);
#undef LOOK_UP
}

static int32_t create_device(vk_handle physical, const void *info, const void *allocator, vk_handle *out)
{
    const struct layer_link *link = take_link(info, TYPE_LOADER_DEVICE_CREATE_INFO);
    struct device *made = calloc(1, sizeof *made);
    if (link == NULL || made == NULL) {
        free(made);
        return VK_ERROR_INITIALIZATION_FAILED;
    }
    create_function create =
        (create_function)link->instance_function(instance_of(physical)->handle, "vkCreateDevice");
    const int32_t result = create(physical, info, allocator, out);
    if (result != VK_SUCCESS) {
        free(made);
        return result;
    }
    made->key = key_of(*out);
    made->handle = *out;
    made->function = link->device_function;
    pthread_mutex_init(&made->submitting, NULL);
    if (!look_up(made) || !relay_open(made)) {
        if (made->destroy != NULL)
            made->destroy(*out, allocator);
        free(made);
        return VK_ERROR_TOO_MANY_OBJECTS;
    }
    pthread_mutex_lock(&listing);
    made->following = devices;
    devices = made;
    pthread_mutex_unlock(&listing);
    return VK_SUCCESS;
}

static void destroy_device(vk_handle handle, const void *allocator)
{
    struct device *found = handle != NULL ? device_of(handle) : NULL;
    if (found == NULL)
        return;
    pthread_mutex_lock(&listing);
    struct device **at = &devices;
    while (*at != found)
        at = &(*at)->following;
    *at = found->following;
    pthread_mutex_unlock(&listing);
    relay_close(found);
    found->destroy(handle, allocator);
    pthread_mutex_destroy(&found->submitting);
    free(found);
}

/* A queue is one thread's at a time, and an export submits too. */
static int32_t submit(vk_handle queue, uint32_t count, const void *infos, vk_object fence)
{
    struct device *device = device_of(queue);
    pthread_mutex_lock(&device->submitting);
    device->queue = queue;
    const int32_t result = device->submit(queue, count, infos, fence);
    pthread_mutex_unlock(&device->submitting);
    return result;
}

static int32_t submit_2(vk_handle queue, uint32_t count, const void *infos, vk_object fence)
{
    struct device *device = device_of(queue);
    pthread_mutex_lock(&device->submitting);
    device->queue = queue;
    const int32_t result = device->submit_2(queue, count, infos, fence);
    pthread_mutex_unlock(&device->submitting);
    return result;
}

/* -- semaphores -- */

/* SwiftShader does not know the handle type: it is told nothing of it. */
static int32_t create_semaphore(vk_handle handle, const struct semaphore_create_info *info,
                                const void *allocator, vk_object *out)
{
    struct device *device = device_of(handle);
    for (const struct chained *at = info->next; at != NULL; at = at->next) {
        struct export_semaphore_info *exports = (struct export_semaphore_info *)(uintptr_t)at;
        if (at->type != TYPE_EXPORT_SEMAPHORE_CREATE_INFO || (exports->handle_types & HANDLE_SYNC_FD) == 0)
            continue;
        const uint32_t wanted = exports->handle_types;
        exports->handle_types &= ~(uint32_t)HANDLE_SYNC_FD;
        const int32_t result = device->create_semaphore(handle, info, allocator, out);
        exports->handle_types = wanted;
        return result;
    }
    return device->create_semaphore(handle, info, allocator, out);
}

static void destroy_semaphore(vk_handle handle, vk_object semaphore, const void *allocator)
{
    struct device *device = device_of(handle);
    if (semaphore == 0 || !relay_destroys(device, semaphore))
        device->destroy_semaphore(handle, semaphore, allocator);
}

static int32_t wait_on_queue(struct device *device, vk_object semaphore, vk_object fence)
{
    const uint32_t stage = ALL_COMMANDS;
    const struct submit_info info = {
        .type = TYPE_SUBMIT_INFO, .wait_count = 1, .waits = &semaphore, .wait_stages = &stage};
    pthread_mutex_lock(&device->submitting);
    const int32_t result = device->queue != NULL
                               ? device->submit(device->queue, 1, &info, fence)
                               : VK_ERROR_INVALID_EXTERNAL_HANDLE; /* nothing was signalled */
    pthread_mutex_unlock(&device->submitting);
    return result;
}

static int32_t export_file(struct device *device, vk_object semaphore, int *fd)
{
    struct outgoing *entry = relay_fence(device);
    if (entry == NULL)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    entry->semaphore = semaphore;
    entry->file = softgpu_sync_file_create();
    int file = entry->file >= 0 ? fcntl(entry->file, F_DUPFD_CLOEXEC, 0) : -1;
    const int32_t result =
        file >= 0 ? wait_on_queue(device, semaphore, entry->fence) : VK_ERROR_TOO_MANY_OBJECTS;
    const bool at_once = result == VK_SUCCESS && softgpu_switch_number("SIGNAL_DELAY_MS", 0) <= 0 &&
                         device->wait_fences(device->handle, 1, &entry->fence, 1, 0) == VK_SUCCESS;
    if (result == VK_SUCCESS && !at_once && relay_send(device, entry)) {
        *fd = file;
        return VK_SUCCESS;
    }
    if (file >= 0)
        close(file);
    if (entry->file >= 0)
        close(entry->file);
    if (result == VK_SUCCESS && !at_once) /* no thread could be started: the queue has the fence still */
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    relay_fence_back(device, entry);
    *fd = -1;
    return result;
}

static int32_t get_fd(vk_handle handle, const struct get_fd_info *info, int *fd)
{
    struct device *device = device_of(handle);
    int32_t result = VK_SUCCESS;
    if (fails("vkGetSemaphoreFdKHR", &result))
        return result;
    if (info->handle_type != HANDLE_SYNC_FD)
        return device->get_fd(handle, info, fd);
    return export_file(device, info->semaphore, fd);
}

static int32_t import_file(struct device *device, const struct import_fd_info *info)
{
    struct softgpu_semaphore *payload = NULL;
    struct import_fd_info opaque = *info;
    if (info->fd != -1 && !softgpu_sync_file_known(info->fd))
        return VK_ERROR_INVALID_EXTERNAL_HANDLE;
    if (softgpu_semaphore_create(&payload, &opaque.fd) != SOFTGPU_PAYLOAD_OK)
        return VK_ERROR_TOO_MANY_OBJECTS;
    opaque.handle_type = HANDLE_OPAQUE_FD;
    opaque.flags |= SEMAPHORE_IMPORT_TEMPORARY; /* the only way to import a sync file */
    const int32_t result = device->import_fd(device->handle, &opaque);
    if (result != VK_SUCCESS) {
        softgpu_semaphore_close(payload);
        close(opaque.fd);
        return result;
    }
    if (!softgpu_sync_file_ready(info->fd))
        return relay_receive(device, payload, info->fd) ? VK_SUCCESS : VK_ERROR_OUT_OF_HOST_MEMORY;
    softgpu_semaphore_signal(payload);
    softgpu_semaphore_close(payload);
    if (info->fd >= 0)
        close(info->fd);
    return VK_SUCCESS;
}

static int32_t import_fd(vk_handle handle, const struct import_fd_info *info)
{
    struct device *device = device_of(handle);
    int32_t result = VK_SUCCESS;
    if (fails("vkImportSemaphoreFdKHR", &result))
        return result;
    return info->handle_type == HANDLE_SYNC_FD ? import_file(device, info) : device->import_fd(handle, info);
}

/* -- the loader's way in -- */

static vk_function own_function(const char *name, const struct device *device);

static vk_function device_function(vk_handle handle, const char *name)
{
    const struct device *device = device_of(handle);
    const vk_function own = own_function(name, device);
    return own != NULL ? own : device->function(handle, name);
}

static vk_function instance_function(vk_handle handle, const char *name)
{
    static const struct {
        const char *name;
        vk_function function;
    } functions[] = {
        {"vkCreateInstance", (vk_function)create_instance},
        {"vkDestroyInstance", (vk_function)destroy_instance},
        {"vkGetInstanceProcAddr", (vk_function)instance_function},
        {"vkCreateDevice", (vk_function)create_device},
        {"vkGetPhysicalDeviceExternalSemaphoreProperties", (vk_function)semaphore_properties},
        {"vkGetPhysicalDeviceExternalSemaphorePropertiesKHR", (vk_function)semaphore_properties},
    };
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; ++i)
        if (strcmp(functions[i].name, name) == 0)
            return functions[i].function;
    const vk_function own = own_function(name, NULL);
    if (own != NULL || handle == NULL)
        return own;
    return instance_of(handle)->function(handle, name);
}

/* What a device's driver lacks is not offered for that device either. */
static vk_function own_function(const char *name, const struct device *device)
{
    const struct {
        const char *name;
        vk_function function;
        bool there;
    } functions[] = {
        {"vkGetDeviceProcAddr", (vk_function)device_function, true},
        {"vkDestroyDevice", (vk_function)destroy_device, true},
        {"vkQueueSubmit", (vk_function)submit, true},
        {"vkQueueSubmit2", (vk_function)submit_2, device == NULL || device->submit_2 != NULL},
        {"vkQueueSubmit2KHR", (vk_function)submit_2, device == NULL || device->submit_2 != NULL},
        {"vkCreateSemaphore", (vk_function)create_semaphore, true},
        {"vkDestroySemaphore", (vk_function)destroy_semaphore, true},
        {"vkGetSemaphoreFdKHR", (vk_function)get_fd, device == NULL || device->get_fd != NULL},
        {"vkImportSemaphoreFdKHR", (vk_function)import_fd, device == NULL || device->import_fd != NULL},
    };
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; ++i)
        if (strcmp(functions[i].name, name) == 0 && functions[i].there)
            return functions[i].function;
    return NULL;
}

SOFTGPU_EXPORT int32_t vkNegotiateLoaderLayerInterfaceVersion(struct layer_interface *interface);

int32_t vkNegotiateLoaderLayerInterfaceVersion(struct layer_interface *interface)
{
    if (interface->version < LAYER_INTERFACE_VERSION)
        return VK_ERROR_INITIALIZATION_FAILED;
    interface->version = LAYER_INTERFACE_VERSION;
    interface->instance_function = instance_function;
    interface->device_function = device_function;
    interface->physical_device_function = NULL;
    return VK_SUCCESS;
}
