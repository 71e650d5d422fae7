/*
 * paging.h - x86-64 page tables, four or five levels, edited as data.
 *
 * Model:    a `struct pagetable` is a root frame and what the processor can do. pt_map(),
 * pt_unmap() and pt_protect() work on ranges of virtual addresses and pick 4 KiB, 2 MiB or 1 GiB
 * leaves, the largest that alignment, length and the processor allow; a large leaf that a change
 * covers only in part is split first. Each call first reserves every table frame it may need and
 * then commits, so it does all or nothing. Tables are reached through port_ptr(). Nothing here
 * executes a privileged instruction. Locking:  one lock per page table, rank MM_RANK_PAGING, taken
 * inside; frames come from `pt_frames` with it held. Memory:   table frames are owned by the page
 * table and given back by pt_unmap() when empty (not those of a shared upper half, see
 * pt_share_upper()), and by pt_destroy(). TLB:      changes to present entries are followed by one
 * port_tlb_flush() a call, after the lock is dropped. Source:   Intel SDM vol. 3A ch. 4; AMD64 APM
 * vol. 2 ch. 5. Bit layouts are in x86/pte.h.
 */
#ifndef MM_PAGING_H
#define MM_PAGING_H

#include "mm/lock.h"
#include "mm/types.h"
#include "x86/pte.h"

/* Rights and memory type of a mapping. Readable is implied. */
#define PT_WRITE  (1u << 0)
#define PT_EXEC   (1u << 1) /* with PT_WRITE: MM_EINVAL unless PT_WX_OK too */
#define PT_USER   (1u << 2)
#define PT_GLOBAL (1u << 3) /* kept across a change of root; ignored if the processor has no PGE   \
                             */
#define PT_WB        (0u << 4) /* memory type: write-back */
#define PT_UC        (1u << 4) /* uncached: MMIO */
#define PT_WC        (2u << 4) /* write-combining: frame buffers */
#define PT_TYPE_MASK (3u << 4)
#define PT_SMALL     (1u << 6) /* 4 KiB leaves only */
#define PT_WX_OK                                                                                   \
    (1u << 7) /* writable and executable on purpose: runtime code of firmware that has no          \
                 attributes table */

/* Where table frames come from. Both are called with the page table's lock held. */
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

/* Locking: (l) lock   (const) set by pt_init */
struct pagetable {
    struct mm_lock lock;
    pa_t root;               /* (const) what CR3 holds */
    struct pt_features feat; /* (const) */
    struct pt_frames frames; /* (const) */
    uint64_t ntables;        /* (l) table frames owned, root included */
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

/* A run of virtual addresses with equal rights, mapped to one physical run by leaves of one size.
 */
struct pt_range {
    uint64_t va;
    uint64_t nbytes;
    pa_t pa;
    uint64_t leaf_bytes;
    unsigned flags;
};

/*
 * Make an empty page table: takes one frame for the root. `*frames` and `*feat` are copied.
 * Errors: MM_EINVAL (features out of range), MM_ENOMEM.
 */
MM_MUST_CHECK mm_err_t pt_init(struct pagetable *pt, const struct pt_features *feat,
                               const struct pt_frames *frames);

/*
 * Make an empty page table whose upper half (kernel addresses) is that of `kernel`. The entries of
 * the kernel's root are filled in first, so that later changes to the kernel's half show in every
 * address space. Errors: MM_ENOMEM; *pt is then not touched. The kernel's root keeps what was
 * filled in.
 */
MM_MUST_CHECK mm_err_t pt_share_upper(struct pagetable *pt, struct pagetable *kernel);

/* Give back every table frame (the shared upper half stays). The caller has made sure that no
 * processor uses it. */
void pt_destroy(struct pagetable *pt);

/* Is [va, va + nbytes) page aligned, not empty, and inside one canonical half? */
bool pt_range_ok(const struct pagetable *pt, uint64_t va, uint64_t nbytes);

/*
 * Map [va, va + nbytes) to [pa, pa + nbytes) with `flags`. Nothing of it may be mapped yet.
 * Errors: MM_EINVAL (misaligned, not canonical, wraps, beyond MAXPHYADDR, W+X), MM_EBUSY (some of
 * it is mapped), MM_ENOMEM; on error nothing has changed. Cost: O(leaves).
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
 * Errors: MM_EINVAL, MM_ENOENT (a hole in it), MM_ENOMEM; nothing has changed then.
 */
MM_MUST_CHECK mm_err_t pt_protect(struct pagetable *pt, uint64_t va, uint64_t nbytes,
                                  unsigned flags);

/* Where does `va` lead, entry by entry. Takes no lock, so that a fault handler may ask. A va that
 * is not canonical: nsteps == 0. */
void pt_walk(const struct pagetable *pt, uint64_t va, struct pt_walk *w);

/*
 * Call `fn` for each range in rising order of address, merged as far as struct pt_range allows;
 * stop when it returns false. Takes no lock (the caller keeps the table still) and uses bounded
 * stack.
 */
void pt_for_each(const struct pagetable *pt, bool (*fn)(void *ctx, const struct pt_range *r),
                 void *ctx);

/* Call `fn` for each table frame, root first, with its level; stop when it returns false. As above.
 */
void pt_for_each_table(const struct pagetable *pt,
                       bool (*fn)(void *ctx, pa_t table, unsigned level), void *ctx);

/* "rwx" style text of PT_* flags, at most 16 bytes with the NUL: "rw- g wb". */
void pt_flags_text(unsigned flags, char buf[16]);

/* NULL if the invariants of paging.c hold, else the first broken one as text. Reads only, no lock.
 * O(tables). */
const char *pt_check(const struct pagetable *pt);

#endif
