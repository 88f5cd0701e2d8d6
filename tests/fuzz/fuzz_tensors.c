/* links: fmmodel fmbase */
/* fuzz_tensors.c: any bytes as a .safetensors file; every value of what opens is read. */
#include "fuzz.h"

#include <fmpipe/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void read_values(const fmp_tensors *tensors)
{
    for (size_t i = 0; i < fmp_tensors_count(tensors); i++) {
        const fmp_tensor *tensor = fmp_tensors_at(tensors, i);
        if (fmp_tensors_find(tensors, tensor->name) != tensor) { abort(); }
        float *values = malloc((tensor->n_values + 1) * sizeof *values);
        if (!values) { abort(); }
        fmp_tensor_to_f32(tensor, values);
        free(values);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) { abort(); }
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    fmp_err err = FMP_ERR_INIT;
    fmp_tensors *tensors = NULL;
    if (fmp_tensors_open(path, &tensors, &err) == FMP_OK) {
        read_values(tensors);
        fmp_tensors_close(tensors);
    } else if (!*err.message) {
        abort();
    }
    (void)close(fd);
    return 0;
}
