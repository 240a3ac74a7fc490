/* A stand-in for libcuda.so.1 below the driver's binary interface, for machines
 * without an NVIDIA GPU.
 *
 * One device. Streams are threads, device memory is host memory, memory fds are
 * memfds, semaphore fds are memfds of 8 bytes that hold the payload. As the
 * real driver does, an import that succeeds closes the fd, and so does one that
 * is refused because of what the fd is. Stricter than the real one: every call
 * that needs a context fails with 201 unless the device's is current.
 * FAKE_CUDA_INIT is what cuInit answers. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef int R;
enum {
  INVALID = 1,
  UNKNOWN = 999,
  NO_CONTEXT = 201,
  BUSY = 600,
  NOT_FOUND = 500
};
typedef enum { WORD, CALL, MARK, AFTER, COPY, WAIT, SIGNAL, ADD } Kind;
typedef struct {
  atomic_int refs, pending;
} Event;
typedef struct {
  _Atomic uint64_t *word;
  int timeline;
} Semaphore;
typedef struct {
  void *at;
  size_t size;
} External;
typedef struct Op {
  struct Op *next;
  Kind kind;
  void *a, *b;
  uint64_t n, m;
  void (*call)(void *);
} Op;
typedef struct {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t more;
  Op *first, **last;
  int running, dead;
} Stream;

static char the_context;
static __thread void *current[16] = {0};
static __thread int depth;
static atomic_int live, retained;

int fake_live(void) { return live; } /* objects made and not given back */
int fake_retained(void) {
  return retained;
} /* holders of the primary context */
int fake_depth(void) { return depth; } /* contexts pushed in this thread */
void *fake_current(void) { return current[depth]; }

#define NEED_CONTEXT                                                           \
  if (current[depth] != &the_context || !retained)                             \
  return NO_CONTEXT

static void nap(void) { usleep(50); }

static void unref(Event *event) {
  if (atomic_fetch_sub(&event->refs, 1) == 1)
    free(event);
}

static void run(Op *op) {
  switch (op->kind) {
  case WORD:
    while ((int64_t)(*(_Atomic uint64_t *)op->a - op->n) < 0)
      nap();
    break;
  case CALL:
    op->call(op->a);
    break;
  case MARK:
    ((Event *)op->a)->pending--;
    unref(op->a);
    break;
  case AFTER:
    while (((Event *)op->a)->pending)
      nap();
    unref(op->a);
    break;
  case COPY:
    memcpy(op->a, op->b, op->n);
    break;
  case WAIT: {
    Semaphore *s = op->a;
    uint64_t one = 1;
    if (s->timeline)
      while (*s->word < op->n)
        nap();
    else
      while (!atomic_compare_exchange_strong(s->word, &one, 0)) {
        one = 1;
        nap();
      }
    break;
  }
  case SIGNAL:
    *((Semaphore *)op->a)->word = ((Semaphore *)op->a)->timeline ? op->n : 1;
    break;
  case ADD:
    for (uint64_t i = 0; i < op->n; i++)
      ((uint32_t *)op->a)[i] += (uint32_t)op->m;
    break;
  }
}

static void *work(void *argument) {
  Stream *s = argument;
  pthread_mutex_lock(&s->lock);
  for (;;) {
    while (!s->first && !s->dead)
      pthread_cond_wait(&s->more, &s->lock);
    if (!s->first)
      break;
    Op *op = s->first;
    s->running = 1;
    pthread_mutex_unlock(&s->lock);
    run(op);
    pthread_mutex_lock(&s->lock);
    s->first = op->next;
    if (!s->first)
      s->last = &s->first;
    s->running = 0;
    free(op);
  }
  pthread_mutex_unlock(&s->lock);
  free(s);
  return NULL;
}

