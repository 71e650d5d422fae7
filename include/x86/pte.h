/*
 * pte.h - page-table entries of x86-64.
 *
 * Layout:   Intel SDM vol. 3A ch. 4 (tables 4-15 to 4-20); AMD64 APM vol. 2 ch. 5.3.
 *
 * One type serves all levels; a bit whose meaning depends on the level has a name for each meaning.
 * Positions are known to this file only: others use the names, and the functions below.
 */
#ifndef X86_PTE_H
#define X86_PTE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t v;
} pte_t;

#define PTE_P         (UINT64_C(1) << 0) /* present; when clear, hardware ignores every other bit */
#define PTE_W         (UINT64_C(1) << 1)
#define PTE_U         (UINT64_C(1) << 2)
#define PTE_PWT       (UINT64_C(1) << 3) /* PAT index bit 0 */
#define PTE_PCD       (UINT64_C(1) << 4) /* PAT index bit 1 */
#define PTE_A         (UINT64_C(1) << 5)
#define PTE_D         (UINT64_C(1) << 6)  /* leaves only */
#define PTE_PS        (UINT64_C(1) << 7)  /* PDPTE, PDE: 1 GiB, 2 MiB leaf */
#define PTE_PAT4K     (UINT64_C(1) << 7)  /* 4 KiB leaf: PAT index bit 2; same bit, other meaning */
#define PTE_G         (UINT64_C(1) << 8)  /* leaves only */
#define PTE_SW_WX     (UINT64_C(1) << 9)  /* ours, leaves: writable and executable on purpose */
#define PTE_PAT_LARGE (UINT64_C(1) << 12) /* 2 MiB and 1 GiB leaves: PAT index bit 2 */
#define PTE_IGNORED   UINT64_C(0x7ff0000000000c00) /* bits 62:52, 11:10: nobody's, in leaves */
#define PTE_NX        (UINT64_C(1) << 63)          /* reserved unless EFER.NXE */
#define PTE_ADDR      UINT64_C(0x000ffffffffff000) /* bits 51:12; above MAXPHYADDR must be 0 */

#define PTE_ENTRIES 512u /* in a table */

/* Level of the table an entry is in: 1 page table, 2 directory, 3 PDPT, 4 PML4, 5 PML5. */
static inline unsigned pte_shift(unsigned level)
{
    return 12 + 9 * (level - 1);
}

static inline uint64_t pte_span(unsigned level)
{
    return UINT64_C(1) << pte_shift(level);
}

static inline unsigned pte_index(uint64_t va, unsigned level)
{
    return (unsigned)(va >> pte_shift(level)) & (PTE_ENTRIES - 1);
}

static inline bool pte_present(pte_t e)
{
    return (e.v & PTE_P) != 0;
}

static inline bool pte_is_leaf(pte_t e, unsigned level)
{
    return pte_present(e) && (level == 1 || (level <= 3 && (e.v & PTE_PS) != 0));
}

/* Physical address of the table or page that a present entry points to. */
static inline uint64_t pte_addr(pte_t e, unsigned level)
{
    uint64_t addr = e.v & PTE_ADDR;

    return pte_is_leaf(e, level) ? addr & ~(pte_span(level) - 1) : addr;
}

/* Does `e`, in a table of `level`, point to a table of the level below? */
static inline bool pte_is_table(pte_t e, unsigned level)
{
    return pte_present(e) && !pte_is_leaf(e, level);
}

/*
 * An entry is read and written whole, while processors walk the table; what was written before it
 * (a table, before the entry that links it) is seen before it. On x86-64 both are one plain mov.
 */
static inline pte_t pte_load(const pte_t *e)
{
    return (pte_t){ __atomic_load_n(&e->v, __ATOMIC_ACQUIRE) };
}

static inline void pte_store(pte_t *e, pte_t v)
{
    __atomic_store_n(&e->v, v.v, __ATOMIC_RELEASE);
}

/* The entry that links the table at `pa`: it forbids nothing but, if not `user`, user access. */
static inline pte_t pte_make_table(uint64_t pa, bool user)
{
    return (pte_t){ pa | PTE_P | PTE_W | PTE_A | (user ? PTE_U : 0) };
}

/* A leaf of `level` at `pa`, which is aligned to its span, with `bits` beside P and PS. */
static inline pte_t pte_make_leaf(uint64_t pa, unsigned level, uint64_t bits)
{
    return (pte_t){ pa | PTE_P | bits | (level > 1 ? PTE_PS : 0) };
}

/* The first of the 512 leaves of `level` - 1 that together say what `leaf` of `level` says. */
static inline pte_t pte_split(pte_t leaf, unsigned level)
{
    if (level == 2) { /* bit 7 turns from PS to PAT; bit 12 from PAT to address */
        bool pat = (leaf.v & PTE_PAT_LARGE) != 0;

        leaf.v = (leaf.v & ~(PTE_PS | PTE_PAT_LARGE)) | (pat ? PTE_PAT4K : 0);
    }
    return leaf;
}

/* `e` with the rights that remain below entry `above`: W and U if both have it, NX if one has. */
static inline pte_t pte_narrow(pte_t above, pte_t e)
{
    e.v &= above.v | ~(PTE_W | PTE_U);
    e.v |= above.v & PTE_NX;
    return e;
}

/*
 * The bits that must be clear in a present entry of `level`, a leaf or the link of a table: the
 * processor reserves them (SDM vol. 3A 4.5.4), and faults on an entry that has one set.
 */
static inline uint64_t pte_reserved(unsigned level, bool leaf, unsigned pa_bits, bool nx,
                                    bool page1g)
{
    uint64_t reserved = PTE_ADDR & ~((UINT64_C(1) << pa_bits) - 1);

    if (!nx) {
        reserved |= PTE_NX;
    }
    if (level > 3 || (level == 3 && !page1g)) {
        reserved |= PTE_PS;
    }
    if (leaf && level > 1) {
        reserved |= PTE_ADDR & (pte_span(level) - 1) & ~PTE_PAT_LARGE;
    }
    return reserved;
}

/* Is `va` canonical with `levels` of tables: do the bits above the translated ones all equal the
 * highest of those? */
static inline bool va_is_canonical(uint64_t va, unsigned levels)
{
    unsigned top = pte_shift(levels) + 8;
    uint64_t upper = va >> top;

    return upper == 0 || upper == UINT64_MAX >> top;
}

#endif
