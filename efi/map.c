/*
 * map.c - see map.h.
 *
 * The descriptor size. UEFI makes it an output; firmware that leaves it alone is known (U-Boot), so
 * it goes in as the size of the descriptor that everybody means. Firmware that says more (EDK II
 * pads to 48 on purpose) is followed. Sizing never divides by it: until a read has succeeded it is
 * not trusted.
 *
 * The guard. At least one firmware wrote more than it had announced (acidanthera bugtracker 1476).
 * Behind our buffer lies a page that nobody needs: when less than the page was overwritten, the
 * damage ends there, and the boot goes on; when the last bytes of the page are gone, nobody knows
 * where it ends, and it does not. The pattern depends on the position, so that a run of equal bytes
 * is noticed. Bytes inside the buffer, behind the size that is reported, say nothing: EDK II merges
 * descriptors in place and leaves what it merged there.
 *
 * The map changes between two calls, also because of our own allocations and of what the console
 * allocates to print. So there is slack, more each time that it was not enough, and an end to it.
 */
#include "map.h"

#include "bytes.h"

/* Rounds of "buffer too small", each with twice the slack of the one before. */
#define MAP_ROUNDS 8u
#define MAP_SLACK  UINT64_C(0x1000)
/* If one of these is damaged, the guard did not hold. */
#define MAP_GUARD_TAIL 64u

/* EFI_MEMORY_DESCRIPTOR, version 1. */
struct map_descriptor {
    uint32_t type;
    uint32_t pad;
    uint64_t start;
    uint64_t virtual_start;
    uint64_t npages;
    uint64_t attribute;
};
_Static_assert(sizeof(struct map_descriptor) == 40, "UEFI 2.10 7.2.3");

#define MAP_RUNTIME_CODE  5u
#define MAP_RUNTIME_DATA  6u
#define MAP_CONVENTIONAL  7u
#define MAP_ATTR_SPECIFIC (UINT64_C(1) << 18) /* EFI_MEMORY_SP */
#define MAP_ATTR_RUNTIME  (UINT64_C(1) << 63)
/* Types that are RAM, free or not: loader, boot and runtime services, conventional, ACPI,
 * persistent, unaccepted. */
#define MAP_RAM_TYPES 0xc6feu

static unsigned char map_pattern(uint64_t i)
{
    return (unsigned char)(0xa5 ^ i ^ i >> 8);
}

static unsigned char *map_guard(const struct map_buffer *m)
{
    return (unsigned char *)m->bytes + m->room;
}

/* Up to where the guard was overwritten, in bytes; 0: it is whole. */
static uint64_t map_guard_damage(const struct map_buffer *m)
{
    const unsigned char *guard = map_guard(m);
    uint64_t i = MAP_GUARD;

    while (i > 0 && guard[i - 1] == map_pattern(i - 1)) {
        i--;
    }
    return i;
}

enum map_result map_read(const struct fw *fw, struct map_buffer *m, const char **why)
{
    struct fw_map r = {
        .bytes = m->bytes, .nbytes = m->room, .stride = sizeof(struct map_descriptor), .version = 1
    };
    uint64_t damage;

    for (uint64_t i = 0; i < MAP_GUARD; i++) {
        map_guard(m)[i] = map_pattern(i);
    }
    m->status = fw->get_map(&r);
    damage = map_guard_damage(m);
    if (damage > m->overrun) {
        m->overrun = damage;
    }
    if (damage > MAP_GUARD - MAP_GUARD_TAIL) {
        *why = "firmware wrote far past its buffer";
        return MAP_BAD;
    }
    if (m->status == FW_BUFFER_TOO_SMALL) {
        if (r.nbytes > MAP_MAX_BYTES) {
            *why = "firmware asks for an absurd size";
            return MAP_BAD;
        }
        m->nbytes = r.nbytes;
        return MAP_GREW;
    }
    if (fw_failed(m->status)) {
        *why = "cannot be read";
        return MAP_BAD;
    }
    if (r.nbytes == 0 || r.nbytes > m->room) {
        *why = "its size makes no sense";
        return MAP_BAD;
    }
    if (r.stride < sizeof(struct map_descriptor) || r.stride % 8 != 0 || r.stride > r.nbytes) {
        *why = "its descriptor size makes no sense";
        return MAP_BAD;
    }
    m->nbytes = r.nbytes;
    m->stride = r.stride;
    m->key = r.key;
    m->version = r.version;
    return MAP_OK;
}

