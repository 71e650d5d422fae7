/*
 * cmd_show.c - looking at a map: show, summary, at.
 */
#include "platmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mm/mapshow.h"
#include "mm/mapsum.h"

#define HEAD "\033[1m"
#define OFF  "\033[0m"

/* Text in a style, if there is colour. */
static void put_styled(const struct args *a, const char *style, const char *text)
{
    say(a->to, "%s%s%s", a->colour ? style : "", text, a->colour ? OFF : "");
}

/* Of a type and attributes: "UC|WC", "-" for none, "?" if the format does not tell. */
static const char *attr_text(const struct input *in, uint64_t attr, char *buf, size_t nbytes)
{
    if (in->capture->attr_known == 0 && attr == 0) {
        return "?";
    }
    return memmap_attr_text(attr, buf, nbytes) != 0 ? buf : "-";
}

static uint64_t desc_bytes(const struct efi_memory_descriptor *d)
{
    return d->number_of_pages <= UINT64_MAX >> MM_PAGE_SHIFT ? d->number_of_pages << MM_PAGE_SHIFT
                                                             : UINT64_MAX;
}

/* ---- show ------------------------------------------------------------------------------------ */

/* Is `word` the type's name or number, or the name of the kind? */
static bool is_called(const char *word, size_t n, uint32_t type, enum memmap_kind kind)
{
    const char *names[] = { memmap_type_name(type), memmap_kind_name(kind) };
    char number[12];

    snprintf(number, sizeof(number), "%u", type);
    for (size_t i = 0; i < MM_COUNTOF(names); i++) {
        if (strlen(names[i]) == n && strncasecmp(names[i], word, n) == 0) {
            return true;
        }
    }
    return strlen(number) == n && strncmp(number, word, n) == 0;
}

/* Is it one of those that --type asks for, a list with commas? */
static bool is_wanted(const struct args *a, uint32_t type, enum memmap_kind kind)
{
    const char *list = a->option[OPT_TYPE];

    if (list == NULL) {
        return true;
    }
    for (;;) {
        size_t n = strcspn(list, ",");

        if (is_called(list, n, type, kind)) {
            return true;
        }
        if (list[n] == '\0') {
            return false;
        }
        list += n + 1;
    }
}

/* Does any word of --type name anything? One that does not is a slip of the pen. */
static bool check_types(const struct args *a)
{
    const char *list = a->option[OPT_TYPE];

    while (list != NULL) {
        size_t n = strcspn(list, ",");
        bool known = n != 0 && strspn(list, "0123456789") >= n;

        for (uint32_t type = 0; type <= EFI_MT_UNACCEPTED; type++) {
            known = known || is_called(list, n, type, MEMMAP_RESERVED);
        }
        for (uint32_t kind = 0; kind < MEMMAP_KINDS; kind++) {
            known = known || is_called(list, n, EFI_MT_RESERVED, kind);
        }
        if (!known) {
            complain("--type: there is no memory type %.*s", (int)n, list);
            return false;
        }
        list = list[n] != '\0' ? list + n + 1 : NULL;
    }
    return true;
}

static void show_descriptors(const struct args *a, const struct input *in)
{
    uint32_t shown = 0;
    uint64_t npages = 0;
    struct size_text size;

    put_styled(a, HEAD,
               "   #  start                     pages       size  type                 "
               "attributes\n");
    for (uint32_t i = 0; i < in->map.ndescs; i++) {
        struct efi_memory_descriptor d = memmap_desc(&in->map, i);
        enum memmap_kind kind = memmap_kind_of(d.type, d.attribute);
        char attr[160];
        char type[32];

        if (!is_wanted(a, d.type, kind)) {
            continue;
        }
        snprintf(type, sizeof(type), "%-19s", memmap_type_name(d.type));
        say(a->to, "%4u  0x%012llx %16llu %10s  ", i, (unsigned long long)d.physical_start,
            (unsigned long long)d.number_of_pages, size_text(&size, desc_bytes(&d)));
        put_styled(a, mapshow_kind_style(kind), type);
        say(a->to, "  %s\n", attr_text(in, d.attribute, attr, sizeof(attr)));
        shown++;
        npages = npages + d.number_of_pages >= npages ? npages + d.number_of_pages : UINT64_MAX;
    }
    say(a->to, "%u descriptors, %llu pages\n", shown, (unsigned long long)npages);
}

