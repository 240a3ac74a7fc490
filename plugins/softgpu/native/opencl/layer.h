/* What the files of the OpenCL layer share.
 *
 * The layer sits between an OpenCL loader and its drivers. It adds cl_khr_external_memory,
 * cl_khr_external_semaphore (both with opaque fds, semaphores with sync files too), cl_khr_semaphore and
 * cl_khr_device_uuid to CPU devices and leaves every other device alone. Own calls go to the saved table of
 * the next layer or driver, never through the loader. */
#ifndef SOFTGPU_LAYER_H
#define SOFTGPU_LAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "opencl_abi.h"
#include "payload.h"
#include "switches.h"
#include "sync_file.h"

/* Of the extensions that the layer adds. */
enum {
    KHR_INVALID_SEMAPHORE = -1142,

    KHR_DEVICE_UUID = 0x106A,
    KHR_DRIVER_UUID = 0x106B,
    KHR_DEVICE_LUID_VALID = 0x106C,
    KHR_DEVICE_LUID = 0x106D,
    KHR_DEVICE_NODE_MASK = 0x106E,

    KHR_PLATFORM_SEMAPHORE_TYPES = 0x2036,
    KHR_PLATFORM_SEMAPHORE_IMPORT_HANDLE_TYPES = 0x2037,
    KHR_PLATFORM_SEMAPHORE_EXPORT_HANDLE_TYPES = 0x2038,
    KHR_PLATFORM_EXTERNAL_MEMORY_IMPORT_HANDLE_TYPES = 0x2044,
    KHR_DEVICE_SEMAPHORE_TYPES = 0x204C,
    KHR_DEVICE_SEMAPHORE_IMPORT_HANDLE_TYPES = 0x204D,
    KHR_DEVICE_SEMAPHORE_EXPORT_HANDLE_TYPES = 0x204E,
    KHR_DEVICE_EXTERNAL_MEMORY_IMPORT_HANDLE_TYPES = 0x204F,
    KHR_DEVICE_EXTERNAL_MEMORY_IMPORT_ASSUME_LINEAR_IMAGES = 0x2052,

    KHR_SEMAPHORE_CONTEXT = 0x2039,
    KHR_SEMAPHORE_REFERENCE_COUNT = 0x203A,
    KHR_SEMAPHORE_PROPERTIES = 0x203B,
    KHR_SEMAPHORE_PAYLOAD = 0x203C,
    KHR_SEMAPHORE_TYPE = 0x203D,
    KHR_SEMAPHORE_TYPE_BINARY = 1,
    KHR_SEMAPHORE_EXPORT_HANDLE_TYPES = 0x203F,
    KHR_SEMAPHORE_EXPORTABLE = 0x2054,
    KHR_SEMAPHORE_DEVICE_HANDLE_LIST = 0x2053,
    KHR_MEM_DEVICE_HANDLE_LIST = 0x2051,

    KHR_COMMAND_SEMAPHORE_WAIT = 0x2042,
    KHR_COMMAND_SEMAPHORE_SIGNAL = 0x2043,
    KHR_COMMAND_ACQUIRE = 0x2047,
    KHR_COMMAND_RELEASE = 0x2048,

    KHR_SEMAPHORE_HANDLE_OPAQUE_FD = 0x2055,
    KHR_SEMAPHORE_HANDLE_SYNC_FD = 0x2058,
    KHR_MEMORY_HANDLE_OPAQUE_FD = 0x2060,
    KHR_MEMORY_HANDLE_DMA_BUF = 0x2067
};

#define MAX_PROPERTIES 64 /* words of a property list, device list included */
#define MAX_LISTED_DEVICES 32

/* -- layer.c -- */

extern cl_icd_dispatch target; /* the next layer or the driver; entries it lacks are NULL */

/* True, with *error set, when FAIL asks this call to fail. */
bool fail(const char *function, cl_int *error);

/* Answers of the clGet...Info kind. */
cl_int answer(const void *value, size_t size, size_t capacity, void *out, size_t *size_out);

/* -- info.c -- */

bool emulated_device(cl_device_id device);
bool emulated_platform(cl_platform_id platform);
bool opaque_memory_offered(void);
bool dma_buf_offered(void);
bool semaphores_offered(void);
bool semaphore_export_offered(void);
cl_int CL_API_CALL layer_GetPlatformInfo(cl_platform_id platform, cl_platform_info name, size_t capacity,
                                         void *value, size_t *size);
cl_int CL_API_CALL layer_GetDeviceInfo(cl_device_id device, cl_device_info name, size_t capacity, void *value,
                                       size_t *size);
