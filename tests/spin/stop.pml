/*
 * stop.pml - how one processor gets the whole pool to itself: mm/pmm/stop.c, and the hits and turns
 * of mm/pmm/pmm.c that it has to do with.
 *
 * A hit tells others that it is at work by a plain store to `busy`, and then loads `stop`. So the
 * order of memory matters here: each processor has a buffer, into which its plain stores go, and
 * from which they reach memory one after the other, some time later; its own loads see them at
 * once. A locked instruction waits until the buffer is empty. That is x86 (Intel SDM vol. 3A 8.2.2;
 * Owens, Sarkar, Sewell, "A Better x86 Memory Model: x86-TSO", 2009). port_fence_cpus() empties the
 * buffers of the others, one by one. What is stored with the lock held reaches memory at once here,
 * and so does what nobody else looks at but who has stopped the processor: that others may see it
 * later, in the same order, changes nothing, as they wait for the last of it.
 *
 * The first IRQS processors also have interrupts: between any two steps of a hit a handler may
 * begin, does an operation itself, and only then the hit goes on, or another handler begins. So a
 * handler comes upon a HIT, or upon a hit that is SHAKEN: by itself, by a handler before it, or by
 * who has stopped the pool while it waited.
 *
 * One block of two frames; how it gets an owner, is split and merged beside others is in pmm.pml,
 * and few steps here. Steps are atomic instructions, as there. Marks tell who gives back what is
 * free already, and keep words out of slots: whether there is one is left open here, like whatever
 * else depends on words that are not in the block. ZERO, which hits leave alone, is left out.
 *
 * Checked in every state:
 *
 *   - a hit that thinks it has taken a frame, or put one, has, and one that begins anew has not,
 *   - no frame is put that is free, and no hit puts one into TAKE that does not own its block,
 *   - nobody touches what others store while a store to it is on its way to memory,
 *   - while somebody has the pool to himself, nobody else changes anything,
 *   - then slots are empty, or void, the block has no owner, it is whole if it is full, and each
 *     frame is free in the plane or in use, or retired: so a refusal is right,
 *   - nobody waits for ever,
 *
 * and, when nobody is within an operation, that each frame is in one place, that no slot is void,
 * and that no refusal is remembered while a frame is free.
 *
 * Options:
 *   FULL, STOPPERS, IRQS  processors that do everything; that only stop the pool, and take what is
 *                free then, so that nobody needs to stop them; how many of the first have interrupts
 *   RETIRE       those that only stop the pool retire the block instead, and add it again
 *   TAKES, GIVES  with the slot TAKE, GIVE
 *   WORDS        of the block: 1 or 2
 *   BUFFER       stores that a processor's buffer has room for
 *   M_...        a step is left out, or comes at the wrong time; spin must find an error
 * scripts/verify runs it all.
 */

#define ALL       3
#define LOWEST(m) ((m) & -(m))
#define NONE      255

/* Frame `f` is bit POSITION(f) of word WORD(f); and back, for some frames of a word. */
#if WORDS == 1
#define WORD(f)         0
#define POSITION(f)     (f)
#define IN_WORD(w, set) (set)
#define FRAMES(w, mask) ((w) == NONE -> NO_FRAME : (mask))
#else
#define WORD(f)         ((f) - 1)
#define POSITION(f)     1
#define IN_WORD(w, set) ((set) >> (w) & 1)
#define FRAMES(w, mask) ((w) == NONE -> NO_FRAME : (mask) << (w))
#endif
#define NO_FRAME 4 /* what a hit makes of the word of a slot that has none */

/* What only its processor stores, but for who has stopped it. */
#define BUSY   0
#define PARKED 1
#define MASK   2 /* of TAKE, and then of GIVE */
#define VARS   4
byte memory[FULL * VARS];
byte view[FULL * VARS]; /* what the processor itself sees */
chan buffer[FULL] = [BUFFER] of { byte, byte };

#define OF(i, what) [(i) * VARS + (what)]
#define MY(what)    view OF(c, what)

