/* UUIDs of the Vulkan CPU devices, so that a software consumer can claim to be the same device.
 *
 * Vulkan is opened at run time and its few structures are declared here: a software driver must build and
 * load on a machine without Vulkan headers or loader. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "payload.h"
#include "switches.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_SIZE 16
#define VULKAN_1_1 ((1u << 22) | (1u << 12))

enum {
    STRUCTURE_APPLICATION_INFO = 0,
    STRUCTURE_INSTANCE_CREATE_INFO = 1,
    STRUCTURE_PROPERTIES_2 = 1000059001,
    STRUCTURE_ID_PROPERTIES = 1000071004,
    DEVICE_TYPE_CPU = 4,
    VULKAN_SUCCESS = 0,
    VULKAN_INCOMPLETE = 5
};

struct application_info {
    int32_t type;
    const void *next;
    const char *application;
    uint32_t application_version;
    const char *engine;
    uint32_t engine_version;
    uint32_t api_version;
};

struct instance_create_info {
    int32_t type;
    const void *next;
    uint32_t flags;
    const struct application_info *application;
    uint32_t layer_count;
    const char *const *layers;
    uint32_t extension_count;
    const char *const *extensions;
};

struct id_properties {
    int32_t type;
    void *next;
    uint8_t device_uuid[16];
    uint8_t driver_uuid[16];
    uint8_t luid[8];
    uint32_t node_mask;
    uint32_t luid_valid;
};

struct properties_2 {
    int32_t type;
    void *next;
    uint32_t api_version;
    uint32_t driver_version;
    uint32_t vendor;
    uint32_t device;
    int32_t device_type;
    uint8_t rest[804]; /* name, limits, sparse properties */
};
_Static_assert(sizeof(struct application_info) == 48, "VkApplicationInfo");
_Static_assert(sizeof(struct instance_create_info) == 64, "VkInstanceCreateInfo");
_Static_assert(sizeof(struct id_properties) == 64, "VkPhysicalDeviceIDProperties");
_Static_assert(sizeof(struct properties_2) == 840, "VkPhysicalDeviceProperties2");

typedef void (*any_function)(void);
typedef any_function (*get_instance_proc_addr)(void *instance, const char *name);
typedef int32_t (*create_instance)(const struct instance_create_info *info, const void *allocator,
                                   void **instance);
typedef void (*destroy_instance)(void *instance, const void *allocator);
typedef int32_t (*enumerate_devices)(void *instance, uint32_t *count, void **devices);
typedef void (*get_properties_2)(void *device, struct properties_2 *properties);

static int read_devices(get_instance_proc_addr address_of, void *instance, uint8_t (*uuids)[16], int capacity)
{
    enumerate_devices enumerate = (enumerate_devices)address_of(instance, "vkEnumeratePhysicalDevices");
    get_properties_2 get_properties =
        (get_properties_2)address_of(instance, "vkGetPhysicalDeviceProperties2");
    void *devices[64];
    uint32_t count = 64;
    if (enumerate == NULL || get_properties == NULL)
        return 0;
    const int32_t result = enumerate(instance, &count, devices);
    if (result != VULKAN_SUCCESS && result != VULKAN_INCOMPLETE)
        return 0;
    int written = 0;
    for (uint32_t i = 0; i < count && written < capacity; ++i) {
        struct id_properties id = {.type = STRUCTURE_ID_PROPERTIES};
        struct properties_2 properties = {.type = STRUCTURE_PROPERTIES_2, .next = &id};
        get_properties(devices[i], &properties);
        if (properties.device_type == DEVICE_TYPE_CPU)
            memcpy(uuids[written++], id.device_uuid, 16);
    }
    return written;
}

static int ask_vulkan(uint8_t (*uuids)[16], int capacity)
{
    /* Never closed: Vulkan drivers do not survive being unloaded and loaded again. */
    void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return 0;
    get_instance_proc_addr address_of =
        (get_instance_proc_addr)(any_function)dlsym(library, "vkGetInstanceProcAddr");
    create_instance create = address_of ? (create_instance)address_of(NULL, "vkCreateInstance") : NULL;
    if (create == NULL)
        return 0;
    const struct application_info application = {.type = STRUCTURE_APPLICATION_INFO,
                                                 .api_version = VULKAN_1_1};
    const struct instance_create_info info = {.type = STRUCTURE_INSTANCE_CREATE_INFO,
                                              .application = &application};
    void *instance = NULL;
    if (create(&info, NULL, &instance) != VULKAN_SUCCESS)
        return 0;
    const int written = read_devices(address_of, instance, uuids, capacity);
    destroy_instance destroy = (destroy_instance)address_of(instance, "vkDestroyInstance");
    if (destroy != NULL)
        destroy(instance, NULL);
    return written;
}

static int parse(const char *list, uint8_t (*uuids)[16], int capacity)
{
    int written = 0;
    while (written < capacity && *list != '\0') {
        for (int i = 0; i < 16; ++i, list += 2) {
            unsigned value = 0;
            if (sscanf(list, "%2x", &value) != 1)
                return written;
            uuids[written][i] = (uint8_t)value;
        }
        written += 1;
        while (*list == ',' || *list == ' ')
            list += 1;
    }
    return written;
}

int softgpu_vulkan_cpu_uuids(uint8_t (*uuids)[16], int capacity)
{
    const char *given = softgpu_switch("UUIDS", NULL);
    if (given != NULL)
        return parse(given, uuids, capacity);
    /* An instance costs milliseconds and every device query may ask. Only an answer is remembered. */
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static uint8_t cache[CACHE_SIZE][16];
    static int cached;
    pthread_mutex_lock(&mutex);
    if (cached == 0)
        cached = ask_vulkan(cache, CACHE_SIZE);
    const int count = cached < capacity ? cached : capacity;
    memcpy(uuids, cache, (size_t)count * 16);
    pthread_mutex_unlock(&mutex);
    return count;
}
