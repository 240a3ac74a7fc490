/* The few declarations of Vulkan and of its loader's interface for layers that the layer needs: it must build
 * on a machine without Vulkan headers. Dispatchable handles are pointers, others 64-bit numbers. */
#ifndef SOFTGPU_VULKAN_ABI_H
#define SOFTGPU_VULKAN_ABI_H
#include <stddef.h>
#include <stdint.h>

enum {
    VK_SUCCESS = 0,
    VK_TIMEOUT = 2,
    VK_ERROR_OUT_OF_HOST_MEMORY = -1,
    VK_ERROR_INITIALIZATION_FAILED = -3,
    VK_ERROR_TOO_MANY_OBJECTS = -10,
    VK_ERROR_INVALID_EXTERNAL_HANDLE = -1000072003,

    TYPE_SUBMIT_INFO = 4,
    TYPE_FENCE_CREATE_INFO = 8,
    TYPE_LOADER_INSTANCE_CREATE_INFO = 47,
    TYPE_LOADER_DEVICE_CREATE_INFO = 48,
    TYPE_EXPORT_SEMAPHORE_CREATE_INFO = 1000077000,
    TYPE_IMPORT_SEMAPHORE_FD_INFO = 1000079000,
    TYPE_SEMAPHORE_TYPE_CREATE_INFO = 1000207002,

    SEMAPHORE_BINARY = 0,
    SEMAPHORE_IMPORT_TEMPORARY = 1,
    HANDLE_OPAQUE_FD = 0x01,
    HANDLE_SYNC_FD = 0x10,
    FEATURE_EXPORTABLE = 1,
    FEATURE_IMPORTABLE = 2,
    ALL_COMMANDS = 0x10000,

    LAYER_LINK_INFO = 0,
    LAYER_INTERFACE_VERSION = 2
};

typedef void *vk_handle; /* instance, physical device, device, queue */
typedef uint64_t vk_object;
typedef void (*vk_function)(void);
typedef vk_function (*get_proc_addr)(vk_handle, const char *);

/* What every structure of a chain begins with. */
struct chained {
    int32_t type;
    const struct chained *next;
};

struct layer_link {
    struct layer_link *next;
    get_proc_addr instance_function;
    get_proc_addr device_function; /* of an instance's link: something else, not used here */
};

struct layer_create_info {
    int32_t type;
    const void *next;
    int32_t function;
    struct layer_link *link;
};

struct layer_interface {
    int32_t type;
    void *next;
    uint32_t version;
    get_proc_addr instance_function;
    get_proc_addr device_function;
    get_proc_addr physical_device_function;
};

struct external_semaphore_info {
    int32_t type;
    const struct chained *next;
    uint32_t handle_type;
};

struct external_semaphore_properties {
    int32_t type;
    void *next;
    uint32_t exported_from_imported;
    uint32_t compatible;
    uint32_t features;
};

struct semaphore_type_info {
    int32_t type;
    const void *next;
    int32_t semaphore_type;
    uint64_t initial_value;
};

struct export_semaphore_info {
    int32_t type;
    const struct chained *next;
    uint32_t handle_types;
};

struct semaphore_create_info {
    int32_t type;
    const struct chained *next;
    uint32_t flags;
};

struct get_fd_info {
    int32_t type;
    const void *next;
    vk_object semaphore;
    uint32_t handle_type;
};

struct import_fd_info {
    int32_t type;
    const void *next;
    vk_object semaphore;
    uint32_t flags;
    uint32_t handle_type;
    int fd;
};

struct fence_create_info {
    int32_t type;
    const void *next;
    uint32_t flags;
};

struct submit_info {
    int32_t type;
    const void *next;
    uint32_t wait_count;
    const vk_object *waits;
    const uint32_t *wait_stages;
    uint32_t command_buffer_count;
    const vk_handle *command_buffers;
    uint32_t signal_count;
    const vk_object *signals;
};

_Static_assert(sizeof(struct layer_create_info) == 32, "VkLayerInstanceCreateInfo, VkLayerDeviceCreateInfo");
_Static_assert(sizeof(struct layer_interface) == 48, "VkNegotiateLayerInterface");
_Static_assert(sizeof(struct external_semaphore_info) == 24, "VkPhysicalDeviceExternalSemaphoreInfo");
_Static_assert(sizeof(struct external_semaphore_properties) == 32, "VkExternalSemaphoreProperties");
_Static_assert(sizeof(struct semaphore_type_info) == 32, "VkSemaphoreTypeCreateInfo");
_Static_assert(sizeof(struct export_semaphore_info) == 24, "VkExportSemaphoreCreateInfo");
_Static_assert(sizeof(struct get_fd_info) == 32, "VkSemaphoreGetFdInfoKHR");
_Static_assert(offsetof(struct import_fd_info, fd) == 32, "VkImportSemaphoreFdInfoKHR");
_Static_assert(sizeof(struct submit_info) == 72, "VkSubmitInfo");

typedef int32_t (*create_function)(vk_handle, const void *, const void *, void *);
typedef int32_t (*create_instance_function)(const void *, const void *, vk_handle *);
typedef void (*destroy_function)(vk_handle, const void *);
typedef void (*destroy_object_function)(vk_handle, vk_object, const void *);
typedef void (*semaphore_properties_function)(vk_handle, const struct external_semaphore_info *,
                                              struct external_semaphore_properties *);
typedef int32_t (*submit_function)(vk_handle, uint32_t, const void *, vk_object);
typedef int32_t (*get_fd_function)(vk_handle, const struct get_fd_info *, int *);
typedef int32_t (*import_fd_function)(vk_handle, const struct import_fd_info *);
typedef int32_t (*wait_fences_function)(vk_handle, uint32_t, const vk_object *, uint32_t, uint64_t);
typedef int32_t (*reset_fences_function)(vk_handle, uint32_t, const vk_object *);

#endif
