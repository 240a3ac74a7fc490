/* A Vulkan layer that gives SwiftShader's binary semaphores the handle type SYNC_FD.
 *
 *   export   an empty submission waits for the semaphore, as the export must (copy transference), and its
 * fence is what the sync file stands for import   a new payload of SwiftShader's is imported, temporarily,
 * and signalled when the sync file is
 */
#ifndef SOFTGPU_VULKAN_LAYER_H
#define SOFTGPU_VULKAN_LAYER_H
#include <pthread.h>
#include <stdbool.h>

#include "payload.h"
#include "switches.h"
#include "sync_file.h"
#include "vulkan_abi.h"

struct device;

/* -- relay.c: what stands between sync files and the device; a thread for each direction, started when needed
 * -- */

struct outgoing {
    struct outgoing *next;
    vk_object fence;
    vk_object semaphore;
    bool destroyed; /* by the program, which knows nothing of the submission */
    int file;
};

struct incoming {
    struct incoming *next;
    struct softgpu_semaphore *payload;
    int file;
};

struct relay {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t sender;
    pthread_t receiver;
    bool sending;
    bool receiving;
    bool stopping;
    int wake;                  /* an event descriptor: the receiver is to look again */
    struct outgoing *outgoing; /* in the order of submission */
    struct outgoing *spare;    /* fences that can be used again */
    struct incoming *incoming;
};

bool relay_open(struct device *device);
/* An entry with a fence that is not signalled, or NULL. */
struct outgoing *relay_fence(struct device *device);
void relay_fence_back(struct device *device, struct outgoing *entry);
/* The entry's fence has been submitted: its file is signalled, and closed, when it is. */
bool relay_send(struct device *device, struct outgoing *entry);
/* Takes the payload over, and on success the file. */
bool relay_receive(struct device *device, struct softgpu_semaphore *payload, int file);
/* True when a submission of ours still waits for the semaphore, which is then destroyed after it. */
bool relay_destroys(struct device *device, vk_object semaphore);
void relay_close(struct device *device);

/* -- layer.c -- */

struct device {
    struct device *following;
    const void *key; /* of every handle of this device */
    vk_handle handle;
    vk_handle queue; /* the last one that was submitted to */
    pthread_mutex_t submitting;
    struct relay relay;
    get_proc_addr function;
    destroy_function destroy;
    create_function create_semaphore;
    destroy_object_function destroy_semaphore;
    create_function create_fence;
    destroy_object_function destroy_fence;
    wait_fences_function wait_fences;
    reset_fences_function reset_fences;
    submit_function submit;
    submit_function submit_2;
    get_fd_function get_fd;
    import_fd_function import_fd;
};

#endif
