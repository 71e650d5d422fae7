/*
 * list.c - first fit in address order, over a linked list: the textbook, with its guard rails.
 *
 * An arena is a header, blocks that touch each other, and an end mark:
 *
 *     | arena | head payload.... | head links........ | head payload | end |
 *       48      16   used          16   free            16   used      16
 *
 * Each block starts with a 16-byte head: its own size and state, and the size of the block below
 * (the boundary tag), so both neighbours of a block are one addition away and merging is O(1). The
 * end mark is a head without a payload that is never freed: the last block has a neighbour above
 * like any other. A free block keeps two list links where the payload was, which makes 32 bytes the
 * smallest block. Free blocks of all arenas form one doubly linked list in order of address, so
 * "first" in the list is "lowest", and the first that fits is the answer.
 *
 * Cost: allocation looks at O(free blocks). Freeing beside a free block is O(1) but for the arena
 * look-up; freeing between two used ones searches the list for its place. That search is what the
 * known cures (size classes, a tree) avoid at the price of exactness or of more code; this version
 * is the plain one that others are measured against.
 *
 * Heads lie next to memory that callers write. Each carries a 32-bit seal over its fields, its
 * address and the heap; that of a free block covers the links too. Every head is checked before it
 * is believed, and before it is changed - resealing a head unchecked would launder damage. So a
 * pointer or size that was overwritten is never followed, and a header copied elsewhere is no
 * header. A head that disappears in a merge stays behind as DEAD, so that a second free of the same
 * pointer is known for what it is. A footer at the end of each free block instead of `below` would
 * save nothing (the head is 16 bytes for alignment's sake anyway) and could not be sealed.
 *
 * The check of an address against the arenas is O(arenas): a foreign pointer may point at nothing
 * that can be read, so the seal alone can't decide.
 *
 * Invariants (heap_list_check tests each):
 *  H1  arenas are sealed, rise in address, and do not overlap
 *  H2  the blocks of an arena follow each other without a hole up to its end mark; each has at
 *      least 32 bytes, a multiple of 16
 *  H3  every head is sealed, and its state is FREE or USED
 *  H4  `below` is the size of the block below, 0 in the first block of an arena
 *  H5  no two free blocks touch
 *  H6  the free list holds exactly the free blocks, in order of address, linked both ways
 *  H7  arena_bytes, used_bytes and nused say what there is
 *  H8  no arena of the backing is empty
 */
#include "mm/heap_list.h"

#include "mm/port.h"

#define SEAL_COOKIE UINT64_C(0x6c6f742e706c6174) /* any constant: zeros must not look sealed */
#define SEAL_FACTOR UINT64_C(0x9e3779b97f4a7c15) /* odd, bits well mixed: 2^64 / golden ratio */

/* What a head's words hold below the 16 bits of seal in each. */
#define FIELD_BITS 48
#define FIELD_MASK ((UINT64_C(1) << FIELD_BITS) - 1)
#define STATE_MASK UINT64_C(3)
#define BYTES_MASK (FIELD_MASK & ~(uint64_t)(HEAP_LIST_ALIGN - 1))
#define ARENA_MAX  (UINT64_C(1) << 47) /* sizes of blocks stay well inside FIELD_MASK */

enum block_state {
    BLOCK_FREE = 1,
    BLOCK_USED = 2, /* the end mark, too */
    BLOCK_DEAD = 3, /* no block any more: swallowed by the one below */
};

struct heap_list_block {
    uint64_t size;  /* bytes with the head, state in bits 1:0, upper half of the seal in 63:48 */
    uint64_t below; /* bytes of the block below or 0, lower half of the seal in 63:48 */
    struct heap_list_block *next; /* FREE only, as is `prev`: the payload starts here */
    struct heap_list_block *prev;
};

#define HEAD_BYTES offsetof(struct heap_list_block, next)
#define BLOCK_MIN  sizeof(struct heap_list_block)

struct heap_list_arena {
    struct heap_list_arena *next;
    void *base; /* as given */
    size_t nbytes;
    struct heap_list_block *end; /* the end mark */
    uint64_t from_backing;       /* 0 or 1 */
    uint64_t seal;
};

#define ARENA_OVERHEAD (sizeof(struct heap_list_arena) + HEAD_BYTES)