static void map_survey_one(struct map_survey *s, const struct map_descriptor *d)
{
    uint64_t nbytes = d->npages * STUB_PAGE;

    if ((d->type == MAP_RUNTIME_CODE || d->type == MAP_RUNTIME_DATA ||
         (d->attribute & MAP_ATTR_RUNTIME) != 0) &&
        d->start % STUB_PAGE != 0) {
        s->odd_runtime = d->start;
        s->has_odd_runtime = true;
    }
    if (d->npages > UINT64_MAX / STUB_PAGE || d->start > UINT64_MAX - nbytes) {
        return; /* wraps: memmap will say so */
    }
    if (d->type == MAP_CONVENTIONAL && (d->attribute & MAP_ATTR_SPECIFIC) == 0 &&
        s->free_bytes <= UINT64_MAX - nbytes) {
        s->free_bytes += nbytes;
    }
    if (d->type < 32 && (MAP_RAM_TYPES >> d->type & 1) != 0 && d->start + nbytes > s->ram_end) {
        s->ram_end = d->start + nbytes;
    }
}

fw_status_t map_look(const struct fw *fw, struct pool *pool, struct map_survey *s, const char **why)
{
    struct fw_map query = { .stride = sizeof(struct map_descriptor) };
    fw_status_t status = fw->get_map(&query);
    uint64_t slack = MAP_SLACK;

    *s = (struct map_survey){ 0 };
    *why = "its size cannot be read";
    if (status != FW_BUFFER_TOO_SMALL || query.nbytes == 0 || query.nbytes > MAP_MAX_BYTES) {
        return fw_failed(status) && status != FW_BUFFER_TOO_SMALL ? status : FW_DEVICE_ERROR;
    }
    s->nbytes = query.nbytes;
    for (unsigned round = 0; round < MAP_ROUNDS; round++) {
        struct map_buffer m = { .room = fw_round_up(s->nbytes + slack, STUB_PAGE) };
        enum map_result result;
        uint64_t pa;

        status = pool_alloc(pool, m.room + MAP_GUARD, STUB_PAGE, POOL_ANY, &pa);
        if (fw_failed(status)) {
            *why = "no memory for a copy of it";
            return status;
        }
        m.bytes = fw_pointer(pa);
        result = map_read(fw, &m, why);
        if (result == MAP_OK) {
            uint64_t key = m.key;

            result = map_read(fw, &m, why);
            s->key_changed = result == MAP_OK && m.key != key;
        }
        s->overrun = m.overrun > s->overrun ? m.overrun : s->overrun;
        for (uint64_t at = 0; result == MAP_OK && m.nbytes - at >= m.stride; at += m.stride) {
            struct map_descriptor d;

            memcpy(&d, (const unsigned char *)m.bytes + at, sizeof(d));
            map_survey_one(s, &d);
        }
        s->nbytes = m.nbytes;
        s->stride = m.stride;
        if (result == MAP_OK) {
            s->copy = m.bytes;
            s->copy_bytes = m.room + MAP_GUARD;
            s->version = m.version;
            return FW_SUCCESS;
        }
        pool_free(pool, pa);
        if (result == MAP_BAD) {
            return fw_failed(m.status) ? m.status : FW_DEVICE_ERROR;
        }
        s->grew++;
        slack *= 2;
    }
    *why = "it grows faster than it can be read";
    return FW_BUFFER_TOO_SMALL;
}
