/*
 * handover.c - see handover.h.
 *
 * The order is given by what depends on what. The map comes first, for the report is to say what
 * the stub found before it did anything. The options say whether anything slides; the map says how
 * high RAM reaches and so how far the direct map may slide, and how large the buffer for the last
 * map must be; both and the kernel's size give the size of the arena; only an arena that is there
 * has an address, and so page tables. All of it is finished before the last map is read, because
 * from then on nothing may be allocated or printed. If that map does not fit after all, another
 * arena is made with twice the slack, and the first one is given back.
 *
 * The arena, one block, 2 MiB aligned if firmware has such a place:
 *
 *     image | plat_boot | options | first map | report | map | guard page | scratch | page tables |
 *     trampoline
 *
 * The image comes first, to be aligned as well as the arena is. Scratch, which holds nothing yet,
 * comes behind the guard page: a firmware that writes past the end of the map has a megabyte to go
 * before it meets anything of worth.
 *
 * The arena goes below 4 GiB if it can, as a switch to five levels needs its tables there: CR3 is
 * loaded by 32-bit code. If it cannot, any place will do, and there is no switch.
 *
 * The slides. `image_va` and `direct_va` move in whole steps, to any place where the image, or all
 * RAM, still ends within its window. If RAM reaches beyond the window the map is wrong or the
 * machine is larger than the design; the slide is then 0 and the kernel's to judge.
 */
#include "handover.h"

#include "bytes.h"
#include "conf.h"
#include "elf.h"
#include "entropy.h"
#include "exit.h"
#include "inspect.h"
#include "map.h"
#include "pages.h"
#include "pool.h"

#define BELOW_4G         UINT64_C(0xffffffff)
#define HANDOVER_ROUNDS  4u
#define MAP_SPARE        64u /* descriptors; UEFI folklore says at least 8 */
#define DESCRIPTOR_MIN   40u
#define SCRATCH_PER_DESC 512u /* memmap's storage and working lists */
#define SCRATCH_MIN      UINT64_C(0x100000)
#define TABLES_MAX       UINT64_C(0x100000)
#define ARENA_ALIGN      UINT64_C(0x200000)
#define DEFECT           "this is a defect of Plat, please report it"

/* Where the parts are, from the start of the arena; each ends where the next begins. */
struct plan {
    uint64_t image;
    uint64_t boot;
    uint64_t options;
    uint64_t start_map;
    uint64_t report;
    uint64_t map;
    uint64_t guard;
    uint64_t scratch;
    uint64_t tables;
    uint64_t trampoline;
    uint64_t nbytes;
};

struct handover {
    const struct fw *fw;
    const struct machine *machine;
    struct pool pool;
    struct conf conf;
    struct elf_image elf;
    struct map_survey survey;
    struct inspect inspect;
    uint64_t start_map; /* where they are now: the first map, as long as the survey says, ... */
    uint64_t report;    /* ... and the report on the machine, for the kernel */
    uint64_t report_bytes;

    bool pinned;
    bool want_five;
    bool entropy_good;
    uint8_t entropy[32];
    uint64_t image_random;
    uint64_t direct_random;

    struct plan plan;
    uint64_t arena;
    unsigned levels;
    bool switch_levels;
    uint64_t slide;
    uint64_t direct_va;
    struct pages pages;
};

/* One line that says what went wrong; everything goes back to firmware. */
static fw_status_t handover_fail(struct handover *h, fw_status_t status, const char *where,
                                 const char *why, const char *advice)
{
    fw_say(h->fw, "plat: %s: %s, %s; %s\n", where, why, fw_status_name(status), advice);
    inspect_drop(&h->inspect);
    pool_free_all(&h->pool);
    return status;
}