static void show_regions(const struct args *a, const struct input *in)
{
    uint32_t shown = 0;
    uint64_t nbytes = 0;
    struct size_text size;

    put_styled(a, HEAD,
               "base           end                  size  kind             type"
               "                 from   attributes\n");
    for (uint32_t i = 0; i < in->map.nregions; i++) {
        const struct memmap_region *r = &in->map.regions[i];
        char attr[160];
        char kind[32];
        char from[16] = "claim";

        if (!is_wanted(a, r->type, r->kind)) {
            continue;
        }
        snprintf(kind, sizeof(kind), "%-15s", memmap_kind_name(r->kind));
        if (r->desc != MEMMAP_NODESC) {
            snprintf(from, sizeof(from), "#%u", r->desc);
        }
        say(a->to, "0x%012llx 0x%012llx %10s  ", (unsigned long long)r->base,
            (unsigned long long)r->end, size_text(&size, r->end - r->base));
        put_styled(a, mapshow_kind_style(r->kind), kind);
        say(a->to, "  %-19s  %-5s  %s\n",
            r->desc != MEMMAP_NODESC ? memmap_type_name(r->type) : "-", from,
            attr_text(in, r->attr, attr, sizeof(attr)));
        shown++;
        nbytes += r->end - r->base;
    }
    say(a->to, "%u regions, %s; ends are not included\n", shown, size_text(&size, nbytes));
}

struct showing {
    const struct args *args;
    void (*put)(const struct args *a, const struct input *in);
    bool is_first;
};

/* Its title, and what `put` has to say of it. */
static int show_one(void *ctx, struct input *in)
{
    struct showing *s = ctx;

    say(s->args->to, "%s%.900s: ", s->is_first ? "" : "\n", in->name);
    input_put_title(s->args->to, in);
    s->put(s->args, in);
    s->is_first = false;
    return STATUS_OK;
}

static int show_each(const struct args *a,
                     void (*put)(const struct args *a, const struct input *in))
{
    struct showing s = { .args = a, .put = put, .is_first = true };
    int status = STATUS_OK;

    for (int i = 0; i < a->nwords; i++) {
        status = worse_of(status, input_each(a->words[i], a->option[OPT_MAP], show_one, &s));
    }
    return status;
}

/* Unless it is said which: descriptors, but of the kernel's view its regions, which are all that it
 * has. */
static void show_map(const struct args *a, const struct input *in)
{
    bool regions = a->option[OPT_NORMALISED] != NULL ||
                   (in->capture->when == REPORT_KERNEL && a->option[OPT_RAW] == NULL);

    (regions ? show_regions : show_descriptors)(a, in);
}

int cmd_show(const struct args *a)
{
    if (!check_types(a)) {
        return STATUS_TROUBLE;
    }
    if (a->option[OPT_RAW] != NULL && a->option[OPT_NORMALISED] != NULL) {
        complain("show: --raw or --normalised, not both");
        return STATUS_TROUBLE;
    }
    return show_each(a, show_map);
}

/* ---- summary --------------------------------------------------------------------------------- */

static void put_summary(const struct args *a, const struct input *in)
{
    struct mapsum s;

    mapsum_make(&s, &in->map);
    mapsum_put(a->to, &s);
}

int cmd_summary(const struct args *a)
{
    return show_each(a, put_summary);
}

/* ---- at -------------------------------------------------------------------------------------- */

/* Hexadecimal with 0x, else decimal: digits alone mean what they say. */
static bool parse_address(const char *s, uint64_t *addr)
{
    bool is_hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
    const char *digits = is_hex ? s + 2 : s;
    char *end;

    if (strspn(digits, is_hex ? "0123456789abcdefABCDEF" : "0123456789") == 0) {
        return false;
    }
    errno = 0;
    *addr = strtoull(digits, &end, is_hex ? 16 : 10);
    return *end == '\0' && errno == 0;
}

int cmd_at(const struct args *a)
{
    struct mapshow show = { .colour = a->colour };
    struct maplint_result lint;
    struct input in;
    uint64_t addr;
    bool found;

    if (!parse_address(a->words[0], &addr)) {
        complain("at: %s is no address; write 0x7e6ed000, or a decimal number", a->words[0]);
        return STATUS_TROUBLE;
    }
    if (!input_open(&in, a->words[1], a->option[OPT_MAP])) {
        return STATUS_TROUBLE;
    }
    input_assume_arch(&in, a->arch);
    show.map = &in.map;
    show.attr_known = in.capture->attr_known;
    show.lines = in.lines;
    lint = input_lint(&in);
    found = mapshow_put_at(a->to, &show, &lint, addr);
    if (!found && !in.capture->is_whole) {
        say(a->to, NOT_WHOLE "\n");
    }
    free(lint.findings);
    input_close(&in);
    return found ? STATUS_OK : STATUS_FOUND;
}
