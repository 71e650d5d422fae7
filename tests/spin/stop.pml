/*
 * stop.pml - how one processor gets the whole pool to itself: mm/pmm/stop.c, and the hits and turns
 * of mm/pmm/pmm.c that it has to do with.
 *
 * A hit tells others that it is at work by a plain store to `busy`, and then loads `stop`. So the
 * order of memory matters here: each processor has a buffer, into which its plain stores go, and
 * from which they reach memory one after the other, some time later; its own loads see them at
 * once. A locked instruction waits until the buffer is empty. That is x86 (Intel SDM vol. 3A 8.2.2;
 * Owens, Sarkar, Sewell, "A Better x86 Memory Model: x86-TSO", 2009). port_fence_cpus() empties the
 * buffers of the others, one by one.
 *
 * The first IRQS processors also have interrupts: between any two steps of a hit, which is where
 * they are not masked, a handler may begin, does an operation itself, and only then the hit goes
 * on. A handler that has to wait says in `parked` which hit it has interrupted, and leaves the
 * slots alone: who stops the pool may have begun to empty them before that hit began.
 *
 * FULL processors do everything. STOPPERS more only stop the pool, and take what is free then, if
 * anything is; so nobody needs to stop them.
 *
 * One block of one word, of two frames; who owns it, and what merging does, is in pmm.pml. Steps
 * are atomic instructions, as there. A slot's word never changes, so what is said in stop.c about
 * changing it is not checked here.
 *
 * Checked in every state:
 *
 *   - a hit has a frame only if it took it out of the mask, and a frame that is put into a slot is
 *     put into one whose block is owned,
 *   - nobody touches a mask while a store to it is on its way to memory,
 *   - with the pool stopped all slots are empty, and each frame is free in the plane or in use:
 *     so a refusal is right,
 *   - nobody waits for ever,
 *
 * and, when nobody is within an operation, that each frame is in one place, and that no refusal is
 * remembered while a frame is free.
 *
 * M_...: a step is left out, and spin must find an error. scripts/verify runs it all.
 */

#define ALL       3
#define LOWEST(m) ((m) & -(m))
#define NONE      255

/* What only its processor writes, but who has stopped it. */
#define BUSY   0 /* 0, or one of: */
#define HIT    1
#define TURN   2
#define PARKED 1
#define MASK   2
byte memory[FULL * 3];
byte view[FULL * 3]; /* what the processor itself sees */
chan buffer[FULL] = [3] of { byte, byte };
byte pending[FULL];  /* stores to MASK in the buffer */

#define OF(i, what) [(i) * 3 + (what)]
#define MY(what)    view OF(c, what)

bit stop[FULL];
byte raided[FULL]; /* of struct hit: frames taken from the slot */
bit putting[FULL]; /* of struct hit: it puts a frame */
bit locked;        /* p->lock */
bit none;          /* a refusal is remembered */
byte plane;
byte owner = NONE; /* of the block */

/* No part of the pool. */
byte hand = ALL;   /* frames of the users */
byte moving;       /* frames in use, on the way from or to a user */
byte working;      /* processors within an operation */
bit in_irq[FULL];  /* a handler runs, and nothing else on that processor */

/* Before a step that stores, and before one that is a locked instruction. */
#define ROOM   nfull(buffer[c])
#define FENCED empty(buffer[c])

inline store(what, value)
{
    atomic {
        ROOM;
        buffer[c]!what, value;
        pending[c] = pending[c] + (what == MASK);
        MY(what) = value
    }
}

