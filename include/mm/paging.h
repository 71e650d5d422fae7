/*
 * paging.h - x86-64 page tables, four or five levels, edited as data.
 *
 * Model:    a `struct pagetable` is a root frame and what the processor can do. pt_map(),
 *           pt_unmap() and pt_protect() work on ranges of virtual addresses and pick 4 KiB, 2 MiB
 *           or 1 GiB leaves, the largest that alignment, length and the processor allow; a large
 *           leaf that a change covers only in part is split first. Each call first reserves every
 *           table frame it needs and then commits, so it does all or nothing. Tables are reached
 *           through port_ptr(). Nothing here executes a privileged instruction.
 *
 * Locking:  one lock per page table, rank MM_RANK_PAGING, taken inside; frames come from and go to
 *           struct pt_frames with it held.
 *
 * Memory:   table frames are owned by the page table and given back by pt_unmap() when empty (not
 *           those of a shared upper half, see pt_share_upper()), and by pt_destroy().
 *
 * TLB:      a call that changed present entries ends with one port_tlb_flush() of its range. The
 *           lock is held until that is done: only then are emptied tables given back, and only then
 *           may another call use the entries that linked them. Mapping needs no flush.
 *
 * Source:   Intel SDM vol. 3A ch. 4; AMD64 APM vol. 2 ch. 5. Bit layouts are in x86/pte.h.
 */
#ifndef MM_PAGING_H
#define MM_PAGING_H

#include "mm/lock.h"
#include "mm/types.h"
#include "x86/pte.h"

/* Rights and memory type of a mapping. Readable is implied. */
#define PT_WRITE     (1u << 0)
#define PT_EXEC      (1u << 1) /* with PT_WRITE: MM_EINVAL unless PT_WX_OK too */
#define PT_USER      (1u << 2) /* lower half only */
#define PT_GLOBAL    (1u << 3) /* kept across a change of root; ignored without `global` */
#define PT_WB        (0u << 4) /* memory type: write-back */
#define PT_UC        (1u << 4) /* uncached: MMIO */
#define PT_WC        (2u << 4) /* write-combining: frame buffers */
#define PT_TYPE_MASK (3u << 4)
#define PT_SMALL     (1u << 6) /* pt_map: 4 KiB leaves only; ignored elsewhere */
/* Writable and executable on purpose: runtime code of firmware that has no attributes table. */
#define PT_WX_OK (1u << 7)

/*
 * What IA32_PAT must hold on every processor that uses these tables (SDM vol. 3A 11.12.4; APM
 * vol. 2 7.8): a leaf picks a byte of it by PAT, PCD, PWT. Bytes 0 to 3 are 06h WB, 01h WC, 07h UC-
 * and 00h UC, and so are 4 to 7, so that the PAT bit, whose place depends on the leaf's size, never
 * matters. PT_WB is index 0, PT_WC 1, PT_UC 3; the reset value differs in 1 and 5 (WT) only.
 */
#define PT_PAT_VALUE UINT64_C(0x0007010600070106)

/*
 * Where table frames come from. Both are called with the page table's lock held (pt_share_upper():
 * the kernel's). Frames are RAM below 2^pa_bits that port_ptr() reaches.
 */
struct pt_frames {
    pfn_t (*get)(void *ctx); /* one frame, any contents, or PFN_NONE */
    void (*put)(void *ctx, pfn_t pfn);
    void *ctx;
};

/* What the processor can do; set once. */
struct pt_features {
    unsigned levels;  /* 4 or 5 */
    bool nx;          /* EFER.NXE is on; if not, PT_EXEC is implied everywhere */
    bool page1g;      /* CPUID 80000001h EDX[26] */
    bool global;      /* CR4.PGE */
    unsigned pa_bits; /* MAXPHYADDR, 32..52 */
};

/* Whose tables translate the upper half. */
enum pt_upper {
    PT_UPPER_OWN,      /* ours: they come and go with what is mapped */
    PT_UPPER_LENT,     /* ours, and linked from other roots too: the root's entries stay for ever */
    PT_UPPER_BORROWED, /* another page table's, and edited only there */
};

/* Locking: (l) lock   (const) set by pt_init */
struct pagetable {
    struct mm_lock lock;
    pa_t root;               /* (const) what CR3 holds */
    struct pt_features feat; /* (const) */
    struct pt_frames frames; /* (const) */
    enum pt_upper upper;     /* (l) */
    uint64_t ntables;        /* (l) table frames owned, root included */
    uint64_t tables_sum;     /* (l) a fingerprint of which they are and where, for pt_check() */
};

/* One step of a walk: the entry at `level` (5 or 4 down to 1) and where it lies. */
struct pt_step {
    unsigned level;
    unsigned index;
    pa_t entry_pa;
    pte_t entry;
};

