#include "monitor/testing.h"

#include "lib/mix.h"
#include "lib/string.h"
#include "vm.h"

uint64_t rng_next(struct rng *r)
{
    r->state += UINT64_C(0x9e3779b97f4a7c15);
    return mix64(r->state);
}

/* The eight bytes at offset 8 * i. */
static uint64_t pattern_word(uint64_t seed, size_t i)
{
    return (seed ^ i) * UINT64_C(0x9e3779b97f4a7c15);
}

void pattern_fill(void *p, size_t nbytes, uint64_t seed)
{
    char *at = p;

    for (size_t done = 0; done < nbytes; done += 8) {
        uint64_t word = pattern_word(seed, done / 8);

        memcpy(at + done, &word, mm_min(8, nbytes - done));
    }
}

size_t pattern_verify(const void *p, size_t nbytes, uint64_t seed)
{
    const char *at = p;

    for (size_t done = 0; done < nbytes; done += 8) {
        uint64_t word = pattern_word(seed, done / 8);
        const char *want = (const char *)&word;

        if (memcmp(at + done, want, mm_min(8, nbytes - done)) != 0) {
            while (at[done] == *want) {
                done++;
                want++;
            }
            return done;
        }
    }
    return nbytes;
}

uint64_t testing_window(void)
{
    return mm_align_up(vm_layout.vmalloc_va + vm_layout.vmalloc_bytes, TESTING_WINDOW_BYTES);
}
