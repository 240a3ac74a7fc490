// What ends a process, or is about its end.
#ifndef SOFTGPU_TESTS_HIP_CASES_H
#define SOFTGPU_TESTS_HIP_CASES_H

void (*find_case(const char *name))();

#endif
