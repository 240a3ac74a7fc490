#include "layer.h"

cl_uint context_devices(cl_context context, cl_device_id devices[MAX_LISTED_DEVICES])
{
    size_t size = 0;
    if (context == NULL)
        return 0;
    if (target.clGetContextInfo(context, CL_CONTEXT_DEVICES, MAX_LISTED_DEVICES * sizeof *devices, devices,
                                &size) != CL_SUCCESS)
        return 0;
    return (cl_uint)(size / sizeof *devices);
}

bool contains_device(const cl_device_id *devices, cl_uint count, cl_device_id device)
{
    for (cl_uint i = 0; i < count; ++i)
        if (devices[i] == device)
            return true;
    return false;
}

cl_int queue_facts(cl_command_queue queue, struct queue_facts *facts)
{
    cl_command_queue_properties properties = 0;
    if (queue == NULL ||
        target.clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof facts->context, &facts->context, NULL) !=
            CL_SUCCESS ||
        target.clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof facts->device, &facts->device, NULL) !=
            CL_SUCCESS ||
        target.clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof properties, &properties, NULL) !=
            CL_SUCCESS)
        return CL_INVALID_COMMAND_QUEUE;
    facts->out_of_order = (properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE) != 0;
    return CL_SUCCESS;
}

cl_int check_wait_list(cl_context context, cl_uint count, const cl_event *events)
{
    if ((count == 0) != (events == NULL))
        return CL_INVALID_EVENT_WAIT_LIST;
    for (cl_uint i = 0; i < count; ++i) {
        cl_context owner = NULL;
        if (events[i] == NULL ||
            target.clGetEventInfo(events[i], CL_EVENT_CONTEXT, sizeof owner, &owner, NULL) != CL_SUCCESS)
            return CL_INVALID_EVENT_WAIT_LIST;
        if (owner != context)
            return CL_INVALID_CONTEXT;
    }
    for (cl_uint i = 0; i < count; ++i) {
        cl_int status = CL_QUEUED;
        if (target.clGetEventInfo(events[i], CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status,
                                  NULL) != CL_SUCCESS)
            return CL_INVALID_EVENT_WAIT_LIST;
        if (status < 0)
            return CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST;
    }
    return CL_SUCCESS;
}

static void CL_CALLBACK nothing(void *arguments)
{
    (void)arguments;
}

static bool runs_native_kernels(cl_device_id device)
{
    cl_device_exec_capabilities capabilities = 0;
    target.clGetDeviceInfo(device, CL_DEVICE_EXECUTION_CAPABILITIES, sizeof capabilities, &capabilities,
                           NULL);
    return (capabilities & CL_EXEC_NATIVE_KERNEL) != 0;
}

/* On an out-of-order queue of PoCL 3.1 a marker waits for everything before it, with or without a wait list.
 * A native kernel waits for its list and nothing else. */
cl_int enqueue_marker(cl_command_queue queue, const struct queue_facts *facts, cl_uint count,
                      const cl_event *events, cl_event *marker)
{
    if (facts->out_of_order && runs_native_kernels(facts->device))
        return target.clEnqueueNativeKernel(queue, nothing, NULL, 0, 0, NULL, NULL, count, events, marker);
    return target.clEnqueueMarkerWithWaitList(queue, count, events, marker);
}
