/*
 * pmm.pml - who takes, splits, merges and returns what: the steps of mm/pmm/ that run side by side.
 *
 * One step here is one atomic instruction there: every read or change of memory that processors
 * share is a step of its own, and what a processor computes from it, or keeps to itself, belongs to
 * that step. Inlines have the names of the functions in mm/pmm/block.c and mm/pmm/pmm.c that they
 * restate. Steps happen in one order that all agree on: that is what x86 gives to locked
 * instructions and to loads after them (Intel SDM vol. 3A 8.2.3). The one place that does with
 * less, stopping the pool, is in stop.pml.
 *
 * Small: BLOCKS blocks of one section, of WORDS words; the first has FRAMES frames, the second one.
 * Frames are given alone or a block at a time. Left out: runs of 2 to 256 frames, which an owner
 * takes from a word as he takes single ones, and which are put by the same OR; zeroed frames,
 * another slot like TAKE; closed sections, taken by one clear_bit() as whole blocks are. Where the
 * pool chooses by address or history (which block first, whether to gather what is put), or asks
 * whether a word is marked, the model chooses anything. Frames of a word in the same place are
 * alike, so the lowest stands for all.
 *
 * Everybody goes on for ever, and anybody may put what somebody else got. Checked in every state
 * that there is:
 *
 *   - no frame is given, alone or in a block, while somebody has it,
 *   - no frame or block is put into a plane that is there,
 *   - frames are taken from a SPLIT block, by its owner, and are still there when he takes them;
 *
 * and whenever nobody is within an operation (at_rest):
 *
 *   - each frame is in exactly one place, a plane, a slot, or somebody's hand: none is lost,
 *   - a SPLIT block with free frames can be found, and so can a whole one,
 *   - the blocks that are owned are those that caches have,
 *   - no block is full and SPLIT without an owner: if all have put everything and emptied their
 *     caches, every block is whole.
 *
 * Options: CPUS, BLOCKS, WORDS, FRAMES;
 *   SLOTS        0 takes and puts past the slots, as interrupt handlers do, 1 has TAKE, 2 also GIVE
 *   SUMMARIES    with a section's bits that say where to look
 *   PUTTER, TAKER  one processor more, which only puts frames, or only gets and puts whole blocks
 *   M_...        a step is left out or comes too early, and spin must find an error
 * scripts/verify runs it all.
 */

#define ALL(w)     ((w) == 0 -> (1 << FRAMES) - 1 : 1)
#define ALL_BLOCKS ((1 << BLOCKS) - 1)
#define NONE       255
#define BIT(b)     (1 << (b))
#define LOWEST(m)  ((m) & -(m))
#define AT(b, w)   [(b) * WORDS + (w)]
#if WORDS == 1
#define NOTHING(plane, b)    (plane[b] == 0)
#define EVERYTHING(plane, b) (plane[b] == ALL(0))
#else
#define NOTHING(plane, b)    (plane AT(b, 0) == 0 && plane AT(b, 1) == 0)
#define EVERYTHING(plane, b) (plane AT(b, 0) == ALL(0) && plane AT(b, 1) == ALL(1))
#endif

/* The planes. Those of blocks are one word of one bit a block, as there. */
byte whole = ALL_BLOCKS;
byte split, some, owned;
byte avail[BLOCKS * WORDS];
#ifdef SUMMARIES
bit some_whole = 1, some_free;
#endif

/* No part of the pool: who has what, and how many processors are within an operation. */
byte hand[BLOCKS * WORDS];   /* the users */
byte hand_whole;
byte cached[BLOCKS * WORDS]; /* the slots */
byte kept;                   /* blocks that caches own */
byte working;

/* ---- what must be true ----------------------------------------------------------------------- */

/* In the same step as what is checked. */
inline give_frame(gb, gw, gf)
{
    assert((hand AT(gb, gw) & (gf)) == 0 && (hand_whole & BIT(gb)) == 0);
    hand AT(gb, gw) = hand AT(gb, gw) | (gf)
}