#define IDLE   0
#define HIT    1
#define SHAKEN 2
#define TURN   3

#define TAKE 0
#define GIVE 1
#define SLOT(i, use) [(i) * 2 + (use)]
byte first[FULL * 2] = NONE; /* the word that it has */
byte lost[FULL * 2] = NONE;  /* NONE: it was not shaken */
#define IS_VOID(i) (lost SLOT(i, TAKE) != NONE)

bit stop[FULL];
bit last[FULL];   /* of the block, as a hit has it that puts there */
bit masked[FULL]; /* interrupts are off amid a hit */
bit locked;       /* p->lock */
bit none;         /* a refusal is remembered */

/* The block is whole, or SPLIT: then it has free frames, and an owner or none. */
bit whole;
byte plane;
byte owner = NONE;
#define MERGER 254 /* somebody who is about to make it whole */
#ifdef RETIRE
bit leaving; /* it is retired */
byte held;
bit hit_waits;
#else
#define leaving 0
#define held    0
#endif

/* No part of the pool. */
byte hand = ALL;      /* frames of the users */
byte moving;          /* frames in use, on the way from or to a user */
bit alone;            /* somebody has the pool to himself */
bit in_irq[FULL + 1]; /* a handler runs, and nothing else on that processor */

/* Before a step of a hit, before one that stores, and before one that is a locked instruction. */
#define RUNS   (in_irq[c] == is_handler)
#define ROOM   (RUNS && nfull(buffer[c]))
#define FENCED (RUNS && (c == FULL || empty(buffer[c])))

inline store(what, value)
{
    atomic {
        ROOM;
        buffer[c]!what, value;
        MY(what) = value
    }
}

inline reach_memory(i)
{
    buffer[i]?what, value;
    memory OF(i, what) = value;
    what = 0;
    value = 0
}

/* A store that has not reached it yet? */
#define ON_ITS_WAY(i, what) (buffer[i]??[eval(what), _])

/* Into memory at once, by who has stopped processor `i`, or by a locked instruction. */
inline write(i, what, value)
{
    memory OF(i, what) = value;
    if
    :: ON_ITS_WAY(i, what)
    :: else -> view OF(i, what) = value
    fi
}

active [FULL] proctype drain()
{
    byte what, value;

end:
    do
    :: atomic { nempty(buffer[_pid]) -> reach_memory(_pid) }
    od
}

/* ---- what must be true ----------------------------------------------------------------------- */

#define FREE (whole -> ALL : plane)

/* Nobody but the caller is at work on the slots of processor `i`. */
#define QUIET(i, use)                                                                              \
    (!ON_ITS_WAY(i, MASK + (use)) && memory OF(i, MASK + (use)) == view OF(i, MASK + (use)))

/* If nobody is at work. */
inline at_rest()
{
    atomic {
        k = locked;
        for (i : 0 .. FULL - 1) {
            k = k || view OF(i, BUSY) != IDLE
        }
        if
        :: k
        :: else ->
            f = FREE | hand | moving | held;
            m = FREE + hand + moving + held;
            for (i : 0 .. 2 * FULL - 1) {
                b = view OF(i / 2, MASK + i % 2);
                if
                :: b != 0 ->
                    f = f | FRAMES(first[i], b);
                    m = m + FRAMES(first[i], b)
                :: else
                fi;
                assert(i % 2 == GIVE || first[i] == NONE || owner == i / 2);
                assert(view OF(i / 2, PARKED) == IDLE && lost[i] == NONE)
            }
            assert(f == ALL && m == ALL);
            assert(!none || (hand | moving | held) == ALL);
            b = 0;
            f = 0;
            m = 0
        fi;
        i = 0;
        k = 0
    }
}

inline stopped()
{
    for (i : 0 .. 2 * FULL - 1) {
        assert(QUIET(i / 2, i % 2));
        assert((view OF(i / 2, MASK + i % 2) == 0 && first[i] == NONE) || IS_VOID(i / 2))
    }
    i = 0;
    assert(owner == NONE && plane != ALL && !alone);
    assert((FREE | hand | moving | held) == ALL && FREE + hand + moving + held == ALL);
    assert(!leaving || FREE == 0);
    alone = 1
}

