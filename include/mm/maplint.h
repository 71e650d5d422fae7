/*
 * maplint.h - what is wrong with, or worth knowing about, a memory map: rules, and one list of
 * findings in one order.
 *
 * Model:    a rule is a line of one table: what it looks for, why that matters, what to do, and
 *           where it is written. memmap_build() finds what it has to repair (M01 to M05, M07 to
 *           M09, M12 to M16, M18, M39); maplint_run() looks at the map and at the facts around it
 *           for everything else, and puts both into one list, the worst first. A fact that is not
 *           known silences the rules that need it: a finding is never a guess.
 *
 *           Error:   the specification is broken in a way that harms, or something will be
 *                    overwritten.
 *           Warning: allowed, or harmless here, but known to break software in use.
 *           Info:    nothing is wrong; whoever writes an operating system wants to know.
 *
 * Locking:  none. Everything is read except the result, which its owner guards.
 *
 * Memory:   nothing is allocated; the caller gives the array of findings. No recursion.
 *
 * Source:   each rule names its own; "UEFI" is UEFI 2.10 unless it says otherwise.
 */
#ifndef MM_MAPLINT_H
#define MM_MAPLINT_H

#include "mm/mapfile.h"
#include "mm/memmap.h"
#include "mm/sink.h"

/* ---- the rules ------------------------------------------------------------------------------- */

/* In the order of the table. M is about the map, A about the Memory Attributes Table. */
enum maplint_id {
    MAPLINT_M01,
    MAPLINT_M02,
    MAPLINT_M03,
    MAPLINT_M04,
    MAPLINT_M05,
    MAPLINT_M06,
    MAPLINT_M07,
    MAPLINT_M08,
    MAPLINT_M09,
    MAPLINT_M10,
    MAPLINT_M11,
    MAPLINT_M12,
    MAPLINT_M13,
    MAPLINT_M14,
    MAPLINT_M15,
    MAPLINT_M16,
    MAPLINT_M17,
    MAPLINT_M18,
    MAPLINT_M19,
    MAPLINT_M20,
    MAPLINT_M21,
    MAPLINT_M22,
    MAPLINT_M23,
    MAPLINT_M24,
    MAPLINT_M25,
    MAPLINT_M26,
    MAPLINT_M27,
    MAPLINT_M28,
    MAPLINT_M29,
    MAPLINT_M30,
    MAPLINT_M31,
    MAPLINT_M32,
    MAPLINT_M33,
    MAPLINT_M34,
    MAPLINT_M35,
    MAPLINT_M36,
    MAPLINT_M37,
    MAPLINT_M38,
    MAPLINT_M39,
    MAPLINT_M40,
    MAPLINT_M41,
    MAPLINT_M42,
    MAPLINT_M43,
    MAPLINT_A01,
    MAPLINT_A02,
    MAPLINT_A03,
    MAPLINT_A04,
    MAPLINT_A05,
    MAPLINT_A06,
    MAPLINT_A07,
    MAPLINT_A08,
    MAPLINT_NRULES
};

struct maplint_rule {
    const char *id;   /* "M04" */
    const char *what; /* what is so, and what was done about it: one sentence, no full stop */
    const char *consequence; /* what comes of it */
    const char *advice;      /* what to do: for who writes an OS, or who writes firmware */
    const char *source;      /* where it is written */
    uint32_t severity;       /* enum memmap_severity, of every finding of this rule */
};

extern const struct maplint_rule maplint_rules[MAPLINT_NRULES];

/* The rule called `id`, as "M04" or "m04"; NULL if there is none. */
const struct maplint_rule *maplint_rule(const char *id);

/* "error", "warning", "info"; "unknown" for what is none. */
const char *maplint_severity_name(uint32_t severity);

/* ---- the facts around a map ------------------------------------------------------------------ */

enum maplint_answer { MAPLINT_UNKNOWN, MAPLINT_NO, MAPLINT_YES };

/* Bytes [base, base + nbytes); nbytes 0: not known. One that wraps is cut off at 2^64. */
struct maplint_range {
    uint64_t base;
    uint64_t nbytes;
};

