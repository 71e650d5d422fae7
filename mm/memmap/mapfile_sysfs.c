/*
 * mapfile_sysfs.c - the files of Linux in which each number of the map is one, shown together.
 *
 *     /sys/firmware/memmap/0/end:0x9fbff                     by `grep . /sys/firmware/memmap/...`
 *     ==> /sys/firmware/efi/runtime-map/0/attribute <==      by `tail -n +1 ...`
 *     0x800000000000000f
 *
 * Paths may be relative, lines in any order (a shell sorts 10 before 2, find does not sort at all).
 * So descriptor N is gathered in place N of the caller's array, and `pad` holds which of its fields
 * have been seen. Nothing may be missing: the highest number says how many fields there must be,
 * and none comes twice.
 *
 * Sources: Linux, Documentation/ABI/testing/sysfs-firmware-memmap, sysfs-firmware-efi-runtime-map.
 */
#include "mapfile_import.h"

enum key {
    KEY_START = 1 << 0,
    KEY_END = 1 << 1,
    KEY_TYPE = 1 << 2,
    KEY_ATTR = 1 << 3,
    KEY_PAGES = 1 << 4,
    KEY_PHYS = 1 << 5,
    KEY_VIRT = 1 << 6,
};

/* What each number of either format has. */
#define MAP_KEYS      (KEY_START | KEY_END | KEY_TYPE)
#define MAP_NKEYS     3
#define RUNTIME_KEYS  (KEY_ATTR | KEY_PAGES | KEY_PHYS | KEY_TYPE | KEY_VIRT)
#define RUNTIME_NKEYS 5

static const struct {
    const char *name;
    enum key key;
} keys[] = {
    { "start", KEY_START },    { "end", KEY_END },         { "type", KEY_TYPE },
    { "attribute", KEY_ATTR }, { "num_pages", KEY_PAGES }, { "phys_addr", KEY_PHYS },
    { "virt_addr", KEY_VIRT },
};

enum folder { FOLDER_ANY, FOLDER_MAP, FOLDER_RUNTIME };

struct path {
    uint64_t number;
    enum key key;
    enum folder folder;
};

/* The last part of a path, up to a '/', which is taken, too. False if there is only one. */
static bool take_last_part(struct text *path, struct text *part)
{
    *part = (struct text){ path->end, path->end };
    while (part->at != path->at && part->at[-1] != '/') {
        part->at--;
    }
    path->end = part->at == path->at ? path->at : part->at - 1;
    return path->end != path->at || path->at != part->at;
}

static bool is_text(struct text t, const char *literal)
{
    return text_take(&t, literal) && text_is_empty(&t);
}

/* "/sys/firmware/memmap/17/end", "runtime-map/3/type", "17/end", "./17/end". */
static bool split_path(struct text text, struct path *p)
{
    struct text name;
    struct text digits;
    struct text folder;

    if (!take_last_part(&text, &name)) {
        return false;
    }
    (void)take_last_part(&text, &digits);
    if (!text_take_dec(&digits, &p->number) || !text_is_empty(&digits)) {
        return false;
    }
    (void)take_last_part(&text, &folder);
    if (text_is_empty(&folder) || is_text(folder, ".")) {
        p->folder = FOLDER_ANY;
    } else if (is_text(folder, "memmap")) {
        p->folder = FOLDER_MAP;
    } else if (is_text(folder, "runtime-map")) {
        p->folder = FOLDER_RUNTIME;
    } else {
        return false;
    }
    for (size_t i = 0; i < MM_COUNTOF(keys); i++) {
        if (is_text(name, keys[i].name)) {
            p->key = keys[i].key;
            return true;
        }
    }
    return false;
}

enum mapfile_format mapfile_sysfs_format(struct text path, struct text value,
                                         enum mapfile_format current)
{
    struct path p;

    if (!split_path(path, &p)) {
        return MAPFILE_NONE;
    }
    if (p.folder != FOLDER_ANY) {
        return p.folder == FOLDER_MAP ? MAPFILE_SYSFS_MAP : MAPFILE_RUNTIME_MAP;
    }
    if (p.key != KEY_TYPE) {
        return (p.key & MAP_KEYS) != 0 ? MAPFILE_SYSFS_MAP : MAPFILE_RUNTIME_MAP;
    }
    if (text_is_empty(&value)) { /* "type" comes late in both, in the order of a shell */
        return current == MAPFILE_RUNTIME_MAP ? MAPFILE_RUNTIME_MAP : MAPFILE_SYSFS_MAP;
    }
    return text_take(&value, "0x") ? MAPFILE_RUNTIME_MAP : MAPFILE_SYSFS_MAP;
}

/* Place `number` of the array, emptied when it or a higher one is first named; or a spare one. */
static struct efi_memory_descriptor *place_of(struct import *im, uint32_t number,
                                              struct efi_memory_descriptor *spare)
{
    for (uint64_t i = im->map.n; i <= number && mapfile_wants(im, i); i++) {
        im->descs[i] = (struct efi_memory_descriptor){ 0 };
    }
    if (number >= im->map.n) {
        im->map.n = number + 1;
    }
    return mapfile_wants(im, number) ? &im->descs[number] : spare;
}