/* ---- the block ------------------------------------------------------------------------------- */

inline put_word(set)
{
    assert((FREE & (set)) == 0 && !alone);
    plane = plane | (set);
    none = 0
}

/* A frame that the caller may take, or none. Sets `f`. */
inline take_one()
{
    if
    :: whole -> /* split_block() */
        whole = 0;
        plane = ALL
    :: else
    fi;
    f = LOWEST(plane);
    plane = plane & ~f;
    moving = moving | f
}

inline disown()
{
    atomic {
        FENCED ->
        assert(!alone);
        owner = NONE;
        whole = whole || plane == ALL;
        plane = (whole -> 0 : plane)
    }
}

inline merge_if_full()
{
    if
    :: atomic { FENCED && plane == ALL && owner == NONE -> assert(!alone); owner = MERGER };
        disown() /* it stays full */
    :: plane != ALL || owner != NONE
    fi
}

/* ---- turns and stops ------------------------------------------------------------------------- */

/* Of `j`, by its own processor or by who has stopped it. `keep`: what was in it, in `lost`. */
inline empty_slot(j, use, keep)
{
    atomic {
        assert(QUIET(j, use) || j == c);
        m = view OF(j, MASK + use);
        lost SLOT(j, use) = (keep -> m : NONE);
        first SLOT(j, use) = (m == 0 -> NONE : first SLOT(j, use))
    };
    if
    :: m == 0
    :: else ->
        if
        :: j == c -> store(MASK + use, 0)
        :: else -> atomic { write(j, MASK + use, 0) }
        fi;
        atomic {
            FENCED ->
            put_word(FRAMES(first SLOT(j, use), m));
            first SLOT(j, use) = NONE;
            m = 0
        };
        merge_if_full()
    fi
}

/* Likewise. `work` is at work there, and is SHAKEN then if it was a HIT. */
inline empty_cache(j, work)
{
    if
#ifndef M_SHAKEN_TWICE
    :: work == SHAKEN
#endif
    :: else ->
        for (u : TAKE .. GIVE) {
            empty_slot(j, u, work != IDLE)
        };
        u = 0
    fi;
    if
    :: owner == j -> disown()
    :: else
    fi;
    if
    :: work == IDLE
    :: else ->
#ifndef M_LAST_LEFT
        if
        :: last[j] -> merge_if_full()
        :: else
        fi;
#endif
        work = SHAKEN
    fi
}

/* Here, who loads `parked` and then takes it by compare-and-exchange does both at once: if it has
 * changed in between, he begins again. */
#define MAY_BE_TAKEN(parked) ((parked) == HIT || (parked) == SHAKEN)

inline unpark()
{
#if defined(M_UNPARK_STORE)
    atomic { MAY_BE_TAKEN(MY(PARKED)) -> upon = MY(PARKED) };
    store(PARKED, IDLE)
#elif defined(M_UNPARK_SWAP)
    atomic { FENCED -> upon = MY(PARKED); write(c, PARKED, IDLE) }
#else
    atomic { FENCED && MAY_BE_TAKEN(MY(PARKED)) -> upon = MY(PARKED); write(c, PARKED, IDLE) }
#endif
}

inline wait_turn()
{
    do
    ::  if
        :: upon == IDLE -> store(BUSY, IDLE)
        :: else ->
#ifdef M_WAIT_UNSAID
            skip
#else
            store(PARKED, upon)
#endif
        fi;
        !stop[c];
        if
        :: upon == IDLE
        :: else ->
#if defined(M_WAIT_UNSAID)
            skip
#elif defined(M_UPON_BEFORE)
            i = upon;
            unpark();
            atomic { upon = i; i = 0 }
#else
            unpark()
#endif
        fi;
        store(BUSY, TURN);
#ifdef M_LOOK_ONCE
        break
#else
        if
        :: stop[c]
        :: else -> break
        fi
#endif
    od
}

