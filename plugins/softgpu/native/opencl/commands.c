/* Waiting for and signalling semaphores in the order of a command queue, without blocking the caller.
 *
 *   first    a marker: what must be done before
 *   jobs     one per semaphore, started by the marker's callback, each ending in a user event
 *   last     a marker over the user events: what later commands and the caller's event wait for
 *
 * Waits of one semaphore run one after another in its thread. Signals run in the callback, so that a wait
 * that is still blocked never stands in their way. */
#include "layer.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct job {
    cl_semaphore_khr semaphore;
    cl_event done;
    int file; /* of a semaphore whose signals are sync files; -1: it has been signalled */
};

struct command {
    cl_uint count;
    bool signals;
    struct job jobs[];
};

/* The semaphore goes first: whoever waits for the event may release and count semaphores at once. */
static void finish(const struct job *job, cl_int status)
{
    cl_event done = job->done;
    semaphore_drop(job->semaphore, false);
    if (job->file >= 0)
        close(job->file);
    target.clSetUserEventStatus(done, status);
    target.clReleaseEvent(done);
}

static void wait_job(void *argument)
{
    struct job *job = argument;
    /* CL_WAIT_LIMIT_MS bounds a wait whose signal never comes, as a driver's watchdog would. */
    const long limit = softgpu_switch_number("CL_WAIT_LIMIT_MS", 0);
    const double timeout = limit > 0 ? (double)limit / 1e3 : -1.0;
    const bool passed = one_shot(job->semaphore) ? softgpu_sync_file_wait(job->file, timeout)
                                                 : softgpu_semaphore_wait(job->semaphore->payload, timeout,
                                                                          NULL) == SOFTGPU_PAYLOAD_OK;
    finish(job, passed ? CL_COMPLETE : CL_OUT_OF_RESOURCES);
    free(job);
}

static void signal_job(void *argument)
{
    struct job *job = argument;
    bool given = true;
    if (one_shot(job->semaphore))
        softgpu_sync_file_signal(job->file);
    else
        given = softgpu_semaphore_signal(job->semaphore->payload) == SOFTGPU_PAYLOAD_OK;
    finish(job, given ? CL_COMPLETE : CL_OUT_OF_RESOURCES);
    free(job);
}

static void delayed_signal_job(void *argument)
{
    const long delay = softgpu_switch_number("SIGNAL_DELAY_MS", 0);
    const struct timespec time = {.tv_sec = delay / 1000, .tv_nsec = delay % 1000 * 1000000L};
    nanosleep(&time, NULL);
    signal_job(argument);
}

static void start(const struct job *source, bool signals)
{
    struct job *job = malloc(sizeof *job);
    if (job == NULL) {
        finish(source, CL_OUT_OF_HOST_MEMORY);
        return;
    }
    *job = *source;
    if (signals && softgpu_switch_number("SIGNAL_DELAY_MS", 0) <= 0) {
        signal_job(job);
        return;
    }
    if (!signals && one_shot(job->semaphore) && softgpu_sync_file_ready(job->file)) {
        wait_job(job); /* no thread for a single wait that has nothing to wait for */
        return;
    }
    struct worker *worker = semaphore_worker(signals ? &job->semaphore->delayer : &job->semaphore->waiter);
    if (worker == NULL || !worker_push(worker, signals ? delayed_signal_job : wait_job, job)) {
        finish(job, CL_OUT_OF_RESOURCES);
        free(job);
    }
}

/* A sync file is signalled also when the work before it has failed: the kernel lets nobody wait for ever. */
static void give_up(struct command *command, cl_int status)
{
    for (cl_uint i = 0; i < command->count; ++i) {
        if (command->signals && command->jobs[i].file >= 0)
            softgpu_sync_file_signal(command->jobs[i].file);
        finish(&command->jobs[i], status);
    }
    free(command);
}