/* Bounds wait in physical_start and virtual_start until finish. */
static bool set_field(struct efi_memory_descriptor *d, enum key key, bool words, struct text value)
{
    uint64_t v;

    if (key == KEY_TYPE && words) {
        return text_is_e820_type(value, &d->type, &d->attribute);
    }
    if (!text_take_0x(&value, 1, &v) || !text_is_empty(&value)) {
        return false;
    }
    switch (key) {
    case KEY_START:
    case KEY_PHYS:
        d->physical_start = v;
        break;
    case KEY_END:
    case KEY_VIRT:
        d->virtual_start = v;
        break;
    case KEY_TYPE:
        d->type = (uint32_t)v;
        return v <= UINT32_MAX;
    case KEY_ATTR:
        d->attribute = v;
        break;
    case KEY_PAGES:
        d->number_of_pages = v;
        break;
    }
    return true;
}

static mm_err_t field(struct import *im, uint64_t number, enum key key, struct text value)
{
    struct efi_memory_descriptor spare = { 0 };
    struct efi_memory_descriptor *d;

    if (number >= UINT32_MAX) {
        return mapfile_fail(im, "the number in the path is damaged");
    }
    d = place_of(im, (uint32_t)number, &spare);
    if ((d->pad & key) != 0) {
        return mapfile_fail(im, "this file is there twice");
    }
    if (im->cut) { /* values have no fixed width, and these tools end every line */
        return mapfile_fail(im, "the last line has no end: its value may be cut off");
    }
    if (!set_field(d, key, im->f->format == MAPFILE_SYSFS_MAP, value)) {
        return mapfile_fail(im, "the value is cut off, damaged or unknown");
    }
    if (im->lines != NULL && d != &spare && d->pad == 0) {
        im->lines[number] = im->line;
    }
    d->pad |= key;
    im->map.nfields++;
    return MM_OK;
}

/* "path:value"; the path is one that was recognised, so there is a colon behind it. */
static mm_err_t sysfs_grep(struct import *im, struct text t)
{
    struct text path = { t.at, text_find(t.at, t.end, ':') };
    struct path p = { 0 };

    while (!split_path(path, &p)) {
        path.end = text_find(path.end + 1, t.end, ':');
    }
    return field(im, p.number, p.key, text_trim((struct text){ path.end + 1, t.end }));
}

/* "==> path <=="; the value is on the next line. */
static mm_err_t sysfs_tail(struct import *im, struct text t)
{
    struct text path = text_take_word(&t);
    struct path p = { 0 };

    if (!split_path(path, &p) || !text_take(&t, " <==") || !text_is_empty(&t)) {
        return mapfile_fail(im, "the line that names a file is cut off");
    }
    im->map.pending_key = p.key;
    im->map.pending_number = p.number;
    return MM_OK;
}

static mm_err_t sysfs_line(struct import *im, struct text t)
{
    im->map.open = true;
    if (im->map.pending_key != 0) {
        return mapfile_fail(im, "the value of the file named before is missing");
    }
    return text_take(&t, "==> ") ? sysfs_tail(im, t) : sysfs_grep(im, t);
}

static mm_err_t sysfs_other(struct import *im, struct text t)
{
    enum key key = (enum key)im->map.pending_key;

    im->map.pending_key = 0;
    return key != 0 ? field(im, im->map.pending_number, key, t) : MM_OK;
}

static mm_err_t check_complete(struct import *im, uint32_t keys_of_one, uint64_t nkeys)
{
    if (im->map.pending_key != 0) {
        return mapfile_fail(im, "the value of the last file is missing");
    }
    for (uint32_t i = 0; i < im->map.n && mapfile_wants(im, i); i++) {
        if (im->descs[i].pad != keys_of_one) {
            im->line = 0;
            return mapfile_fail_number(im, "files of number ", i, " are missing");
        }
        im->descs[i].pad = 0;
    }
    if (im->map.nfields != nkeys * im->map.n) {
        return mapfile_fail_at(im, 0, "files of some numbers are missing");
    }
    return MM_OK;
}

static mm_err_t sysfs_map_finish(struct import *im)
{
    mm_err_t err = check_complete(im, MAP_KEYS, MAP_NKEYS);
    uint32_t n = 0;

    if (err != MM_OK) {
        return err;
    }
    for (uint32_t i = 0; i < im->map.n && mapfile_wants(im, i); i++) {
        struct efi_memory_descriptor d = im->descs[i];
        uint64_t last = d.virtual_start;

        d.virtual_start = 0;
        if (last < d.physical_start) {
            return mapfile_fail_at(im, im->lines != NULL ? im->lines[i] : 0,
                                   "the range is damaged: it ends before it begins");
        }
        im->map.attr_known |= d.attribute;
        if (mapfile_e820_desc(&d, d.physical_start, last, &im->map.nrounded)) {
            im->descs[n] = d;
            if (im->lines != NULL) {
                im->lines[n] = im->lines[i];
            }
            n++;
        }
    }
    if (im->map.n <= im->max && im->nfinished == im->which) {
        im->map.n = n;
    }
    return MM_OK;
}

static mm_err_t runtime_map_finish(struct import *im)
{
    im->map.attr_known = UINT64_MAX;
    im->map.virt_known = true;
    return check_complete(im, RUNTIME_KEYS, RUNTIME_NKEYS);
}

const struct map_reader mapfile_sysfs_map = {
    .line = sysfs_line,
    .other = sysfs_other,
    .finish = sysfs_map_finish,
};

const struct map_reader mapfile_runtime_map = {
    .line = sysfs_line,
    .other = sysfs_other,
    .finish = runtime_map_finish,
};