inline begin_turn()
{
    atomic {
        ROOM;
        upon = MY(BUSY);
        store(BUSY, TURN)
    };
    if
    :: stop[c] -> wait_turn()
    :: else
    fi
}

inline end_turn()
{
    store(BUSY, upon)
}

/* Wait for the operation on `k`, if there is one, and empty its cache. */
inline quiet()
{
    if
    :: memory OF(k, BUSY) == IDLE
#if defined(M_TAKE_LOOK)
    :: atomic { MAY_BE_TAKEN(memory OF(k, PARKED)) -> theirs = memory OF(k, PARKED) }
#elif defined(M_TAKE_STORE)
    :: atomic { MAY_BE_TAKEN(memory OF(k, PARKED)) -> theirs = memory OF(k, PARKED) };
        atomic { write(k, PARKED, TURN) }
#else
    :: atomic {
            MAY_BE_TAKEN(memory OF(k, PARKED)) ->
            theirs = memory OF(k, PARKED);
            write(k, PARKED, TURN);
#ifdef RETIRE
            hit_waits = 1
#endif
        }
#endif
    fi;
    empty_cache(k, theirs);
    if
    :: theirs != IDLE ->
        atomic {
            write(k, PARKED, theirs);
            theirs = IDLE
        }
    :: else
    fi
}

/* The lock is held. */
inline stop_others()
{
    atomic {
        for (k : 0 .. FULL - 1) {
            stop[k] = (k != c)
        }
    };
#ifdef RETIRE
    hit_waits = 0;
#endif
#ifndef M_NO_FENCE
    atomic {
        for (k : 0 .. FULL - 1) {
            do
            :: k != c && nempty(buffer[k]) -> reach_memory(k)
            :: k == c || empty(buffer[k]) -> break
            od
        }
    };
#endif
    k = 0;
    do
    :: k < FULL ->
        if
        :: k != c -> quiet()
        :: else
        fi;
        k++
    :: else -> break
    od;
    k = 0
}

inline stop_all()
{
    atomic {
        ROOM;
        upon = MY(BUSY);
#ifndef M_LOCK_UNSAID
        if
        :: upon != IDLE -> store(PARKED, upon)
        :: else
        fi
#endif
    };
    atomic {
        FENCED && !locked ->
        locked = 1;
#if !defined(M_LOCK_UNSAID) && !defined(M_LOCK_BEFORE)
        upon = MY(PARKED);
#endif
        write(c, PARKED, IDLE)
    };
    stop_others();
    empty_cache(c, upon);
    store(BUSY, upon);
    atomic {
        FENCED ->
        upon = IDLE;
        stopped()
    }
}

inline go_on()
{
    atomic {
        alone = 0;
        for (k : 0 .. FULL - 1) {
            stop[k] = 0
        }
        k = 0
    };
    locked = 0
}

/* ---- operations ------------------------------------------------------------------------------ */

inline end_hit()
{
    atomic {
        ROOM;
        lost SLOT(c, TAKE) = NONE;
        lost SLOT(c, GIVE) = NONE;
        last[c] = 0;
        store(BUSY, IDLE)
    }
}

/* Goes on in must_wait(). Who comes upon a hit begins none. */
inline begin_hit()
{
    assert(MY(BUSY) == IDLE);
#ifndef M_BUSY_LATE
    store(BUSY, HIT)
#endif
}

/* `ok` = the hit has begun. */
inline must_wait()
{
    atomic { RUNS -> ok = !stop[c] };
#ifdef M_BUSY_LATE
    store(BUSY, HIT);
#endif
    if
    :: ok
    :: else -> end_hit()
    fi
}