_Static_assert(HEAD_BYTES == HEAP_LIST_ALIGN, "a head keeps its payload aligned");
_Static_assert(BLOCK_MIN == 2 * HEAP_LIST_ALIGN, "the smallest block is two granules");
_Static_assert(sizeof(struct heap_list_arena) % HEAP_LIST_ALIGN == 0, "first block is aligned");
_Static_assert(ARENA_MAX <= FIELD_MASK && 2 * HEAP_LIST_MAX + 4096 <= FIELD_MASK, "sizes fit");

/* Who asked for what, for the message in case it is the last one. */
struct call {
    const char *verb;
    uintptr_t arg; /* the pointer, or the size */
    const void *from;
};

/* Between which two free blocks. NULL: at that end of the list. */
struct place {
    struct heap_list_block *lo;
    struct heap_list_block *hi;
};

static _Noreturn void die(const struct call *c, const char *what, const void *where)
{
    port_panic("heap: %s(0x%llx), called from 0x%llx: %s (0x%llx)", c->verb,
               (unsigned long long)c->arg, (unsigned long long)(uintptr_t)c->from, what,
               (unsigned long long)(uintptr_t)where);
}

/* ---- seals ---- */

static uint64_t mix(uint64_t x, uint64_t v)
{
    x = (x ^ v) * SEAL_FACTOR;
    return x ^ x >> 32;
}

static uint32_t block_seal(const struct heap_list *h, const struct heap_list_block *b)
{
    uint64_t x = mix(SEAL_COOKIE ^ (uintptr_t)h, (uintptr_t)b);

    x = mix(x, b->size & FIELD_MASK);
    x = mix(x, b->below & FIELD_MASK);
    if ((b->size & STATE_MASK) == BLOCK_FREE) {
        x = mix(x, (uintptr_t)b->next);
        x = mix(x, (uintptr_t)b->prev);
    }
    return (uint32_t)x;
}

static bool block_is_sealed(const struct heap_list *h, const struct heap_list_block *b)
{
    return (b->size >> FIELD_BITS << 16 | b->below >> FIELD_BITS) == block_seal(h, b);
}

static void block_reseal(const struct heap_list *h, struct heap_list_block *b)
{
    uint64_t seal = block_seal(h, b);

    b->size = (b->size & FIELD_MASK) | seal >> 16 << FIELD_BITS;
    b->below = (b->below & FIELD_MASK) | seal << FIELD_BITS;
}

static uint64_t arena_seal(const struct heap_list *h, const struct heap_list_arena *a)
{
    uint64_t x = mix(SEAL_COOKIE ^ (uintptr_t)h, (uintptr_t)a);

    x = mix(x, (uintptr_t)a->next);
    x = mix(x, (uintptr_t)a->base);
    x = mix(x, a->nbytes);
    x = mix(x, (uintptr_t)a->end);
    return mix(x, a->from_backing);
}

/* ---- blocks ---- */

static size_t block_size(const struct heap_list_block *b)
{
    return b->size & BYTES_MASK;
}

static size_t block_below(const struct heap_list_block *b)
{
    return b->below & BYTES_MASK;
}

static bool block_is(const struct heap_list_block *b, enum block_state state)
{
    return (b->size & STATE_MASK) == state;
}

static void *block_payload(const struct heap_list_block *b)
{
    return (char *)b + HEAD_BYTES;
}

static struct heap_list_block *block_at(const struct heap_list_block *b, size_t nbytes)
{
    return (struct heap_list_block *)((char *)b + nbytes);
}

static struct heap_list_block *block_upper(const struct heap_list_block *b)
{
    return block_at(b, block_size(b));
}

static struct heap_list_block *block_lower(const struct heap_list_block *b)
{
    return (struct heap_list_block *)((char *)b - block_below(b));
}

static void block_set(const struct heap_list *h, struct heap_list_block *b, size_t size,
                      enum block_state state, size_t below)
{
    b->size = size | state;
    b->below = below;
    block_reseal(h, b);
}

static void block_set_below(const struct heap_list *h, struct heap_list_block *b, size_t below)
{
    b->below = below;
    block_reseal(h, b);
}

/* Bytes of the block that serves a request; 0 if the request is too large. */
static size_t block_bytes_for(size_t nbytes)
{
    if (nbytes > HEAP_LIST_MAX) {
        return 0;
    }
    return mm_max(mm_align_up(nbytes + HEAD_BYTES, HEAP_LIST_ALIGN), BLOCK_MIN);
}

