#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "layer.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define SLICE_NS 100000000u
#define LAST_SLICES 100 /* of waiting for work that ends when its device is destroyed */

static void delay(void)
{
    const long milliseconds = softgpu_switch_number("SIGNAL_DELAY_MS", 0);
    const struct timespec time = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};
    if (milliseconds > 0)
        nanosleep(&time, NULL);
}

static bool fence_reached(struct device *device, vk_object fence)
{
    int slices = 0;
    for (;;) {
        const int32_t result = device->wait_fences(device->handle, 1, &fence, 1, SLICE_NS);
        if (result != VK_TIMEOUT)
            return result == VK_SUCCESS;
        pthread_mutex_lock(&device->relay.mutex);
        const bool stopping = device->relay.stopping;
        pthread_mutex_unlock(&device->relay.mutex);
        if (stopping && ++slices > LAST_SLICES)
            return false;
    }
}

static void *send_all(void *argument)
{
    struct device *device = argument;
    struct relay *relay = &device->relay;
    pthread_mutex_lock(&relay->mutex);
    for (;;) {
        while (relay->outgoing == NULL && !relay->stopping)
            pthread_cond_wait(&relay->changed, &relay->mutex);
        struct outgoing *entry = relay->outgoing;
        if (entry == NULL)
            break;
        pthread_mutex_unlock(&relay->mutex);
        fence_reached(device, entry->fence);
        delay();
        softgpu_sync_file_signal(entry->file); /* of a lost device as well: nobody is to wait for ever */
        close(entry->file);
        pthread_mutex_lock(&relay->mutex);
        relay->outgoing = entry->next;
        const bool destroyed = entry->destroyed;
        entry->next = relay->spare;
        relay->spare = entry;
        if (destroyed)
            device->destroy_semaphore(device->handle, entry->semaphore, NULL);
    }
    pthread_mutex_unlock(&relay->mutex);
    return NULL;
}

/* Takes out of the list what is ready, which poll has just said of some. */
static struct incoming *take_ready(struct relay *relay)
{
    struct incoming *ready = NULL;
    struct incoming **at = &relay->incoming;
    while (*at != NULL) {
        struct incoming *entry = *at;
        if (softgpu_sync_file_ready(entry->file)) {
            *at = entry->next;
            entry->next = ready;
            ready = entry;
        } else {
            at = &entry->next;
        }
    }
    return ready;
}

static void end(struct incoming *entry, bool signal)
{
    if (signal)
        softgpu_semaphore_signal(entry->payload);
    softgpu_semaphore_close(entry->payload);
    close(entry->file);
    free(entry);
}

/* With no room for the whole list the first few are waited for, and the list is looked at again soon. */
static void wait_for_any(struct relay *relay)
{
    struct pollfd files[64];
    nfds_t count = 0;
    files[count++] = (struct pollfd){.fd = relay->wake, .events = POLLIN};
    pthread_mutex_lock(&relay->mutex);
    const struct incoming *entry = relay->incoming;
    for (; entry != NULL && count < 64; entry = entry->next)
        files[count++] = (struct pollfd){.fd = entry->file, .events = POLLIN};
    pthread_mutex_unlock(&relay->mutex);
    poll(files, count, entry != NULL ? 1 : -1);
    uint64_t wakes = 0;
    if ((files[0].revents & POLLIN) != 0 && read(relay->wake, &wakes, sizeof wakes) < 0)
        return;
}

static void *receive_all(void *argument)
{
    struct relay *relay = argument;
    pthread_mutex_lock(&relay->mutex);
    while (!relay->stopping) {
        pthread_mutex_unlock(&relay->mutex);
        wait_for_any(relay);
        pthread_mutex_lock(&relay->mutex);
        struct incoming *ready = take_ready(relay);
        pthread_mutex_unlock(&relay->mutex);
        while (ready != NULL) {
            struct incoming *next = ready->next;
            end(ready, true);
            ready = next;
        }
        pthread_mutex_lock(&relay->mutex);
    }
    pthread_mutex_unlock(&relay->mutex);
    return NULL;
}

/* Signals are the application's: none may interrupt a thread that it does not know. */
static bool start(pthread_t *thread, void *(*function)(void *), void *argument)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(thread, NULL, function, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed == 0;
}

/* Both threads start with the first use of either, so that what a program needs does not depend on what was
 * late. The relay is locked. */
