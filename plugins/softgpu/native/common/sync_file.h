/* Stand-ins for Linux sync files, the payload behind a SYNC_FD semaphore handle.
 *
 * A sync file is a descriptor that becomes readable when its signal has run, and stays so. Making one takes a
 * GPU driver or a debug device of the kernel; an event descriptor that is written once and never read behaves
 * alike. Sync files of the kernel are taken as well. Signalling and waiting may happen in different
 * processes. */
#ifndef SOFTGPU_SYNC_FILE_H
#define SOFTGPU_SYNC_FILE_H
#include <stdbool.h>

/* SEMAPHORE_HANDLES: which handle types the software drivers offer for binary semaphores. */
bool softgpu_offers_opaque_fd(void);
bool softgpu_offers_sync_fd(void);

int softgpu_sync_file_create(void);    /* unsignalled; -1 where there is no descriptor left */
bool softgpu_sync_file_known(int fd);  /* can it be waited for as one? */
void softgpu_sync_file_signal(int fd); /* one of softgpu_sync_file_create */
bool softgpu_sync_file_ready(int fd);  /* true for -1, which stands for a signal that has run */
/* False when the time is over; a negative timeout waits without end. */
bool softgpu_sync_file_wait(int fd, double timeout_s);
#endif
