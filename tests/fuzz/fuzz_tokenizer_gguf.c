/* links: fmtext fmbase */
/* fuzz_tokenizer_gguf.c: any bytes as the head of a GGUF file: fuzz_tokenizer.h. */
#include "fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return size > 4 && data[0] == 'G' ? fuzz_tokenizer(data, size) : 0;
}
