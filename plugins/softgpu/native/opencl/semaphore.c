/* cl_khr_semaphore objects over SwiftShader's payload; imported, or new and exportable in the same layout. Or
 * over sync files, of which each carries one signal: one is imported with the semaphore, or made by each
 * signal. */
#include "layer.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t one_shots = PTHREAD_MUTEX_INITIALIZER; /* signalled and file of all */

/* What a property list asks for. */
struct request {
    bool typed;
    bool listed;
    bool imports;
    bool exports;
    cl_external_semaphore_handle_type_khr import_type;
    int fd;
    cl_uint exported; /* how many types to export */
    cl_external_semaphore_handle_type_khr export_type;
    cl_uint device_count;
    cl_device_id device;
    cl_uint property_count;
};

/* OPAQUE_FD, OPAQUE_WIN32, WIN32_KMT, SYNC_FD, D3D12_FENCE, WIN32_NAME */
static bool handle_type(cl_semaphore_properties_khr name)
{
    return (name >= KHR_SEMAPHORE_HANDLE_OPAQUE_FD && name <= 0x2059) || name == 0x2068;
}

static bool offered(cl_semaphore_properties_khr type)
{
    return (type == KHR_SEMAPHORE_HANDLE_OPAQUE_FD && softgpu_offers_opaque_fd()) ||
           (type == KHR_SEMAPHORE_HANDLE_SYNC_FD && softgpu_offers_sync_fd());
}

static cl_int read_export_list(const cl_semaphore_properties_khr **at, struct request *request)
{
    if (request->exports)
        return CL_INVALID_PROPERTY;
    request->exports = true;
    for (; **at != 0; *at += 1) {
        if (!offered(**at) || !semaphore_export_offered())
            return CL_INVALID_PROPERTY;
        request->exported += 1;
        request->export_type = (cl_external_semaphore_handle_type_khr) * *at;
    }
    *at += 1;
    return CL_SUCCESS;
}

static cl_int read_device_list(const cl_semaphore_properties_khr **at, struct request *request)
{
    if (request->listed)
        return CL_INVALID_PROPERTY;
    request->listed = true;
    for (; **at != 0; *at += 1) {
        request->device = (cl_device_id)(uintptr_t)**at;
        request->device_count += 1;
    }
    *at += 1;
    return CL_SUCCESS;
}

static cl_int read_properties(const cl_semaphore_properties_khr *properties, struct request *request)
{
    const cl_semaphore_properties_khr *at = properties;
    cl_int error = CL_SUCCESS;
    if (at == NULL)
        return CL_INVALID_VALUE;
    while (*at != 0 && error == CL_SUCCESS) {
        const cl_semaphore_properties_khr name = *at++;
        if (name == KHR_SEMAPHORE_TYPE) {
            if (request->typed || *at++ != KHR_SEMAPHORE_TYPE_BINARY)
                return CL_INVALID_PROPERTY;
            request->typed = true;
        } else if (name == KHR_SEMAPHORE_EXPORT_HANDLE_TYPES) {
            error = read_export_list(&at, request);
        } else if (name == KHR_SEMAPHORE_DEVICE_HANDLE_LIST) {
            error = read_device_list(&at, request);
        } else if (handle_type(name)) {
            if (request->imports)
                return CL_INVALID_PROPERTY;
            request->imports = true;
            request->import_type = (cl_external_semaphore_handle_type_khr)name;
            request->fd = (int)(int64_t)*at++;
        } else {
            return CL_INVALID_PROPERTY;
        }
    }
    request->property_count = (cl_uint)(at - properties) + 1;
    if (error == CL_SUCCESS && request->property_count > MAX_PROPERTIES)
        error = CL_INVALID_PROPERTY;
    return error;
}

static cl_int check_request(cl_context context, struct request *request)
{
    cl_device_id members[MAX_LISTED_DEVICES];
    const cl_uint count = context_devices(context, members);
    if (!request->typed || request->exported > 1)
        return CL_INVALID_VALUE;
    if (request->imports && request->exports)
        return CL_INVALID_OPERATION;
    if (!request->listed) {
        if (count != 1)
            return CL_INVALID_PROPERTY;
        request->device = members[0];
    } else if (request->device_count != 1 || !contains_device(members, count, request->device)) {
        return CL_INVALID_DEVICE;
    }
    if ((request->imports && !offered(request->import_type)) || !emulated_device(request->device))
        return CL_INVALID_DEVICE;
    return CL_SUCCESS;
}

