/* The private payloads behind the opaque fds of software Vulkan drivers.
 *
 * This is the only file (with payload.c) that knows them. Layouts were read off
 * SwiftShader of Chromium 147 and 156 and off Mesa lavapipe 25.0.7, x86-64 glibc.
 *
 * Every function is thread-safe on different objects. None takes ownership of an fd.
 */
#ifndef SOFTGPU_PAYLOAD_H
#define SOFTGPU_PAYLOAD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum softgpu_payload_status {
    SOFTGPU_PAYLOAD_OK = 0,
    SOFTGPU_PAYLOAD_BAD_FD = 1,    /* not an open fd */
    SOFTGPU_PAYLOAD_FOREIGN = 2,   /* open, but of no driver that is known here */
    SOFTGPU_PAYLOAD_TOO_SMALL = 3, /* the memory behind it is smaller than asked for */
    SOFTGPU_PAYLOAD_NO_MEMORY = 4, /* mmap failed */
    SOFTGPU_PAYLOAD_TIMEOUT = 5,
    SOFTGPU_PAYLOAD_CANCELLED = 6
};

enum softgpu_memory_driver {
    SOFTGPU_MEMORY_SWIFTSHADER = 1,
    SOFTGPU_MEMORY_LAVAPIPE = 2,
    SOFTGPU_MEMORY_ANY = 3 /* a dma-buf, or another file of memory: data from its first byte on */
};

/* Memory: the data bytes behind a Vulkan OPAQUE_FD memory export. */
struct softgpu_memory {
    void *data;    /* first byte of the VkDeviceMemory payload */
    size_t size;   /* bytes usable from data */
    void *mapping; /* what to munmap */
    size_t mapping_size;
    enum softgpu_memory_driver driver; /* who allocated it */
};
/* size: bytes the caller wants to use; 0 maps all there is. */
int softgpu_memory_map(int fd, size_t size, struct softgpu_memory *out);
/* The same of any file that can be mapped and tells its size by lseek, as dma-bufs do. */
int softgpu_memory_map_any(int fd, size_t size, struct softgpu_memory *out);
void softgpu_memory_unmap(struct softgpu_memory *memory);
/* Bytes from one row to the next, and from one slice to the next, that the driver uses for an uncompressed
 * image without mip levels at offset 0, whatever its tiling. */
size_t softgpu_memory_row_pitch(const struct softgpu_memory *memory, size_t width, size_t texel_size);
size_t softgpu_memory_slice_pitch(const struct softgpu_memory *memory, size_t row_pitch, size_t height);

/* Semaphore: a binary Vulkan semaphore's process-shared payload. */
struct softgpu_semaphore; /* opaque: a mapped payload, reference counted on both sides */
int softgpu_semaphore_open(int fd, struct softgpu_semaphore **out);
/* A new, unsignalled payload in the same layout. fd_out, unless NULL, receives an fd that the caller owns and
 * that SwiftShader's vkImportSemaphoreFdKHR and softgpu_semaphore_open take. */
int softgpu_semaphore_create(struct softgpu_semaphore **out, int *fd_out);
void softgpu_semaphore_close(struct softgpu_semaphore *semaphore);
/* Waits until signalled and takes the signal. A negative timeout waits without end. Checks *cancel at least
 * every 100 ms. */
int softgpu_semaphore_wait(struct softgpu_semaphore *semaphore, double timeout_s, const volatile int *cancel);
int softgpu_semaphore_signal(struct softgpu_semaphore *semaphore);
bool softgpu_semaphore_signalled(struct softgpu_semaphore *semaphore);

/* UUIDs of the CPU-type physical devices that the Vulkan loader lists (dlopen, never linked).
 * SOFTGPU_UUIDS="32 hex digits[,...]" answers instead when set. Returns how many were written. */
int softgpu_vulkan_cpu_uuids(uint8_t (*uuids)[16], int capacity);

#ifdef __cplusplus
}
#endif
#endif
