/* links: fmmodel fmbase */
/* fuzz_model.c: any bytes as a config.json, and as a llama2.c file; a described decoder is measured, saved text read again. */
#include "fuzz.h"

#include <fmpipe/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void as_config(const uint8_t *data, size_t size)
{
    fmp_err err = FMP_ERR_INIT;
    fmp_model_spec spec;
    fmp_model_size counted;
    const char *const targets[] = {"all-linear"};
    const fmp_adapter_options lora = {.rank = 4, .alpha = 4.0, .targets = targets, .n_targets = 1};
    if (fmp_spec_parse((const char *)data, size, &spec, &err) != FMP_OK) {
        if (!*err.message) { abort(); }
        return;
    }
    if (fmp_spec_measure(&spec, &lora, &counted, &err) != FMP_OK || counted.n_params == 0) { abort(); }
    fmp_spec_free(&spec);
}

static void as_llama2c(const uint8_t *data, size_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) { abort(); }
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    fmp_err err = FMP_ERR_INIT;
    const fmp_model_options o = {.n_threads = 1};
    fmp_model *m = NULL;
    if (fmp_model_open(path, &o, &m, &err) != FMP_OK && !*err.message) { abort(); }
    fmp_model_free(m);
    (void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == '{') {
        as_config(data, size);
    } else {
        as_llama2c(data, size);
    }
    return 0;
}