inline reach_memory(i)
{
    buffer[i]?what, value;
    memory OF(i, what) = value;
    pending[i] = pending[i] - (what == MASK);
    what = 0;
    value = 0
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

/* Nobody but the caller is at work on the slot of processor `i`. */
#define QUIET(i) (pending[i] == 0 && memory OF(i, MASK) == view OF(i, MASK))

inline at_rest()
{
    what = plane | hand;
    value = plane + hand;
    for (i : 0 .. FULL - 1) {
        what = what | view OF(i, MASK);
        value = value + view OF(i, MASK);
        assert(view OF(i, MASK) == 0 || owner == i)
    }
    assert(what == ALL && value == ALL && moving == 0);
    assert(!none || hand == ALL);
    what = 0;
    value = 0;
    i = 0
}

inline stopped()
{
    for (i : 0 .. FULL - 1) {
        assert(QUIET(i) && view OF(i, MASK) == 0)
    }
    i = 0;
    assert((plane | hand | moving) == ALL && plane + hand + moving == ALL)
}

/* ---- turns and stops ------------------------------------------------------------------------- */

/* The slot of `j`, by its own processor or by who has stopped it. */
inline empty_cache(j, hit)
{
    assert(QUIET(j) || j == c);
    if
    :: view OF(j, MASK) != 0 ->
        m = view OF(j, MASK);
        if
        :: j == c ->
            store(MASK, 0);
            FENCED
        :: else ->
            atomic {
                view OF(j, MASK) = 0;
                memory OF(j, MASK) = 0
            }
        fi;
        atomic {
            plane = plane | m; /* put_word() */
#ifndef M_NOT_RAIDED
            raided[j] = (hit -> raided[j] | m : raided[j]);
#endif
            m = 0
        }
    :: else
    fi;
    if
    :: owner != j
#ifndef M_DISOWN
    :: hit && putting[j]
#endif
    :: else -> owner = NONE
    fi
}

inline begin_turn()
{
    nested = MY(BUSY);
    store(BUSY, TURN);
    if
    :: !stop[c]
    :: else -> /* wait_turn() */
#ifdef M_TWO_EMPTY
        if
        :: nested -> empty_cache(c, 1)
        :: else
        fi;
#endif
        do
        :: true ->
            if
#ifndef M_NOT_PARKED
            :: nested -> store(PARKED, 1)
#endif
            :: !nested -> store(BUSY, 0)
#ifdef M_NOT_PARKED
            :: nested
#endif
            fi;
            !stop[c];
            store(PARKED, 0);
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
    fi
}

inline end_turn()
{
    store(BUSY, nested)
}

inline lock()
{
    hit = MY(BUSY);
#ifndef M_NOT_PARKED
    if
    :: hit != 0 -> store(PARKED, 1)
    :: else
    fi;
#endif
    atomic { FENCED && !locked -> locked = 1 };
    store(PARKED, 0);
    FENCED
}

/* The lock is held. What is stored here reaches memory before the fence ends. */
inline stop_others()
{
    k = 0;
    do
    :: k < FULL ->
        if
        :: k != c -> stop[k] = 1
        :: else
        fi;
        k++
    :: else -> break
    od;
    k = 0;
    do
    :: k < FULL ->
#ifndef M_NO_FENCE
        if
        :: k != c ->
            atomic {
                do
                :: nempty(buffer[k]) -> reach_memory(k)
                :: empty(buffer[k]) -> break
                od
            }
        :: else
        fi;
#endif
        k++
    :: else -> break
    od;
    k = 0;
    do
    :: k < FULL ->
        if
        :: k != c -> /* quiet() */
            if
            :: memory OF(k, BUSY) == 0 -> empty_cache(k, 0)
#ifdef M_TWO_EMPTY
            :: memory OF(k, PARKED) != 0
#else
            :: memory OF(k, PARKED) != 0 -> empty_cache(k, 1)
#endif
            fi
        :: else
        fi;
        k++
    :: else -> break
    od;
    k = 0
}

inline go_on()
{
    do
    :: k < FULL -> atomic { stop[k] = 0; k++ }
    :: else -> break
    od;
    atomic {
        k = 0;
        locked = 0
    }
}

/* An interrupt may come here. */
#if IRQS > 0
#define OPEN                                                                                       \
    if                                                                                             \
    :: atomic { _pid == FULL + c && c < IRQS -> in_irq[c] = 1 };                                   \
       !in_irq[c]                                                                                  \
    :: true                                                                                        \
    fi
#else
#define OPEN skip
#endif

/* ---- operations ------------------------------------------------------------------------------ */

/* `f` = a frame that moves to the caller, or 0. */
inline hit_get()
{
    if
    :: MY(BUSY) != 0
    :: else ->
        atomic {
            ROOM;
            raided[c] = 0;
            putting[c] = 0;
            store(BUSY, HIT)
        };
        OPEN;
        if
        :: stop[c] -> store(BUSY, 0)
        :: else ->
            OPEN;
            m = MY(MASK);
            OPEN;
            atomic { /* local_and() */
                ROOM;
                f = LOWEST(m);
                moving = moving | (f & MY(MASK));
                m = f & MY(MASK); /* of no use to it: did it get the frame? */
                store(MASK, MY(MASK) & ~f)
            };
            OPEN;
            atomic {
                ROOM;
                store(BUSY, 0);
                f = f & ~raided[c];
                assert(f == m)
            };
            m = 0
        fi
    fi
}

inline turn_get()
{
    begin_turn();
    if
    :: nested == 0 && MY(MASK) != 0 ->
        atomic {
            ROOM;
            f = LOWEST(MY(MASK));
            moving = moving | f;
            store(MASK, MY(MASK) & ~f)
        }
    :: nested == 0 && MY(MASK) == 0 ->
        if
        :: atomic { FENCED && owner == NONE -> owner = c }
        :: owner != NONE
        fi;
        if
        :: owner == c ->
            atomic {
                FENCED ->
                m = plane;
                plane = 0;
                f = LOWEST(m);
                moving = moving | f
            };
            if
            :: m != 0 -> store(MASK, m & ~f)
            :: else -> owner = NONE
            fi;
            m = 0
        :: else
        fi
    :: else -> /* take_aside() */
        if
        :: atomic {
                FENCED && owner == NONE ->
                f = LOWEST(plane);
                plane = plane & ~f;
                moving = moving | f
            }
        :: owner != NONE
        fi
    fi;
    end_turn()
}

inline take_stopped()
{
    atomic {
        stopped();
        f = LOWEST(plane);
        plane = plane & ~f;
        moving = moving | f;
        none = (f == 0)
    }
}

inline get()
{
    hit_get();
    if
    :: f == 0 -> turn_get()
    :: else
    fi;
    if
    :: f == 0 && !none ->
        lock(); /* stop_all() */
        stop_others();
        empty_cache(c, hit);
        FENCED;
        take_stopped();
        go_on()
    :: else
    fi
}

/* The frame `f`, which moves from a user. ok = it is put. */
inline hit_put()
{
    ok = 0;
    if
    :: MY(BUSY) != 0
    :: else ->
        atomic {
            ROOM;
            raided[c] = 0;
            putting[c] = 1;
            store(BUSY, HIT)
        };
        OPEN;
        if
        :: stop[c] -> store(BUSY, 0)
        :: else ->
            OPEN;
            if
            :: MY(MASK) != 0 ->
                OPEN;
                atomic { /* local_or() */
                    ROOM;
                    assert(owner == c);
                    moving = moving & ~f;
                    store(MASK, MY(MASK) | f)
                };
                ok = 1
            :: else -> /* hit_plane() */
                if
                :: owner == NONE ->
                    OPEN;
                    atomic {
                        FENCED ->
                        moving = moving & ~f;
                        plane = plane | f
                    };
                    ok = 1
                :: else
                fi
            fi;
            OPEN;
#ifndef M_REMEMBERED
            if
            :: ok -> none = 0
            :: else
            fi;
            OPEN;
#endif
            store(BUSY, 0)
        fi
    fi
}

inline turn_put()
{
    begin_turn();
    none = 0;
    if
    :: nested == 0 && owner == c ->
        atomic {
            ROOM;
            moving = moving & ~f;
            store(MASK, MY(MASK) | f)
        }
    :: else ->
        atomic {
            FENCED ->
            moving = moving & ~f;
            plane = plane | f
        }
    fi;
    end_turn()
}

inline put()
{
    hit_put();
    if
    :: ok
    :: else -> turn_put()
    fi;
    f = 0
}

inline begin_get()
{
    working++
}

/* Of a frame that anybody has. */
inline begin_put()
{
    working++;
    f = LOWEST(hand);
    hand = hand & ~f;
    moving = moving | f
}

/* What was got, if anything, is a user's. */
inline end_op()
{
    atomic {
        working--;
        hand = hand | f;
        moving = moving & ~f;
        f = 0;
        ok = 0;
        hit = 0;
        nested = 0;
        if
        :: working == 0 -> at_rest()
        :: else
        fi
    }
}

#define VARIABLES                                                                                  \
    byte f, m, k, i;  /* a frame, a mask, processors */                                            \
    byte what, value; /* a store */                                                                \
    byte nested, hit; /* what `busy` was */                                                        \
    bit ok

active [FULL] proctype cpu()
{
    byte c = _pid - FULL;
    VARIABLES;

end:
    do
    :: atomic { begin_get() }; get(); end_op()
    :: atomic { hand != 0 -> begin_put() }; put(); end_op()
    od
}

#if IRQS > 0
active [IRQS] proctype interrupts()
{
    byte c = _pid - 2 * FULL;
    VARIABLES;

end:
    do
    :: in_irq[c] ->
        if
        :: atomic { begin_get() }; get()
        :: atomic { hand != 0 -> begin_put() }; put()
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
    VARIABLES;

end:
    do
    :: atomic { !none && !locked -> begin_get(); locked = 1 };
        stop_others();
        take_stopped();
        go_on();
        end_op()
    od
}
#endif
