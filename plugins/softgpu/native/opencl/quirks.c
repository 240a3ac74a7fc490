/* Behaviour of NVIDIA's driver (580) that can hurt a program, imitated on demand so that tests hold what
 * protects from it. Each switch is off by default; plugins/softgpu/README.md lists them. */
#include "layer.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    KNOWN_NUMBERS = 65536, /* fds below this are remembered */
    KEPT_DESCRIPTORS = 18, /* what the driver has open for a context */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned char semaphore_numbers[KNOWN_NUMBERS / 8];

static void sleep_ms(long milliseconds)
{
    const struct timespec time = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* -- CL_FD=nvidia: a memory fd whose number a semaphore import had before is never closed -- */

void note_semaphore_number(int fd)
{
    if (fd < 0 || fd >= KNOWN_NUMBERS)
        return;
    pthread_mutex_lock(&mutex);
    semaphore_numbers[fd / 8] |= (unsigned char)(1u << (fd % 8));
    pthread_mutex_unlock(&mutex);
}

bool stays_open_for_ever(int fd)
{
    if (fd < 0 || fd >= KNOWN_NUMBERS || !softgpu_switch_is("CL_FD", "nvidia", "consume"))
        return false;
    pthread_mutex_lock(&mutex);
    const bool known = (semaphore_numbers[fd / 8] >> (fd % 8) & 1) != 0;
    pthread_mutex_unlock(&mutex);
    return known;
}

/* -- CL_KINDS=unchecked: memory is taken for a semaphore -- */

bool taken_for_a_semaphore(int fd)
{
    struct softgpu_memory memory;
    if (!softgpu_switch_is("CL_KINDS", "unchecked", "checked") ||
        softgpu_memory_map(fd, 1, &memory) != SOFTGPU_PAYLOAD_OK)
        return false;
    softgpu_memory_unmap(&memory);
    return true;
}

/* -- The object that NVIDIA's driver returns beside the code 999: a real one, which keeps its context until
 * it is released. CL_REFUSAL=leak: and with it what the driver opened for that context -- */

static void CL_CALLBACK refused_deleted(cl_mem object, void *argument)
{
    (void)object;
    int *kept = argument;
    for (int i = 0; kept != NULL && i < KEPT_DESCRIPTORS; ++i)
        close(kept[i]);
    free(kept);
    softgpu_count("memory", -1);
}

cl_mem object_beside_refusal(cl_context context)
{
    cl_int error = CL_SUCCESS;
    cl_mem object = target.clCreateBuffer(context, CL_MEM_READ_WRITE, 1, NULL, &error);
    if (error != CL_SUCCESS)
        return NULL; /* only the imitation is lost */
    int *kept = NULL;
    if (softgpu_switch_is("CL_REFUSAL", "leak", "clean") &&
        (kept = malloc(KEPT_DESCRIPTORS * sizeof *kept)) != NULL)
        for (int i = 0; i < KEPT_DESCRIPTORS; ++i)
            kept[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
    softgpu_count("memory", 1);
    if (target.clSetMemObjectDestructorCallback(object, refused_deleted, kept) != CL_SUCCESS) {
        refused_deleted(object, kept);
        target.clReleaseMemObject(object);
        return NULL;
    }
    return object;
}

/* -- CL_USER_EVENTS=block: acquire and release of external memory return only when no command before them in
 * the queue waits for a user event any more -- */

struct waited_for {
    struct waited_for *next;
    cl_command_queue queue;
    cl_event event;
};
static struct waited_for *first_waited_for;

static bool is_unset(cl_event event)
{
    cl_int status = CL_COMPLETE;
    return target.clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL) ==
               CL_SUCCESS &&
           status > CL_COMPLETE;
}

/* Gives up those that were set. */
static void forget_set_events(void)
{
    struct waited_for *set = NULL;
    pthread_mutex_lock(&mutex);
    for (struct waited_for **at = &first_waited_for; *at != NULL;) {
        struct waited_for *entry = *at;
        if (is_unset(entry->event)) {
            at = &entry->next;
        } else {
            *at = entry->next;
            entry->next = set;
            set = entry;
        }
    }
    pthread_mutex_unlock(&mutex);
    for (struct waited_for *next; set != NULL; set = next) {
        next = set->next;
        target.clReleaseEvent(set->event);
        free(set);
    }
}

void note_user_events(cl_command_queue queue, cl_uint count, const cl_event *events)
{
    if (!softgpu_switch_is("CL_USER_EVENTS", "block", "pass"))
        return;
    forget_set_events();
    for (cl_uint i = 0; events != NULL && i < count; ++i) {
        cl_command_type type = 0;
        if (target.clGetEventInfo(events[i], CL_EVENT_COMMAND_TYPE, sizeof type, &type, NULL) != CL_SUCCESS ||
            type != CL_COMMAND_USER || !is_unset(events[i]))
            continue;
        struct waited_for *entry = malloc(sizeof *entry);
        if (entry == NULL)
            return; /* only the imitation is lost */
        target.clRetainEvent(events[i]);
        pthread_mutex_lock(&mutex);
        *entry = (struct waited_for){.next = first_waited_for, .queue = queue, .event = events[i]};
        first_waited_for = entry;
        pthread_mutex_unlock(&mutex);
    }
}

/* Takes one of the queue's events out of the list. */
static struct waited_for *take_waited_for(cl_command_queue queue)
{
    pthread_mutex_lock(&mutex);
    struct waited_for **at = &first_waited_for;
    while (*at != NULL && (*at)->queue != queue)
        at = &(*at)->next;
    struct waited_for *entry = *at;
    if (entry != NULL)
        *at = entry->next;
    pthread_mutex_unlock(&mutex);
    return entry;
}

void wait_for_user_events(cl_command_queue queue)
{
    for (struct waited_for *entry; (entry = take_waited_for(queue)) != NULL; free(entry)) {
        while (softgpu_switch_is("CL_USER_EVENTS", "block", "pass") && is_unset(entry->event))
            sleep_ms(1);
        target.clReleaseEvent(entry->event);
    }
}

/* -- CL_RELEASE_CONTEXT=hang: it never returns while an import is acquired -- */

struct acquired {
    struct acquired *next;
    cl_context context;
    cl_mem object;
};
static struct acquired *first_acquired;

void note_acquired(cl_context context, cl_mem object, bool acquired)
{
    pthread_mutex_lock(&mutex);
    struct acquired **at = &first_acquired;
    while (*at != NULL && ((*at)->context != context || (*at)->object != object))
        at = &(*at)->next;
    if (acquired && *at == NULL) {
        struct acquired *entry = malloc(sizeof *entry);
        if (entry != NULL) { /* else only the imitation is lost */
            *entry = (struct acquired){.next = first_acquired, .context = context, .object = object};
            first_acquired = entry;
        }
    } else if (!acquired && *at != NULL) {
        struct acquired *entry = *at;
        *at = entry->next;
        free(entry);
    }
    pthread_mutex_unlock(&mutex);
}

static bool holds_acquired(cl_context context)
{
    bool found = false;
    pthread_mutex_lock(&mutex);
    for (const struct acquired *at = first_acquired; at != NULL; at = at->next)
        found = found || at->context == context;
    pthread_mutex_unlock(&mutex);
    return found;
}

static void forget_context(cl_context context)
{
    pthread_mutex_lock(&mutex);
    for (struct acquired **at = &first_acquired; *at != NULL;) {
        struct acquired *entry = *at;
        if (entry->context == context) {
            *at = entry->next;
            free(entry);
        } else {
            at = &entry->next;
        }
    }
    pthread_mutex_unlock(&mutex);
}

void before_last_release(cl_context context)
{
    cl_uint references = 0;
    forget_set_events();
    if (target.clGetContextInfo(context, CL_CONTEXT_REFERENCE_COUNT, sizeof references, &references, NULL) !=
            CL_SUCCESS ||
        references != 1)
        return;
    while (softgpu_switch_is("CL_RELEASE_CONTEXT", "hang", "return") && holds_acquired(context))
        sleep_ms(10);
    forget_context(context);
}

/* -- CL_IMAGES=tiled: no image is in rows, and one that is said to be is read as if it were in tiles -- */

bool images_are_tiled(void)
{
    return softgpu_switch_is("CL_IMAGES", "tiled", "rows");
}

/* Returns a copy of an image's rows, without gaps, in which each texel is the one that tiles of 4 x 4 have in
 * its place; 0 where there is none. The caller frees it. */
void *rows_taken_for_tiles(const char *rows, size_t row_pitch, size_t texel, size_t width, size_t height)
{
    char *const taken = calloc(width * height, texel);
    const size_t across = (width + 3) / 4;
    for (size_t y = 0; taken != NULL && y < height; ++y)
        for (size_t x = 0; x < width; ++x) {
            const size_t at = (y / 4 * across + x / 4) * 16 + y % 4 * 4 + x % 4;
            if (at / width < height)
                memcpy(taken + (y * width + x) * texel, rows + at / width * row_pitch + at % width * texel,
                       texel);
        }
    return taken;
}

/* -- CL_LINE=ignored: #line has no effect -- */

/* True where a line of this text is a #line directive or, in its short form, "# 12". */
static bool is_line_directive(const char *text, const char *end)
{
    while (text < end && (*text == ' ' || *text == '\t'))
        ++text;
    if (text == end || *text != '#')
        return false;
    for (++text; text < end && (*text == ' ' || *text == '\t');)
        ++text;
    return (end - text > 4 && memcmp(text, "line", 4) == 0 && (text[4] == ' ' || text[4] == '\t')) ||
           (text < end && *text >= '0' && *text <= '9');
}

/* Blanks the directives out, so that every line keeps its place. */
void ignore_line_directives(char *text, size_t length)
{
    char *const end = text + length;
    for (char *line = text; line < end;) {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        if (stop == NULL)
            stop = end;
        if (is_line_directive(line, stop))
            memset(line, ' ', (size_t)(stop - line));
        line = stop + 1;
    }
}
