"""Faults in C, to prove that the sanitizers see those of libraries that Python loads."""

from __future__ import annotations

import ctypes

SOURCE = """
#include <pthread.h>
#include <stdlib.h>

static int counter;
static void *count(void *unused)
{
    for (int i = 0; i < 1000; i++)
        counter++;
    return unused;
}
void race(void)
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, count, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}
void overrun(void)
{
    volatile char *bytes = malloc(16);
    bytes[16] = 1;
    free((void *)bytes);
}
"""
OF = {"address": "overrun", "thread": "race"}


def commit(library: str, fault: str) -> None:
    """Call one of the functions above."""
    getattr(ctypes.CDLL(library), fault)()
