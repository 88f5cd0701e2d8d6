/*
 * ELF64 reading and the manifest note. Everything in the file is hostile: every offset is compared with the
 * length before use. The note lives in a section of its own that is not loaded; writing puts it, a new
 * section name table and a new section header table behind the old bytes, none of which change but the
 * header's pointers. Source  System V ABI, gABI 4.1 chapters 4 and 5.
 */
#include "elf_note.h"

#include <elf.h>
#include <stdlib.h>

#define NOTE_SECTION ".note.fmpipe"
#define NOTE_NAME    "fmpipe"

#if defined(__x86_64__)
#define THIS_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define THIS_MACHINE EM_AARCH64
#else
#error "fmpipe plugins are known on x86-64 and aarch64 only"
#endif

typedef struct elf_view {
    const unsigned char *image;
    size_t len;
    Elf64_Ehdr head;
} elf_view;

static bool inside(const elf_view *v, uint64_t offset, uint64_t size)
{
    return offset <= v->len && size <= v->len - offset;
}

static fmp_status damaged(fmp_err *err, const char *what)
{
    return fmp_fail(err, FMP_E_PLUGIN, "damaged ELF file: %s lies outside the file", what);
}

static fmp_status open_view(elf_view *v, const unsigned char *image, size_t len, fmp_err *err)
{
    v->image = image;
    v->len = len;
    if (len < sizeof v->head || memcmp(image, ELFMAG, SELFMAG) != 0) {
        return fmp_fail(err, FMP_E_PLUGIN, "expected an ELF shared object, found another kind of file");
    }
    memcpy(&v->head, image, sizeof v->head);
    if (image[EI_CLASS] != ELFCLASS64 || image[EI_DATA] != ELFDATA2LSB || v->head.e_machine != THIS_MACHINE) {
        return fmp_fail(err, FMP_E_PLUGIN,
                        "expected an object for this machine (ELF machine %d), found machine %d",
                        THIS_MACHINE, v->head.e_machine);
    }
    if (v->head.e_type != ET_DYN) {
        return fmp_fail(err, FMP_E_PLUGIN, "expected a shared object, found ELF type %d", v->head.e_type);
    }
    if (v->head.e_shnum > 0 &&
        (v->head.e_shentsize != sizeof(Elf64_Shdr) ||
         !inside(v, v->head.e_shoff, (uint64_t)v->head.e_shnum * sizeof(Elf64_Shdr)))) {
        return damaged(err, "the section header table");
    }
    if (v->head.e_phnum > 0 &&
        (v->head.e_phentsize != sizeof(Elf64_Phdr) ||
         !inside(v, v->head.e_phoff, (uint64_t)v->head.e_phnum * sizeof(Elf64_Phdr)))) {
        return damaged(err, "the program header table");
    }
    return FMP_OK;
}

static Elf64_Shdr section_at(const elf_view *v, size_t i)
{
    Elf64_Shdr s;
    memcpy(&s, v->image + v->head.e_shoff + i * sizeof s, sizeof s);
    return s;
}

/* Terminated string at `offset` of a string section, or NULL. */
static const char *string_at(const elf_view *v, const Elf64_Shdr *strings, uint64_t offset)
{
    if (!inside(v, strings->sh_offset, strings->sh_size) || offset >= strings->sh_size) { return NULL; }
    const char *text = (const char *)v->image + strings->sh_offset + offset;
    return memchr(text, 0, strings->sh_size - offset) ? text : NULL;
}

