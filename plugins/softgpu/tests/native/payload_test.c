/* Payloads, switches and counters from many threads: built and run under the sanitizers by
 * tests/test_payload.py. */
#define _GNU_SOURCE
#include "payload.h"
#include "switches.h"
#include "sync_file.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 2000

#define CHECK(truth)                                                                                         \
    do {                                                                                                     \
        if (!(truth)) {                                                                                      \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #truth);                              \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

struct pair {
    struct softgpu_semaphore *ping;
    struct softgpu_semaphore *pong;
    int value; /* written by both sides in turns; the thread sanitizer watches it */
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void *answer(void *argument)
{
    struct pair *pair = argument;
    for (int i = 0; i < ROUNDS; ++i) {
        CHECK(softgpu_semaphore_wait(pair->ping, 10.0, NULL) == SOFTGPU_PAYLOAD_OK);
        pair->value += 1;
        CHECK(softgpu_semaphore_signal(pair->pong) == SOFTGPU_PAYLOAD_OK);
    }
    return NULL;
}

static void test_ping_pong(void)
{
    struct pair pair = {0};
    pthread_t thread;
    CHECK(softgpu_semaphore_create(&pair.ping, NULL) == SOFTGPU_PAYLOAD_OK);
    CHECK(softgpu_semaphore_create(&pair.pong, NULL) == SOFTGPU_PAYLOAD_OK);
    CHECK(pthread_create(&thread, NULL, answer, &pair) == 0);
    for (int i = 0; i < ROUNDS; ++i) {
        pair.value += 1;
        CHECK(softgpu_semaphore_signal(pair.ping) == SOFTGPU_PAYLOAD_OK);
        CHECK(softgpu_semaphore_wait(pair.pong, 10.0, NULL) == SOFTGPU_PAYLOAD_OK);
    }
    pthread_join(thread, NULL);
    CHECK(pair.value == 2 * ROUNDS);
    softgpu_semaphore_close(pair.ping);
    softgpu_semaphore_close(pair.pong);
}

static void test_two_mappings(void)
{
    struct softgpu_semaphore *first = NULL;
    struct softgpu_semaphore *second = NULL;
    int fd = -1;
    CHECK(softgpu_semaphore_create(&first, &fd) == SOFTGPU_PAYLOAD_OK);
    CHECK(softgpu_semaphore_open(fd, &second) == SOFTGPU_PAYLOAD_OK);
    softgpu_semaphore_signal(first);
    CHECK(softgpu_semaphore_signalled(second));
    softgpu_semaphore_close(first);
    CHECK(softgpu_semaphore_wait(second, 0.0, NULL) == SOFTGPU_PAYLOAD_OK);
    CHECK(softgpu_semaphore_wait(second, 0.0, NULL) == SOFTGPU_PAYLOAD_TIMEOUT);
    softgpu_semaphore_signal(second);
    softgpu_semaphore_close(second); /* nobody is left, but the fd keeps the payload and its signal */
    CHECK(softgpu_semaphore_open(fd, &first) == SOFTGPU_PAYLOAD_OK);
    CHECK(softgpu_semaphore_signalled(first));
    softgpu_semaphore_close(first);
    close(fd);
}

static void *cancel_later(void *argument)
{
    const struct timespec time = {.tv_nsec = 30000000L};
    nanosleep(&time, NULL);
    __atomic_store_n((int *)argument, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void test_bounds_of_a_wait(void)
{
    struct softgpu_semaphore *semaphore = NULL;
    int cancel = 0;
    pthread_t thread;
    CHECK(softgpu_semaphore_create(&semaphore, NULL) == SOFTGPU_PAYLOAD_OK);
    double begin = now();
    CHECK(softgpu_semaphore_wait(semaphore, 0.12, NULL) == SOFTGPU_PAYLOAD_TIMEOUT);
    CHECK(now() - begin >= 0.11);
    CHECK(pthread_create(&thread, NULL, cancel_later, &cancel) == 0);
    begin = now();
    CHECK(softgpu_semaphore_wait(semaphore, -1.0, &cancel) == SOFTGPU_PAYLOAD_CANCELLED);
    CHECK(now() - begin < 2.0);
    pthread_join(thread, NULL);
    softgpu_semaphore_close(semaphore);
}

static int file(const char *name, off_t size)
{
    const int fd = memfd_create(name, MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, size) == 0);
    return fd;
}

static void test_foreign_files(void)
{
    struct softgpu_memory memory = {0};
    struct softgpu_semaphore *semaphore = NULL;
    const int other = file("other", 4096);
    const int short_semaphore = file("SwiftShader.Semaphore.3", 64);
    CHECK(softgpu_memory_map(-1, 1, &memory) == SOFTGPU_PAYLOAD_BAD_FD);
    CHECK(softgpu_memory_map(999, 1, &memory) == SOFTGPU_PAYLOAD_BAD_FD);
    CHECK(softgpu_memory_map(other, 1, &memory) == SOFTGPU_PAYLOAD_FOREIGN);
    CHECK(softgpu_semaphore_open(-1, &semaphore) == SOFTGPU_PAYLOAD_BAD_FD);
    CHECK(softgpu_semaphore_open(other, &semaphore) == SOFTGPU_PAYLOAD_FOREIGN);
    CHECK(softgpu_semaphore_open(short_semaphore, &semaphore) == SOFTGPU_PAYLOAD_TOO_SMALL);
    close(other);
    close(short_semaphore);
}

static void test_memory_headers(void)
{
    struct softgpu_memory memory = {0};
    const int swiftshader = file("SwiftShader.Memory.12", 8192 + 15);
    CHECK(softgpu_memory_map(swiftshader, 8192, &memory) == SOFTGPU_PAYLOAD_OK);
    CHECK(memory.size == 8192 && memory.data == memory.mapping);
    memset(memory.data, 1, memory.size);
    softgpu_memory_unmap(&memory);
    CHECK(softgpu_memory_map(swiftshader, 8193, &memory) == SOFTGPU_PAYLOAD_TOO_SMALL);
    close(swiftshader);

    const uint64_t size = 4096 + 8192 + 40;
    const uint64_t header[4] = {size, 4096, 0, 0};
    const uint64_t unknown[4] = {size + 1, 4096, 0, 0};
    const int lavapipe = file("llvmpipe memory fd", (off_t)size);
    CHECK(pwrite(lavapipe, header, sizeof header, 0) == sizeof header);
    CHECK(softgpu_memory_map(lavapipe, 8192, &memory) == SOFTGPU_PAYLOAD_OK);
    CHECK((char *)memory.data == (char *)memory.mapping + 4096);
    softgpu_memory_unmap(&memory);
    CHECK(softgpu_memory_map(lavapipe, size, &memory) == SOFTGPU_PAYLOAD_TOO_SMALL);
    CHECK(pwrite(lavapipe, unknown, sizeof unknown, 0) == sizeof unknown);
    CHECK(softgpu_memory_map(lavapipe, size, &memory) == SOFTGPU_PAYLOAD_OK);
    CHECK(memory.data == memory.mapping);
    softgpu_memory_unmap(&memory);
    close(lavapipe);
}

static void *use_switches(void *argument)
{
    (void)argument;
    for (int i = 0; i < 500; ++i) {
        softgpu_control("BUSY", i % 2 != 0 ? "1" : "0");
        CHECK(softgpu_switch("BUSY", NULL) != NULL);
        softgpu_count("thing", 1);
        softgpu_count("thing", -1);
    }
    return NULL;
}

static void test_switches(void)
{
    int code = -5;
    pthread_t threads[4];
    setenv("SOFTGPU_NUMBER", "0x10", 1);
    setenv("SOFTGPU_EMPTY", "", 1);
    CHECK(softgpu_switch_number("NUMBER", 1) == 16);
    CHECK(softgpu_switch_number("MISSING", 7) == 7);
    CHECK(strcmp(softgpu_switch("EMPTY", "fallback"), "fallback") == 0);
    CHECK(softgpu_control("NUMBER", "3") == 0 && softgpu_switch_number("NUMBER", 1) == 3);
    CHECK(softgpu_control("NUMBER", NULL) == 0 && softgpu_switch_number("NUMBER", 1) == 16);
    CHECK(softgpu_control("FAIL", "second:2:-30") == 0);
    CHECK(!softgpu_fail_now("first", &code) && !softgpu_fail_now("second", &code));
    CHECK(softgpu_fail_now("second", &code) && code == -30 && !softgpu_fail_now("second", &code));
    CHECK(softgpu_control("FAIL", "*:2+") == 0);
    CHECK(!softgpu_fail_now("first", NULL) && softgpu_fail_now("second", NULL) &&
          softgpu_fail_now("first", NULL));
    CHECK(softgpu_control("FAIL", NULL) == 0 && !softgpu_fail_now("first", NULL));
    CHECK(softgpu_calls("first") == 4 && softgpu_calls("*") == 8);
    for (int i = 0; i < 4; ++i)
        CHECK(pthread_create(&threads[i], NULL, use_switches, NULL) == 0);
    for (int i = 0; i < 4; ++i)
        pthread_join(threads[i], NULL);
    CHECK(softgpu_live("thing") == 0 && softgpu_total("thing") == 2000 && softgpu_live("*") == 0);
}

static void test_uuids(void)
{
    uint8_t uuids[4][16];
    CHECK(softgpu_control("UUIDS", "000102030405060708090a0b0c0d0e0f,ff0102030405060708090a0b0c0d0e0f,12") ==
          0);
    CHECK(softgpu_vulkan_cpu_uuids(uuids, 4) == 2);
    CHECK(uuids[0][15] == 15 && uuids[1][0] == 0xff);
    CHECK(softgpu_vulkan_cpu_uuids(uuids, 1) == 1);
}

static void *signal_later(void *argument)
{
    const struct timespec time = {.tv_nsec = 20000000L};
    nanosleep(&time, NULL);
    softgpu_sync_file_signal(*(const int *)argument);
    return NULL;
}

static void test_sync_files(void)
{
    pthread_t thread;
    int pipes[2];
    const int file = softgpu_sync_file_create();
    CHECK(softgpu_offers_opaque_fd() && !softgpu_offers_sync_fd());
    CHECK(softgpu_control("SEMAPHORE_HANDLES", "sync_fd") == 0);
    CHECK(!softgpu_offers_opaque_fd() && softgpu_offers_sync_fd());
    CHECK(softgpu_control("SEMAPHORE_HANDLES", NULL) == 0);
    CHECK(pipe(pipes) == 0 && !softgpu_sync_file_known(pipes[0]) && !softgpu_sync_file_known(-1));
    CHECK(file >= 0 && softgpu_sync_file_known(file));
    CHECK(!softgpu_sync_file_ready(file) && !softgpu_sync_file_wait(file, 0.01));
    CHECK(pthread_create(&thread, NULL, signal_later, (void *)&file) == 0);
    CHECK(softgpu_sync_file_wait(file, 10.0) && softgpu_sync_file_wait(file, -1.0));
    pthread_join(thread, NULL);
    CHECK(softgpu_sync_file_ready(file) && softgpu_sync_file_ready(-1));
    close(file);
    close(pipes[0]);
    close(pipes[1]);
}

int main(void)
{
    test_sync_files();
    test_switches();
    test_foreign_files();
    test_memory_headers();
    test_two_mappings();
    test_bounds_of_a_wait();
    test_ping_pong();
    test_uuids();
    puts("all passed");
    return 0;
}
