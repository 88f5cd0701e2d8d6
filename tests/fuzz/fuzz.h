/* fuzz.h: the entry point of a fuzz target, as libFuzzer calls it. 0: go on; a finding aborts. */
#ifndef FMP_FUZZ_H
#define FMP_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