byte r, s; /* of at_rest() only */

inline at_rest()
{
    assert(owned == kept && (split & kept) == kept);
    assert((whole & hand_whole) == 0 && (whole | hand_whole | split) == ALL_BLOCKS);
    for (r : 0 .. BLOCKS - 1) {
        if
        :: (split & BIT(r)) == 0 ->
            assert(NOTHING(hand, r) && NOTHING(cached, r))
        :: else ->
            for (s : 0 .. WORDS - 1) {
                assert((avail AT(r, s) | hand AT(r, s) | cached AT(r, s)) == ALL(s));
                assert(avail AT(r, s) + hand AT(r, s) + cached AT(r, s) == ALL(s))
            }
            assert((some & BIT(r)) != 0 || NOTHING(avail, r));
            assert((owned & BIT(r)) != 0 || !EVERYTHING(avail, r))
        fi
    }
    r = 0;
    s = 0;
#ifdef SUMMARIES
    assert((some & split) == 0 || some_free);
    assert(whole == 0 || some_whole);
#endif
#ifdef M_WITNESS /* no mistake: after it has been used, the pool can be whole again */
    assert(whole != ALL_BLOCKS || some == 0)
#endif
}

/* Every operation lies between these. */
#define BEGIN working++
inline end_op()
{
    atomic {
        b = 0; w = 0; m = 0; v = 0; f = 0; ok = 0; so = 0;
        working--;
        if
        :: working == 0 -> at_rest()
        :: else
        fi
    }
}

/* ---- block.c --------------------------------------------------------------------------------- */

inline show_free(b)
{
    if /* want_bit() */
    :: (some & BIT(b)) != 0
    :: else -> some = some | BIT(b)
    fi;
#ifdef SUMMARIES
    if
    :: some_free
    :: else -> some_free = 1
    fi
#endif
}

inline show_whole()
{
#ifdef SUMMARIES
    if
    :: some_whole
    :: else -> some_whole = 1
    fi
#else
    skip
#endif
}

/* Sets `so`. */
inline block_is_full(b)
{
    so = 1;
    w = 0;
    do
    :: atomic { so && w < WORDS -> so = (avail AT(b, w) == ALL(w)); w++ }
    :: else -> break
    od
}

/* Sets `so`. */
inline block_is_empty(b)
{
    so = 1;
    w = 0;
    do
    :: atomic { so && w < WORDS -> so = (avail AT(b, w) == 0); w++ }
    :: else -> break
    od
}

/* Sets `ok`. */
inline try_own(b)
{
    do
    :: atomic { /* set_bit() */
            ok = ((owned & BIT(b)) == 0);
            owned = owned | BIT(b)
        };
#ifdef M_OWN_UNSEEN
        break
#else
        if
        :: !ok -> break
        :: else
        fi;
        if
        :: (split & BIT(b)) != 0 -> break
        :: else
        fi;
        ok = 0;
        owned = owned & ~BIT(b);
#ifdef M_OWN_ONCE
        break
#else
        if
        :: (split & BIT(b)) != 0 /* who has split it may have found it owned: by us */
        :: else -> break
        fi
#endif
#endif
    od
}

inline merge(b)
{
#ifdef M_WHOLE_FIRST
    whole = whole | BIT(b);
#endif
    some = some & ~BIT(b);
    split = split & ~BIT(b);
    owned = owned & ~BIT(b);
#ifndef M_WHOLE_FIRST
    whole = whole | BIT(b);
#endif
    show_whole()
}