/* Stop unless the neighbours of `b`, a checked block, are intact and agree with it. */
static void check_upper(const struct heap_list *h, const struct heap_list_block *b,
                        const struct call *c)
{
    const struct heap_list_block *upper = block_upper(b);

    if (!block_is_sealed(h, upper) || block_below(upper) != block_size(b)) {
        die(c, "the header of the block above it is damaged", upper);
    }
}

static void check_lower(const struct heap_list *h, const struct heap_list_block *b,
                        const struct call *c)
{
    const struct heap_list_block *lower = block_lower(b);

    if (block_below(b) != 0 &&
        (!block_is_sealed(h, lower) || block_size(lower) != block_below(b))) {
        die(c, "the header of the block below it is damaged", lower);
    }
}

/* ---- the free list ---- */

static void check_free(const struct heap_list *h, const struct heap_list_block *b,
                       const struct call *c)
{
    if (!block_is_sealed(h, b) || !block_is(b, BLOCK_FREE)) {
        die(c, "a free block was written to", b);
    }
}

/* Make `hi` follow `lo`. */
static void list_join(struct heap_list *h, struct place at, const struct call *c)
{
    if (at.lo != NULL) {
        check_free(h, at.lo, c);
        at.lo->next = at.hi;
        block_reseal(h, at.lo);
    } else {
        h->free = at.hi;
    }
    if (at.hi != NULL) {
        check_free(h, at.hi, c);
        at.hi->prev = at.lo;
        block_reseal(h, at.hi);
    }
}

/* Take `b`, checked, off the list; returns where it was. */
static struct place list_remove(struct heap_list *h, struct heap_list_block *b,
                                const struct call *c)
{
    struct place at = { b->prev, b->next };

    list_join(h, at, c);
    return at;
}

/* Make a free block at `b`, and list it at its place. */
static void list_insert(struct heap_list *h, struct heap_list_block *b, size_t size, size_t below,
                        struct place at, const struct call *c)
{
    b->prev = at.lo;
    b->next = at.hi;
    block_set(h, b, size, BLOCK_FREE, below);
    list_join(h, (struct place){ at.lo, b }, c);
    list_join(h, (struct place){ b, at.hi }, c);
}

static struct place list_find_place(const struct heap_list *h, const struct heap_list_block *b,
                                    const struct call *c)
{
    struct place at = { NULL, h->free };

    while (at.hi != NULL && at.hi < b) {
        check_free(h, at.hi, c);
        at.lo = at.hi;
        at.hi = at.hi->next;
    }
    return at;
}

/* ---- arenas ---- */

static struct heap_list_block *arena_first(const struct heap_list_arena *a)
{
    return (struct heap_list_block *)((char *)a + sizeof(*a));
}

static void check_arena(const struct heap_list *h, const struct heap_list_arena *a,
                        const struct call *c)
{
    if (a->seal != arena_seal(h, a)) {
        die(c, "the header of an arena is damaged", a);
    }
}

/* The arena in which a payload at `ptr` could be, or NULL. */
static struct heap_list_arena *arena_of(const struct heap_list *h, uintptr_t ptr,
                                        const struct call *c)
{
    for (struct heap_list_arena *a = h->arenas; a != NULL; a = a->next) {
        check_arena(h, a, c);
        if (ptr >= (uintptr_t)block_payload(arena_first(a)) && ptr < (uintptr_t)a->end) {
            return a;
        }
    }
    return NULL;
}

static void arena_link(struct heap_list *h, struct heap_list_arena *lo, struct heap_list_arena *hi)
{
    if (lo == NULL) {
        h->arenas = hi;
    } else {
        lo->next = hi;
        lo->seal = arena_seal(h, lo);
    }
}

