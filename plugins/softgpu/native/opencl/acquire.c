/* Acquire and release of imported memory. The CPU shares its caches with the Vulkan CPU device, so each is a
 * marker; CL_ENFORCE_ACQUIRE=1 turns the undefined use of memory that is not acquired into an error. */
#include "layer.h"

static bool enforced(void)
{
    return softgpu_switch_is("CL_ENFORCE_ACQUIRE", "1", "0");
}

bool usable(cl_mem object)
{
    if (!enforced())
        return true;
    const struct imported *imported = registry_get(registry_of_memory, object);
    while (imported != NULL && imported->parent != NULL)
        imported = imported->parent;
    return imported == NULL || __atomic_load_n(&imported->acquired, __ATOMIC_ACQUIRE);
}

static cl_int check(const struct queue_facts *facts, cl_uint count, const cl_mem *objects, bool acquire)
{
    if ((count == 0) != (objects == NULL))
        return CL_INVALID_VALUE;
    for (cl_uint i = 0; i < count; ++i) {
        const struct imported *imported =
            objects[i] != NULL ? registry_get(registry_of_memory, objects[i]) : NULL;
        if (imported == NULL || imported->parent != NULL)
            return CL_INVALID_MEM_OBJECT;
        cl_context context = NULL;
        if (target.clGetMemObjectInfo(objects[i], CL_MEM_CONTEXT, sizeof context, &context, NULL) !=
            CL_SUCCESS)
            return CL_INVALID_MEM_OBJECT;
        if (context != facts->context ||
            !contains_device(imported->devices, imported->device_count, facts->device))
            return CL_INVALID_COMMAND_QUEUE;
        if (enforced() && __atomic_load_n(&imported->acquired, __ATOMIC_ACQUIRE) == acquire)
            return CL_INVALID_OPERATION;
    }
    return CL_SUCCESS;
}

static cl_int hand_over(cl_command_queue queue, cl_uint count, const cl_mem *objects, bool acquire,
                        cl_uint event_count, const cl_event *events, cl_event *event)
{
    struct queue_facts facts;
    cl_int error = queue_facts(queue, &facts);
    if (error == CL_SUCCESS)
        error = check(&facts, count, objects, acquire);
    if (error == CL_SUCCESS)
        error = check_wait_list(facts.context, event_count, events);
    cl_event marker = NULL;
    if (error == CL_SUCCESS)
        error = enqueue_marker(queue, &facts, event_count, events, &marker);
    if (error != CL_SUCCESS)
        return error;
    wait_for_user_events(queue);
    for (cl_uint i = 0; i < count; ++i) {
        struct imported *imported = registry_get(registry_of_memory, objects[i]);
        __atomic_store_n(&imported->acquired, acquire, __ATOMIC_RELEASE);
        note_acquired(facts.context, objects[i], acquire);
    }
    hand_out_event(marker, acquire ? KHR_COMMAND_ACQUIRE : KHR_COMMAND_RELEASE, event);
    return CL_SUCCESS;
}

cl_int CL_API_CALL layer_EnqueueAcquireExternalMemObjectsKHR(cl_command_queue queue, cl_uint count,
                                                             const cl_mem *objects, cl_uint event_count,
                                                             const cl_event *events, cl_event *event)
{
    cl_int error = CL_SUCCESS;
    if (fail("clEnqueueAcquireExternalMemObjectsKHR", &error))
        return error;
    return hand_over(queue, count, objects, true, event_count, events, event);
}

cl_int CL_API_CALL layer_EnqueueReleaseExternalMemObjectsKHR(cl_command_queue queue, cl_uint count,
                                                             const cl_mem *objects, cl_uint event_count,
                                                             const cl_event *events, cl_event *event)
{
    cl_int error = CL_SUCCESS;
    if (fail("clEnqueueReleaseExternalMemObjectsKHR", &error))
        return error;
    return hand_over(queue, count, objects, false, event_count, events, event);
}