static void handover_options(struct handover *h)
{
    struct plat_option o = { .key_len = 0 };

    conf_gather(h->fw, &h->pool, h->machine->load_options, h->machine->load_options_bytes,
                &h->conf);
    h->pinned = conf_is_on(&h->conf, "nokaslr");
    if (plat_option_find(h->conf.text, h->conf.len, "paging", &o)) {
        h->want_five = o.value_len == 1 && o.value[0] == '5';
        if (!h->want_five && !(o.value_len == 1 && o.value[0] == '4')) {
            fw_say(h->fw, "plat: option paging: is 4 or 5, ignored\n");
        } else if (!h->want_five && h->machine->la57_on) {
            fw_say(h->fw, "plat: option paging: firmware runs with five levels, Plat keeps them\n");
        } else if (h->want_five && !h->machine->has_la57) {
            fw_say(h->fw, "plat: option paging: this processor has four levels only\n");
            h->want_five = false;
        }
    }
}

static void handover_randomise(struct handover *h)
{
    struct entropy e = entropy_gather(h->fw, h->machine);

    h->entropy_good = e.good;
    h->image_random = entropy_next(&e);
    h->direct_random = entropy_next(&e);
    for (unsigned i = 0; i < sizeof(h->entropy) / 8; i++) {
        uint64_t v = entropy_next(&e);

        memcpy(h->entropy + 8 * (size_t)i, &v, 8);
    }
    if (!e.good) {
        fw_say(h->fw, "plat: entropy: firmware and processor have none, random numbers come "
                      "from the clock\n");
    }
}

/* Tell what is odd about the map while it can still be told. */
static void handover_warn(const struct handover *h)
{
    if (h->survey.has_odd_runtime) {
        fw_say(h->fw,
               "plat: memory map: runtime memory at 0x%llx is not page aligned; firmware may "
               "refuse to leave boot services\n",
               (unsigned long long)h->survey.odd_runtime);
    }
    if (h->survey.overrun != 0) {
        fw_say(
            h->fw,
            "plat: memory map: firmware wrote %llu bytes past the end of the buffer; no harm was "
            "done\n",
            (unsigned long long)h->survey.overrun);
    }
}

/* Lay out the arena for a last map of `map_bytes` and `spare` descriptors more. */
static void handover_plan(struct handover *h, uint64_t map_bytes, uint64_t spare)
{
    struct plan *p = &h->plan;
    unsigned levels = h->machine->la57_on || h->want_five ? 5 : 4;
    uint64_t room = fw_round_up(map_bytes + spare * h->survey.stride, STUB_PAGE);
    uint64_t scratch = fw_round_up(room / DESCRIPTOR_MIN * SCRATCH_PER_DESC, STUB_PAGE);
    uint64_t at = h->elf.nbytes;
    uint64_t ntables;

    p->image = 0;
    p->boot = at;
    at += fw_round_up(sizeof(struct plat_boot), STUB_PAGE);
    p->options = at;
    at += fw_round_up(PLAT_OPTIONS_MAX, STUB_PAGE);
    p->start_map = at;
    at += fw_round_up(h->survey.nbytes, STUB_PAGE);
    p->report = at;
    at += fw_round_up(h->report_bytes, STUB_PAGE);
    p->map = at;
    at += room;
    p->guard = at;
    at += MAP_GUARD;
    p->scratch = at;
    at += scratch + SCRATCH_MIN;
    p->tables = at;
    /* The root, the image, the arena, and two single places: the stub's code and the trampoline. */
    ntables = 1 + pages_bound(levels, h->elf.nbytes) + pages_bound(levels, at + TABLES_MAX) +
              2 * pages_bound(levels, 2 * STUB_PAGE);
    at += ntables * STUB_PAGE;
    p->trampoline = at;
    at += STUB_PAGE;
    p->nbytes = at;
}

