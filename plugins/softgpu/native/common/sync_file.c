#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "sync_file.h"

#include "switches.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

bool softgpu_offers_opaque_fd(void)
{
    return !softgpu_switch_is("SEMAPHORE_HANDLES", "sync_fd", "opaque_fd");
}

bool softgpu_offers_sync_fd(void)
{
    return softgpu_switch_is("SEMAPHORE_HANDLES", "sync_fd", "opaque_fd") ||
           softgpu_switch_is("SEMAPHORE_HANDLES", "both", "opaque_fd");
}

int softgpu_sync_file_create(void)
{
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

bool softgpu_sync_file_known(int fd)
{
    char path[32];
    char target[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const ssize_t length = readlink(path, target, sizeof target - 1);
    if (fd < 0 || length < 0)
        return false;
    target[length] = '\0';
    return strcmp(target, "anon_inode:[eventfd]") == 0 || strcmp(target, "anon_inode:sync_file") == 0;
}

void softgpu_sync_file_signal(int fd)
{
    const uint64_t one = 1;
    ssize_t written = 0;
    do
        written = write(fd, &one, sizeof one);
    while (written < 0 && errno == EINTR);
}

bool softgpu_sync_file_ready(int fd)
{
    return fd < 0 || softgpu_sync_file_wait(fd, 0.0);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

bool softgpu_sync_file_wait(int fd, double timeout_s)
{
    const double deadline = now() + timeout_s;
    struct pollfd waited = {.fd = fd, .events = POLLIN};
    if (fd < 0)
        return true;
    for (;;) {
        double left = timeout_s < 0.0 ? -1.0 : deadline - now();
        if (timeout_s >= 0.0 && left < 0.0)
            left = 0.0;
        const int result = poll(&waited, 1, left < 0.0 ? -1 : (int)(left * 1e3));
        if (result > 0)
            return (waited.revents & POLLIN) != 0;
        if (result == 0 || errno != EINTR)
            return false;
    }
}
