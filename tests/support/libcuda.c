/* A stand-in for libcuda.so.1 below the driver's binary interface, for machines
 * without an NVIDIA GPU: the CUDA backend and the HIP runtime's CUDA layer are
 * tested over it.
 *
 * One device. Streams are threads, with the order that the legacy default
 * stream demands; device memory is host memory, arrays have their texels row by
 * row. Memory fds are files of 4096 bytes and more, semaphore fds are files of
 * 8 bytes that hold the payload. As the real driver does, an import that
 * succeeds closes the fd, and so does one that is refused because of what the
 * fd is. Stricter than the real one: every call that needs a context fails with
 * 201 unless the device's is current. FAKE_CUDA_INIT is what cuInit answers. */
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
#include <time.h>
#include <unistd.h>

typedef int R;
enum {
  INVALID = 1,
  UNKNOWN = 999,
  NO_CONTEXT = 201,
  BUSY = 600,
  NOT_FOUND = 500
};
typedef enum {
  WORD,
  STORE,
  CALL,
  MARK,
  AFTER,
  COPY,
  FILL,
  GIVE_BACK,
  WAIT,
  SIGNAL,
  ADD
} Kind;
typedef struct {
  atomic_int refs;
  atomic_long recorded, reached; /* numbers of records */
  double time;
} Event;
typedef struct {
  _Atomic uint64_t *word;
  int timeline;
} Semaphore;
typedef struct {
  void *at;
  size_t size;
} External;
typedef struct {
  char *at;
  size_t texel, width, height, depth;
} Array;
typedef struct Stream Stream;
typedef struct {
  Stream *stream;
  uint64_t ticket;
} Mark;
/* A box: bytes in a row, rows, planes; both sides' distances in bytes. */
typedef struct {
  char *to, *from;
  size_t width, height, depth;
  size_t to_row, to_plane, from_row, from_plane;
} Box;
typedef struct Op {
  struct Op *next;
  Kind kind;
  void *a;
  uint64_t n, m;
  unsigned bytes, compare;
  Box box;
  void (*call)(void *);
  Mark *after; /* other streams' work that must be done before */
  int waits;
} Op;
struct Stream {
  Stream *next;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t more;
  Op *first, **last;
  _Atomic uint64_t submitted, completed;
  int blocking, dead; /* blocking: ordered with the legacy default stream */
};

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

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void give_back(void *p);

static int met(const Op *op) {
  uint64_t word =
      op->bytes == 4 ? *(_Atomic uint32_t *)op->a : *(_Atomic uint64_t *)op->a;
  uint64_t all = op->bytes == 4 ? UINT32_MAX : UINT64_MAX;
  switch (op->compare) {
  case 0: /* cyclic */
    return op->bytes == 4 ? (int32_t)((uint32_t)word - (uint32_t)op->n) >= 0
                          : (int64_t)(word - op->n) >= 0;
  case 1:
    return word == op->n;
  case 2:
    return (word & op->n) != 0;
  default:
    return (~(word | op->n) & all) != 0;
  }
}

static void copy_box(const Box *b) {
  for (size_t z = 0; z < b->depth; z++)
    for (size_t y = 0; y < b->height; y++)
      memmove(b->to + z * b->to_plane + y * b->to_row,
              b->from + z * b->from_plane + y * b->from_row, b->width);
}

static void fill_box(const Op *op) {
  const Box *b = &op->box;
  for (size_t y = 0; y < b->height; y++)
    for (size_t x = 0; x < b->width; x += op->bytes)
      memcpy(b->to + y * b->to_row + x, &op->n, op->bytes);
}

