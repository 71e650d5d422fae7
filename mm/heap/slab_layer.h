/*
 * slab_layer.h - what slab.c, the layer of slabs, is to slab_cpu.c, the magazines in front of it.
 */
#ifndef SLAB_LAYER_H
#define SLAB_LAYER_H

#include "mm/slab.h"

/* Set up all but name, constructor and set. Errors: MM_EINVAL. */
MM_MUST_CHECK mm_err_t slab_layer_init(struct slab_cache *c, struct slab_set *s, size_t nbytes,
                                       size_t align, bool marked);

/*
 * Take up to `n` objects out of slabs, of a new one only if there is none otherwise. Returns how
 * many. Bit 0 of an object's address says that nobody has had it yet.
 */
#define SLAB_VIRGIN ((uintptr_t)1)
unsigned slab_take_locked(struct slab_cache *c, void **objs, unsigned n);

/* Put `n` objects, marked as free, back into their slabs. */
void slab_put_locked(struct slab_cache *c, void *const *objs, unsigned n, const void *from);

_Noreturn void slab_die_written(const struct slab_cache *c, const void *obj, const void *from);

/* Give empty slabs back to the backing until only `keep` are left. */
void slab_trim_locked(struct slab_cache *c, size_t keep);

/* Is `obj`, which may be any address, an object of the cache that is not in its slab? O(slabs). */
bool slab_is_out_locked(const struct slab_cache *c, const void *obj);

/* The invariants of slabs: S1 to S4. *marked: objects that are not in slabs but marked as free. */
const char *slab_check_slabs_locked(const struct slab_cache *c, size_t *marked);

#endif
