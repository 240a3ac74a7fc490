/* Command types of the events handed out. The driver sees markers only.
 *
 * An entry goes with the application's last reference: an address may be used again for another event. */
#include "layer.h"

#include <stdlib.h>

struct handed_out {
    cl_command_type type;
    int references;
};

void hand_out_event(cl_event event, cl_command_type type, cl_event *out)
{
    if (out == NULL) {
        target.clReleaseEvent(event);
        return;
    }
    struct handed_out *record = malloc(sizeof *record);
    if (record != NULL) {
        *record = (struct handed_out){.type = type, .references = 1};
        if (!registry_put(registry_of_events, event, record))
            free(record); /* the event then answers as a marker, which is better than no event */
    }
    *out = event;
}

cl_int CL_API_CALL layer_GetEventInfo(cl_event event, cl_event_info name, size_t capacity, void *value,
                                      size_t *size)
{
    cl_int error = CL_SUCCESS;
    if (fail("clGetEventInfo", &error))
        return error;
    if (name == CL_EVENT_COMMAND_TYPE) {
        const struct handed_out *record = registry_get(registry_of_events, event);
        if (record != NULL)
            return answer(&record->type, sizeof record->type, capacity, value, size);
    }
    return target.clGetEventInfo(event, name, capacity, value, size);
}

cl_int CL_API_CALL layer_RetainEvent(cl_event event)
{
    struct handed_out *record = registry_get(registry_of_events, event);
    if (record != NULL)
        __atomic_add_fetch(&record->references, 1, __ATOMIC_RELAXED);
    return target.clRetainEvent(event);
}

cl_int CL_API_CALL layer_ReleaseEvent(cl_event event)
{
    struct handed_out *record = registry_get(registry_of_events, event);
    if (record != NULL && __atomic_sub_fetch(&record->references, 1, __ATOMIC_ACQ_REL) == 0)
        free(registry_take(registry_of_events, event));
    return target.clReleaseEvent(event);
}