void *CL_API_CALL layer_GetExtensionFunctionAddressForPlatform(cl_platform_id platform, const char *name);
void *CL_API_CALL layer_GetExtensionFunctionAddress(const char *name);

/* -- registry.c: which handles are ours -- */

struct registry;
extern struct registry *const registry_of_memory;
extern struct registry *const registry_of_semaphores;
extern struct registry *const registry_of_events;
extern struct registry *const registry_of_kernels;
bool registry_put(struct registry *registry, const void *key, void *value);
void *registry_get(struct registry *registry, const void *key);
void *registry_take(struct registry *registry, const void *key);

/* -- context.c: questions about contexts, queues and wait lists -- */

/* The context's devices; returns their number, 0 for an invalid context. */
cl_uint context_devices(cl_context context, cl_device_id devices[MAX_LISTED_DEVICES]);
bool contains_device(const cl_device_id *devices, cl_uint count, cl_device_id device);
struct queue_facts {
    cl_context context;
    cl_device_id device;
    bool out_of_order;
};
cl_int queue_facts(cl_command_queue queue, struct queue_facts *facts);
cl_int check_wait_list(cl_context context, cl_uint count, const cl_event *events);
/* A command that does nothing and completes after the wait list and, on an in-order queue, after the commands
 * before it. On an out-of-order queue it waits for its list only, as these extensions ask. */
cl_int enqueue_marker(cl_command_queue queue, const struct queue_facts *facts, cl_uint count,
                      const cl_event *events, cl_event *marker);

/* -- events.c -- */

/* Passes the event on to the caller (out NULL: releases it), from now on known as a command of this type. */
void hand_out_event(cl_event event, cl_command_type type, cl_event *out);
cl_int CL_API_CALL layer_GetEventInfo(cl_event event, cl_event_info name, size_t capacity, void *value,
                                      size_t *size);
cl_int CL_API_CALL layer_RetainEvent(cl_event event);
cl_int CL_API_CALL layer_ReleaseEvent(cl_event event);

/* -- worker.c: a thread that runs jobs one after another -- */

struct worker;
typedef void (*job_function)(void *argument);
struct worker *worker_start(void);
bool worker_push(struct worker *worker, job_function function, void *argument);
/* Ends the thread when its jobs are done. join: waits for that, except when called from one of its jobs. */
void worker_stop(struct worker *worker, bool join);

/* -- memory.c, image.c -- */

struct imported {
    struct softgpu_memory memory;
    struct imported *parent; /* of a sub-buffer; else NULL */
    int held_fd;             /* CL_FD=hold: closed with the object */
    bool dma_buf;            /* came as one: any file of memory will do */
    bool acquired;           /* as enqueued */
    cl_mem_flags flags;
    cl_uint device_count;
    cl_device_id devices[MAX_LISTED_DEVICES];
    cl_uint property_count;
    cl_mem_properties properties[MAX_PROPERTIES];
};
/* Reads an import's property list. *fd is -1 and the result CL_SUCCESS when it names no handle. */
cl_int read_memory_properties(cl_context context, const cl_mem_properties *properties,
                              struct imported *imported, bool *external, int *fd);
cl_int map_payload(int fd, size_t size, struct imported *imported);
/* Ties the payload to the new memory object and settles the fd. Releases both on failure. */
cl_int bind_payload(cl_mem object, struct imported *imported, int fd);
cl_mem refuse(cl_int code, cl_int *error); /* NULL */
/* The same for a handle, or what NVIDIA's driver returns beside the code. */
cl_mem refuse_handle(cl_context context, cl_int code, cl_int *error);

cl_mem CL_API_CALL layer_CreateBufferWithProperties(cl_context context, const cl_mem_properties *properties,
                                                    cl_mem_flags flags, size_t size, void *host_ptr,
                                                    cl_int *error);
cl_mem CL_API_CALL layer_CreateImageWithProperties(cl_context context, const cl_mem_properties *properties,
                                                   cl_mem_flags flags, const cl_image_format *format,
                                                   const cl_image_desc *description, void *host_ptr,
                                                   cl_int *error);
cl_mem CL_API_CALL layer_CreateSubBuffer(cl_mem buffer, cl_mem_flags flags, cl_buffer_create_type type,
                                         const void *info, cl_int *error);
cl_int CL_API_CALL layer_GetMemObjectInfo(cl_mem object, cl_mem_info name, size_t capacity, void *value,
                                          size_t *size);

/* -- semaphore.c -- */

