/* See payload.h. The layouts below are private to other projects: change them here and nowhere else. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "payload.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if !defined(__linux__) || !defined(__x86_64__) || !defined(__GLIBC__)
#error "SwiftShader's semaphore payload holds pthread objects; only the layout of x86-64 glibc is known"
#endif

#define SEMAPHORE_FILE_SIZE 4096
#define NAME_CAPACITY 256
#define SWIFTSHADER_SEMAPHORE "SwiftShader.Semaphore"
#define SWIFTSHADER_MEMORY "SwiftShader.Memory"
#define SOFTGPU_SEMAPHORE "softgpu.semaphore"
#define LAVAPIPE_MEMORY "llvmpipe memory fd"

/* SwiftShader pads each allocation so that it can align the start by hand; the file is that much longer. */
#define SWIFTSHADER_PADDING 15

#define SLICE_NS 50000000L /* how often a wait looks at its cancel flag */
#define LOCK_LIMIT_S 10.0  /* the lock is held for nanoseconds; longer means its owner died */
#define REFERENCES_LIMIT (1 << 20)

/* SwiftShader, src/Vulkan/VkSemaphoreExternalLinux.hpp: class SharedSemaphore. */
struct shared_semaphore {
    pthread_mutex_t mutex; /* process-shared */
    pthread_cond_t condition;
    int32_t references;
    bool signalled;
};
_Static_assert(sizeof(pthread_mutex_t) == 40, "pthread_mutex_t is not glibc's");
_Static_assert(sizeof(pthread_cond_t) == 48, "pthread_cond_t is not glibc's");
_Static_assert(offsetof(struct shared_semaphore, condition) == 40, "SwiftShader semaphore: condition");
_Static_assert(offsetof(struct shared_semaphore, references) == 88, "SwiftShader semaphore: references");
_Static_assert(offsetof(struct shared_semaphore, signalled) == 92, "SwiftShader semaphore: signalled");
_Static_assert(sizeof(struct shared_semaphore) <= SEMAPHORE_FILE_SIZE, "SwiftShader semaphore: size");

/* Mesa, src/util/os_memory_fd.c: struct memory_header. */
struct lavapipe_header {
    uint64_t file_size;
    uint64_t data_offset;
    uint8_t driver_uuid[16];
};
_Static_assert(sizeof(struct lavapipe_header) == 32, "lavapipe memory header");

struct softgpu_semaphore {
    struct shared_semaphore *shared;
};

/* The name given to memfd_create: the only mark by which drivers' files differ from any other file. */
static bool memfd_name(int fd, char name[NAME_CAPACITY])
{
    static const char prefix[] = "/memfd:";
    static const char suffix[] = " (deleted)";
    char link[64];
    char target[NAME_CAPACITY + sizeof prefix +
                sizeof suffix]; /* a longer path is cut and matches no driver */
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t length = readlink(link, target, sizeof target - 1);
    if (length < 0)
        return false;
    target[length] = '\0';
    if (strncmp(target, prefix, sizeof prefix - 1) != 0)
        return false;
    const char *start = target + sizeof prefix - 1;
    const char *end = strstr(start, suffix);
    const size_t count = end != NULL ? (size_t)(end - start) : strlen(start);
    if (count >= NAME_CAPACITY)
        return false;
    memcpy(name, start, count);
    name[count] = '\0';
    return true;
}

/* SwiftShader numbers its files: "SwiftShader.Memory.7". */
static bool named(const char *name, const char *kind)
{
    const size_t length = strlen(kind);
    return strncmp(name, kind, length) == 0 && (name[length] == '\0' || name[length] == '.');
}

/* -- memory -- */

static int map_shared(int fd, size_t size, void **out)
{
    void *address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED)
        return SOFTGPU_PAYLOAD_NO_MEMORY;
    *out = address;
    return SOFTGPU_PAYLOAD_OK;
}

/* Where the payload lies in the file. A lavapipe header counts only when it states the file's own size:
 * another Mesa may have moved the header, and then its words are somebody's pixels. */
