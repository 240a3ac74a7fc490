/* Switches that make a software driver imitate the limits and faults of real ones.
 *
 * Each is an environment variable SOFTGPU_<KEY>, read at first use, or set at run time through the
 * exported softgpu_control(). docs: plugins/softgpu/README.md lists all of them.
 */
#ifndef SOFTGPU_SWITCHES_H
#define SOFTGPU_SWITCHES_H
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#define SOFTGPU_EXPORT __attribute__((visibility("default")))

/* Value of a switch or its default; the result stays valid until the next softgpu_control of that key. */
const char *softgpu_switch(const char *key, const char *fallback);
bool softgpu_switch_is(const char *key, const char *value, const char *fallback);
long softgpu_switch_number(const char *key, long fallback);

/* Fault injection, FAIL="function:n[:code]" ("*" counts every call): true when this call must fail.
 * *code is the code given, or left alone. Call it first in every API entry point. */
bool softgpu_fail_now(const char *function, int *code);

/* Live objects and totals, for leak tests. kind is a short name such as "memory", "mapping", "semaphore",
 * "stream", "event". */
void softgpu_count(const char *kind, int delta);

/* Exported from each software driver library (symbol names are the same in each). */
SOFTGPU_EXPORT int softgpu_control(const char *key, const char *value); /* value NULL: back to the default */
SOFTGPU_EXPORT long softgpu_live(const char *kind);      /* now alive; kind "*": all together */
SOFTGPU_EXPORT long softgpu_total(const char *kind);     /* ever created */
SOFTGPU_EXPORT long softgpu_calls(const char *function); /* API calls counted; "*": all */
#ifdef __cplusplus
}
#endif
#endif
