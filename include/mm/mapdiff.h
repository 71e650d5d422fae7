/*
 * mapdiff.h - what became of one memory map in another, in moves: this region moved down by three
 * pages, that one grew, boot services took 2 MiB of free memory; and what it breaks.
 *
 * Model:    `from` and `to` are normalised maps; regions that touch and have one type and kind are
 *           one region here, whatever descriptors they came in. Memory that is free, or free after
 *           exit, passes to the OS and lies differently at every boot: this passing memory is
 *           compared as a whole, by sums. All else is compared region by region, and each finds its
 *           counterpart: at the same place first, then one of its size, the nearest, then one that
 *           overlaps it, then one of like size. There is no change if, and only if, each byte has
 *           the same type, kind and attributes in both maps. The changes of (b, a) are those of
 *           (a, b), reversed.
 *
 * Breaking: what an OS that hibernated under one map, or started another kernel by kexec, relies
 *           on. For both, runtime services and ACPI memory must be where they were: the resumed or
 *           new kernel goes on using the addresses of the old one (UEFI 2.10, 8.4: runtime services
 *           are given their addresses once; ACPI 6.5, chapter 15: NVS memory is saved and restored
 *           across sleep). For hibernation so must all else that is not passing memory, and RAM as
 *           a whole: Linux on x86 refuses an image of another map (arch/x86/power/hibernate.c).
 *           Attributes are capabilities and break nothing, except RUNTIME.
 *
 * Locking:  none; the maps must not change during a call.
 *
 * Memory:   nothing is allocated, nothing recurses; the caller gives storage, which the result lies
 *           in. The result points nowhere else: the maps may be dropped.
 */
#ifndef MM_MAPDIFF_H
#define MM_MAPDIFF_H

#include "mm/json.h"
#include "mm/memmap.h"
#include "mm/sink.h"

/* What a change is about. */
enum mapdiff_subject {
    MAPDIFF_REGION, /* one region that is neither free nor free after exit */
    MAPDIFF_RAM,    /* what is RAM, as in mapsum.h, where nothing was, or the sum of it */
    MAPDIFF_FREE,   /* the sum of all that is free */
    MAPDIFF_BOOT,   /* the sum of boot services code and data */
    MAPDIFF_LOADER, /* the sum of loader code and data */
    MAPDIFF_PASSING /* the last three together */
};

/* What happened. Where it says `from` and `to`, these members of the change are filled in. */
enum mapdiff_kind {
    MAPDIFF_APPEARED,   /* to; from says what was there, if that is one type of memory */
    MAPDIFF_VANISHED,   /* from; to says what is there now, if that is one type of memory */
    MAPDIFF_MOVED,      /* from, to: the sizes may differ, too */
    MAPDIFF_RESIZED,    /* from, to: one lies inside the other */
    MAPDIFF_RETYPED,    /* from, to: the same place, of another type or kind */
    MAPDIFF_ATTRIBUTES, /* from, to: the stretch that has other attributes, before and now. Of
                           PASSING: the first of `count` stretches, from_bytes in all */
    MAPDIFF_SUM,        /* from_bytes, to_bytes */
    MAPDIFF_TRADED,     /* from_bytes, to_bytes of BOOT or LOADER: the difference came from, or went
                           to, free memory */
    MAPDIFF_SHUFFLED,   /* PASSING: from_bytes of it have another type than before, beyond what the
                           changes of sums explain */
    MAPDIFF_KINDS
};

/* What the other map has in the place of a region that APPEARED or VANISHED. */
enum mapdiff_instead {
    MAPDIFF_NOT_ASKED, /* it is another kind of change */
    MAPDIFF_NOTHING,
    MAPDIFF_ONE,    /* memory of one type and kind: `from`, or `to`, says which */
    MAPDIFF_PASSED, /* several types of memory, all of it free or free after exit */
    MAPDIFF_MIXED
};

