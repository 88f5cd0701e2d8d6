/* elf_note.h: the manifest note of a plugin file, read and written as bytes; no plugin code runs. */
#ifndef FMP_ENGINE_ELF_NOTE_H
#define FMP_ENGINE_ELF_NOTE_H

#include <fmpipe/mem.h>

/*
 * fmp_elf_find_note: the descriptor bytes of the note (name "fmpipe", type 1) in an ELF image.
 *   image (len)   borrowed      *desc (*desc_len)   borrowed from image; NULL if there is no such note
 * Errors   FMP_E_PLUGIN: not a 64-bit little-endian ELF shared object of this machine; a header points
 * outside the file.
 */
FMP_MUST_USE fmp_status fmp_elf_find_note(const unsigned char *image, size_t len, const unsigned char **desc,
                                          size_t *desc_len, fmp_err *err);

/* The image with the note in it, appended behind everything else; an image that has one already gets it
 * replaced. */
FMP_MUST_USE fmp_status fmp_elf_with_note(const unsigned char *image, size_t len, const void *desc,
                                          size_t desc_len, fmp_buf *out, fmp_err *err);

/* What the loader checks before dlopen. Strings point into the image. */
typedef struct fmp_elf_facts {
    const char *runpath; /* DT_RPATH or DT_RUNPATH; NULL: none                                     */
    bool text_relocations;
    const char *extra_symbol; /* an exported symbol beside the entry point; NULL: none              */
    bool has_entry;
    const char *needed[32]; /* DT_NEEDED names, the first 32                                      */
    size_t n_needed;
} fmp_elf_facts;
FMP_MUST_USE fmp_status fmp_elf_inspect(const unsigned char *image, size_t len, const char *entry,
                                        fmp_elf_facts *out, fmp_err *err);

#endif