fmp_status fmp_elf_find_note(const unsigned char *image, size_t len, const unsigned char **desc,
                             size_t *desc_len, fmp_err *err)
{
    elf_view v;
    FMP_TRY(open_view(&v, image, len, err));
    *desc = NULL;
    *desc_len = 0;
    for (size_t i = 0; i < v.head.e_shnum; i++) {
        Elf64_Shdr s = section_at(&v, i);
        Elf64_Nhdr note;
        if (s.sh_type != SHT_NOTE || s.sh_size < sizeof note + 8) { continue; }
        if (!inside(&v, s.sh_offset, s.sh_size)) { return damaged(err, "a note"); }
        const unsigned char *at = image + s.sh_offset;
        memcpy(&note, at, sizeof note);
        if (note.n_type != 1 || note.n_namesz != sizeof NOTE_NAME ||
            memcmp(at + sizeof note, NOTE_NAME, sizeof NOTE_NAME) != 0) {
            continue;
        }
        size_t begin = sizeof note + 8; /* the name, padded to 4 */
        if (note.n_descsz > s.sh_size - begin) { return damaged(err, "the manifest note"); }
        *desc = at + begin;
        *desc_len = note.n_descsz;
        return FMP_OK;
    }
    return FMP_OK;
}

static void pad_to(fmp_buf *out, size_t align)
{
    while (out->len % align != 0) {
        fmp_buf_putc(out, '\0');
    }
}

static bool is_our_section(const elf_view *v, const Elf64_Shdr *names, const Elf64_Shdr *s)
{
    const char *name = string_at(v, names, s->sh_name);
    return name && strcmp(name, NOTE_SECTION) == 0;
}

fmp_status fmp_elf_with_note(const unsigned char *image, size_t len, const void *desc, size_t desc_len,
                             fmp_buf *out, fmp_err *err)
{
    elf_view v;
    FMP_TRY(open_view(&v, image, len, err));
    if (v.head.e_shnum == 0 || v.head.e_shstrndx >= v.head.e_shnum) {
        return fmp_fail(err, FMP_E_PLUGIN,
                        "the file has no section headers (stripped with sstrip?); build it again");
    }
    Elf64_Shdr names = section_at(&v, v.head.e_shstrndx);
    if (!inside(&v, names.sh_offset, names.sh_size)) { return damaged(err, "the section name table"); }
    size_t n = v.head.e_shnum, old_end = len;
    for (size_t i = 1; i < n; i++) {
        Elf64_Shdr s = section_at(&v, i);
        if (s.sh_type == SHT_NOTE &&
            is_our_section(&v, &names, &s)) { /* ours is the last section, all behind it is ours too */
            if (i != n - 1 || s.sh_offset > len) { return damaged(err, "the manifest note"); }
            n--;
            old_end = s.sh_offset;
        }
    }
    if (desc_len > UINT32_MAX) {
        return fmp_fail(err, FMP_E_RANGE, "a manifest of %zu bytes does not fit a note", desc_len);
    }
    fmp_buf_add(out, image, old_end);
    pad_to(out, 16);
    Elf64_Nhdr note = {.n_namesz = sizeof NOTE_NAME, .n_descsz = (Elf64_Word)desc_len, .n_type = 1};
    Elf64_Shdr ours = {.sh_type = SHT_NOTE, .sh_offset = out->len, .sh_addralign = 4};
    fmp_buf_add(out, &note, sizeof note);
    fmp_buf_add(out, NOTE_NAME "\0", 8);
    fmp_buf_add(out, desc, desc_len);
    ours.sh_size = out->len - ours.sh_offset;
    pad_to(out, 16);
    const char *old_names = (const char *)image + names.sh_offset;
    bool had_name = n < v.head.e_shnum;
    Elf64_Shdr last = section_at(&v, v.head.e_shnum - 1u);
    ours.sh_name = had_name ? last.sh_name : (Elf64_Word)names.sh_size;
    Elf64_Off names_at = out->len;
    fmp_buf_add(out, old_names, names.sh_size);
    if (!had_name) { fmp_buf_add(out, NOTE_SECTION, sizeof NOTE_SECTION); }
    names.sh_size = out->len - names_at;
    names.sh_offset = names_at;
    pad_to(out, 16);
    size_t table_at = out->len;
    for (size_t i = 0; i < n; i++) {
        Elf64_Shdr s = i == v.head.e_shstrndx ? names : section_at(&v, i);
        fmp_buf_add(out, &s, sizeof s);
    }
    fmp_buf_add(out, &ours, sizeof ours);
    FMP_TRY(fmp_buf_ok(out, err));
    Elf64_Ehdr head = v.head;
    head.e_shoff = table_at;
    head.e_shnum = (Elf64_Half)(n + 1);
    memcpy(out->data, &head, sizeof head);
    return FMP_OK;
}

