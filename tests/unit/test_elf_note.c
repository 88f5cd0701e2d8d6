/* links: fmengine fmbase */
/*
 * test_elf_note.c: the manifest note of a small ELF image made here, written and read, and hostile images:
 * cut short, with every byte changed, with offsets that wrap. Reading must refuse or stay inside the image;
 * sanitizers watch.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <elf.h>
#include <elf_note.h>
#include <fmpipe/fs.h>
#include <stdlib.h>

#if defined(__aarch64__)
#define MACHINE EM_AARCH64
#else
#define MACHINE EM_X86_64
#endif

enum {
    STRINGS = 64,
    SYMBOLS = 192,
    DYNAMIC = 320,
    NAMES = 448,
    SECTIONS = 512,
    N_SECTIONS = 5,
    IMAGE = SECTIONS + N_SECTIONS * 64
};

/* A shared object that shows `entry` and one hidden symbol, with a run path. */
static void make_image(unsigned char image[IMAGE])
{
    static const char strings[] = "\0entry\0hidden\0$ORIGIN/..\0libfm.so";
    static const char names[] = "\0.names\0.dynsym\0.dynstr\0.dynamic";
    const Elf64_Sym symbols[] = {
        {0},
        {.st_name = 1, .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), .st_shndx = 1},
        {.st_name = 7,
         .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
         .st_other = STV_HIDDEN,
         .st_shndx = 1}};
    const Elf64_Dyn dynamic[] = {{DT_RUNPATH, {14}}, {DT_NEEDED, {25}}, {DT_NULL, {0}}};
    const Elf64_Shdr sections[N_SECTIONS] = {
        {0},
        {.sh_name = 1, .sh_type = SHT_STRTAB, .sh_offset = NAMES, .sh_size = sizeof names},
        {.sh_name = 8,
         .sh_type = SHT_DYNSYM,
         .sh_offset = SYMBOLS,
         .sh_size = sizeof symbols,
         .sh_link = 3,
         .sh_entsize = sizeof(Elf64_Sym)},
        {.sh_name = 16, .sh_type = SHT_STRTAB, .sh_offset = STRINGS, .sh_size = sizeof strings},
        {.sh_name = 24,
         .sh_type = SHT_DYNAMIC,
         .sh_offset = DYNAMIC,
         .sh_size = sizeof dynamic,
         .sh_link = 3,
         .sh_entsize = sizeof(Elf64_Dyn)}};
    Elf64_Ehdr head = {.e_type = ET_DYN,
                       .e_machine = MACHINE,
                       .e_version = 1,
                       .e_shoff = SECTIONS,
                       .e_ehsize = sizeof head,
                       .e_shentsize = sizeof(Elf64_Shdr),
                       .e_shnum = N_SECTIONS,
                       .e_shstrndx = 1};
    memcpy(head.e_ident, ELFMAG, SELFMAG);
    head.e_ident[EI_CLASS] = ELFCLASS64;
    head.e_ident[EI_DATA] = ELFDATA2LSB;
    memset(image, 0, IMAGE);
    memcpy(image, &head, sizeof head);
    memcpy(image + STRINGS, strings, sizeof strings);
    memcpy(image + SYMBOLS, symbols, sizeof symbols);
    memcpy(image + DYNAMIC, dynamic, sizeof dynamic);
    memcpy(image + NAMES, names, sizeof names);
    memcpy(image + SECTIONS, sections, sizeof sections);
}