static void run(Op *op) {
  switch (op->kind) {
  case WORD:
    while (!met(op))
      nap();
    break;
  case STORE:
    if (op->bytes == 4)
      *(_Atomic uint32_t *)op->a = (uint32_t)op->n;
    else
      *(_Atomic uint64_t *)op->a = op->n;
    break;
  case CALL:
    op->call(op->a);
    break;
  case MARK: {
    Event *e = op->a;
    e->time = now();
    e->reached = (long)op->n;
    unref(e);
    break;
  }
  case AFTER:
    while (((Event *)op->a)->reached < (long)op->n)
      nap();
    unref(op->a);
    break;
  case COPY:
    copy_box(&op->box);
    break;
  case FILL:
    fill_box(op);
    break;
  case GIVE_BACK:
    give_back(op->a);
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
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < op->waits; i++)
      while (op->after[i].stream->completed < op->after[i].ticket)
        nap();
    run(op);
    pthread_mutex_lock(&s->lock);
    s->first = op->next;
    if (!s->first)
      s->last = &s->first;
    s->completed++;
    free(op->after);
    free(op);
  }
  pthread_mutex_unlock(&s->lock);
  return NULL;
}

/* Every stream there was, the newest first: others may still wait for the work
 * of one that is gone. The order in which work is given is theirs too. */
static Stream *streams, *legacy, *per_thread;
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

static Stream *start(int blocking) {
  Stream *s = calloc(1, sizeof *s);
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->more, NULL);
  s->last = &s->first;
  s->blocking = blocking;
  s->next = streams;
  streams = s;
  pthread_create(&s->thread, NULL, work, s);
  pthread_detach(s->thread);
  return s;
}

/* With the order locked. */
static Stream *stream_of(void *handle) {
  if ((uintptr_t)handle > 2)
    return handle;
  Stream **s = (uintptr_t)handle == 2 ? &per_thread : &legacy;
  if (!*s)
    *s = start(1);
  return *s;
}

static int busy(const Stream *s) { return s->completed < s->submitted; }

/* What the stream's next work must wait for. */
static void add_marks(Stream *s, Op *op) {
  if (!s->blocking)
    return;
  int count = 0;
  for (Stream *other = streams; other; other = other->next)
    count++;
  op->after = malloc((size_t)count * sizeof *op->after);
  for (Stream *other = streams; other; other = other->next)
    if (other != s && other->blocking && busy(other) &&
        (s == legacy || other == legacy))
      op->after[op->waits++] = (Mark){other, other->submitted};
}

static R put(void *handle, Op op) {
  NEED_CONTEXT;
  Op *copy = malloc(sizeof op);
  *copy = op;
  copy->next = NULL;
  pthread_mutex_lock(&order);
  Stream *s = stream_of(handle);
  add_marks(s, copy);
  pthread_mutex_lock(&s->lock);
  *s->last = copy;
  s->last = &copy->next;
  s->submitted++;
  pthread_cond_signal(&s->more);
  pthread_mutex_unlock(&s->lock);
  pthread_mutex_unlock(&order);
  return 0;
}

/* Whether a stream has work, for the legacy one also the blocking streams'; or
 * any stream at all, for every == 1. Waits for what it had when told to. */
static int pending(void *handle, int every, int wait) {
  pthread_mutex_lock(&order);
  Stream *s = every ? NULL : stream_of(handle);
  int count = 0, found = 0;
  for (Stream *other = streams; other; other = other->next)
    count++;
  Mark *marks = malloc((size_t)(count + 1) * sizeof *marks);
  for (Stream *other = streams; other; other = other->next)
    if ((every || other == s || (s == legacy && other->blocking)) &&
        busy(other))
      marks[found++] = (Mark){other, other->submitted};
  pthread_mutex_unlock(&order);
  for (int i = 0; wait && i < found; i++)
    while (marks[i].stream->completed < marks[i].ticket)
      nap();
  free(marks);
  return found != 0;
}
/* Without a context, for tests. */
void fake_synchronize(void *stream) { pending(stream, 0, 1); }

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
  case 2:
  case 3:
    *v = 1024;
    return 0;
  case 4:
    *v = 64;
    return 0;
  case 10:
    *v = 32;
    return 0;
  case 33:
    *v = 0xc1;
    return 0;
  case 34:
  case 50:
    *v = 0;
    return 0;
  case 41:
  case 91:
  case 99: /* host memory can be pinned */
    *v = 1;
    return 0;
  case 97:
    *v = 227 * 1024;
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
R cuCtxGetCurrent(void **c) {
  *c = current[depth];
  return 0;
}
R cuCtxGetDevice(int *d) {
  NEED_CONTEXT;
  *d = 0;
  return 0;
}
R cuCtxSynchronize(void) {
  NEED_CONTEXT;
  pending(NULL, 1, 1);
  return 0;
}
R cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  NEED_CONTEXT;
  *least = 0;
  *greatest = -5;
  return 0;
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