static cl_int open_payload(int fd, struct softgpu_semaphore **payload)
{
    const bool nvidia = softgpu_switch_is("CL_ERRORS", "nvidia", "standard");
    switch (softgpu_semaphore_open(fd, payload)) {
    case SOFTGPU_PAYLOAD_OK:
        return CL_SUCCESS;
    case SOFTGPU_PAYLOAD_BAD_FD:
        return nvidia && fd >= 0 ? 999 : CL_INVALID_VALUE;
    case SOFTGPU_PAYLOAD_FOREIGN:
    case SOFTGPU_PAYLOAD_TOO_SMALL:
        if (taken_for_a_semaphore(fd))
            return softgpu_semaphore_create(payload, NULL) == SOFTGPU_PAYLOAD_OK ? CL_SUCCESS
                                                                                 : CL_OUT_OF_RESOURCES;
        return nvidia ? 999 : CL_INVALID_PROPERTY;
    default:
        return CL_OUT_OF_HOST_MEMORY;
    }
}

/* Takes the fd over only when it succeeds. */
static cl_int import_file(cl_semaphore_khr semaphore, int fd, cl_int refusal)
{
    int file = fd < 0 ? -1 : fd;
    if (fd < -1 || (fd >= 0 && !softgpu_sync_file_known(fd)))
        return refusal;
    if (fd >= 0 && softgpu_switch_is("CL_FD", "keep", "consume") &&
        (file = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0)
        return CL_OUT_OF_RESOURCES;
    pthread_mutex_lock(&one_shots);
    const int before = semaphore->file;
    semaphore->file = file;
    semaphore->signalled = true;
    pthread_mutex_unlock(&one_shots);
    if (before >= 0)
        close(before);
    return CL_SUCCESS;
}

static cl_int open_state(cl_semaphore_khr semaphore, const struct request *request)
{
    if (request->import_type == KHR_SEMAPHORE_HANDLE_SYNC_FD)
        return import_file(semaphore, request->fd, CL_INVALID_PROPERTY);
    if (request->export_type == KHR_SEMAPHORE_HANDLE_SYNC_FD)
        return CL_SUCCESS;
    if (request->imports)
        return open_payload(request->fd, &semaphore->payload);
    int *export_fd = request->exported != 0 ? &semaphore->export_fd : NULL;
    return softgpu_semaphore_create(&semaphore->payload, export_fd) == SOFTGPU_PAYLOAD_OK
               ? CL_SUCCESS
               : CL_OUT_OF_RESOURCES;
}

static void close_state(cl_semaphore_khr semaphore)
{
    if (semaphore->payload != NULL)
        softgpu_semaphore_close(semaphore->payload);
    if (semaphore->export_fd >= 0)
        close(semaphore->export_fd);
    if (semaphore->file >= 0)
        close(semaphore->file);
}

static cl_int make(cl_context context, const cl_semaphore_properties_khr *properties,
                   const struct request *request, cl_semaphore_khr *out)
{
    cl_semaphore_khr semaphore = calloc(1, sizeof *semaphore);
    if (semaphore == NULL)
        return CL_OUT_OF_HOST_MEMORY;
    semaphore->export_fd = -1;
    semaphore->file = -1;
    semaphore->imported = request->import_type;
    semaphore->exported = request->export_type;
    cl_int error = open_state(semaphore, request);
    if (error == CL_SUCCESS && !registry_put(registry_of_semaphores, semaphore, semaphore)) {
        if (semaphore->file == request->fd)
            semaphore->file = -1; /* still the caller's */
        close_state(semaphore);
        error = CL_OUT_OF_HOST_MEMORY;
    }
    if (error != CL_SUCCESS) {
        free(semaphore);
        return error;
    }
    memcpy(&semaphore->dispatch, context, sizeof semaphore->dispatch);
    semaphore->references = 1;
    semaphore->context = context;
    semaphore->device = request->device;
    semaphore->property_count = request->property_count;
    memcpy(semaphore->properties, properties, request->property_count * sizeof *properties);
    target.clRetainContext(context);
    softgpu_count("semaphore", 1);
    *out = semaphore;
    return CL_SUCCESS;
}

cl_semaphore_khr CL_API_CALL layer_CreateSemaphoreWithPropertiesKHR(
    cl_context context, const cl_semaphore_properties_khr *properties, cl_int *error)
{
    cl_device_id members[MAX_LISTED_DEVICES];
    struct request request = {.fd = -1};
    cl_semaphore_khr semaphore = NULL;
    cl_int code = CL_SUCCESS;
    if (!fail("clCreateSemaphoreWithPropertiesKHR", &code)) {
        if (context_devices(context, members) == 0)
            code = CL_INVALID_CONTEXT;
        if (code == CL_SUCCESS)
            code = read_properties(properties, &request);
        if (code == CL_SUCCESS)
            code = check_request(context, &request);
        if (code == CL_SUCCESS)
            code = make(context, properties, &request, &semaphore);
        const bool opaque = request.import_type == KHR_SEMAPHORE_HANDLE_OPAQUE_FD;
        if (code == CL_SUCCESS && opaque)
            note_semaphore_number(request.fd);
        if (code == CL_SUCCESS && opaque && !softgpu_switch_is("CL_FD", "keep", "consume"))
            close(request.fd); /* NVIDIA closes a semaphore's fd at once, so "hold" is about memory only */
    }
    if (error != NULL)
        *error = code;
    return semaphore;
}

bool known_semaphore(cl_semaphore_khr semaphore)
{
    return semaphore != NULL && registry_get(registry_of_semaphores, semaphore) != NULL;
}

void semaphore_keep(cl_semaphore_khr semaphore)
{
    __atomic_add_fetch(&semaphore->references, 1, __ATOMIC_RELAXED);
}

void semaphore_drop(cl_semaphore_khr semaphore, bool join)
{
    if (__atomic_sub_fetch(&semaphore->references, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    registry_take(registry_of_semaphores, semaphore);
    if (semaphore->waiter != NULL)
        worker_stop(semaphore->waiter, join);
    if (semaphore->delayer != NULL)
        worker_stop(semaphore->delayer, join);
    close_state(semaphore);
    target.clReleaseContext(semaphore->context);
    free(semaphore);
    softgpu_count("semaphore", -1);
}

struct worker *semaphore_worker(struct worker **slot)
{
    pthread_mutex_lock(&starting);
    if (*slot == NULL)
        *slot = worker_start();
    struct worker *worker = *slot;
    pthread_mutex_unlock(&starting);
    return worker;
}

cl_int CL_API_CALL layer_RetainSemaphoreKHR(cl_semaphore_khr semaphore)
{
    cl_int error = CL_SUCCESS;
    if (fail("clRetainSemaphoreKHR", &error))
        return error;
    if (!known_semaphore(semaphore))
        return KHR_INVALID_SEMAPHORE;
    semaphore_keep(semaphore);
    return CL_SUCCESS;
}

/* Commands in flight hold references of their own: a semaphore that is still waited for lives until its
 * signal. */
cl_int CL_API_CALL layer_ReleaseSemaphoreKHR(cl_semaphore_khr semaphore)
{
    if (!known_semaphore(semaphore))
        return KHR_INVALID_SEMAPHORE;
    semaphore_drop(semaphore, true);
    return CL_SUCCESS;
}

bool one_shot(cl_semaphore_khr semaphore)
{
    return semaphore->payload == NULL;
}

/* What is undefined by the extension is refused here: a real driver may do anything. */
cl_int one_shot_check(cl_semaphore_khr semaphore, bool signals)
{
    pthread_mutex_lock(&one_shots);
    const bool allowed = signals ? semaphore->imported == 0 && !semaphore->signalled : semaphore->signalled;
    pthread_mutex_unlock(&one_shots);
    return allowed ? CL_SUCCESS : CL_INVALID_OPERATION;
}

bool one_shot_file(cl_semaphore_khr semaphore, bool signals, int *file)
{
    pthread_mutex_lock(&one_shots);
    if (signals) {
        semaphore->file = softgpu_sync_file_create();
        semaphore->signalled = semaphore->file >= 0;
    }
    *file = semaphore->file >= 0 ? fcntl(semaphore->file, F_DUPFD_CLOEXEC, 0) : -1;
    const bool made = *file >= 0 || (!signals && semaphore->file < 0);
    pthread_mutex_unlock(&one_shots);
    return made;
}

/* Takes the signal back and returns its file, -1 where it has run. */
static int take_file(cl_semaphore_khr semaphore)
{
    pthread_mutex_lock(&one_shots);
    const int file = semaphore->file;
    semaphore->file = -1;
    semaphore->signalled = false;
    pthread_mutex_unlock(&one_shots);
    return file;
}

void one_shot_drop(cl_semaphore_khr semaphore)
{
    const int file = take_file(semaphore);
    if (file >= 0)
        close(file);
}

static bool is_signalled(cl_semaphore_khr semaphore)
{
    if (!one_shot(semaphore))
        return softgpu_semaphore_signalled(semaphore->payload);
    pthread_mutex_lock(&one_shots);
    const bool signalled = semaphore->signalled && softgpu_sync_file_ready(semaphore->file);
    pthread_mutex_unlock(&one_shots);
    return signalled;
}

cl_int CL_API_CALL layer_ReImportSemaphoreSyncFdKHR(cl_semaphore_khr semaphore,
                                                    const cl_semaphore_properties_khr *properties, int fd)
{
    cl_int error = CL_SUCCESS;
    (void)properties; /* none is defined */
    if (fail("clReImportSemaphoreSyncFdKHR", &error))
        return error;
    if (!known_semaphore(semaphore) || semaphore->imported != KHR_SEMAPHORE_HANDLE_SYNC_FD)
        return KHR_INVALID_SEMAPHORE;
    return import_file(semaphore, fd, CL_INVALID_VALUE);
}

cl_int CL_API_CALL layer_GetSemaphoreInfoKHR(cl_semaphore_khr semaphore, cl_semaphore_info_khr name,
                                             size_t capacity, void *value, size_t *size)
{
    cl_int error = CL_SUCCESS;
    if (fail("clGetSemaphoreInfoKHR", &error))
        return error;
    if (!known_semaphore(semaphore))
        return KHR_INVALID_SEMAPHORE;
    const cl_external_semaphore_handle_type_khr exported = semaphore->exported;
    const bool exportable = exported != 0;
    const cl_uint references = (cl_uint)__atomic_load_n(&semaphore->references, __ATOMIC_RELAXED);
    const cl_semaphore_type_khr type = KHR_SEMAPHORE_TYPE_BINARY;
    const cl_bool can_export = exportable ? CL_TRUE : CL_FALSE;
    cl_semaphore_payload_khr payload = 0;
    switch (name) {
    case KHR_SEMAPHORE_CONTEXT:
        return answer(&semaphore->context, sizeof semaphore->context, capacity, value, size);
    case KHR_SEMAPHORE_REFERENCE_COUNT:
        return answer(&references, sizeof references, capacity, value, size);
    case KHR_SEMAPHORE_PROPERTIES:
        return answer(semaphore->properties, semaphore->property_count * sizeof semaphore->properties[0],
                      capacity, value, size);
    case KHR_SEMAPHORE_PAYLOAD:
        payload = is_signalled(semaphore) ? 1 : 0;
        return answer(&payload, sizeof payload, capacity, value, size);
    case KHR_SEMAPHORE_TYPE:
        return answer(&type, sizeof type, capacity, value, size);
    case KHR_SEMAPHORE_EXPORT_HANDLE_TYPES:
        return answer(&exported, exportable ? sizeof exported : 0, capacity, value, size);
    case KHR_SEMAPHORE_EXPORTABLE:
        return answer(&can_export, sizeof can_export, capacity, value, size);
    case KHR_SEMAPHORE_DEVICE_HANDLE_LIST:
        return answer(&semaphore->device, sizeof semaphore->device, capacity, value, size);
    default:
        return CL_INVALID_VALUE;
    }
}

cl_int CL_API_CALL layer_GetSemaphoreHandleForTypeKHR(cl_semaphore_khr semaphore, cl_device_id device,
                                                      cl_external_semaphore_handle_type_khr type,
                                                      size_t capacity, void *handle, size_t *size)
{
    cl_int error = CL_SUCCESS;
    if (fail("clGetSemaphoreHandleForTypeKHR", &error))
        return error;
    if (!known_semaphore(semaphore))
        return KHR_INVALID_SEMAPHORE;
    if (device != semaphore->device)
        return CL_INVALID_DEVICE;
    if (type == 0 || type != semaphore->exported)
        return CL_INVALID_VALUE;
    int fd = -1;
    if (handle == NULL) /* a question about the size makes no fd */
        return answer(&fd, sizeof fd, capacity, handle, size);
    if (capacity < sizeof fd)
        return CL_INVALID_VALUE;
    if (one_shot(semaphore)) {
        if (one_shot_check(semaphore, false) != CL_SUCCESS)
            return CL_INVALID_OPERATION;
        fd = take_file(semaphore);
        if (fd >= 0 && softgpu_sync_file_ready(fd)) {
            close(fd);
            fd = -1;
        }
        return answer(&fd, sizeof fd, capacity, handle, size);
    }
    fd = fcntl(semaphore->export_fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return CL_OUT_OF_RESOURCES;
    return answer(&fd, sizeof fd, capacity, handle, size);
}