/* Toolchain symbols that a shared object may show without meaning to. */
static bool toolchain_symbol(const char *name)
{
    static const char *const known[] = {
        "_init",   "_fini",       "_edata",   "_end",    "__bss_start", "_ITM_", "__gmon_start__",
        "__asan_", "__odr_asan",  "__ubsan_", "__tsan_", "__gcov",      "_ZT",   "_ZNSt",
        "_ZSt",    "__sanitizer", NULL};
    for (int i = 0; known[i]; i++) {
        if (strncmp(name, known[i], strlen(known[i])) == 0) { return true; }
    }
    return false;
}

static fmp_status inspect_symbols(const elf_view *v, const Elf64_Shdr *table, const char *entry,
                                  fmp_elf_facts *out, fmp_err *err)
{
    if (!inside(v, table->sh_offset, table->sh_size) || table->sh_link >= v->head.e_shnum) {
        return damaged(err, "the symbol table");
    }
    Elf64_Shdr strings = section_at(v, table->sh_link);
    for (uint64_t i = 0; i < table->sh_size / sizeof(Elf64_Sym); i++) {
        Elf64_Sym sym;
        memcpy(&sym, v->image + table->sh_offset + i * sizeof sym, sizeof sym);
        const char *name = string_at(v, &strings, sym.st_name);
        if (!name) { return damaged(err, "a symbol name"); }
        unsigned visibility = ELF64_ST_VISIBILITY(sym.st_other);
        if (sym.st_shndx == SHN_UNDEF || ELF64_ST_BIND(sym.st_info) == STB_LOCAL ||
            visibility == STV_HIDDEN || visibility == STV_INTERNAL) {
            continue;
        }
        if (strcmp(name, entry) == 0) {
            out->has_entry = true;
        } else if (!toolchain_symbol(name) && !out->extra_symbol) {
            out->extra_symbol = name;
        }
    }
    return FMP_OK;
}

static fmp_status inspect_dynamic(const elf_view *v, const Elf64_Shdr *dynamic, fmp_elf_facts *out,
                                  fmp_err *err)
{
    if (!inside(v, dynamic->sh_offset, dynamic->sh_size) || dynamic->sh_link >= v->head.e_shnum) {
        return damaged(err, "the dynamic section");
    }
    Elf64_Shdr strings = section_at(v, dynamic->sh_link);
    for (uint64_t i = 0; i < dynamic->sh_size / sizeof(Elf64_Dyn); i++) {
        Elf64_Dyn d;
        memcpy(&d, v->image + dynamic->sh_offset + i * sizeof d, sizeof d);
        if (d.d_tag == DT_RPATH || d.d_tag == DT_RUNPATH) {
            out->runpath = string_at(v, &strings, d.d_un.d_val);
            if (!out->runpath) { return damaged(err, "the run path"); }
        }
        if (d.d_tag == DT_NEEDED && out->n_needed < sizeof out->needed / sizeof out->needed[0]) {
            const char *name = string_at(v, &strings, d.d_un.d_val);
            if (!name) { return damaged(err, "the name of a needed library"); }
            out->needed[out->n_needed++] = name;
        }
        out->text_relocations = out->text_relocations || d.d_tag == DT_TEXTREL;
    }
    return FMP_OK;
}

fmp_status fmp_elf_inspect(const unsigned char *image, size_t len, const char *entry, fmp_elf_facts *out,
                           fmp_err *err)
{
    elf_view v;
    memset(out, 0, sizeof *out);
    FMP_TRY(open_view(&v, image, len, err));
    for (size_t i = 0; i < v.head.e_shnum; i++) {
        Elf64_Shdr s = section_at(&v, i);
        if (s.sh_type == SHT_DYNSYM) { FMP_TRY(inspect_symbols(&v, &s, entry, out, err)); }
        if (s.sh_type == SHT_DYNAMIC) { FMP_TRY(inspect_dynamic(&v, &s, out, err)); }
    }
    return FMP_OK;
}