/* Write the mask `m`, with a frame that leaves, or comes. Sets `ok`, and `done`: it has. */
inline hit_slot(use, leaves, comes)
{
    atomic {
        ROOM;
        if
        :: !IS_VOID(c) ->
            assert(!alone && (use == GIVE || owner == c));
            moving = (moving | (leaves)) & ~(comes);
            done = 1
        :: else
        fi;
        store(MASK + use, m)
    };
    m = 0;
#ifdef M_LOOK_NOT
    ok = 1
#else
    if
    :: atomic { RUNS && MY(BUSY) != SHAKEN -> ok = 1 }
    :: RUNS && MY(BUSY) == SHAKEN ->
#ifndef M_MASK_LEFT
        store(MASK + use, 0);
#endif
        ok = 0
    fi
#endif
}

inline hit_get_from(use)
{
    atomic { RUNS -> m = MY(MASK + use) };
    if
    :: m != 0 ->
        b = LOWEST(m);
        m = m & ~b;
        atomic { RUNS -> f = FRAMES(first SLOT(c, use), b) };
        hit_slot(use, f, 0);
        atomic {
            RUNS ->
            if
#if defined(M_GET_DONE)
            :: true
#elif defined(M_GET_ANEW)
            :: !ok -> f = 0
#else
            :: !ok && (lost SLOT(c, use) & b) != 0 -> f = 0
#endif
            :: else
            fi;
            assert((f != 0) == done && f != NO_FRAME);
            b = 0;
            ok = 1;
            done = 0
        }
    :: else -> ok = 0
    fi
}

/* `f` = a frame that moves to the caller, or 0. */
inline hit_get()
{
    atomic {
        ROOM;
        begin_hit()
    };
    must_wait();
    if
    :: ok ->
#ifdef GIVES
        hit_get_from(GIVE);
#else
        ok = 0;
#endif
#ifdef TAKES
        if
        :: ok
        :: else -> hit_get_from(TAKE)
        fi;
#endif
        end_hit()
    :: else
    fi
}

/* Whose turns may touch the slots. */
#ifdef M_BELIEVED
#define NOT_NESTED (upon != HIT)
#else
#define NOT_NESTED (upon == IDLE)
#endif

inline take_from_slot(use)
{
    assert(!alone);
    f = FRAMES(first SLOT(c, use), LOWEST(MY(MASK + use)));
    moving = moving | f;
    store(MASK + use, MY(MASK + use) & ~LOWEST(MY(MASK + use)))
}

/* From a block of TAKE's. */
inline take_from()
{
    atomic {
        ROOM;
        take_one();
        m = (f != 0 -> IN_WORD(WORD(f), plane) : 0);
        if
        :: f != 0 -> /* fill_slot() */
            plane = plane & ~FRAMES(WORD(f), m);
            first SLOT(c, TAKE) = WORD(f);
            store(MASK + TAKE, m)
        :: f != 0 /* its word is marked */
        :: else -> first SLOT(c, TAKE) = NONE
        fi;
        m = 0
    };
    if
    :: f == 0 -> disown()
    :: else
    fi
}

inline get_single()
{
    if
    :: atomic { NOT_NESTED && MY(MASK + TAKE) != 0 && ROOM -> take_from_slot(TAKE) }
    :: atomic {
            NOT_NESTED && MY(MASK + TAKE) == 0 && MY(MASK + GIVE) != 0 && ROOM ->
            take_from_slot(GIVE)
        }
#ifdef TAKES
    :: atomic {
            NOT_NESTED && MY(MASK + TAKE) == 0 && MY(MASK + GIVE) == 0 && FENCED &&
            (owner == NONE || owner == c) ->
            assert(!alone);
            first SLOT(c, GIVE) = NONE;
            owner = c
        };
        take_from()
    :: atomic { !NOT_NESTED && FENCED && owner == NONE -> assert(!alone); take_one() }
#else
    :: atomic {
            (!NOT_NESTED || MY(MASK + GIVE) == 0) && FENCED && owner == NONE ->
            assert(!alone);
            first SLOT(c, GIVE) = (NOT_NESTED -> NONE : first SLOT(c, GIVE));
            take_one()
        }
#endif
    :: owner != NONE &&
        (!NOT_NESTED || (MY(MASK + TAKE) == 0 && MY(MASK + GIVE) == 0 && owner != c))
    fi
}