static int memory_extent(int fd, size_t file_size, size_t *offset, size_t *size,
                         enum softgpu_memory_driver *driver)
{
    char name[NAME_CAPACITY];
    if (!memfd_name(fd, name))
        return SOFTGPU_PAYLOAD_FOREIGN;
    *offset = 0;
    *size = file_size;
    if (named(name, SWIFTSHADER_MEMORY)) {
        if (file_size <= SWIFTSHADER_PADDING)
            return SOFTGPU_PAYLOAD_FOREIGN;
        *size = file_size - SWIFTSHADER_PADDING;
        *driver = SOFTGPU_MEMORY_SWIFTSHADER;
        return SOFTGPU_PAYLOAD_OK;
    }
    if (!named(name, LAVAPIPE_MEMORY))
        return SOFTGPU_PAYLOAD_FOREIGN;
    *driver = SOFTGPU_MEMORY_LAVAPIPE;
    struct lavapipe_header header;
    if (pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header)
        return SOFTGPU_PAYLOAD_OK;
    if (header.file_size == file_size && header.data_offset >= sizeof header &&
        header.data_offset < file_size) {
        *offset = (size_t)header.data_offset;
        *size = file_size - (size_t)header.data_offset;
    }
    return SOFTGPU_PAYLOAD_OK;
}

int softgpu_memory_map(int fd, size_t size, struct softgpu_memory *out)
{
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0)
        return SOFTGPU_PAYLOAD_BAD_FD;
    if (!S_ISREG(status.st_mode) || status.st_size <= 0)
        return SOFTGPU_PAYLOAD_FOREIGN;
    const size_t file_size = (size_t)status.st_size;
    size_t offset = 0;
    size_t usable = 0;
    enum softgpu_memory_driver driver = SOFTGPU_MEMORY_SWIFTSHADER;
    const int known = memory_extent(fd, file_size, &offset, &usable, &driver);
    if (known != SOFTGPU_PAYLOAD_OK)
        return known;
    if (size > usable) /* mapped all the same, the first touch past the end would be a SIGBUS */
        return SOFTGPU_PAYLOAD_TOO_SMALL;
    void *mapping = NULL;
    const int mapped = map_shared(fd, file_size, &mapping);
    if (mapped != SOFTGPU_PAYLOAD_OK)
        return mapped;
    *out = (struct softgpu_memory){.data = (char *)mapping + offset,
                                   .size = usable,
                                   .mapping = mapping,
                                   .mapping_size = file_size,
                                   .driver = driver};
    return SOFTGPU_PAYLOAD_OK;
}

int softgpu_memory_map_any(int fd, size_t size, struct softgpu_memory *out)
{
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0)
        return SOFTGPU_PAYLOAD_BAD_FD;
    const off_t end = lseek(fd, 0, SEEK_END); /* fstat says 0 of a dma-buf */
    if (end <= 0)
        return SOFTGPU_PAYLOAD_FOREIGN;
    if (size > (size_t)end)
        return SOFTGPU_PAYLOAD_TOO_SMALL;
    void *mapping = NULL;
    if (map_shared(fd, (size_t)end, &mapping) != SOFTGPU_PAYLOAD_OK)
        return SOFTGPU_PAYLOAD_FOREIGN; /* /dev/null and the like */
    *out = (struct softgpu_memory){.data = mapping,
                                   .size = (size_t)end,
                                   .mapping = mapping,
                                   .mapping_size = (size_t)end,
                                   .driver = SOFTGPU_MEMORY_ANY};
    return SOFTGPU_PAYLOAD_OK;
}

void softgpu_memory_unmap(struct softgpu_memory *memory)
{
    if (memory->mapping != NULL)
        munmap(memory->mapping, memory->mapping_size);
    *memory = (struct softgpu_memory){0};
}

static size_t round_up(size_t value, size_t unit)
{
    return (value + unit - 1) / unit * unit;
}

/* SwiftShader draws 2 x 2 pixels at a time; llvmpipe keeps blocks of 4 x 4 and rows of whole cache lines. Of
 * memory that is nobody's, rows and slices without gaps are all that can be meant. */
size_t softgpu_memory_row_pitch(const struct softgpu_memory *memory, size_t width, size_t texel_size)
{
    if (memory->driver == SOFTGPU_MEMORY_ANY)
        return width * texel_size;
    if (memory->driver == SOFTGPU_MEMORY_SWIFTSHADER)
        return round_up(width, 2) * texel_size;
    return round_up(round_up(width, 4) * texel_size, 64);
}

size_t softgpu_memory_slice_pitch(const struct softgpu_memory *memory, size_t row_pitch, size_t height)
{
    if (memory->driver == SOFTGPU_MEMORY_ANY)
        return height * row_pitch;
    if (memory->driver == SOFTGPU_MEMORY_SWIFTSHADER)
        return round_up(round_up(height, 2) * row_pitch, 16);
    return round_up(height, 4) * row_pitch;
}

/* -- semaphores -- */