/* Where everything goes, now that the arena has a place. */
static void handover_place(struct handover *h)
{
    uint64_t base, window, steps, end;

    h->levels = h->machine->la57_on ? 5 : 4;
    h->switch_levels = false;
    if (h->want_five && !h->machine->la57_on) {
        if (h->arena + h->plan.nbytes - 1 <= BELOW_4G) {
            h->levels = 5;
            h->switch_levels = true;
        } else {
            fw_say(h->fw, "plat: option paging: no memory below 4 GiB to switch in, staying with "
                          "four levels\n");
        }
    }
    base = h->levels == 5 ? PLAT_DIRECT_BASE5 : PLAT_DIRECT_BASE4;
    window = (h->levels == 5 ? PLAT_FRAMES_BASE5 : PLAT_FRAMES_BASE4) - base;
    h->slide = 0;
    h->direct_va = base;
    if (h->pinned) {
        return;
    }
    end = fw_round_up(h->elf.nbytes, PLAT_IMAGE_ALIGN);
    steps = (PLAT_IMAGE_SLIDE - end) / PLAT_IMAGE_ALIGN + 1;
    h->slide = h->image_random % steps * PLAT_IMAGE_ALIGN;
    if (h->survey.ram_end <= window) {
        end = fw_round_up(h->survey.ram_end, PLAT_DIRECT_ALIGN);
        steps = (window - end) / PLAT_DIRECT_ALIGN + 1;
        h->direct_va += h->direct_random % steps * PLAT_DIRECT_ALIGN;
    }
}

/* The page tables of plat/boot.h. NULL, or what is wrong. */
static const char *handover_map(struct handover *h)
{
    const struct machine *m = h->machine;
    const struct plan *p = &h->plan;
    uint64_t code = m->jump_code & ~(STUB_PAGE - 1);
    uint64_t code_bytes = fw_round_up(m->jump_code + m->jump_bytes, STUB_PAGE) - code;
    const char *wrong;

    h->pages = pages_make(h->arena + p->tables, (p->trampoline - p->tables) / STUB_PAGE, h->levels,
                          m->has_nx);
    wrong = pages_map(&h->pages, code, code, code_bytes, PAGES_EXECUTE);
    if (wrong == NULL && h->switch_levels) {
        uint64_t at = h->arena + p->trampoline;

        wrong = pages_map(&h->pages, at, at, STUB_PAGE, PAGES_EXECUTE);
    }
    if (wrong == NULL) {
        wrong = pages_map(&h->pages, h->direct_va + h->arena, h->arena, p->nbytes, PAGES_WRITE);
    }
    for (uint32_t i = 0; wrong == NULL && i < h->elf.nsegments; i++) {
        const struct elf_segment *s = &h->elf.segments[i];
        unsigned rights = s->writable ? PAGES_WRITE : s->executable ? PAGES_EXECUTE : PAGES_READ;

        wrong =
            pages_map(&h->pages, PLAT_IMAGE_BASE + h->slide + s->offset,
                      h->arena + p->image + s->offset, fw_round_up(s->nbytes, STUB_PAGE), rights);
    }
    return wrong;
}

static void handover_vendor(char *to, size_t room, const uint16_t *vendor)
{
    size_t n = 0;

    while (vendor != NULL && vendor[n] != 0 && n < room - 1) {
        to[n] = (char)(vendor[n] >= 0x20 && vendor[n] < 0x7f ? vendor[n] : '?');
        n++;
    }
    to[n] = '\0';
}