static void start_both(struct device *device)
{
    struct relay *relay = &device->relay;
    if (!relay->sending)
        relay->sending = start(&relay->sender, send_all, device);
    if (!relay->receiving)
        relay->receiving = start(&relay->receiver, receive_all, relay);
}

bool relay_open(struct device *device)
{
    struct relay *relay = &device->relay;
    relay->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&relay->mutex, NULL);
    pthread_cond_init(&relay->changed, NULL);
    return relay->wake >= 0;
}

struct outgoing *relay_fence(struct device *device)
{
    struct relay *relay = &device->relay;
    const struct fence_create_info info = {.type = TYPE_FENCE_CREATE_INFO};
    pthread_mutex_lock(&relay->mutex);
    struct outgoing *entry = relay->spare;
    if (entry != NULL)
        relay->spare = entry->next;
    pthread_mutex_unlock(&relay->mutex);
    if (entry != NULL) {
        device->reset_fences(device->handle, 1, &entry->fence);
        return entry;
    }
    entry = calloc(1, sizeof *entry);
    if (entry != NULL && device->create_fence(device->handle, &info, NULL, &entry->fence) != VK_SUCCESS) {
        free(entry);
        return NULL;
    }
    return entry;
}

void relay_fence_back(struct device *device, struct outgoing *entry)
{
    pthread_mutex_lock(&device->relay.mutex);
    entry->next = device->relay.spare;
    device->relay.spare = entry;
    pthread_mutex_unlock(&device->relay.mutex);
}

bool relay_send(struct device *device, struct outgoing *entry)
{
    struct relay *relay = &device->relay;
    entry->next = NULL;
    entry->destroyed = false;
    pthread_mutex_lock(&relay->mutex);
    start_both(device);
    const bool sending = relay->sending;
    if (sending) {
        struct outgoing **last = &relay->outgoing;
        while (*last != NULL)
            last = &(*last)->next;
        *last = entry;
        pthread_cond_signal(&relay->changed);
    }
    pthread_mutex_unlock(&relay->mutex);
    return sending;
}

static void wake(struct relay *relay)
{
    softgpu_sync_file_signal(relay->wake);
}

bool relay_receive(struct device *device, struct softgpu_semaphore *payload, int file)
{
    struct relay *relay = &device->relay;
    struct incoming *entry = malloc(sizeof *entry);
    if (entry == NULL) {
        softgpu_semaphore_close(payload);
        return false;
    }
    *entry = (struct incoming){.payload = payload, .file = file};
    pthread_mutex_lock(&relay->mutex);
    start_both(device);
    const bool receiving = relay->receiving;
    if (receiving) {
        entry->next = relay->incoming;
        relay->incoming = entry;
    }
    pthread_mutex_unlock(&relay->mutex);
    if (receiving) {
        wake(relay);
        return true;
    }
    softgpu_semaphore_close(payload);
    free(entry);
    return false;
}

bool relay_destroys(struct device *device, vk_object semaphore)
{
    struct outgoing *last = NULL;
    pthread_mutex_lock(&device->relay.mutex);
    for (struct outgoing *entry = device->relay.outgoing; entry != NULL; entry = entry->next)
        if (entry->semaphore == semaphore)
            last = entry;
    if (last != NULL)
        last->destroyed = true;
    pthread_mutex_unlock(&device->relay.mutex);
    return last != NULL;
}

void relay_close(struct device *device)
{
    struct relay *relay = &device->relay;
    pthread_mutex_lock(&relay->mutex);
    relay->stopping = true;
    pthread_cond_signal(&relay->changed);
    pthread_mutex_unlock(&relay->mutex);
    wake(relay);
    if (relay->sending)
        pthread_join(relay->sender, NULL);
    if (relay->receiving)
        pthread_join(relay->receiver, NULL);
    while (relay->incoming != NULL) {
        struct incoming *next = relay->incoming->next;
        end(relay->incoming, false);
        relay->incoming = next;
    }
    while (relay->spare != NULL) {
        struct outgoing *next = relay->spare->next;
        device->destroy_fence(device->handle, relay->spare->fence, NULL);
        free(relay->spare);
        relay->spare = next;
    }
    close(relay->wake);
    pthread_cond_destroy(&relay->changed);
    pthread_mutex_destroy(&relay->mutex);
}