/* Make an arena of [base, base + nbytes), one free block. */
static mm_err_t arena_add(struct heap_list *h, void *base, size_t nbytes, bool from_backing,
                          const struct call *c)
{
    uintptr_t at = (uintptr_t)base;
    uintptr_t start = mm_align_up(at, HEAP_LIST_ALIGN);
    uintptr_t stop = mm_align_down(at + nbytes, HEAP_LIST_ALIGN);
    struct heap_list_arena *arena = (struct heap_list_arena *)start;
    struct heap_list_arena *lo = NULL;
    struct heap_list_arena *hi = h->arenas;

    if (nbytes > ARENA_MAX || at + nbytes < at || start < at || stop < start ||
        stop - start < ARENA_OVERHEAD + BLOCK_MIN) {
        return MM_EINVAL;
    }
    for (; hi != NULL && (uintptr_t)hi->base < at; hi = hi->next) {
        check_arena(h, hi, c);
        lo = hi;
    }
    if ((lo != NULL && at - (uintptr_t)lo->base < lo->nbytes) ||
        (hi != NULL && (uintptr_t)hi->base - at < nbytes)) {
        return MM_EINVAL;
    }

    struct heap_list_block *end = (struct heap_list_block *)(stop - HEAD_BYTES);
    struct heap_list_block *first = arena_first(arena);
    size_t room = (size_t)((char *)end - (char *)first);

    *arena = (struct heap_list_arena){
        .next = hi, .base = base, .nbytes = nbytes, .end = end, .from_backing = from_backing
    };
    arena->seal = arena_seal(h, arena);
    arena_link(h, lo, arena);
    block_set(h, end, HEAD_BYTES, BLOCK_USED, room);
    list_insert(h, first, room, 0, list_find_place(h, first, c), c);
    h->arena_bytes += nbytes;
    return MM_OK;
}

/* Give `arena`, all of which is the free block `b`, back to the backing. */
static void arena_drop(struct heap_list *h, struct heap_list_arena *arena,
                       struct heap_list_block *b, const struct call *c)
{
    void *base = arena->base;
    size_t nbytes = arena->nbytes;
    struct heap_list_arena *lo = NULL;

    list_remove(h, b, c);
    for (struct heap_list_arena *a = h->arenas; a != arena; a = a->next) {
        lo = a;
    }
    arena_link(h, lo, arena->next);
    h->arena_bytes -= nbytes;
    h->backing.put(h->backing.ctx, base, nbytes);
}

/* ---- what callers give us ---- */

/* There is no valid head at `b` in `arena`: say why. A walk, but nothing comes after it. */
static _Noreturn void diagnose(const struct heap_list *h, const struct heap_list_arena *arena,
                               const struct heap_list_block *b, const struct call *c)
{
    const struct heap_list_block *x = arena_first(arena);

    while (x < arena->end && block_is_sealed(h, x) && block_upper(x) <= b) {
        x = block_upper(x);
    }
    if (x == b) {
        die(c, "its header is damaged", x);
    }
    if (x >= arena->end || !block_is_sealed(h, x)) {
        die(c, "it has no header, and a header below it is damaged", x);
    }
    die(c,
        block_is(x, BLOCK_USED) ? "it was never given: it lies inside a block"
                                : "it was never given: it lies in free memory",
        x);
}

/* The used block whose payload is at c->arg, intact and with intact neighbours; else stop. */
static struct heap_list_block *find_used(const struct heap_list *h, const struct call *c,
                                         struct heap_list_arena **arena)
{
    struct heap_list_block *b = (struct heap_list_block *)(c->arg - HEAD_BYTES);

    if (!mm_is_aligned(c->arg, HEAP_LIST_ALIGN)) {
        die(c, "it was never given: misaligned", b);
    }
    *arena = arena_of(h, c->arg, c);
    if (*arena == NULL) {
        die(c, "it was never given: outside every arena", b);
    }
    if (!block_is_sealed(h, b)) {
        diagnose(h, *arena, b, c);
    }
    if (!block_is(b, BLOCK_USED)) {
        die(c, "it was freed already", b);
    }
    check_upper(h, b, c);
    check_lower(h, b, c);
    return b;
}

/* ---- allocate, resize, free ---- */

/*
 * Bytes to leave in front of an aligned payload in a block at `b`: none, or enough for a free
 * block. Computed modulo 2^64, so that an aligned address beyond the end of memory shows as a gap
 * that no block has room for.
 */
static size_t front_gap(const struct heap_list_block *b, size_t align)
{
    size_t gap = (0 - (uintptr_t)block_payload(b)) & (align - 1);

    return gap == 0 || gap >= BLOCK_MIN ? gap : gap + align;
}

