/* See switches.h. One set of switches and counters per driver library. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "switches.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Entries and texts live as long as the process: callers hold pointers to them without a lock. */
struct text {
    struct text *next;
    char value[];
};

struct setting {
    struct setting *next;
    const char *value; /* NULL: neither set nor in the environment */
    bool known;        /* value was looked up or set */
    char key[];
};

struct counter {
    struct counter *next;
    long live;
    long total;
    char name[];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct text *texts;
static struct setting *settings;
static struct counter *objects;
static struct counter *calls;
static long fail_seen; /* calls that matched FAIL since it was set */

static const char *keep(const char *value)
{
    for (struct text *text = texts; text != NULL; text = text->next)
        if (strcmp(text->value, value) == 0)
            return text->value;
    const size_t size = strlen(value) + 1;
    struct text *text = malloc(sizeof *text + size);
    if (text == NULL)
        return NULL;
    memcpy(text->value, value, size);
    text->next = texts;
    texts = text;
    return text->value;
}

static struct setting *setting_of(const char *key)
{
    for (struct setting *setting = settings; setting != NULL; setting = setting->next)
        if (strcmp(setting->key, key) == 0)
            return setting;
    const size_t size = strlen(key) + 1;
    struct setting *setting = malloc(sizeof *setting + size);
    if (setting == NULL)
        return NULL;
    memcpy(setting->key, key, size);
    setting->value = NULL;
    setting->known = false;
    setting->next = settings;
    settings = setting;
    return setting;
}

static struct counter *counter_of(struct counter **list, const char *name)
{
    for (struct counter *counter = *list; counter != NULL; counter = counter->next)
        if (strcmp(counter->name, name) == 0)
            return counter;
    const size_t size = strlen(name) + 1;
    struct counter *counter = malloc(sizeof *counter + size);
    if (counter == NULL)
        return NULL;
    memcpy(counter->name, name, size);
    counter->live = 0;
    counter->total = 0;
    counter->next = *list;
    *list = counter;
    return counter;
}

static const char *value_of(const char *key)
{
    struct setting *setting = setting_of(key);
    if (setting == NULL)
        return NULL;
    if (!setting->known) {
        char name[128];
        snprintf(name, sizeof name, "SOFTGPU_%s", key);
        const char *environment = getenv(name);
        /* An empty variable is an unset one, as shells have no better way to clear it for one command. */
        setting->value = environment != NULL && environment[0] != '\0' ? keep(environment) : NULL;
        setting->known = true;
    }
    return setting->value;
}

const char *softgpu_switch(const char *key, const char *fallback)
{
    pthread_mutex_lock(&mutex);
    const char *value = value_of(key);
    pthread_mutex_unlock(&mutex);
    return value != NULL ? value : fallback;
}

bool softgpu_switch_is(const char *key, const char *value, const char *fallback)
{
    const char *current = softgpu_switch(key, fallback);
    return current != NULL && value != NULL && strcmp(current, value) == 0;
}

long softgpu_switch_number(const char *key, long fallback)
{
    const char *value = softgpu_switch(key, NULL);
    if (value == NULL)
        return fallback;
    char *end = NULL;
    const long number = strtol(value, &end, 0);
    return end != value && *end == '\0' ? number : fallback;
}

static bool names(const char *pattern, size_t length, const char *function)
{
    if (length == 1 && pattern[0] == '*')
        return true;
    return strlen(function) == length && strncmp(pattern, function, length) == 0;
}

/* FAIL = function:n[+][:code]; "n+" means the n-th call and each after it. */
static bool fails(const char *rule, const char *function, int *code)
{
    const char *colon = strchr(rule, ':');
    if (colon == NULL || !names(rule, (size_t)(colon - rule), function))
        return false;
    char *end = NULL;
    const long nth = strtol(colon + 1, &end, 10);
    const bool onwards = *end == '+';
    if (onwards)
        end += 1;
    fail_seen += 1;
    if (fail_seen != nth && !(onwards && fail_seen > nth))
        return false;
    if (*end == ':' && code != NULL)
        *code = (int)strtol(end + 1, NULL, 10);
    return true;
}

bool softgpu_fail_now(const char *function, int *code)
{
    pthread_mutex_lock(&mutex);
    struct counter *counter = counter_of(&calls, function);
    if (counter != NULL)
        counter->total += 1;
    const char *rule = value_of("FAIL");
    const bool failing = rule != NULL && fails(rule, function, code);
    pthread_mutex_unlock(&mutex);
    return failing;
}

void softgpu_count(const char *kind, int delta)
{
    pthread_mutex_lock(&mutex);
    struct counter *counter = counter_of(&objects, kind);
    if (counter != NULL) {
        counter->live += delta;
        if (delta > 0)
            counter->total += delta;
    }
    pthread_mutex_unlock(&mutex);
}

int softgpu_control(const char *key, const char *value)
{
    if (key == NULL || key[0] == '\0')
        return -1;
    pthread_mutex_lock(&mutex);
    struct setting *setting = setting_of(key);
    const char *kept = value != NULL ? keep(value) : NULL;
    const bool done = setting != NULL && (value == NULL || kept != NULL);
    if (done) {
        setting->value = kept;
        setting->known = value != NULL; /* else the environment is read again */
        if (strcmp(key, "FAIL") == 0)
            fail_seen = 0;
    }
    pthread_mutex_unlock(&mutex);
    return done ? 0 : -1;
}

static long sum(struct counter *const *list, const char *name, bool live)
{
    long result = 0;
    pthread_mutex_lock(&mutex);
    for (const struct counter *counter = *list; counter != NULL; counter = counter->next)
        if (strcmp(name, "*") == 0 || strcmp(name, counter->name) == 0)
            result += live ? counter->live : counter->total;
    pthread_mutex_unlock(&mutex);
    return result;
}

long softgpu_live(const char *kind)
{
    return sum(&objects, kind, true);
}

long softgpu_total(const char *kind)
{
    return sum(&objects, kind, false);
}

long softgpu_calls(const char *function)
{
    return sum(&calls, function, false);
}