/* Everything in struct plat_boot but what only the exit brings. */
static void handover_fill(const struct handover *h, struct plat_boot *b)
{
    const struct machine *m = h->machine;
    const struct plan *p = &h->plan;

    *b = (struct plat_boot){
        .magic = PLAT_BOOT_MAGIC,
        .version = PLAT_BOOT_VERSION,
        .nbytes = sizeof(*b),
        .levels = h->levels,
        .flags = (m->secure_boot ? PLAT_BOOT_SECURE_BOOT : 0) |
                 (h->entropy_good ? PLAT_BOOT_ENTROPY : 0) | (h->pinned ? PLAT_BOOT_PINNED : 0),
        .image = h->arena + p->image,
        .image_bytes = h->elf.nbytes,
        .image_va = PLAT_IMAGE_BASE + h->slide,
        .direct_va = h->direct_va,
        .arena = h->arena,
        .arena_bytes = p->nbytes,
        .scratch = h->arena + p->scratch,
        .scratch_bytes = p->tables - p->scratch,
        .map = h->arena + p->map,
        .nranges = 4,
        .ranges = {
            { h->arena + p->image, p->boot - p->image, PLAT_RANGE_KERNEL, 0 },
            { h->arena + p->boot, p->tables - p->boot, PLAT_RANGE_BOOT, 0 },
            { h->arena + p->tables, p->nbytes - p->tables, PLAT_RANGE_TABLES, 0 },
            { m->stub_base, m->stub_bytes, PLAT_RANGE_STUB, 0 },
        },
        .options = h->arena + p->options,
        .options_bytes = h->conf.len + 1,
        .system_table = m->system_table,
        .rsdp = m->rsdp,
        .smbios = m->smbios,
        .memory_attributes = m->memory_attributes,
        .firmware_revision = m->firmware_revision,
        .uefi_revision = m->uefi_revision,
        .fb = m->fb,
        .tsc_start = m->tsc_start,
        .start_map = h->arena + p->start_map,
        .start_map_bytes = h->survey.nbytes,
        .start_map_stride = h->survey.stride,
        .start_map_version = h->survey.version,
        .report = h->arena + p->report,
        .report_bytes = (uint32_t)h->report_bytes,
    };
    memcpy(b->entropy, h->entropy, sizeof(b->entropy));
    handover_vendor(b->firmware_vendor, sizeof(b->firmware_vendor), m->firmware_vendor);
    memcpy(fw_pointer(b->options), h->conf.text, h->conf.len + 1);
}

/*
 * The first map and the report go into the arena, and what they were in before goes back to
 * firmware: memory of their own, or an arena that was too small.
 */
static void handover_carry(struct handover *h, uint64_t old_arena)
{
    struct plat_boot *b = fw_pointer(h->arena + h->plan.boot);

    memcpy(fw_pointer(b->start_map), fw_pointer(h->start_map), h->survey.nbytes);
    memcpy(fw_pointer(b->report), fw_pointer(h->report), h->report_bytes);
    pool_free(&h->pool, h->start_map);
    pool_free(&h->pool, h->report);
    pool_free(&h->pool, old_arena);
    h->start_map = b->start_map;
    h->report = b->report;
}

/* Make the arena and all that is in it. */
static fw_status_t handover_prepare(struct handover *h)
{
    uint64_t old_arena = h->arena;
    const char *wrong;
    fw_status_t s;

    if (h->survey.free_bytes < HANDOVER_MIN_FREE) {
        fw_say(h->fw, "Plat needs at least 16 MiB of free memory; this machine has %llu KiB\n",
               (unsigned long long)(h->survey.free_bytes / 1024));
        inspect_drop(&h->inspect);
        pool_free_all(&h->pool);
        return FW_OUT_OF_RESOURCES;
    }
    s = pool_alloc(&h->pool, h->plan.nbytes, ARENA_ALIGN, BELOW_4G, &h->arena);
    if (fw_failed(s)) {
        s = pool_alloc(&h->pool, h->plan.nbytes, ARENA_ALIGN, POOL_ANY, &h->arena);
    }
    if (fw_failed(s)) {
        return handover_fail(h, s, "memory", "no block large enough for the kernel",
                             "start Plat before other programs");
    }
    handover_place(h);
    elf_load(&h->elf, fw_pointer(h->arena + h->plan.image), h->slide);
    wrong = handover_map(h);
    if (wrong != NULL) {
        return handover_fail(h, FW_LOAD_ERROR, "page tables", wrong, DEFECT);
    }
    handover_fill(h, fw_pointer(h->arena + h->plan.boot));
    handover_carry(h, old_arena);
    return FW_SUCCESS;
}