/* Use `need` bytes of the free block `b`, checked, from `gap` on; what is over stays free. */
static struct heap_list_block *take(struct heap_list *h, struct heap_list_block *b, size_t gap,
                                    size_t need, const struct call *c)
{
    size_t rest = block_size(b) - gap - need;
    size_t below = block_below(b);
    struct heap_list_block *upper = block_upper(b);
    struct place at;

    check_upper(h, b, c);
    at = list_remove(h, b, c);
    if (gap != 0) {
        list_insert(h, b, gap, below, at, c);
        at.lo = b;
        below = gap;
        b = block_at(b, gap);
    }
    if (rest >= BLOCK_MIN) {
        list_insert(h, block_at(b, need), rest, need, at, c);
        block_set_below(h, upper, rest);
    } else {
        need += rest;
        block_set_below(h, upper, need);
    }
    block_set(h, b, need, BLOCK_USED, below);
    h->used_bytes += need;
    h->nused++;
    return b;
}

/* Fetch an arena in which `need` bytes at `align` fit. Returns its free block, NULL if the backing
 * has none. */
static struct heap_list_block *grow(struct heap_list *h, size_t need, size_t align,
                                    const struct call *c)
{
    /* The largest front_gap() there can be is align + HEAD_BYTES. */
    size_t want = ARENA_OVERHEAD + need + (align > HEAP_LIST_ALIGN ? align + HEAD_BYTES : 0);
    size_t got = 0;
    void *base;

    if (h->backing.get == NULL) {
        return NULL;
    }
    base = h->backing.get(h->backing.ctx, want, HEAP_LIST_ALIGN, &got);
    if (base == NULL) {
        return NULL;
    }
    MM_ASSERT(got >= want && mm_is_aligned((uintptr_t)base, HEAP_LIST_ALIGN));

    mm_err_t err = arena_add(h, base, got, true, c);

    MM_ASSERT(err == MM_OK); /* the backing gave what is part of an arena already, or wraps */
    return arena_first(base);
}

static void *alloc(struct heap_list *h, size_t nbytes, size_t align, const void *from)
{
    const struct call c = { "alloc", nbytes, from };
    size_t need = block_bytes_for(nbytes);
    struct heap_list_block *b;

    if (need == 0 || !mm_is_pow2(align) || align > HEAP_LIST_MAX) {
        return NULL;
    }
    align = mm_max(align, HEAP_LIST_ALIGN);
    for (b = h->free; b != NULL; b = b->next) {
        check_free(h, b, &c);
        if (front_gap(b, align) + need <= block_size(b)) {
            break;
        }
    }
    if (b == NULL) {
        b = grow(h, need, align, &c);
    }
    if (b == NULL) {
        return NULL;
    }
    return block_payload(take(h, b, front_gap(b, align), need, &c));
}

/*
 * Resize `b`, used and checked with its neighbours, to `need` bytes without moving it. What it
 * gives up joins the free block above it or becomes one; a rest too small for that stays with `b`.
 */
static bool resize(struct heap_list *h, struct heap_list_block *b, size_t need,
                   const struct call *c)
{
    struct heap_list_block *upper = block_upper(b);
    struct heap_list_block *beyond = upper;
    size_t size = block_size(b);
    size_t room = size;
    bool absorb = block_is(upper, BLOCK_FREE);
    struct place at;

    if (absorb) {
        room += block_size(upper);
        beyond = block_upper(upper);
        check_upper(h, upper, c);
    }
    if (need > room) {
        return false;
    }
    if (room - need < BLOCK_MIN) {
        need = room;
    }
    if (need == size) {
        return true;
    }
    if (absorb) {
        at = list_remove(h, upper, c);
        block_set(h, upper, HEAD_BYTES, BLOCK_DEAD, 0);
    } else {
        at = list_find_place(h, b, c);
    }
    block_set(h, b, need, BLOCK_USED, block_below(b));
    if (need < room) {
        list_insert(h, block_at(b, need), room - need, need, at, c);
    }
    block_set_below(h, beyond, need < room ? room - need : need);
    h->used_bytes += need - size; /* modulo 2^64: may shrink */
    return true;
}