static R put(void *stream, Op op) {
  NEED_CONTEXT;
  if ((uintptr_t)stream <=
      2) { /* the default streams have no other work here: done at once */
    run(&op);
    return 0;
  }
  Stream *s = stream;
  Op *copy = malloc(sizeof op);
  *copy = op;
  copy->next = NULL;
  pthread_mutex_lock(&s->lock);
  *s->last = copy;
  s->last = &copy->next;
  pthread_cond_signal(&s->more);
  pthread_mutex_unlock(&s->lock);
  return 0;
}

R cuInit(unsigned flags) {
  const char *answer = getenv("FAKE_CUDA_INIT");
  return flags ? INVALID : answer ? atoi(answer) : 0;
}
R cuDriverGetVersion(int *v) {
  *v = 13000;
  return 0;
}
R cuGetErrorName(R code, const char **s) {
  *s = code == 1     ? "CUDA_ERROR_INVALID_VALUE"
       : code == 34  ? "CUDA_ERROR_STUB_LIBRARY"
       : code == 100 ? "CUDA_ERROR_NO_DEVICE"
       : code == 201 ? "CUDA_ERROR_INVALID_CONTEXT"
       : code == 999 ? "CUDA_ERROR_UNKNOWN"
                     : NULL;
  return *s ? 0 : INVALID;
}
R cuGetErrorString(R code, const char **s) {
  *s = "text of the stand-in";
  return code < 0 ? INVALID : 0;
}
R cuDeviceGetCount(int *n) {
  *n = 1;
  return 0;
}
R cuDeviceGet(int *d, int i) {
  *d = 0;
  return i ? 101 : 0;
}
R cuDeviceGetName(char *s, int n, int d) {
  snprintf(s, n, "stand-in %d", d);
  return 0;
}
R cuDeviceGetUuid_v2(char *u, int d) {
  for (int i = 0; i < 16; i++)
    u[i] = 0x10 + i + d;
  return 0;
}
R cuDeviceGetPCIBusId(char *s, int n, int d) {
  snprintf(s, n, "0000:C1:%02d.0", d);
  return 0;
}
R cuDeviceTotalMem_v2(size_t *n, int d) {
  *n = (size_t)6 << 32;
  return d ? 101 : 0;
}
R cuDeviceGetAttribute(int *v, int what, int d) {
  const char *plain =
      getenv("FAKE_CUDA_PLAIN"); /* neither timelines nor wait-value */
  switch (what) {
  case 1:
    *v = 1024;
    return 0;
  case 75:
    *v = 9;
    return 0;
  case 76:
    *v = 0;
    return 0;
  case 114:
  case 122:
    *v = !plain;
    return 0;
  }
  return d ? 101 : INVALID;
}
R cuDevicePrimaryCtxRetain(void **c, int d) {
  *c = &the_context;
  retained++;
  return d ? 101 : 0;
}
R cuDevicePrimaryCtxRelease_v2(int d) {
  if (!retained)
    return NO_CONTEXT;
  retained--;
  return d ? 101 : 0;
}
R cuCtxSetCurrent(void *c) {
  current[depth] = c;
  return 0;
}
R cuCtxPushCurrent_v2(void *c) {
  current[++depth] = c;
  return 0;
}
R cuCtxPopCurrent_v2(void **c) {
  if (!depth)
    return NO_CONTEXT;
  *c = current[depth--];
  return 0;
}