inline disown(b)
{
    do
    :: true ->
        block_is_full(b);
        if
        :: so ->
            merge(b);
            break
        :: else
        fi;
        block_is_empty(b);
        if
        :: so ->
            some = some & ~BIT(b);
#ifndef M_SOME_ONCE
            block_is_empty(b);
            if
            :: so
            :: else -> show_free(b)
            fi
#endif
        :: else
        fi;
        owned = owned & ~BIT(b);
#ifdef M_DISOWN_ONCE
        break
#else
        block_is_full(b);
        ok = 0;
        if
        :: so -> try_own(b)
        :: else
        fi;
        if
        :: ok
        :: else -> break
        fi
#endif
    od
}

/* b = a block that was whole, or NONE. */
inline take_whole()
{
    b = NONE;
#ifdef SUMMARIES
    if
    :: some_whole -> v = 1
    :: else -> v = 0
    fi;
#else
    v = 1;
#endif
    do /* take_whole_in() */
    :: v == 0 -> break
    :: else ->
        v = whole;
        if
        :: v == 0 ->
#ifdef SUMMARIES
            some_whole = 0;
#ifndef M_SUMMARY_ONCE
            if
            :: whole == 0
            :: else -> some_whole = 1
            fi;
#endif
#endif
            break
        :: else
        fi;
        atomic {
            b = ((v & 1) != 0 -> 0 : 1);
            ok = ((whole & BIT(b)) != 0);
            whole = whole & ~BIT(b)
        };
        if
        :: ok -> break
        :: else -> b = NONE
        fi
    od
}

inline split_block(b)
{
#ifdef M_SPLIT_FIRST
    split = split | BIT(b);
#endif
    avail AT(b, 0) = ALL(0);
#if WORDS > 1
    avail AT(b, 1) = ALL(1);
#endif
#ifndef M_SPLIT_FIRST
    split = split | BIT(b);
#endif
    show_free(b)
}

/* b = a block that the caller owns now, or NONE. */
inline own_some()
{
    b = NONE;
#ifdef SUMMARIES
    if
    :: some_free -> v = some
    :: else -> v = 0
    fi;
#else
    v = some;
#endif
    v = v & ~owned;
    do
    :: v == 0 -> break
    :: else ->
        if
        :: (v & 1) != 0 -> b = 0
        :: (v & 2) != 0 -> b = 1
        fi;
        v = v & ~BIT(b);
        try_own(b);
        if
        :: ok -> break
        :: else -> b = NONE
        fi
    od;
#ifdef SUMMARIES
    if
    :: b == NONE && some == 0 ->
        some_free = 0;
#ifndef M_SUMMARY_ONCE
        if
        :: some == 0
        :: else -> some_free = 1
        fi
#endif
    :: else
    fi
#endif
}

/* ---- pmm.c ----------------------------------------------------------------------------------- */

/* Frames `pm` into the plane. Sets `so`: the word is full. */
inline put_word(pb, pw, pm)
{
#ifdef M_PUT_BY_STORE
    f = avail AT(pb, pw);
#endif
    atomic {
        assert((avail AT(pb, pw) & pm) == 0);
#ifdef M_PUT_BY_STORE
        avail AT(pb, pw) = f | pm;
#else
        avail AT(pb, pw) = avail AT(pb, pw) | pm;
#endif
        so = (avail AT(pb, pw) == ALL(pw))
    };
#ifndef M_PUT_UNSHOWN
    show_free(pb)
#endif
}

/* b = a block to take frames from, owned, or NONE. */
inline own_block()
{
    do
    :: true ->
        own_some();
        if
        :: b != NONE -> break
        :: else
        fi;
        take_whole();
        if
        :: b == NONE -> break
        :: else
        fi;
        split_block(b);
        try_own(b);
        if
        :: ok -> break
        :: else
        fi
    od
}

/* Sets m: the frames of a word, the first that has any, that the owner of the block takes out of
 * the plane; the lowest is given, what `rest` leaves of the others goes into the slot. */