inline take_stopped()
{
    atomic {
        take_one();
        none = (f == 0)
    }
}

inline get_block()
{
    if
    :: f == 0 && !none ->
        begin_turn();
        get_single();
        end_turn();
        if
        :: f == 0 ->
            stop_all();
            take_stopped();
            go_on()
        :: else
        fi
    :: else
    fi
}

/* Sets `ok`. */
inline hit_slot_put(use)
{
    atomic { RUNS -> ok = (first SLOT(c, use) == WORD(f)) };
    if
    :: ok ->
        atomic { RUNS -> m = MY(MASK + use) | POSITION(f) };
        hit_slot(use, 0, f);
        is_it_put(use)
    :: else
    fi
}

/* The hit was shaken, or not: `ok`. */
inline is_it_put(use)
{
    atomic {
        RUNS ->
        if
        :: !ok ->
#ifndef M_PUT_ANEW
            ok = ((lost SLOT(c, use) & POSITION(f)) != 0)
#endif
        :: else
        fi;
        assert(ok == done);
        done = 0
    }
}

inline put_plane()
{
    atomic {
        FENCED ->
        moving = moving & ~f;
        put_word(f);
        m = plane;
        ok = 1
    };
#ifdef M_LAST_LATE
    atomic { RUNS -> last[c] = 1 };
#endif
    if
    :: m == ALL ->
#ifndef M_MERGE_OPEN
        atomic { RUNS -> masked[c] = 1 };
#endif
        merge_if_full();
        masked[c] = 0
    :: else
    fi;
    m = 0
}

/* Sets `ok`. */
inline put_loose()
{
    if
    :: RUNS /* for one of many reasons it takes a turn */
    :: atomic {
            RUNS && !leaving && owner == NONE -> /* find_plain() */
#ifndef M_LAST_LATE
            last[c] = 1
#endif
        };
        put_plane()
#ifdef GIVES
    :: RUNS && !leaving && owner == NONE ->
        if
        :: RUNS && MY(MASK + GIVE) != 0 /* it takes one of the ways above */
        :: RUNS && MY(MASK + GIVE) == 0 ->
            atomic { RUNS -> first SLOT(c, GIVE) = WORD(f) }; /* set_word() */
            atomic {
                RUNS ->
#ifndef M_LOST_BEFORE
                lost SLOT(c, GIVE) = 0;
#endif
                m = POSITION(f)
            };
            hit_slot(GIVE, 0, f);
            if
            :: ok -> forget_refusals()
            :: else -> atomic { RUNS -> first SLOT(c, GIVE) = NONE } /* give_shaken() */
            fi;
            is_it_put(GIVE)
        fi
#endif
    fi
}

inline forget_refusals()
{
#ifdef M_REMEMBERED
    skip
#else
    atomic { RUNS -> assert(!alone); none = 0 }
#endif
}

/* A frame that anybody has. */
inline take_from_hand()
{
    f = LOWEST(hand);
    hand = hand & ~f;
    moving = moving | f
}

/* The frame `f` moves from a user. `ok` = it is put. */
inline hit_put()
{
    atomic {
        hand != 0 && ROOM ->
        take_from_hand();
        begin_hit()
    };
    must_wait();
    if
    :: ok ->
        ok = 0;
#ifdef TAKES
        hit_slot_put(TAKE);
#endif
#ifdef GIVES
        if
        :: ok
        :: else -> hit_slot_put(GIVE)
        fi;
#endif
        if
        :: ok -> forget_refusals()
        :: else -> put_loose()
        fi;
        end_hit()
    :: else
    fi
}

inline put_into_slot(use)
{
    assert(!alone);
    moving = moving & ~f;
    store(MASK + use, MY(MASK + use) | POSITION(f));
    none = 0;
    ok = 1
}

#define HAS_WORD(use) (NOT_NESTED && first SLOT(c, use) == WORD(f))

