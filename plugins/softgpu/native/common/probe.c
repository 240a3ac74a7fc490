/* The payload functions of payload.h as a library of its own, so that the self-test and the tests can look at
 * a driver's payload from outside of every driver. A semaphore is handed out as a number. */
#include "payload.h"
#include "switches.h"

SOFTGPU_EXPORT int softgpu_probe_memory(int fd, uint64_t size, void **data, uint64_t *usable, void **mapping,
                                        uint64_t *mapping_size);
SOFTGPU_EXPORT void softgpu_probe_memory_close(void *mapping, uint64_t mapping_size);
SOFTGPU_EXPORT int softgpu_probe_open(int fd, uintptr_t *semaphore);
SOFTGPU_EXPORT int softgpu_probe_create(uintptr_t *semaphore, int *fd);
SOFTGPU_EXPORT void softgpu_probe_close(uintptr_t semaphore);
SOFTGPU_EXPORT int softgpu_probe_wait(uintptr_t semaphore, double timeout_s, const volatile int *cancel);
SOFTGPU_EXPORT int softgpu_probe_signal(uintptr_t semaphore);
SOFTGPU_EXPORT int softgpu_probe_signalled(uintptr_t semaphore);
SOFTGPU_EXPORT int softgpu_probe_uuids(uint8_t *uuids, int capacity);

int softgpu_probe_memory(int fd, uint64_t size, void **data, uint64_t *usable, void **mapping,
                         uint64_t *mapping_size)
{
    struct softgpu_memory memory = {0};
    const int status = softgpu_memory_map(fd, size, &memory);
    *data = memory.data;
    *usable = memory.size;
    *mapping = memory.mapping;
    *mapping_size = memory.mapping_size;
    return status;
}

void softgpu_probe_memory_close(void *mapping, uint64_t mapping_size)
{
    struct softgpu_memory memory = {.mapping = mapping, .mapping_size = mapping_size};
    softgpu_memory_unmap(&memory);
}

int softgpu_probe_open(int fd, uintptr_t *semaphore)
{
    struct softgpu_semaphore *opened = NULL;
    const int status = softgpu_semaphore_open(fd, &opened);
    *semaphore = (uintptr_t)opened;
    return status;
}

int softgpu_probe_create(uintptr_t *semaphore, int *fd)
{
    struct softgpu_semaphore *created = NULL;
    const int status = softgpu_semaphore_create(&created, fd);
    *semaphore = (uintptr_t)created;
    return status;
}

void softgpu_probe_close(uintptr_t semaphore)
{
    softgpu_semaphore_close((struct softgpu_semaphore *)semaphore);
}

int softgpu_probe_wait(uintptr_t semaphore, double timeout_s, const volatile int *cancel)
{
    return softgpu_semaphore_wait((struct softgpu_semaphore *)semaphore, timeout_s, cancel);
}

int softgpu_probe_signal(uintptr_t semaphore)
{
    return softgpu_semaphore_signal((struct softgpu_semaphore *)semaphore);
}

int softgpu_probe_signalled(uintptr_t semaphore)
{
    return softgpu_semaphore_signalled((struct softgpu_semaphore *)semaphore) ? 1 : 0;
}

int softgpu_probe_uuids(uint8_t *uuids, int capacity)
{
    return softgpu_vulkan_cpu_uuids((uint8_t (*)[16])uuids, capacity);
}