static void release(struct heap_list *h, const struct call *c)
{
    struct heap_list_arena *arena;
    struct heap_list_block *b = find_used(h, c, &arena);
    struct heap_list_block *upper = block_upper(b);
    struct heap_list_block *lower = block_lower(b); /* b itself if it is the first */
    size_t size = block_size(b);
    size_t below = block_below(b);
    bool joins_upper = block_is(upper, BLOCK_FREE);
    bool joins_lower = below != 0 && block_is(lower, BLOCK_FREE);
    struct place at;

    h->used_bytes -= size;
    h->nused--;
    if (joins_upper) {
        check_upper(h, upper, c);
        size += block_size(upper);
        at = list_remove(h, upper, c);
        block_set(h, upper, HEAD_BYTES, BLOCK_DEAD, 0);
        upper = block_at(b, size);
    }
    if (joins_lower) {
        size += below;
        below = block_below(lower);
        at = list_remove(h, lower, c);
        block_set(h, b, HEAD_BYTES, BLOCK_DEAD, 0);
        b = lower;
    }
    if (!joins_upper && !joins_lower) {
        at = list_find_place(h, b, c);
    }
    list_insert(h, b, size, below, at, c);
    block_set_below(h, upper, size);
    if (arena->from_backing != 0 && below == 0 && upper == arena->end) {
        arena_drop(h, arena, b, c);
    }
}

/* ---- the interface ---- */

void heap_list_init(struct heap_list *h, const struct mm_backing *backing)
{
    *h = (struct heap_list){ .backing = backing != NULL ? *backing : (struct mm_backing){ 0 } };
}

mm_err_t heap_list_add_arena(struct heap_list *h, void *base, size_t nbytes)
{
    const struct call c = { "add_arena", (uintptr_t)base, __builtin_return_address(0) };

    return arena_add(h, base, nbytes, false, &c);
}

void *heap_list_alloc(struct heap_list *h, size_t nbytes)
{
    return alloc(h, nbytes, HEAP_LIST_ALIGN, __builtin_return_address(0));
}

void *heap_list_alloc_aligned(struct heap_list *h, size_t nbytes, size_t align)
{
    return alloc(h, nbytes, align, __builtin_return_address(0));
}

void *heap_list_alloc_zeroed(struct heap_list *h, size_t count, size_t nbytes)
{
    size_t total;
    void *ptr;

    if (__builtin_mul_overflow(count, nbytes, &total)) {
        return NULL;
    }
    ptr = alloc(h, total, HEAP_LIST_ALIGN, __builtin_return_address(0));
    if (ptr != NULL) {
        __builtin_memset(ptr, 0, total);
    }
    return ptr;
}

void *heap_list_realloc(struct heap_list *h, void *ptr, size_t nbytes)
{
    const struct call c = { "realloc", (uintptr_t)ptr, __builtin_return_address(0) };
    size_t need = block_bytes_for(nbytes);
    struct heap_list_arena *arena;
    struct heap_list_block *b;
    size_t old_nbytes;
    void *moved;

    if (ptr == NULL) {
        return alloc(h, nbytes, HEAP_LIST_ALIGN, c.from);
    }
    b = find_used(h, &c, &arena);
    old_nbytes = block_size(b) - HEAD_BYTES;
    if (need != 0 && resize(h, b, need, &c)) {
        return ptr;
    }
    /* Not in place, so it grows. */
    moved = alloc(h, nbytes, HEAP_LIST_ALIGN, c.from);
    if (moved != NULL) {
        __builtin_memcpy(moved, ptr, old_nbytes);
        release(h, &c);
    }
    return moved;
}

void heap_list_free(struct heap_list *h, void *ptr)
{
    const struct call c = { "free", (uintptr_t)ptr, __builtin_return_address(0) };

    if (ptr != NULL) {
        release(h, &c);
    }
}

size_t heap_list_size(const struct heap_list *h, const void *ptr)
{
    const struct call c = { "size", (uintptr_t)ptr, __builtin_return_address(0) };
    struct heap_list_arena *arena;

    return block_size(find_used(h, &c, &arena)) - HEAD_BYTES;
}

void heap_list_get_stats(const struct heap_list *h, struct heap_list_stats *s)
{
    const struct call c = { "get_stats", 0, __builtin_return_address(0) };

    *s = (struct heap_list_stats){ .arena_bytes = h->arena_bytes,
                                   .used_bytes = h->used_bytes,
                                   .nused = h->nused };
    for (const struct heap_list_arena *a = h->arenas; a != NULL; a = a->next) {
        check_arena(h, a, &c);
        s->narenas++;
    }
    for (const struct heap_list_block *b = h->free; b != NULL; b = b->next) {
        check_free(h, b, &c);
        s->nfree++;
        s->free_bytes += block_size(b);
        s->largest_free = mm_max(s->largest_free, block_size(b) - HEAD_BYTES);
    }
}

