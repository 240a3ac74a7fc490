#include "support.h"

using namespace test;

TEST(event, is_done_when_its_stream_got_there)
{
    const Stream stream;
    const Event event;
    OK(hipEventQuery(event)); // never recorded
    OK(hipEventSynchronize(event));
    Gate gate;
    gate.hold(stream);
    OK(hipEventRecord(event, stream));
    CHECK_EQ(hipEventQuery(event), hipErrorNotReady);
    gate.open();
    OK(hipEventSynchronize(event));
    OK(hipEventQuery(event));
}

TEST(event, measures_time)
{
    const Stream stream;
    const Event start;
    const Event stop;
    float milliseconds = -1;
    CHECK_EQ(hipEventElapsedTime(&milliseconds, start, stop), hipErrorInvalidHandle); // not recorded
    Gate gate;
    OK(hipEventRecord(start, stream));
    OK(hipEventSynchronize(start)); // a busy machine may come to it late
    gate.hold(stream);
    OK(hipEventRecord(stop, stream));
    CHECK_EQ(hipEventElapsedTime(&milliseconds, start, stop), hipErrorNotReady);
    nap(0.02);
    gate.open();
    OK(hipEventSynchronize(stop));
    OK(hipEventElapsedTime(&milliseconds, start, stop));
    CHECK(milliseconds >= 15 && milliseconds < 5000);
    CHECK_EQ(hipEventElapsedTime(nullptr, start, stop), hipErrorInvalidValue);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}

TEST(event, without_timing_has_no_time)
{
    const Stream stream;
    const Event start(hipEventDisableTiming);
    const Event stop;
    OK(hipEventRecord(start, stream));
    OK(hipEventRecord(stop, stream));
    OK(hipStreamSynchronize(stream));
    float milliseconds = 0;
    CHECK_EQ(hipEventElapsedTime(&milliseconds, start, stop), hipErrorInvalidHandle);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidHandle);
}

TEST(event, counts_from_its_latest_record)
{
    const Stream stream;
    const Event event;
    OK(hipEventRecord(event, stream));
    OK(hipEventSynchronize(event));
    Gate gate;
    gate.hold(stream);
    OK(hipEventRecord(event, stream));
    CHECK_EQ(hipEventQuery(event), hipErrorNotReady);
}

TEST(event, may_go_before_the_work_that_waits_for_it)
{
    const Stream first;
    const Stream second;
    Gate gate;
    gate.hold(first);
    {
        const Event event;
        OK(hipEventRecord(event, first));
        OK(hipStreamWaitEvent(second, event, 0));
    }
    CHECK_EQ(hipStreamQuery(second), hipErrorNotReady);
    gate.open();
    OK(hipStreamSynchronize(second));
}

TEST(event, refuses_what_is_none)
{
    hipEventHandle gone = nullptr;
    OK(hipEventCreate(&gone));
    OK(hipEventDestroy(gone));
    CHECK_EQ(hipEventDestroy(gone), hipErrorInvalidHandle);
    CHECK_EQ(hipEventRecord(gone, nullptr), hipErrorInvalidHandle);
    CHECK_EQ(hipEventQuery(nullptr), hipErrorInvalidHandle);
    CHECK_EQ(hipStreamWaitEvent(nullptr, gone, 0), hipErrorInvalidHandle);
    CHECK_EQ(hipEventCreateWithFlags(&gone, 0x1000), hipErrorInvalidValue);
    CHECK_EQ(hipEventCreateWithFlags(&gone, hipEventInterprocess | hipEventDisableTiming),
             hipErrorNotSupported);
    CHECK_EQ(hipEventCreate(nullptr), hipErrorInvalidValue);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}