R cuStreamCreateWithPriority(void **out, unsigned flags, int priority) {
  NEED_CONTEXT;
  if (flags > 1 || priority > 0 || priority < -5)
    return INVALID;
  pthread_mutex_lock(&order);
  *out = start(!flags);
  pthread_mutex_unlock(&order);
  live++;
  return 0;
}
R cuStreamCreate(void **out, unsigned flags) {
  return cuStreamCreateWithPriority(out, flags, 0);
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
  return pending(stream, 0, 0) ? BUSY : 0;
}
R cuStreamSynchronize(void *stream) {
  NEED_CONTEXT;
  pending(stream, 0, 1);
  return 0;
}
static R word(Kind kind, unsigned bytes, void *s, uint64_t at, uint64_t value,
              unsigned flags) {
  if (!at || at % bytes || flags > (kind == WORD ? 3 : 0))
    return INVALID;
  return put(s, (Op){.kind = kind,
                     .a = (void *)at,
                     .n = value,
                     .bytes = bytes,
                     .compare = flags});
}
R cuStreamWaitValue32_v2(void *s, uint64_t at, uint32_t value, unsigned flags) {
  return word(WORD, 4, s, at, value, flags);
}
R cuStreamWaitValue64_v2(void *s, uint64_t at, uint64_t value, unsigned flags) {
  return word(WORD, 8, s, at, value, flags);
}
R cuStreamWriteValue32_v2(void *s, uint64_t at, uint32_t value,
                          unsigned flags) {
  return word(STORE, 4, s, at, value, flags);
}
R cuStreamWriteValue64_v2(void *s, uint64_t at, uint64_t value,
                          unsigned flags) {
  return word(STORE, 8, s, at, value, flags);
}
R cuEventCreate(void **out, unsigned flags) {
  NEED_CONTEXT;
  if (flags & ~3u)
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
  NEED_CONTEXT;
  Event *e = event;
  e->refs++;
  return put(s, (Op){.kind = MARK, .a = e, .n = (uint64_t)++e->recorded});
}
R cuEventQuery(void *event) {
  Event *e = event;
  return e->reached < e->recorded ? BUSY : 0;
}
R cuEventSynchronize(void *event) {
  NEED_CONTEXT;
  Event *e = event;
  long wanted = e->recorded;
  while (e->reached < wanted)
    nap();
  return 0;
}
R cuEventElapsedTime(float *ms, void *start, void *end) {
  if (cuEventQuery(start) || cuEventQuery(end))
    return BUSY;
  *ms = (float)(((Event *)end)->time - ((Event *)start)->time);
  return 0;
}
R cuStreamWaitEvent(void *s, void *event, unsigned flags) {
  NEED_CONTEXT;
  Event *e = event;
  if (flags)
    return INVALID;
  e->refs++;
  return put(s, (Op){.kind = AFTER, .a = e, .n = (uint64_t)e->recorded});
}
R cuLaunchHostFunc(void *s, void (*call)(void *), void *user) {
  return put(s, (Op){.kind = CALL, .call = call, .a = user});
}
R cuMemAlloc_v2(uint64_t *p, size_t n) {
  NEED_CONTEXT;
  if (n > (size_t)1 << 40)
    return 2;
  *p = (uint64_t)aligned_alloc(256, (n + 255) / 256 * 256);
  live++;
  return 0;
}
R cuMemHostAlloc(void **p, size_t n, unsigned flags) {
  NEED_CONTEXT;
  *p = aligned_alloc(4096, (n + 4095) / 4096 * 4096);
  live++;
  return (flags & 3) != 3;
}
R cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
  NEED_CONTEXT;
  *total = (size_t)6 << 32;
  *free_bytes = *total / 2;
  return 0;
}
R cuMemHostRegister_v2(void *p, size_t n, unsigned flags) {
  NEED_CONTEXT;
  live++;
  return !p || !n || flags > 15;
}
R cuMemHostUnregister(void *p) {
  NEED_CONTEXT;
  live--;
  return !p;
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
  void *at; /* what the caller has */
  void *whole;
  size_t size;
} maps[256];
static pthread_mutex_t mapping = PTHREAD_MUTEX_INITIALIZER;
static void give_back(void *p) {
  pthread_mutex_lock(&mapping);
  live--;
  for (int i = 0; i < 256; i++)
    if (maps[i].at == p) {
      munmap(maps[i].whole, maps[i].size);
      maps[i].at = NULL;
      p = NULL;
      break;
    }
  pthread_mutex_unlock(&mapping);
  free(p);
}
R cuMemFree_v2(uint64_t p) {
  NEED_CONTEXT;
  give_back((void *)p);
  return 0;
}
R cuMemFreeAsync(uint64_t p, void *s) {
  return put(s, (Op){.kind = GIVE_BACK, .a = (void *)p});
}
static Box row(uint64_t to, uint64_t from, size_t n) {
  return (Box){.to = (char *)to,
               .from = (char *)from,
               .width = n,
               .height = 1,
               .depth = 1};
}
R cuMemcpyAsync(uint64_t d, uint64_t h, size_t n, void *s) {
  return put(s, (Op){.kind = COPY, .box = row(d, h, n)});
}
R cuMemcpyHtoDAsync_v2(uint64_t d, void *h, size_t n, void *s) {
  return cuMemcpyAsync(d, (uint64_t)h, n, s);
}
R cuMemcpyDtoHAsync_v2(void *h, uint64_t d, size_t n, void *s) {
  return cuMemcpyAsync((uint64_t)h, d, n, s);
}
/* CUDA_MEMCPY2D and CUDA_MEMCPY3D as cuda.h has them. */
typedef struct {
  size_t x, y;
  int type;
  const void *host;
  uint64_t device;
  Array *array;
  size_t pitch;
} Side2;
typedef struct {
  Side2 from, to;
  size_t width, height;
} Copy2;
typedef struct {
  size_t x, y, z, level;
  int type;
  const void *host;
  uint64_t device;
  Array *array;
  void *reserved;
  size_t pitch, rows;
} Side3;
typedef struct {
  Side3 from, to;
  size_t width, height, depth;
} Copy3;
_Static_assert(sizeof(Copy2) == 128 && sizeof(Copy3) == 200, "cuda.h");
R cuMemcpy2DAsync_v2(const Copy2 *c, void *s) {
  if (c->from.type != 4 || c->to.type != 4 || c->from.pitch < c->width ||
      c->to.pitch < c->width)
    return INVALID;
  Box b = row(c->to.device, c->from.device, c->width);
  b.to += c->to.y * c->to.pitch + c->to.x;
  b.from += c->from.y * c->from.pitch + c->from.x;
  b.height = c->height;
  b.to_row = c->to.pitch;
  b.from_row = c->from.pitch;
  return put(s, (Op){.kind = COPY, .box = b});
}
/* Where a side begins, and its distances; 0: not inside the array. */
static int place(const Side3 *side, const Copy3 *c, char **at, size_t *row_size,
                 size_t *plane) {
  const Array *a = side->array;
  const void *memory = side->type == 1 ? side->host : (void *)side->device;
  if (a ? side->type != 3 : side->type != 1 && side->type != 2 && side->type != 4)
    return 0;
  size_t rows = a ? a->height : side->rows;
  *row_size = a ? a->width * a->texel : side->pitch;
  *plane = rows * *row_size;
  *at = (a ? a->at : (char *)memory) + side->z * *plane +
        side->y * *row_size + side->x;
  if (!a)
    return c->height == 1 || *row_size >= c->width;
  return side->x + c->width <= *row_size && side->y + c->height <= a->height &&
         side->z + c->depth <= a->depth;
}
R cuMemcpy3DAsync_v2(const Copy3 *c, void *s) {
  Box b = {.width = c->width, .height = c->height, .depth = c->depth};
  if (!place(&c->to, c, &b.to, &b.to_row, &b.to_plane) ||
      !place(&c->from, c, &b.from, &b.from_row, &b.from_plane))
    return INVALID;
  return put(s, (Op){.kind = COPY, .box = b});
}
static R fill(uint64_t d, size_t pitch, uint64_t value, unsigned bytes,
              size_t n, size_t rows, void *s) {
  if (d % bytes)
    return INVALID;
  Box b = row(d, 0, n * bytes);
  b.height = rows;
  b.to_row = pitch;
  return put(s, (Op){.kind = FILL, .box = b, .n = value, .bytes = bytes});
}
R cuMemsetD8Async(uint64_t d, unsigned char value, size_t n, void *s) {
  return fill(d, 0, value, 1, n, 1, s);
}
R cuMemsetD16Async(uint64_t d, unsigned short value, size_t n, void *s) {
  return fill(d, 0, value, 2, n, 1, s);
}
R cuMemsetD32Async(uint64_t d, unsigned value, size_t n, void *s) {
  return fill(d, 0, value, 4, n, 1, s);
}
R cuMemsetD2D8Async(uint64_t d, size_t pitch, unsigned char value, size_t n,
                    size_t rows, void *s) {
  return pitch < n ? INVALID : fill(d, pitch, value, 1, n, rows, s);
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
/* Another mapping of an import's pages. */
static void *map_again(const External *e) {
  void *at = mremap(e->at, 0, e->size, MREMAP_MAYMOVE);
  return at == MAP_FAILED ? NULL : at;
}
R cuExternalMemoryGetMappedBuffer(uint64_t *p, void *memory,
                                  const uint64_t *d) {
  NEED_CONTEXT;
  External *e = memory;
  void *whole;
  if (getenv("FAKE_CUDA_NO_MAP"))
    return 2;
  if (!d[1] || d[0] > e->size || d[1] > e->size - d[0] || *(unsigned *)(d + 2))
    return INVALID;
  if (!(whole = map_again(e)))
    return 2;
  *p = (uint64_t)whole + d[0];
  pthread_mutex_lock(&mapping);
  for (int i = 0; i < 256; i++)
    if (!maps[i].at) {
      maps[i].at = (void *)*p;
      maps[i].whole = whole;
      maps[i].size = e->size;
      break;
    }
  pthread_mutex_unlock(&mapping);
  live++;
  return 0;
}
R cuDestroyExternalMemory(void *memory) {
  NEED_CONTEXT;
  External *e = memory;
  munmap(e->at, e->size);
  free(e);
  live--;
  return 0;
}

/* CUDA_EXTERNAL_MEMORY_MIPMAPPED_ARRAY_DESC. Levels lie one after another, each with all its layers.
 * FAKE_CUDA_MAP_ARRAY is what the mapping answers instead. */
typedef struct {
  uint64_t offset;
  size_t width, height, depth;
  int format;
  unsigned channels, flags, padding, levels, reserved[16];
} Mipmaps;
_Static_assert(sizeof(Mipmaps) == 120, "cuda.h");
typedef struct {
  Array levels[16];
  unsigned count;
  void *whole;
  size_t size;
} Mipmapped;
static size_t half(size_t length) { return length > 1 ? length / 2 : 1; }
R cuExternalMemoryGetMappedMipmappedArray(void **out, void *memory,
                                          const Mipmaps *d) {
  NEED_CONTEXT;
  External *e = memory;
  size_t channel = d->format == 1 || d->format == 8                       ? 1
                   : d->format == 2 || d->format == 9 || d->format == 16  ? 2
                   : d->format == 3 || d->format == 10 || d->format == 32 ? 4
                                                                          : 0;
  Array a = {NULL, channel * d->channels, d->width, d->height ? d->height : 1,
             d->depth ? d->depth : 1};
  Mipmapped made = {.count = d->levels, .size = e->size};
  size_t end = d->offset;
  if (getenv("FAKE_CUDA_MAP_ARRAY"))
    return atoi(getenv("FAKE_CUDA_MAP_ARRAY"));
  if (!d->levels || d->levels > 16 || !a.texel || !a.width || d->channels == 3)
    return INVALID;
  for (unsigned i = 0; i < d->levels; i++) {
    made.levels[i] = a;
    made.levels[i].at = (char *)end; /* as yet from the start of the memory */
    end += a.texel * a.width * a.height * a.depth;
    a.width = half(a.width);
    a.height = half(a.height);
    a.depth = d->flags & 1 ? a.depth : half(a.depth); /* 1: layers */
  }
  if (end > e->size)
    return INVALID;
  Mipmapped *m = malloc(sizeof *m);
  *m = made;
  m->whole = map_again(e);
  for (unsigned i = 0; i < m->count; i++)
    m->levels[i].at = (char *)m->whole + (size_t)m->levels[i].at;
  live++;
  *out = m;
  return 0;
}
R cuMipmappedArrayGetLevel(void **out, void *mipmapped, unsigned level) {
  NEED_CONTEXT;
  Mipmapped *m = mipmapped;
  if (level >= m->count)
    return INVALID;
  *out = &m->levels[level];
  return 0;
}
R cuMipmappedArrayDestroy(void *mipmapped) {
  NEED_CONTEXT;
  munmap(((Mipmapped *)mipmapped)->whole, ((Mipmapped *)mipmapped)->size);
  free(mipmapped);
  live--;
  return 0;
}
R cuSurfObjectCreate(uint64_t *out, const char *d) {
  NEED_CONTEXT;
  static atomic_int next = 1;
  if (*(int *)d || !*(void **)(d + 8) || *(unsigned *)(d + 136))
    return INVALID;
  *out = (uint64_t)next++;
  live++;
  return 0;
}
R cuSurfObjectDestroy(uint64_t surface) {
  NEED_CONTEXT;
  live--;
  return !surface;
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
R cuModuleGetGlobal_v2(uint64_t *p, size_t *n, void *m, const char *name) {
  NEED_CONTEXT;
  *p = 0;
  *n = 0;
  return m && name ? NOT_FOUND : INVALID;
}
R cuFuncGetAttribute(int *v, int what, void *f) {
  *v = 1024;
  return what || !f ? INVALID : 0;
}
R cuFuncSetAttribute(void *f, int what, int v) {
  return what != 8 || !f || v > 227 * 1024 ? INVALID : 0;
}
R cuFuncGetParamInfo(void *f, size_t index, size_t *offset, size_t *size) {
  static const size_t places[3][2] = {{0, 8}, {8, 4}, {12, 4}};
  if (!f || index > 2)
    return INVALID;
  *offset = places[index][0];
  *size = places[index][1];
  return 0;
}
R cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                 unsigned by, unsigned bz, unsigned shared, void *stream,
                 void **params, void **extra) {
  void *packed[3];
  if (!f || shared || gy * gz * by * bz != 1 || !params == !extra)
    return INVALID;
  if (extra) {
    if ((uintptr_t)extra[0] != 1 || (uintptr_t)extra[2] != 2 || extra[4] ||
        *(size_t *)extra[3] != 16)
      return INVALID;
    for (int i = 0; i < 3; i++)
      packed[i] = (char *)extra[1] + (int[]){0, 8, 12}[i];
    params = packed;
  }
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