/* Boot services are gone: note how it went, and go. */
static fw_status_t handover_go(struct handover *h, const struct map_buffer *m,
                               const struct exit_report *r)
{
    struct plat_boot *b = fw_pointer(h->arena + h->plan.boot);
    struct fw_jump j = {
        .root = h->pages.root,
        .entry = b->image_va + h->elf.entry,
        .boot_va = h->direct_va + h->arena + h->plan.boot,
        .nx = h->machine->has_nx,
    };

    b->tsc_exit = h->fw->tsc();
    b->map_bytes = m->nbytes;
    b->map_stride = m->stride;
    b->map_version = m->version;
    b->exit_tries = r->tries;
    b->map_grew = r->grew + h->survey.grew;
    if (m->overrun != 0 || h->survey.overrun != 0) {
        b->flags |= PLAT_BOOT_MAP_OVERRUN;
    }
    if (h->switch_levels) {
        j.low_pml4 = pages_low_pml4(&h->pages);
        j.trampoline = h->arena + h->plan.trampoline;
    }
    h->fw->jump(&j);
    return FW_SUCCESS;
}

fw_status_t handover_run(const struct fw *fw, const struct machine *machine)
{
    static struct handover h; /* too large for a stack that is firmware's */
    struct exit_report report = { .status = FW_SUCCESS };
    uint64_t map_bytes, spare;
    const char *why;
    fw_status_t s;

    h = (struct handover){ .fw = fw, .machine = machine, .pool = pool_make(fw) };
    h.inspect.pool = pool_make(fw);
    s = map_look(fw, &h.pool, &h.survey, &why);
    if (fw_failed(s)) {
        return handover_fail(&h, s, "memory map", why, "update the firmware");
    }
    handover_options(&h);
    handover_warn(&h);
    inspect_begin(&h.inspect, fw, machine, &h.survey, conf_is_on(&h.conf, "identifiers"));
    if (inspect_run(&h.inspect, &h.conf) == INSPECT_EXIT) {
        inspect_drop(&h.inspect);
        pool_free_all(&h.pool);
        return FW_SUCCESS;
    }
    h.start_map = (uintptr_t)h.survey.copy;
    inspect_facts(&h.inspect, &h.pool, &h.report, &h.report_bytes);
    inspect_drop(&h.inspect);

    fw_say(fw, "Plat: loading the kernel\n");
    why = elf_parse(machine->kernel, machine->kernel_bytes, PLAT_IMAGE_BASE, PLAT_IMAGE_SLIDE,
                    &h.elf);
    if (why != NULL) {
        return handover_fail(&h, FW_LOAD_ERROR, "the kernel inside this file", why,
                             "copy the file again");
    }
    handover_randomise(&h);

    map_bytes = h.survey.nbytes;
    spare = MAP_SPARE + h.survey.nbytes / h.survey.stride / 4;
    for (unsigned round = 0; round < HANDOVER_ROUNDS; round++) {
        struct map_buffer m = { .room = 0 };
        enum exit_result result;

        handover_plan(&h, map_bytes, spare);
        s = handover_prepare(&h);
        if (fw_failed(s)) {
            return s;
        }
        m.bytes = fw_pointer(h.arena + h.plan.map);
        m.room = h.plan.guard - h.plan.map;
        result = exit_leave(fw, &m, &report);
        switch (result) {
        case EXIT_DONE:
            return handover_go(&h, &m, &report);
        case EXIT_STUCK:
            exit_give_up(fw, &report);
            return report.status;
        case EXIT_STAY:
            return handover_fail(&h, fw_failed(report.status) ? report.status : FW_DEVICE_ERROR,
                                 "memory map", report.why, "update the firmware");
        case EXIT_GREW:
            map_bytes = m.nbytes > map_bytes ? m.nbytes : map_bytes;
            spare *= 2;
            break;
        }
    }
    return handover_fail(&h, FW_BUFFER_TOO_SMALL, "memory map", "it grows faster than it is read",
                         "update the firmware");
}
