/* links: fmtext fmbase */
/* fuzz_tokenizer_json.c: any bytes as a tokenizer.json: fuzz_tokenizer.h. */
#include "fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return size > 0 && data[0] == '{' ? fuzz_tokenizer(data, size) : 0;
}