R cuStreamCreate(void **out, unsigned flags) {
  NEED_CONTEXT;
  if (flags != 1)
    return INVALID;
  Stream *s = calloc(1, sizeof *s);
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->more, NULL);
  s->last = &s->first;
  pthread_create(&s->thread, NULL, work, s);
  pthread_detach(s->thread);
  live++;
  *out = s;
  return 0;
}
R cuStreamDestroy_v2(void *stream) {
  NEED_CONTEXT;
  Stream *s = stream;
  pthread_mutex_lock(&s->lock);
  s->dead = 1;
  pthread_cond_signal(&s->more);
  pthread_mutex_unlock(&s->lock);
  live--;
  return 0;
}
R cuStreamQuery(void *stream) {
  NEED_CONTEXT;
  Stream *s = stream;
  pthread_mutex_lock(&s->lock);
  R code = s->first ? BUSY : 0;
  pthread_mutex_unlock(&s->lock);
  return code;
}
R cuStreamWaitValue64_v2(void *s, uint64_t at, uint64_t value, unsigned flags) {
  return flags ? INVALID
               : put(s, (Op){.kind = WORD, .a = (void *)at, .n = value});
}
R cuEventCreate(void **out, unsigned flags) {
  NEED_CONTEXT;
  if (flags != 2)
    return INVALID;
  Event *e = calloc(1, sizeof *e);
  e->refs = 1;
  live++;
  *out = e;
  return 0;
}
R cuEventDestroy_v2(void *e) {
  NEED_CONTEXT;
  unref(e);
  live--;
  return 0;
}
R cuEventRecord(void *event, void *s) {
  Event *e = event;
  e->refs++;
  e->pending++;
  return put(s, (Op){.kind = MARK, .a = e});
}
R cuEventQuery(void *e) { return ((Event *)e)->pending ? BUSY : 0; }
R cuStreamWaitEvent(void *s, void *event, unsigned flags) {
  ((Event *)event)->refs++;
  return flags ? INVALID : put(s, (Op){.kind = AFTER, .a = event});
}
R cuLaunchHostFunc(void *s, void (*call)(void *), void *user) {
  return put(s, (Op){.kind = CALL, .call = call, .a = user});
}
R cuMemAlloc_v2(uint64_t *p, size_t n) {
  NEED_CONTEXT;
  if (n > (size_t)1 << 40)
    return 2;
  *p = (uint64_t)calloc(1, n);
  live++;
  return 0;
}
R cuMemHostAlloc(void **p, size_t n, unsigned flags) {
  NEED_CONTEXT;
  *p = malloc(n);
  live++;
  return flags != 3;
}
R cuMemHostGetDevicePointer_v2(uint64_t *d, void *p, unsigned flags) {
  *d = (uint64_t)p;
  return flags != 0;
}
R cuMemFreeHost(void *p) {
  NEED_CONTEXT;
  free(p);
  live--;
  return 0;
}
static struct {
  uint64_t at;
  size_t size;
} maps[256];
R cuMemFree_v2(uint64_t p) {
  NEED_CONTEXT;
  live--;
  for (int i = 0; i < 256; i++)
    if (maps[i].at == p) {
      munmap((void *)p, maps[i].size);
      maps[i].at = 0;
      return 0;
    }
  free((void *)p);
  return 0;
}
R cuMemcpyHtoDAsync_v2(uint64_t d, void *h, size_t n, void *s) {
  return put(s, (Op){.kind = COPY, .a = (void *)d, .b = h, .n = n});
}
R cuMemcpyDtoHAsync_v2(void *h, uint64_t d, size_t n, void *s) {
  return put(s, (Op){.kind = COPY, .a = h, .b = (void *)d, .n = n});
}

static void *take(int fd, size_t size, size_t least, size_t most) {
  struct stat st;
  void *at = MAP_FAILED;
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
      (size_t)st.st_size >= least && (size_t)st.st_size <= most)
    at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  return at;
}
R cuImportExternalMemory(void **out, const char *d) {
  NEED_CONTEXT;
  size_t size = *(size_t *)(d + 24);
  if (*(int *)d != 1 || !size || *(unsigned *)(d + 32) > 1)
    return INVALID;
  void *at = take(*(int *)(d + 8), size, 4096,
                  SIZE_MAX); /* like CUDA: the size is not compared */
  if (at == MAP_FAILED)
    return UNKNOWN;
  External *e = malloc(sizeof *e);
  *e = (External){at, size};
  live++;
  *out = e;
  return 0;
}
R cuExternalMemoryGetMappedBuffer(uint64_t *p, void *memory,
                                  const uint64_t *d) {
  NEED_CONTEXT;
  External *e = memory;
  if (getenv("FAKE_CUDA_NO_MAP"))
    return 2;
  if (d[0] || d[1] != e->size || *(unsigned *)(d + 2))
    return INVALID;
  *p = (uint64_t)e->at;
  for (int i = 0; i < 256; i++)
    if (!maps[i].at) {
      maps[i].at = *p;
      maps[i].size = e->size;
      break;
    }
  live++;
  return 0;
}
R cuDestroyExternalMemory(void *e) {
  NEED_CONTEXT;
  free(e);
  live--;
  return 0;
}

