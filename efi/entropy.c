/*
 * entropy.c - see entropy.h.
 *
 * A sponge over the permutation of SipHash (Aumasson, Bernstein: SipHash, a fast short-input PRF,
 * 2012): words go in with two rounds each, numbers come out with four. All sources are mixed, so
 * a bad one cannot spoil a good one.
 *
 * RDRAND is asked ten times for each word, as Intel recommends (DRNG guide, 5.2.1). Processors
 * exist on which it answers the same number for ever and says that all is well; such an answer is
 * not counted.
 */
#include "entropy.h"

#define ENTROPY_WORDS  4u
#define RDRAND_RETRIES 10u

static uint64_t entropy_rotl(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static void entropy_round(struct entropy *e)
{
    uint64_t *v = e->v;

    v[0] += v[1];
    v[2] += v[3];
    v[1] = entropy_rotl(v[1], 13) ^ v[0];
    v[3] = entropy_rotl(v[3], 16) ^ v[2];
    v[0] = entropy_rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = entropy_rotl(v[1], 17) ^ v[2];
    v[3] = entropy_rotl(v[3], 21) ^ v[0];
    v[2] = entropy_rotl(v[2], 32);
}

static void entropy_mix(struct entropy *e, uint64_t word)
{
    e->v[3] ^= word;
    entropy_round(e);
    entropy_round(e);
    e->v[0] ^= word;
}

uint64_t entropy_next(struct entropy *e)
{
    uint64_t out;

    e->v[2] ^= 0xff;
    for (unsigned i = 0; i < 4; i++) {
        entropy_round(e);
    }
    out = e->v[0] ^ e->v[1] ^ e->v[2] ^ e->v[3];
    /* One way: what was given out goes back in, so that the state before cannot be computed. */
    entropy_mix(e, out);
    return out;
}

/* Mix in words of one source. Are they worth something: not all the same? */
static bool entropy_absorb(struct entropy *e, const uint64_t words[ENTROPY_WORDS])
{
    bool differ = false;

    for (unsigned i = 0; i < ENTROPY_WORDS; i++) {
        entropy_mix(e, words[i]);
        differ = differ || words[i] != words[0];
    }
    return differ;
}

static bool entropy_rdrand(const struct fw *fw, uint64_t words[ENTROPY_WORDS])
{
    for (unsigned i = 0; i < ENTROPY_WORDS; i++) {
        unsigned tries = 0;

        while (!fw->rdrand(&words[i])) {
            if (++tries == RDRAND_RETRIES) {
                return false;
            }
        }
    }
    return true;
}

struct entropy entropy_gather(const struct fw *fw, const struct machine *machine)
{
    /* The constants of SipHash, "somepseudorandomlygeneratedbytes". */
    struct entropy e = { .v = { UINT64_C(0x736f6d6570736575), UINT64_C(0x646f72616e646f6d),
                                UINT64_C(0x6c7967656e657261), UINT64_C(0x7465646279746573) } };
    uint64_t words[ENTROPY_WORDS] = { 0 };

    entropy_mix(&e, fw->tsc());
    entropy_mix(&e, machine->tsc_start);
    entropy_mix(&e, machine->stub_base);
    if (!fw_failed(fw->rng(words, sizeof(words)))) {
        e.good = entropy_absorb(&e, words);
    }
    if (machine->has_rdrand && entropy_rdrand(fw, words)) {
        e.good = entropy_absorb(&e, words) || e.good;
    }
    entropy_mix(&e, fw->tsc());
    return e;
}