static struct timespec after(double seconds)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    const double whole = floor(seconds);
    time.tv_sec += (time_t)whole;
    time.tv_nsec += (long)((seconds - whole) * 1e9);
    if (time.tv_nsec >= 1000000000L) {
        time.tv_sec += 1;
        time.tv_nsec -= 1000000000L;
    }
    return time;
}

static bool earlier(const struct timespec *left, const struct timespec *right)
{
    if (left->tv_sec != right->tv_sec)
        return left->tv_sec < right->tv_sec;
    return left->tv_nsec < right->tv_nsec;
}

static int initialise(struct shared_semaphore *shared)
{
    pthread_mutexattr_t mutex_attributes;
    pthread_condattr_t condition_attributes;
    if (pthread_mutexattr_init(&mutex_attributes) != 0)
        return SOFTGPU_PAYLOAD_NO_MEMORY;
    pthread_mutexattr_setpshared(&mutex_attributes, PTHREAD_PROCESS_SHARED);
    int failed = pthread_mutex_init(&shared->mutex, &mutex_attributes);
    pthread_mutexattr_destroy(&mutex_attributes);
    if (failed != 0 || pthread_condattr_init(&condition_attributes) != 0)
        return SOFTGPU_PAYLOAD_NO_MEMORY;
    pthread_condattr_setpshared(&condition_attributes, PTHREAD_PROCESS_SHARED);
    failed = pthread_cond_init(&shared->condition, &condition_attributes);
    pthread_condattr_destroy(&condition_attributes);
    return failed == 0 ? SOFTGPU_PAYLOAD_OK : SOFTGPU_PAYLOAD_NO_MEMORY;
}

/* Short tries until the limit: pthread_mutex_timedlock follows the wall clock, which may jump. (The thread
 * sanitizer of GCC 12 does not know pthread_mutex_clocklock.) */
static int lock(struct shared_semaphore *shared, double limit_s)
{
    const struct timespec limit = after(limit_s);
    for (;;) {
        struct timespec slice;
        clock_gettime(CLOCK_REALTIME, &slice);
        slice.tv_sec += 1;
        const int result = pthread_mutex_timedlock(&shared->mutex, &slice);
        if (result == 0)
            return SOFTGPU_PAYLOAD_OK;
        if (result != ETIMEDOUT)
            return SOFTGPU_PAYLOAD_FOREIGN;
        const struct timespec now = after(0.0);
        if (!earlier(&now, &limit))
            return SOFTGPU_PAYLOAD_TIMEOUT;
    }
}

/* An opaque fd keeps its payload alive, says Vulkan. SwiftShader counts only semaphore objects: when the last
 * of them goes before the fd is imported it destroys mutex and condition, though the memory and the signal
 * stay. Such a payload is set up again. (Two processes doing so at once would race; one process does not.) */
static int add_reference(struct shared_semaphore *shared)
{
    static pthread_mutex_t reviving = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&reviving);
    int status = SOFTGPU_PAYLOAD_OK;
    if (__atomic_load_n(&shared->references, __ATOMIC_RELAXED) == 0)
        status = initialise(shared);
    if (status == SOFTGPU_PAYLOAD_OK)
        status = lock(shared, LOCK_LIMIT_S);
    if (status == SOFTGPU_PAYLOAD_OK) {
        if (shared->references < 0 || shared->references > REFERENCES_LIMIT)
            status = SOFTGPU_PAYLOAD_FOREIGN; /* the layout is not the one known here */
        else
            shared->references += 1;
        pthread_mutex_unlock(&shared->mutex);
    }
    pthread_mutex_unlock(&reviving);
    return status;
}

static int adopt(int fd, struct softgpu_semaphore **out)
{
    void *mapping = NULL;
    int status = map_shared(fd, SEMAPHORE_FILE_SIZE, &mapping);
    if (status != SOFTGPU_PAYLOAD_OK)
        return status;
    struct softgpu_semaphore *semaphore = malloc(sizeof *semaphore);
    status = semaphore == NULL ? SOFTGPU_PAYLOAD_NO_MEMORY : add_reference(mapping);
    if (status != SOFTGPU_PAYLOAD_OK) {
        free(semaphore);
        munmap(mapping, SEMAPHORE_FILE_SIZE);
        return status;
    }
    semaphore->shared = mapping;
    *out = semaphore;
    return SOFTGPU_PAYLOAD_OK;
}

