/* links: fmtext fmbase */
/* fuzz_tokenizer_spm.c: any bytes as a SentencePiece model, tiktoken ranks or a llama2.c vocabulary: fuzz_tokenizer.h. */
#include "fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return size > 0 && data[0] != '{' && data[0] != 'G' ? fuzz_tokenizer(data, size) : 0;
}