enum mapdiff_importance {
    MAPDIFF_ROUTINE,  /* no two boots are alike in this, or it is our own doing (claims) */
    MAPDIFF_NOTABLE,  /* firmware, its settings, or the machine changed */
    MAPDIFF_BREAKING, /* runtime services or ACPI memory changed */
};

/* What a change breaks: bits. */
#define MAPDIFF_BREAKS_HIBERNATION 1u
#define MAPDIFF_BREAKS_KEXEC       2u

/* Memory of one type and kind; of a change of RAM, a stretch and the first RAM in it. */
struct mapdiff_place {
    uint64_t base; /* bytes; base == end: no place */
    uint64_t end;
    uint64_t attr; /* every attribute that any part of it has */
    uint32_t type; /* enum efi_memory_type */
    uint32_t kind; /* enum memmap_kind */
    bool is_claim; /* claimed by us: the type says nothing */
};

struct mapdiff_change {
    uint32_t subject;    /* enum mapdiff_subject */
    uint32_t kind;       /* enum mapdiff_kind */
    uint32_t importance; /* enum mapdiff_importance */
    uint32_t breaks;     /* MAPDIFF_BREAKS_* */
    uint32_t instead;    /* enum mapdiff_instead */
    uint32_t count;      /* stretches that it stands for; 1 but for ATTRIBUTES of PASSING */
    struct mapdiff_place from;
    struct mapdiff_place to;
    uint64_t from_bytes;
    uint64_t to_bytes;
    uint64_t lost; /* ATTRIBUTES: bits that are not there any more */
    uint64_t gained;
};

struct mapdiff {
    struct mapdiff_change *changes; /* RAM first, then the most important, then by address */
    uint32_t nchanges;
    /* The verdict. */
    uint32_t nruntime; /* changes that concern runtime services */
    uint32_t nacpi;    /* changes that concern ACPI memory */
    uint32_t breaks;   /* of all changes: MAPDIFF_BREAKS_* */
};

/*
 * Storage, in bytes, that mapdiff_make() needs for maps of so many regions; 0 if the size would
 * overflow.
 */
uint64_t mapdiff_storage_bytes(uint64_t nfrom, uint64_t nto);

/*
 * Compare. Attribute bits outside `attr_mask` do not count: all ones, or fewer when one of the maps
 * came in a format that does not show them all. `storage` is `storage_bytes` long and 16-byte
 * aligned; it belongs to the result until that is dropped.
 * Errors: MM_EINVAL when `storage` is misaligned, MM_ENOSPC when it is too small; *d is then not
 * touched. Cost: O(n log n) in regions.
 */
MM_MUST_CHECK mm_err_t mapdiff_make(struct mapdiff *d, const struct memmap *from,
                                    const struct memmap *to, uint64_t attr_mask, void *storage,
                                    uint64_t storage_bytes);

/* A change in words, one line without its end. */
void mapdiff_put_change(const struct mm_sink *to, const struct mapdiff_change *c);

/* What the changes break, in words; a line or several, each with its end. */
void mapdiff_put_verdict(const struct mm_sink *to, const struct mapdiff *d);

/*
 * All changes, a line each, behind "! " if breaking, "* " if notable, and two blanks if routine;
 * then the verdict.
 */
void mapdiff_put(const struct mm_sink *to, const struct mapdiff *d);

/*
 * The same as one JSON object, a value of what `w` is writing: same (is there no change at all?),
 * runtime_changes, acpi_changes, breaks (an array of "hibernation", "kexec"), and changes, an array
 * of objects that have
 *
 *     text                        the change in words
 *     subject, kind, importance   the names of the enums, in lower case: "region", "moved"
 *     breaks                      as above
 *     from, to                    null, or base, end (texts, "0x000000007e6ed000"), type, type_name
 *                                 (null for a claim), use, attribute, attribute_names
 *     instead                     null, "nothing", "one", "passing" or "mixed"
 *     from_bytes, to_bytes, stretches
 *     lost, gained                names of attributes, "WP|XP"
 */
void mapdiff_put_json(struct json_writer *w, const struct mapdiff *d);

#endif