R cuImportExternalSemaphore(void **out, const char *d) {
  NEED_CONTEXT;
  int type = *(int *)d;
  if ((type != 1 && type != 9) || *(unsigned *)(d + 24))
    return INVALID;
  void *at = take(*(int *)(d + 8), 8, 8, 8);
  if (at == MAP_FAILED)
    return UNKNOWN;
  Semaphore *s = malloc(sizeof *s);
  *s = (Semaphore){at, type == 9};
  live++;
  *out = s;
  return 0;
}
R cuDestroyExternalSemaphore(void *s) {
  NEED_CONTEXT;
  munmap((void *)((Semaphore *)s)->word, 8);
  free(s);
  live--;
  return 0;
}
static R semaphores(Kind kind, void **s, const char *params, unsigned n,
                    void *stream) {
  if (n != 1 || *(unsigned *)(params + 72))
    return INVALID;
  return put(stream, (Op){.kind = kind, .a = s[0], .n = *(uint64_t *)params});
}
R cuSignalExternalSemaphoresAsync(void **s, const char *p, unsigned n,
                                  void *stream) {
  return semaphores(SIGNAL, s, p, n, stream);
}
R cuWaitExternalSemaphoresAsync(void **s, const char *p, unsigned n,
                                void *stream) {
  return semaphores(WAIT, s, p, n, stream);
}

/* One kernel runs here: add(uint *data, uint amount, uint count), from any
 * image that names it. */
R cuModuleLoadData(void **m, const void *image) {
  NEED_CONTEXT;
  if (memcmp(image, "\177ELF", 4))
    return 200;
  *m = malloc(1);
  live++;
  return 0;
}
R cuModuleUnload(void *m) {
  NEED_CONTEXT;
  free(m);
  live--;
  return 0;
}
R cuModuleGetFunction(void **f, void *m, const char *name) {
  NEED_CONTEXT;
  *f = m;
  return strcmp(name, "add") ? NOT_FOUND : 0;
}
R cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                 unsigned by, unsigned bz, unsigned shared, void *stream,
                 void **params, void **extra) {
  if (!f || shared || extra || gy * gz * by * bz != 1)
    return INVALID;
  uint32_t count = *(uint32_t *)params[2], items = gx * bx;
  return put(stream, (Op){.kind = ADD,
                          .a = *(void **)params[0],
                          .m = *(uint32_t *)params[1],
                          .n = count < items ? count : items});
}

/* NVRTC looks for private tables of the driver, and does without where there
 * are none. */
R cuGetExportTable(const void **table, const void *id) {
  *table = NULL;
  return id ? NOT_FOUND : INVALID;
}

R cuGetProcAddress_v2(const char *name, void **f, int version, uint64_t flags,
                      int *status) {
  char versioned[128];
  snprintf(versioned, sizeof versioned, "%s_v2", name);
  *f = dlsym(RTLD_DEFAULT, versioned);
  if (!*f)
    *f = dlsym(RTLD_DEFAULT, name);
  if (status)
    *status = *f ? 0 : 1;
  return *f || version < 0 || flags > 3 ? 0 : NOT_FOUND;
}