int softgpu_semaphore_open(int fd, struct softgpu_semaphore **out)
{
    struct stat status;
    char name[NAME_CAPACITY];
    if (fd < 0 || fstat(fd, &status) != 0)
        return SOFTGPU_PAYLOAD_BAD_FD;
    if (!memfd_name(fd, name))
        return SOFTGPU_PAYLOAD_FOREIGN;
    if (!named(name, SWIFTSHADER_SEMAPHORE) && !named(name, SOFTGPU_SEMAPHORE))
        return SOFTGPU_PAYLOAD_FOREIGN;
    if (status.st_size < SEMAPHORE_FILE_SIZE)
        return SOFTGPU_PAYLOAD_TOO_SMALL;
    return adopt(fd, out);
}

int softgpu_semaphore_create(struct softgpu_semaphore **out, int *fd_out)
{
    const int fd = memfd_create(SOFTGPU_SEMAPHORE, MFD_CLOEXEC);
    if (fd < 0)
        return SOFTGPU_PAYLOAD_NO_MEMORY;
    /* A file of zeros is a payload without references, which adopt() sets up. */
    const int status = ftruncate(fd, SEMAPHORE_FILE_SIZE) == 0 ? adopt(fd, out) : SOFTGPU_PAYLOAD_NO_MEMORY;
    if (status != SOFTGPU_PAYLOAD_OK || fd_out == NULL)
        close(fd);
    else
        *fd_out = fd;
    return status;
}

void softgpu_semaphore_close(struct softgpu_semaphore *semaphore)
{
    struct shared_semaphore *shared = semaphore->shared;
    /* At zero SwiftShader destroys mutex and condition. glibc's own nothing outside the file, and an fd that
     * is still on its way may be imported later, so here they stay as they are. */
    if (lock(shared, LOCK_LIMIT_S) == SOFTGPU_PAYLOAD_OK) {
        shared->references -= 1;
        pthread_mutex_unlock(&shared->mutex);
    }
    munmap(shared, SEMAPHORE_FILE_SIZE);
    free(semaphore);
}

static bool cancelled(const volatile int *cancel)
{
    return cancel != NULL && __atomic_load_n(cancel, __ATOMIC_ACQUIRE) != 0;
}

/* The condition was made with default attributes, so pthread_cond_timedwait would follow the wall clock and
 * its jumps. pthread_cond_clockwait takes the clock per call. */
int softgpu_semaphore_wait(struct softgpu_semaphore *semaphore, double timeout_s, const volatile int *cancel)
{
    struct shared_semaphore *shared = semaphore->shared;
    const bool forever = !(timeout_s >= 0.0 && timeout_s < 1e9);
    const struct timespec deadline = after(forever ? 0.0 : timeout_s);
    int status = lock(shared, LOCK_LIMIT_S);
    if (status != SOFTGPU_PAYLOAD_OK)
        return status;
    while (!shared->signalled) {
        if (cancelled(cancel)) {
            status = SOFTGPU_PAYLOAD_CANCELLED;
            break;
        }
        struct timespec slice = after(SLICE_NS * 1e-9);
        bool last = false;
        if (!forever && earlier(&deadline, &slice)) {
            slice = deadline;
            last = true;
        }
        const int result =
            pthread_cond_clockwait(&shared->condition, &shared->mutex, CLOCK_MONOTONIC, &slice);
        if (result == ETIMEDOUT && last && !shared->signalled) {
            status = SOFTGPU_PAYLOAD_TIMEOUT;
            break;
        }
        if (result != 0 && result != ETIMEDOUT) {
            status = SOFTGPU_PAYLOAD_FOREIGN;
            break;
        }
    }
    if (status == SOFTGPU_PAYLOAD_OK)
        shared->signalled = false;
    pthread_mutex_unlock(&shared->mutex);
    return status;
}

int softgpu_semaphore_signal(struct softgpu_semaphore *semaphore)
{
    struct shared_semaphore *shared = semaphore->shared;
    const int status = lock(shared, LOCK_LIMIT_S);
    if (status != SOFTGPU_PAYLOAD_OK)
        return status;
    shared->signalled = true;
    pthread_cond_broadcast(&shared->condition);
    pthread_mutex_unlock(&shared->mutex);
    return SOFTGPU_PAYLOAD_OK;
}

bool softgpu_semaphore_signalled(struct softgpu_semaphore *semaphore)
{
    struct shared_semaphore *shared = semaphore->shared;
    if (lock(shared, LOCK_LIMIT_S) != SOFTGPU_PAYLOAD_OK)
        return false;
    const bool signalled = shared->signalled;
    pthread_mutex_unlock(&shared->mutex);
    return signalled;
}