static void CL_CALLBACK first_reached(cl_event event, cl_int status, void *argument)
{
    struct command *command = argument;
    (void)event;
    if (status < 0) {
        give_up(command, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
        return;
    }
    for (cl_uint i = 0; i < command->count; ++i)
        start(&command->jobs[i], command->signals);
    free(command);
}

static cl_int check(const struct queue_facts *facts, cl_uint count, const cl_semaphore_khr *semaphores,
                    bool signals)
{
    if (count == 0)
        return CL_INVALID_VALUE;
    if (semaphores == NULL)
        return KHR_INVALID_SEMAPHORE;
    for (cl_uint i = 0; i < count; ++i)
        if (!known_semaphore(semaphores[i]))
            return KHR_INVALID_SEMAPHORE;
    for (cl_uint i = 0; i < count; ++i) {
        if (semaphores[i]->context != facts->context)
            return CL_INVALID_CONTEXT;
        if (semaphores[i]->device != facts->device)
            return CL_INVALID_COMMAND_QUEUE;
        if (one_shot(semaphores[i]) && one_shot_check(semaphores[i], signals) != CL_SUCCESS)
            return CL_INVALID_OPERATION;
    }
    return CL_SUCCESS;
}

/* A command with a user event per semaphore, or NULL; done receives the events once more, for a wait list. */
static struct command *prepare(cl_context context, cl_uint count, const cl_semaphore_khr *semaphores,
                               bool signals, cl_event *done)
{
    struct command *command = calloc(1, sizeof *command + count * sizeof command->jobs[0]);
    if (command == NULL)
        return NULL;
    command->signals = signals;
    for (cl_uint i = 0; i < count; ++i) {
        cl_int error = CL_SUCCESS;
        done[i] = target.clCreateUserEvent(context, &error);
        if (error != CL_SUCCESS) {
            give_up(command, CL_OUT_OF_RESOURCES);
            return NULL;
        }
        semaphore_keep(semaphores[i]);
        command->jobs[i] = (struct job){.semaphore = semaphores[i], .done = done[i], .file = -1};
        command->count = i + 1;
        if (one_shot(semaphores[i]) && !one_shot_file(semaphores[i], signals, &command->jobs[i].file)) {
            give_up(command, CL_OUT_OF_RESOURCES);
            return NULL;
        }
    }
    return command;
}

static void drop_one_shots(cl_uint count, const cl_semaphore_khr *semaphores)
{
    for (cl_uint i = 0; i < count; ++i)
        if (one_shot(semaphores[i]))
            one_shot_drop(semaphores[i]);
}

static cl_int enqueue(cl_command_queue queue, cl_uint count, const cl_semaphore_khr *semaphores, bool signals,
                      cl_uint event_count, const cl_event *events, cl_event *event)
{
    struct queue_facts facts;
    cl_int error = queue_facts(queue, &facts);
    if (error == CL_SUCCESS)
        error = check(&facts, count, semaphores, signals);
    if (error == CL_SUCCESS)
        error = check_wait_list(facts.context, event_count, events);
    if (error != CL_SUCCESS)
        return error;
    cl_event *done = malloc(count * sizeof *done);
    struct command *command = done != NULL ? prepare(facts.context, count, semaphores, signals, done) : NULL;
    if (command == NULL) {
        free(done);
        if (signals)
            drop_one_shots(count, semaphores);
        return CL_OUT_OF_HOST_MEMORY;
    }
    cl_event first = NULL;
    cl_event last = NULL;
    error = enqueue_marker(queue, &facts, event_count, events, &first);
    if (error == CL_SUCCESS)
        error = enqueue_marker(queue, &facts, count, done, &last);
    free(done);
    /* From here on the callback owns the command: it may have run before this call returns. */
    if (error == CL_SUCCESS)
        error = target.clSetEventCallback(first, CL_COMPLETE, first_reached, command);
    if (error != CL_SUCCESS)
        give_up(command, error);
    if (first != NULL)
        target.clReleaseEvent(first);
    target.clFlush(queue);
    if (signals == (error != CL_SUCCESS)) /* a wait has used the signal up, or one was not given */
        drop_one_shots(count, semaphores);
    if (error != CL_SUCCESS) {
        if (last != NULL)
            target.clReleaseEvent(last);
        return error;
    }
    hand_out_event(last, signals ? KHR_COMMAND_SEMAPHORE_SIGNAL : KHR_COMMAND_SEMAPHORE_WAIT, event);
    return CL_SUCCESS;
}

/* Binary semaphores have no payload value: the lists are ignored, as the extension says. */
cl_int CL_API_CALL layer_EnqueueWaitSemaphoresKHR(cl_command_queue queue, cl_uint count,
                                                  const cl_semaphore_khr *semaphores,
                                                  const cl_semaphore_payload_khr *payloads,
                                                  cl_uint event_count, const cl_event *events,
                                                  cl_event *event)
{
    cl_int error = CL_SUCCESS;
    (void)payloads;
    if (fail("clEnqueueWaitSemaphoresKHR", &error))
        return error;
    return enqueue(queue, count, semaphores, false, event_count, events, event);
}

cl_int CL_API_CALL layer_EnqueueSignalSemaphoresKHR(cl_command_queue queue, cl_uint count,
                                                    const cl_semaphore_khr *semaphores,
                                                    const cl_semaphore_payload_khr *payloads,
                                                    cl_uint event_count, const cl_event *events,
                                                    cl_event *event)
{
    cl_int error = CL_SUCCESS;
    (void)payloads;
    if (fail("clEnqueueSignalSemaphoresKHR", &error))
        return error;
    return enqueue(queue, count, semaphores, true, event_count, events, event);
}