struct _cl_semaphore_khr {
    const void *dispatch;                           /* first word of every OpenCL handle */
    int references;                                 /* the application's and the commands' */
    struct softgpu_semaphore *payload;              /* NULL where sync files carry the signals */
    int export_fd;                                  /* of the payload; -1: not exportable */
    cl_external_semaphore_handle_type_khr imported; /* handle type, or 0 */
    cl_external_semaphore_handle_type_khr exported; /* handle type, or 0 */
    bool signalled; /* sync files: a signal was enqueued or imported, and neither waited for nor exported */
    int file;       /* it; -1: the signal has run */
    cl_context context;
    cl_device_id device;
    struct worker *waiter;  /* started by the first wait */
    struct worker *delayer; /* started by the first delayed signal */
    cl_uint property_count;
    cl_semaphore_properties_khr properties[MAX_PROPERTIES];
};
cl_semaphore_khr CL_API_CALL layer_CreateSemaphoreWithPropertiesKHR(
    cl_context context, const cl_semaphore_properties_khr *properties, cl_int *error);
cl_int CL_API_CALL layer_GetSemaphoreInfoKHR(cl_semaphore_khr semaphore, cl_semaphore_info_khr name,
                                             size_t capacity, void *value, size_t *size);
cl_int CL_API_CALL layer_RetainSemaphoreKHR(cl_semaphore_khr semaphore);
cl_int CL_API_CALL layer_ReleaseSemaphoreKHR(cl_semaphore_khr semaphore);
cl_int CL_API_CALL layer_GetSemaphoreHandleForTypeKHR(cl_semaphore_khr semaphore, cl_device_id device,
                                                      cl_external_semaphore_handle_type_khr type,
                                                      size_t capacity, void *handle, size_t *size);
cl_int CL_API_CALL layer_ReImportSemaphoreSyncFdKHR(cl_semaphore_khr semaphore,
                                                    const cl_semaphore_properties_khr *properties, int fd);
bool known_semaphore(cl_semaphore_khr semaphore);
/* Where sync files carry a semaphore's signals: whether a wait or signal is in order, the file of its job
 * (false: no descriptor left), and giving up what a wait has used or a signal could not enqueue. */
bool one_shot(cl_semaphore_khr semaphore);
cl_int one_shot_check(cl_semaphore_khr semaphore, bool signals);
bool one_shot_file(cl_semaphore_khr semaphore, bool signals, int *file);
void one_shot_drop(cl_semaphore_khr semaphore);
void semaphore_keep(cl_semaphore_khr semaphore);
/* join: the last one waits for the semaphore's threads to end. */
void semaphore_drop(cl_semaphore_khr semaphore, bool join);
/* A semaphore's thread of waits (or of delayed signals), started when first asked for; NULL when it cannot
 * start. */
struct worker *semaphore_worker(struct worker **slot);

/* -- commands.c -- */

cl_int CL_API_CALL layer_EnqueueWaitSemaphoresKHR(cl_command_queue queue, cl_uint count,
                                                  const cl_semaphore_khr *semaphores,
                                                  const cl_semaphore_payload_khr *payloads,
                                                  cl_uint event_count, const cl_event *events,
                                                  cl_event *event);
cl_int CL_API_CALL layer_EnqueueSignalSemaphoresKHR(cl_command_queue queue, cl_uint count,
                                                    const cl_semaphore_khr *semaphores,
                                                    const cl_semaphore_payload_khr *payloads,
                                                    cl_uint event_count, const cl_event *events,
                                                    cl_event *event);

/* -- acquire.c -- */

cl_int CL_API_CALL layer_EnqueueAcquireExternalMemObjectsKHR(cl_command_queue queue, cl_uint count,
                                                             const cl_mem *objects, cl_uint event_count,
                                                             const cl_event *events, cl_event *event);
cl_int CL_API_CALL layer_EnqueueReleaseExternalMemObjectsKHR(cl_command_queue queue, cl_uint count,
                                                             const cl_mem *objects, cl_uint event_count,
                                                             const cl_event *events, cl_event *event);
/* False when CL_ENFORCE_ACQUIRE=1 and the object is an import that is not acquired. */
bool usable(cl_mem object);

/* -- quirks.c: what NVIDIA's driver does, each behind a switch -- */

void note_semaphore_number(int fd);
bool stays_open_for_ever(int fd);
bool taken_for_a_semaphore(int fd);
cl_mem object_beside_refusal(cl_context context);
void note_acquired(cl_context context, cl_mem object, bool acquired);
void before_last_release(cl_context context);
void note_user_events(cl_command_queue queue, cl_uint count, const cl_event *events);
void wait_for_user_events(cl_command_queue queue);
bool images_are_tiled(void);
void *rows_taken_for_tiles(const char *rows, size_t row_pitch, size_t texel, size_t width, size_t height);
void ignore_line_directives(char *text, size_t length);

/* -- core.c: core calls that are only checked -- */

void intercept_core(cl_icd_dispatch *table);

#endif
