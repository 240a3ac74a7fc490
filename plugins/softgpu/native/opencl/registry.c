/* Maps from OpenCL handles to what the layer knows about them. */
#include "layer.h"

#include <pthread.h>
#include <stdlib.h>

#define BUCKETS 256

struct entry {
    struct entry *next;
    const void *key;
    void *value;
};

struct registry {
    pthread_mutex_t mutex;
    struct entry *buckets[BUCKETS];
};

static struct registry memory = {.mutex = PTHREAD_MUTEX_INITIALIZER};
static struct registry semaphores = {.mutex = PTHREAD_MUTEX_INITIALIZER};
static struct registry events = {.mutex = PTHREAD_MUTEX_INITIALIZER};
static struct registry kernels = {.mutex = PTHREAD_MUTEX_INITIALIZER};
struct registry *const registry_of_memory = &memory;
struct registry *const registry_of_semaphores = &semaphores;
struct registry *const registry_of_events = &events;
struct registry *const registry_of_kernels = &kernels;

static struct entry **find(struct registry *registry, const void *key)
{
    const uintptr_t bits = (uintptr_t)key;
    struct entry **place = &registry->buckets[(bits >> 4 ^ bits >> 12) % BUCKETS];
    while (*place != NULL && (*place)->key != key)
        place = &(*place)->next;
    return place;
}

bool registry_put(struct registry *registry, const void *key, void *value)
{
    struct entry *entry = malloc(sizeof *entry);
    if (entry == NULL)
        return false;
    pthread_mutex_lock(&registry->mutex);
    struct entry **place = find(registry, key);
    if (*place != NULL) {
        (*place)->value = value;
        free(entry);
    } else {
        *entry = (struct entry){.next = NULL, .key = key, .value = value};
        *place = entry;
    }
    pthread_mutex_unlock(&registry->mutex);
    return true;
}

void *registry_get(struct registry *registry, const void *key)
{
    pthread_mutex_lock(&registry->mutex);
    const struct entry *entry = *find(registry, key);
    void *value = entry != NULL ? entry->value : NULL;
    pthread_mutex_unlock(&registry->mutex);
    return value;
}

void *registry_take(struct registry *registry, const void *key)
{
    pthread_mutex_lock(&registry->mutex);
    struct entry **place = find(registry, key);
    struct entry *entry = *place;
    void *value = NULL;
    if (entry != NULL) {
        value = entry->value;
        *place = entry->next;
    }
    pthread_mutex_unlock(&registry->mutex);
    free(entry);
    return value;
}
