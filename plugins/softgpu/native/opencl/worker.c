#include "layer.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct job {
    struct job *next;
    job_function function;
    void *argument;
};

struct worker {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct job *first;
    struct job **last;
    bool stopping;
    bool detached; /* nobody joins: the thread frees the worker */
};

static void destroy(struct worker *worker)
{
    pthread_cond_destroy(&worker->changed);
    pthread_mutex_destroy(&worker->mutex);
    free(worker);
}

static void *run(void *argument)
{
    struct worker *worker = argument;
    pthread_mutex_lock(&worker->mutex);
    for (;;) {
        while (worker->first == NULL && !worker->stopping)
            pthread_cond_wait(&worker->changed, &worker->mutex);
        if (worker->first == NULL)
            break;
        struct job *job = worker->first;
        worker->first = job->next;
        if (worker->first == NULL)
            worker->last = &worker->first;
        pthread_mutex_unlock(&worker->mutex);
        job->function(job->argument);
        free(job);
        pthread_mutex_lock(&worker->mutex);
    }
    const bool detached = worker->detached;
    pthread_mutex_unlock(&worker->mutex);
    softgpu_count("thread", -1);
    if (detached)
        destroy(worker);
    return NULL;
}

struct worker *worker_start(void)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return NULL;
    worker->last = &worker->first;
    pthread_mutex_init(&worker->mutex, NULL);
    pthread_cond_init(&worker->changed, NULL);
    /* Signals are the application's: none may interrupt a thread that it does not know. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    softgpu_count("thread", 1);
    const int failed = pthread_create(&worker->thread, NULL, run, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        softgpu_count("thread", -1);
        destroy(worker);
        return NULL;
    }
    return worker;
}

bool worker_push(struct worker *worker, job_function function, void *argument)
{
    struct job *job = malloc(sizeof *job);
    if (job == NULL)
        return false;
    *job = (struct job){.next = NULL, .function = function, .argument = argument};
    pthread_mutex_lock(&worker->mutex);
    *worker->last = job;
    worker->last = &job->next;
    pthread_cond_signal(&worker->changed);
    pthread_mutex_unlock(&worker->mutex);
    return true;
}

void worker_stop(struct worker *worker, bool join)
{
    const pthread_t thread = worker->thread;
    const bool detach = !join || pthread_equal(pthread_self(), thread) != 0;
    pthread_mutex_lock(&worker->mutex);
    worker->stopping = true;
    worker->detached = detach;
    if (detach) /* under the lock: the thread may end, and free the worker, as soon as it is released */
        pthread_detach(thread);
    pthread_cond_signal(&worker->changed);
    pthread_mutex_unlock(&worker->mutex);
    if (!detach) {
        pthread_join(thread, NULL);
        destroy(worker);
    }
}