inline take_from(tb, rest)
{
    w = 0;
    m = 0;
    do
    :: w < WORDS ->
        m = avail AT(tb, w);
        if
        :: m != 0 -> break
        :: else -> w++
        fi
    :: else -> break
    od;
    if
    :: m != 0 ->
        atomic { /* take_word() */
            m = LOWEST(m) | (m & rest);
            assert((avail AT(tb, w) & m) == m && (owned & split & BIT(tb)) != 0);
            avail AT(tb, w) = avail AT(tb, w) & ~m;
            give_frame(tb, w, LOWEST(m));
            cached AT(tb, w) = cached AT(tb, w) | (m & ~LOWEST(m))
        }
    :: else
    fi
}

inline take_aside()
{
    do
    :: true ->
        own_block();
        if
        :: b == NONE -> break /* refused, or found with the pool stopped */
        :: else
        fi;
        take_from(b, 0);
        disown(b);
        if
        :: m != 0 -> break
        :: else
        fi
    od
}

/* If `so`: the word is full. */
inline merge_if_full(mb)
{
    if
    :: so -> block_is_full(mb)
    :: else
    fi;
    ok = 0;
    if
    :: so -> try_own(mb)
    :: else
    fi;
    if
    :: ok -> disown(mb)
    :: else
    fi
}

/* The frame `m` of word `w` of block `b` goes into the plane. */
inline put_aside()
{
    put_word(b, w, m);
#ifndef M_PUT_LEAVES
    merge_if_full(b)
#endif
}

#if SLOTS > 0

#define TAKE 0
#define GIVE 1

/* Out of a slot, or into it, if its word is that of the frame. */
inline slot_get(use)
{
    atomic {
        f = LOWEST(mask[use]);
        give_frame(block[use], word[use], f);
        cached AT(block[use], word[use]) = cached AT(block[use], word[use]) & ~f;
        mask[use] = mask[use] & ~f;
        f = 0;
        word[use] = (mask[use] != 0 -> word[use] : 0);
        block[use] = (mask[use] != 0 -> block[use] : NONE)
    }
}

/* Leaves `w` where it was. */
inline empty_slot(use)
{
    if
    :: mask[use] != 0 ->
        cached AT(block[use], word[use]) = cached AT(block[use], word[use]) & ~mask[use];
        put_word(block[use], word[use], mask[use]);
        atomic {
            mask[use] = 0;
            word[use] = 0;
            f = w
        };
#ifndef M_EMPTY_LEAVES
        merge_if_full(block[use]);
#endif
        atomic {
            block[use] = NONE;
            w = f;
            f = 0
        }
    :: else
    fi
}

inline set_owned(nb)
{
    atomic {
        kept = (owns != NONE -> kept & ~BIT(owns) : kept);
        kept = (nb != NONE -> kept | BIT(nb) : kept);
        owns = nb
    }
}

inline get_single()
{
    if
    :: mask[TAKE] != 0 -> slot_get(TAKE)
#if SLOTS > 1
    :: mask[TAKE] == 0 && mask[GIVE] != 0 -> slot_get(GIVE)
#endif
    :: else ->
        do
        :: true ->
            b = owns;
            if
            :: b == NONE ->
                own_block();
                if
                :: b == NONE -> break
                :: else -> set_owned(b)
                fi
            :: else
            fi;
            v = 255;
#if SLOTS > 1
            if
            :: v = 0 /* the word is marked */
            :: true
            fi;
#endif
            take_from(b, v);
            v = 0;
            if
            :: m != 0 ->
                atomic { /* fill_slot() */
                    mask[TAKE] = m & ~LOWEST(m);
                    word[TAKE] = (mask[TAKE] != 0 -> w : 0);
                    block[TAKE] = (mask[TAKE] != 0 -> b : NONE)
                };
                break
            :: else
            fi;
            set_owned(NONE);
            disown(b)
        od
    fi
}