inline put_single()
{
    if
    :: leaving
    :: atomic {
            !leaving && HAS_WORD(TAKE) && ROOM ->
            put_into_slot(TAKE)
        }
    :: atomic {
            !leaving && !HAS_WORD(TAKE) && HAS_WORD(GIVE) && ROOM ->
            put_into_slot(GIVE)
        }
#ifdef GIVES
    :: !leaving && NOT_NESTED && !HAS_WORD(TAKE) && !HAS_WORD(GIVE) &&
        (owner == NONE || owner == c) -> /* slot_for() */
        empty_slot(c, GIVE, 0);
        atomic {
            ROOM;
            first SLOT(c, GIVE) = WORD(f);
            put_into_slot(GIVE)
        }
#endif
    :: atomic {
            !leaving && !HAS_WORD(TAKE) && !HAS_WORD(GIVE) && FENCED ->
            moving = moving & ~f;
            put_word(f);
            ok = 1
        };
        merge_if_full()
    fi
}

inline put_block()
{
    if
    :: ok
    :: else ->
        begin_turn();
        put_single();
        end_turn()
    fi;
#ifdef RETIRE
    if
    :: ok
    :: else -> /* put_stopped() */
        stop_all();
        atomic {
            moving = moving & ~f;
            if
            :: leaving -> held = held | f
            :: else ->
                plane = plane | f;
                whole = (plane == ALL);
                plane = (whole -> 0 : plane);
                none = 0
            fi
        };
        go_on()
    fi;
#endif
    f = 0
}

/* pmm_idle() */
inline idle()
{
    begin_turn();
    empty_cache(c, upon);
    end_turn()
}

/* What was got, if anything, is a user's. */
inline end_op()
{
    atomic {
        hand = hand | f;
        moving = moving & ~f;
        f = 0;
        ok = 0;
        upon = IDLE;
        at_rest()
    }
}

#define VARIABLES                                                                                  \
    byte f, m, b, u;   /* a frame, a mask, a bit of it, a slot */                                  \
    byte k, i;         /* processors */                                                            \
    byte what, value;  /* a store */                                                               \
    byte upon, theirs; /* work */                                                                  \
    bit ok, done

active [FULL] proctype cpu()
{
    byte c = _pid - FULL;
    bit is_handler;
    VARIABLES;

end:
    do
    :: hit_get();
        get_block();
        end_op()
    :: hit_put();
        put_block();
        end_op()
    od
}

#if IRQS > 0
#define MAY_COME ((MY(BUSY) == HIT || MY(BUSY) == SHAKEN) && !masked[c])

active [IRQS] proctype handler()
{
    byte c = _pid - 2 * FULL;
    bit is_handler = 1;
    VARIABLES;

end:
    do
    :: atomic { MAY_COME -> in_irq[c] = 1 };
        if
        :: get_block()
        :: atomic { hand != 0 -> take_from_hand() };
            put_block()
        :: idle()
        fi;
        atomic {
            end_op();
            in_irq[c] = 0
        }
    od
}
#endif

#if STOPPERS > 0
active [STOPPERS] proctype stopper()
{
    byte c = FULL; /* no number of one that others know */
    bit is_handler;
    VARIABLES;

end:
    do
    :: atomic {
#ifdef RETIRE
            !locked ->
#else
            !locked && !none ->
#endif
            locked = 1
        };
        stop_others();
#ifdef RETIRE
        atomic {
            stopped();
            if
            :: leaving -> /* pmm_add() */
                leaving = 0;
                whole = (held == ALL);
                plane = (whole -> 0 : held);
                held = 0;
                none = 0
#ifdef M_RETIRE_AT_ONCE
            :: else ->
#else
            :: !leaving && hit_waits
            :: !leaving && !hit_waits ->
#endif
                leaving = 1;
                held = FREE;
                whole = 0;
                plane = 0
            fi
        };
#else
        atomic { stopped() };
        take_stopped();
#endif
        go_on();
        end_op()
    od
}
#endif