void heap_list_for_each(const struct heap_list *h,
                        bool (*fn)(void *ctx, const struct heap_list_view *b), void *ctx)
{
    const struct call c = { "for_each", 0, __builtin_return_address(0) };
    bool more = true;

    for (const struct heap_list_arena *a = h->arenas; a != NULL && more; a = a->next) {
        check_arena(h, a, &c);
        for (const struct heap_list_block *b = arena_first(a); b != a->end && more;
             b = block_upper(b)) {
            if (!block_is_sealed(h, b)) {
                die(&c, "a block's header is damaged", b);
            }
            struct heap_list_view v = { .ptr = block_payload(b),
                                        .nbytes = block_size(b) - HEAD_BYTES,
                                        .used = block_is(b, BLOCK_USED),
                                        .first_in_arena = b == arena_first(a) };

            check_upper(h, b, &c);
            more = fn(ctx, &v);
        }
    }
}

/* ---- the check ---- */

/* Running totals, and the free block that the list says comes next. */
struct tally {
    const struct heap_list_block *next_free;
    const struct heap_list_block *prev_free;
    size_t arena_bytes;
    size_t used_bytes;
    size_t nused;
};

/* Ends because each step moves up by at least BLOCK_MIN, and never past the end mark. A pointer is
 * followed only if a seal covers it. */
static const char *check_arena_blocks(const struct heap_list *h, const struct heap_list_arena *a,
                                      struct tally *t)
{
    const struct heap_list_block *b = arena_first(a);
    size_t below = 0;
    bool below_is_free = false;

    for (; b < a->end; b = block_upper(b)) {
        if (!block_is_sealed(h, b) || !(block_is(b, BLOCK_FREE) || block_is(b, BLOCK_USED))) {
            return "H3: a block's header is damaged";
        }
        if (block_size(b) < BLOCK_MIN || block_size(b) > (size_t)((char *)a->end - (char *)b)) {
            return "H2: a block is too small, or reaches beyond its arena";
        }
        if (block_below(b) != below) {
            return "H4: a block does not know the size of the one below";
        }
        if (block_is(b, BLOCK_FREE)) {
            if (below_is_free) {
                return "H5: two free blocks touch";
            }
            if (b != t->next_free || b->prev != t->prev_free) {
                return "H6: the free list is not the free blocks in order";
            }
            t->prev_free = b;
            t->next_free = b->next;
        } else {
            t->used_bytes += block_size(b);
            t->nused++;
        }
        below = block_size(b);
        below_is_free = block_is(b, BLOCK_FREE);
    }
    if (!block_is_sealed(h, b) || !block_is(b, BLOCK_USED)) {
        return "H3: an arena's end mark is damaged";
    }
    if (block_below(b) != below) {
        return "H4: an arena's end mark does not know the size of the block below";
    }
    if (a->from_backing != 0 && below_is_free && block_lower(b) == arena_first(a)) {
        return "H8: an arena of the backing is empty";
    }
    return NULL;
}

const char *heap_list_check(const struct heap_list *h)
{
    struct tally t = { .next_free = h->free };
    uintptr_t above = 0; /* where the arena below ends */

    for (const struct heap_list_arena *a = h->arenas; a != NULL; a = a->next) {
        const char *broken;

        if (a->seal != arena_seal(h, a)) {
            return "H1: an arena's header is damaged";
        }
        if ((uintptr_t)a->base < above) {
            return "H1: arenas overlap, or are out of order";
        }
        broken = check_arena_blocks(h, a, &t);
        if (broken != NULL) {
            return broken;
        }
        above = (uintptr_t)a->base + a->nbytes;
        t.arena_bytes += a->nbytes;
    }
    if (t.next_free != NULL) {
        return "H6: the free list goes on after the last free block";
    }
    if (t.arena_bytes != h->arena_bytes || t.used_bytes != h->used_bytes || t.nused != h->nused) {
        return "H7: the totals are wrong";
    }
    return NULL;
}