struct pt_walk {
    struct pt_step step[5];
    unsigned nsteps; /* entries read; the last one is the leaf, or the entry that is not present */
    bool present;
    pa_t pa;             /* where `va` leads, if present */
    uint64_t leaf_bytes; /* 4 KiB, 2 MiB, 1 GiB, if present; the span of the missing entry if not */
    unsigned flags;      /* PT_* effective over all levels, if present */
};

/* A run of addresses with equal rights, mapped to one physical run by leaves of one size. */
struct pt_range {
    uint64_t va;
    uint64_t nbytes;
    pa_t pa;
    uint64_t leaf_bytes;
    unsigned flags;
};

/*
 * Make an empty page table: takes one frame for the root. `*frames` and `*feat` are copied.
 * Errors: MM_EINVAL (features out of range), MM_ENOMEM; *pt is then not touched.
 */
MM_MUST_CHECK mm_err_t pt_init(struct pagetable *pt, const struct pt_features *feat,
                               const struct pt_frames *frames);

/*
 * Make an empty page table whose upper half (kernel addresses) is that of `kernel`, with the same
 * features and frames. All 256 upper entries of the kernel's root are filled in first, so that
 * later changes to the kernel's half show in every address space; the new page table itself cannot
 * edit that half (MM_EINVAL). `kernel` outlives *pt; one with a borrowed upper half stops the
 * machine. Errors: MM_ENOMEM; nothing has changed then.
 */
MM_MUST_CHECK mm_err_t pt_share_upper(struct pagetable *pt, struct pagetable *kernel);

/*
 * Give back every table frame (a borrowed upper half stays). The caller has made sure that no
 * processor uses it. *pt is dead afterwards.
 */
void pt_destroy(struct pagetable *pt);

/* Is [va, va + nbytes) page aligned, not empty, and inside one canonical half? */
bool pt_range_ok(const struct pagetable *pt, uint64_t va, uint64_t nbytes);

/*
 * Map [va, va + nbytes) to [pa, pa + nbytes) with `flags`. Nothing of it may be mapped yet.
 * Errors: MM_EINVAL (not pt_range_ok(), a borrowed half, `pa` misaligned or beyond MAXPHYADDR, W+X,
 * PT_USER in the upper half), MM_EBUSY (some of it is mapped), MM_ENOMEM; nothing has changed then.
 * Cost: O(leaves).
 */
MM_MUST_CHECK mm_err_t pt_map(struct pagetable *pt, uint64_t va, pa_t pa, uint64_t nbytes,
                              unsigned flags);

/*
 * Remove whatever is mapped in [va, va + nbytes); holes in it are fine.
 * Errors: MM_EINVAL, MM_ENOMEM (a large leaf at an end had to be split); nothing has changed then.
 */
MM_MUST_CHECK mm_err_t pt_unmap(struct pagetable *pt, uint64_t va, uint64_t nbytes);

/*
 * Give everything mapped in [va, va + nbytes) the rights and memory type `flags`.
 * A PT_USER leaf keeps its accessed and dirty bits, but for one that a processor sets meanwhile.
 * Nothing is written or flushed when all of it is as asked for already.
 * Errors: MM_EINVAL, MM_ENOENT (a hole in it), MM_ENOMEM; nothing has changed then.
 */
MM_MUST_CHECK mm_err_t pt_protect(struct pagetable *pt, uint64_t va, uint64_t nbytes,
                                  unsigned flags);

/* Where does `va` lead, entry by entry. Takes no lock, so that a fault handler may ask. A `va` that
 * is not canonical: nsteps == 0. */
void pt_walk(const struct pagetable *pt, uint64_t va, struct pt_walk *w);

/*
 * Call `fn` for each range in rising order of address, merged as far as struct pt_range allows;
 * stop when it returns false. Takes no lock: the caller keeps the tables still. No recursion.
 */
void pt_for_each(const struct pagetable *pt, bool (*fn)(void *ctx, const struct pt_range *r),
                 void *ctx);

/* As above, for each table frame that is owned, root first, with its level. */
void pt_for_each_table(const struct pagetable *pt,
                       bool (*fn)(void *ctx, pa_t table, unsigned level), void *ctx);

/*
 * Text of PT_* flags in columns: readable, writable, executable, user, global, memory type:
 * "rw- g wb", "r-xu  wb", "rw-   uc".
 */
void pt_flags_text(unsigned flags, char buf[16]);

/*
 * NULL if the invariants of mm/paging/check.c hold, else the first broken one as text. Reads only,
 * takes no lock (the caller keeps the tables still), and ends on any contents. O(tables).
 */
const char *pt_check(const struct pagetable *pt);

#endif