/* Everything that reads, on a heap copy of exactly `len` bytes; true if all accept it. */
static bool read_all(const unsigned char *image, size_t len)
{
    unsigned char *copy = malloc(len ? len : 1);
    const unsigned char *desc = NULL;
    size_t desc_len = 0;
    fmp_elf_facts facts;
    fmp_buf out = {0};
    fmp_err err = FMP_ERR_INIT;
    assert_non_null(copy);
    memcpy(copy, image, len);
    bool found = fmp_elf_find_note(copy, len, &desc, &desc_len, &err) == FMP_OK;
    if (found && desc) {
        assert_true(desc >= copy && desc_len <= len && (size_t)(desc - copy) <= len - desc_len);
    }
    bool inspected = fmp_elf_inspect(copy, len, "entry", &facts, &err) == FMP_OK;
    if (inspected && facts.runpath) { assert_true(strlen(facts.runpath) < len); }
    bool written = fmp_elf_with_note(copy, len, "{}", 2, &out, &err) == FMP_OK;
    fmp_buf_free(&out);
    free(copy);
    return found && inspected && written;
}

static void the_facts_of_a_sound_image_are_read(void **state)
{
    (void)state;
    unsigned char image[IMAGE];
    fmp_elf_facts facts;
    fmp_err err = FMP_ERR_INIT;
    make_image(image);
    assert_int_equal(fmp_elf_inspect(image, IMAGE, "entry", &facts, &err), FMP_OK);
    assert_true(facts.has_entry);
    assert_null(facts.extra_symbol);
    assert_string_equal(facts.runpath, "$ORIGIN/..");
    assert_false(facts.text_relocations);
    assert_int_equal(fmp_elf_inspect(image, IMAGE, "other", &facts, &err), FMP_OK);
    assert_false(facts.has_entry);
    assert_string_equal(facts.extra_symbol, "entry");
}

static void a_note_is_appended_found_and_replaced(void **state)
{
    (void)state;
    unsigned char image[IMAGE];
    const unsigned char *desc = NULL;
    size_t n = 0;
    fmp_err err = FMP_ERR_INIT;
    fmp_buf once = {0}, twice = {0}, back = {0};
    make_image(image);
    assert_int_equal(fmp_elf_find_note(image, IMAGE, &desc, &n, &err), FMP_OK);
    assert_null(desc);
    assert_int_equal(fmp_elf_with_note(image, IMAGE, "{\"a\":1}", 7, &once, &err), FMP_OK);
    assert_memory_equal(once.data + sizeof(Elf64_Ehdr), image + sizeof(Elf64_Ehdr),
                        IMAGE - sizeof(Elf64_Ehdr)); /* the old bytes stay */
    assert_int_equal(fmp_elf_find_note((unsigned char *)once.data, once.len, &desc, &n, &err), FMP_OK);
    assert_int_equal(n, 7);
    assert_memory_equal(desc, "{\"a\":1}", 7);
    assert_int_equal(fmp_elf_with_note((unsigned char *)once.data, once.len, "a longer manifest than before",
                                       29, &twice, &err),
                     FMP_OK);
    assert_int_equal(fmp_elf_find_note((unsigned char *)twice.data, twice.len, &desc, &n, &err), FMP_OK);
    assert_int_equal(n, 29);
    assert_int_equal(fmp_elf_with_note((unsigned char *)twice.data, twice.len, "{\"a\":1}", 7, &back, &err),
                     FMP_OK);
    assert_int_equal(back.len, once.len); /* replaced, not piled up */
    assert_memory_equal(back.data, once.data, once.len);
    fmp_buf_free(&once);
    fmp_buf_free(&twice);
    fmp_buf_free(&back);
}

static void foreign_files_are_named_for_what_they_are(void **state)
{
    (void)state;
    unsigned char image[IMAGE];
    fmp_elf_facts facts;
    fmp_err err = FMP_ERR_INIT;
    assert_int_equal(fmp_elf_inspect((const unsigned char *)"#!/bin/sh\n", 10, "entry", &facts, &err),
                     FMP_E_PLUGIN);
    assert_non_null(strstr(err.message, "ELF"));
    make_image(image);
    image[18] = MACHINE == EM_X86_64 ? EM_AARCH64 : EM_X86_64;
    assert_int_equal(fmp_elf_inspect(image, IMAGE, "entry", &facts, &err), FMP_E_PLUGIN);
    assert_non_null(strstr(err.message, "machine"));
    make_image(image);
    image[EI_CLASS] = ELFCLASS32;
    assert_int_equal(fmp_elf_inspect(image, IMAGE, "entry", &facts, &err), FMP_E_PLUGIN);
    make_image(image);
    image[16] = ET_EXEC;
    assert_int_equal(fmp_elf_inspect(image, IMAGE, "entry", &facts, &err), FMP_E_PLUGIN);
    assert_non_null(strstr(err.message, "shared object"));
}