/* The frame `m` of word `w` of block `b`. */
inline put_into(use)
{
    atomic {
        block[use] = b;
        word[use] = w;
        mask[use] = mask[use] | m;
        cached AT(b, w) = cached AT(b, w) | m
    }
}

#define HAS_WORD(use) (mask[use] != 0 && block[use] == b && word[use] == w)

/* What decides between slot and plane is left open, but for what must be. An empty TAKE may still
 * have the word. */
inline put_single()
{
    if
    :: HAS_WORD(TAKE) || (mask[TAKE] == 0 && owns == b) -> put_into(TAKE)
#if SLOTS > 1
    :: HAS_WORD(GIVE) -> put_into(GIVE)
    :: !HAS_WORD(TAKE) && !HAS_WORD(GIVE) ->
        if
        :: (owned & BIT(b)) == 0 || owns == b ->
            empty_slot(GIVE);
            put_into(GIVE)
        :: true -> put_aside()
        fi
#else
    :: !HAS_WORD(TAKE) -> put_aside()
#endif
    fi
}

inline empty_cache()
{
    for (u : 0 .. SLOTS - 1) {
        empty_slot(u)
    }
    u = 0;
    b = owns;
    if
    :: b != NONE ->
        set_owned(NONE);
        disown(b)
    :: else
    fi
}

#else
#define get_single take_aside
#define put_single put_aside
#endif

/* ---- processors ------------------------------------------------------------------------------ */

#define HAS(b, w) hand AT(b, w) != 0

/* Put a frame that anybody has. */
inline put_any()
{
    atomic {
        if
        :: HAS(0, 0) -> b = 0; w = 0
#if WORDS > 1
        :: HAS(0, 1) -> b = 0; w = 1
#endif
#if BLOCKS > 1
        :: HAS(1, 0) -> b = 1; w = 0
#if WORDS > 1
        :: HAS(1, 1) -> b = 1; w = 1
#endif
#endif
        fi;
        BEGIN;
        m = LOWEST(hand AT(b, w));
        hand AT(b, w) = hand AT(b, w) & ~m
    };
    put_single();
    end_op()
}

inline get_whole()
{
    BEGIN;
    take_whole();
    atomic {
        if
        :: b != NONE ->
            assert((hand_whole & BIT(b)) == 0 && NOTHING(hand, b));
            hand_whole = hand_whole | BIT(b)
        :: else
        fi
    };
    end_op()
}

/* Put a block that anybody has. */
inline put_whole()
{
    atomic {
        hand_whole != 0 -> BEGIN;
        b = ((hand_whole & 1) != 0 -> 0 : 1);
        hand_whole = hand_whole & ~BIT(b)
    };
    atomic {
        assert((whole & BIT(b)) == 0);
        whole = whole | BIT(b)
    };
    show_whole();
    end_op()
}

#if SLOTS > 0
#define VARIABLES                                                                                  \
    byte b, w, m, v, f; /* block, word, mask, what was read, a frame */                            \
    bit ok, so;         /* answers */                                                              \
    byte block[SLOTS] = NONE, word[SLOTS], mask[SLOTS], u; /* what is in the slots */             \
    byte owns = NONE                                       /* the block that TAKE's is of */
#else
#define VARIABLES                                                                                  \
    byte b, w, m, v, f;                                                                            \
    bit ok, so
#endif

active [CPUS] proctype cpu()
{
    VARIABLES;

    do
    :: BEGIN -> get_single(); end_op()
    :: put_any()
    :: get_whole()
    :: put_whole()
#if SLOTS > 0
    :: BEGIN -> empty_cache(); end_op() /* pmm_idle() */
#endif
    od
}

#ifdef PUTTER /* one processor more, for frames only */
active proctype putter()
{
    VARIABLES;

    do
    :: put_any()
    od
}
#endif

#ifdef TAKER /* one processor more, for whole blocks only */
active proctype taker()
{
    VARIABLES;

    do
    :: get_whole()
    :: put_whole()
    od
}
#endif