/*
 * What is known besides the descriptors. All zero: nothing is. Whatever it points to is borrowed
 * for the time of a call.
 */
struct maplint_facts {
    enum mapfile_arch arch;
    uint32_t phys_bits;  /* width of a physical address as the CPU says; 0: not known */
    uint64_t attr_known; /* attribute bits that are firmware's, as in struct mapfile; 0: none is */

    /* YES: size, stride and version of the map are firmware's, not made up by an importer. */
    enum maplint_answer raw_is_firmware;
    /* YES: the VirtualStart fields are firmware's, read before SetVirtualAddressMap(). */
    enum maplint_answer virt_is_firmware;
    /* YES: the map key changed between two reads, with no call in between that allocates. */
    enum maplint_answer key_changed;

    /* Firmware tables, whole or at least their first byte. */
    struct maplint_range rsdp;
    struct maplint_range xsdt;
    struct maplint_range facs;
    struct maplint_range smbios; /* the entry point */

    /* Ours: the loaded image, the stack we run on, the buffer of the map, what we hand over. */
    struct maplint_range image;
    struct maplint_range stack;
    struct maplint_range map_buffer;
    const struct maplint_range *handed_over;
    uint32_t nhanded_over;

    const struct maplint_range *ecam; /* PCI configuration space, from the MCFG table */
    uint32_t necam;
    const struct maplint_range *framebuffers;
    uint32_t nframebuffers;

    /*
     * The Memory Attributes Table, see maplint_set_mat(): its entries, any bytes, as far as they
     * can be read, with the stride and version of its header; `bytes` NULL: there is none, or it
     * is not known. `mat_count` is what the header gives as their number.
     */
    struct memmap_raw mat;
    uint32_t mat_count;
};

/* The Memory Attributes Table as it lies in memory: `nbytes` can be read at `table`, not NULL. */
void maplint_set_mat(struct maplint_facts *facts, const void *table, uint64_t nbytes);

/* ---- running them ---------------------------------------------------------------------------- */

/* Room for as many findings as anybody reads; real machines have fewer than 20. */
#define MAPLINT_ROOM 4096

/*
 * The caller sets `findings` and `max`, which may be 0; the rest is answer. When there are more
 * findings than room, those that come first in the order are kept. `count` counts the others, too.
 */
struct maplint_result {
    struct memmap_finding *findings;
    uint32_t max;
    uint32_t n;
    uint64_t lost;
    uint64_t count[MEMMAP_ERROR + 1]; /* by severity */
};

/*
 * Every rule but M38, over `m`. The order is total, so that it depends neither on chance nor on the
 * order of the descriptors more than it must: errors first, then by address (a finding on the map
 * as a whole has address 0), end, rule, descriptor. Rules about places do not look under a claim
 * (memmap_claim): lint first, claim later.
 * Findings that memmap_build() had to drop are counted as lost, but in no severity.
 * Cost: O((n + f) log(n + f)) in descriptors and findings, plus O(n) for every range in `facts`.
 */
void maplint_run(struct maplint_result *out, const struct memmap *m,
                 const struct maplint_facts *facts);

/*
 * M38, over the maps of two boots of one machine: memory that runtime services need in only one of
 * the two. Neighbouring or split descriptors of one place are no difference. `desc` and `other` of
 * a finding are MEMMAP_NODESC; its subject says which map has the range. Order, room and cost as
 * above; both maps must be without claims.
 */
void maplint_compare(struct maplint_result *out, const struct memmap *first,
                     const struct memmap *second);

/* ---- saying it ------------------------------------------------------------------------------- */

/*
 * One finding on one line, without the line's end:
 * "error M04 at 0x0, descriptor 3: a descriptor has no pages; it is left out".
 */
void maplint_put_finding(const struct mm_sink *to, const struct memmap_finding *f);

/* A rule in full: lines of at most `columns` >= 40 characters, but for words that are longer. */
void maplint_put_rule(const struct mm_sink *to, const struct maplint_rule *rule, size_t columns);

#endif