static void an_image_cut_short_is_refused_at_every_length(void **state)
{
    (void)state;
    unsigned char image[IMAGE];
    fmp_buf noted = {0};
    fmp_err err = FMP_ERR_INIT;
    make_image(image);
    assert_true(read_all(image, IMAGE));
    for (size_t len = 0; len < IMAGE; len++) {
        assert_false(read_all(image, len));
    }
    assert_int_equal(fmp_elf_with_note(image, IMAGE, "{}", 2, &noted, &err), FMP_OK);
    for (size_t len = 0; len < noted.len; len++) {
        (void)read_all((unsigned char *)noted.data, len);
    }
    fmp_buf_free(&noted);
}

static void no_changed_byte_leads_outside_the_image(void **state)
{
    (void)state;
    static const unsigned char values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    unsigned char image[IMAGE];
    fmp_buf noted = {0};
    fmp_err err = FMP_ERR_INIT;
    make_image(image);
    assert_int_equal(fmp_elf_with_note(image, IMAGE, "{}", 2, &noted, &err), FMP_OK);
    for (size_t at = 0; at < noted.len; at++) {
        char was = noted.data[at];
        for (size_t v = 0; v < sizeof values; v++) {
            noted.data[at] = (char)values[v];
            (void)read_all((unsigned char *)noted.data, noted.len);
        }
        noted.data[at] = was;
    }
    fmp_buf_free(&noted);
}

static void no_offset_or_size_wraps(void **state)
{
    (void)state;
    static const uint64_t values[] = {UINT64_MAX,        UINT64_MAX - 7, UINT64_MAX - 63, (uint64_t)1 << 63,
                                      (uint64_t)1 << 32, IMAGE,          IMAGE - 1,       8};
    unsigned char image[IMAGE];
    for (size_t section = 0; section <= N_SECTIONS; section++) { /* the last round is e_shoff */
        for (size_t field = 0; field < 2; field++) {
            size_t at = section == N_SECTIONS
                            ? offsetof(Elf64_Ehdr, e_shoff)
                            : SECTIONS + section * sizeof(Elf64_Shdr) +
                                  (field ? offsetof(Elf64_Shdr, sh_size) : offsetof(Elf64_Shdr, sh_offset));
            for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
                make_image(image);
                memcpy(image + at, &values[v], sizeof values[v]);
                (void)read_all(image, IMAGE);
            }
        }
    }
}

static void random_damage_is_survived(void **state)
{
    (void)state;
    unsigned char image[IMAGE];
    for (uint64_t round = 0; round < 20000; round++) {
        make_image(image);
        uint64_t n = 1 + fmp_rng_below(1, round, 0, 8);
        for (uint64_t i = 0; i < n; i++) {
            image[fmp_rng_below(1, round, 2 * i + 1, IMAGE)] =
                (unsigned char)fmp_rng_below(1, round, 2 * i + 2, 256);
        }
        (void)read_all(image, IMAGE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_facts_of_a_sound_image_are_read),
        cmocka_unit_test(a_note_is_appended_found_and_replaced),
        cmocka_unit_test(foreign_files_are_named_for_what_they_are),
        cmocka_unit_test(an_image_cut_short_is_refused_at_every_length),
        cmocka_unit_test(no_changed_byte_leads_outside_the_image),
        cmocka_unit_test(no_offset_or_size_wraps),
        cmocka_unit_test(random_damage_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
