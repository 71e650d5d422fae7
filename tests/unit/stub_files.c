/*
 * stub_files.c - see stub_files.h.
 *
 * Nodes in an array, node 0 the directory at the top. A handle is its index in another array and
 * the node's; a closed one is not used again, so that its use is seen. Only flush() brings what was
 * written to the medium: close() should, too (UEFI 2.10 13.5.3), but is not to be relied upon.
 */
#include "stub_files.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK     4096u
#define MAX_NODES 12000u
#define MAX_OPEN  65536u

struct stub_files stub_files;

struct fw_file {
    bool is_open;
    bool may_write;
    uint32_t node;
    uint32_t generation; /* of the medium */
    uint64_t at;
};

static struct stub_node nodes[MAX_NODES];
static uint32_t nnodes;
static struct fw_file handles[MAX_OPEN];
static uint32_t nhandles;
static uint32_t generation;

/* ---- the tree -------------------------------------------------------------------------------- */

static uint16_t fold(uint16_t c)
{
    return c < 0x80 ? (uint16_t)tolower(c) : c;
}

static bool is_called(const struct stub_node *n, const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (fold(n->name[i]) != fold((unsigned char)name[i])) {
            return false;
        }
    }
    return n->name[len] == 0;
}

static uint32_t find_in(uint32_t parent, const char *name, size_t len)
{
    for (uint32_t i = 1; i < nnodes; i++) {
        if (nodes[i].is_there && nodes[i].parent == parent && is_called(&nodes[i], name, len)) {
            return i;
        }
    }
    return MAX_NODES;
}

/* The node at `path`, or MAX_NODES; then *parent is the directory it would be in, or MAX_NODES. */
static uint32_t walk(const char *path, uint32_t *parent, const char **last)
{
    uint32_t at = 0;

    *parent = MAX_NODES;
    *last = "";
    while (*path != '\0') {
        size_t len;

        path += *path == '\\';
        len = strcspn(path, "\\");
        if (len == 0) {
            break;
        }
        if (!nodes[at].is_directory) {
            *parent = MAX_NODES;
            return MAX_NODES;
        }
        *parent = at;
        *last = path;
        at = find_in(at, path, len);
        path += len;
        if (at == MAX_NODES) {
            if (*path != '\0') {
                *parent = MAX_NODES;
            }
            return MAX_NODES;
        }
    }
    return at;
}

static uint32_t add_node(uint32_t parent, bool is_directory)
{
    uint32_t i = nnodes++;

    if (i >= MAX_NODES) {
        abort();
    }
    nodes[i] = (struct stub_node){ .is_there = true, .parent = parent };
    nodes[i].is_directory = is_directory;
    return i;
}

static void name_node(struct stub_node *n, const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        n->name[i] = (unsigned char)name[i];
    }
    n->name[len] = 0;
}

static uint64_t blocks_of(uint64_t nbytes)
{
    return (nbytes + BLOCK - 1) / BLOCK;
}

static uint64_t free_blocks(void)
{
    uint64_t used = 0;

    for (uint32_t i = 1; i < nnodes; i++) {
        if (nodes[i].is_there) {
            used += nodes[i].is_directory ? 1 : blocks_of(nodes[i].nbytes);
        }
    }
    return used < stub_files.nblocks ? stub_files.nblocks - used : 0;
}

/* ---- for tests ------------------------------------------------------------------------------- */

void stub_files_calm(void)
{
    memset(handles, 0, nhandles * sizeof(*handles));
    nhandles = 0;
    stub_files = (struct stub_files){
        .fail_at = STUB_NEVER_AT,
        .stop_at = STUB_NEVER_AT,
        .gone_at = STUB_NEVER_AT,
        .nblocks = 1024,
        .block_bytes = BLOCK,
    };
}

void stub_files_reset(void)
{
    for (uint32_t i = 0; i < nnodes; i++) {
        free(nodes[i].bytes);
        nodes[i].bytes = NULL;
    }
    nnodes = 0;
    (void)add_node(0, true);
    generation = 0;
    stub_files_calm();
}

static uint32_t put_node(const char *path, bool is_directory)
{
    char above[512];
    const char *slash = strrchr(path, '\\');
    uint32_t parent = 0;
    const char *last;
    uint32_t at = walk(path, &parent, &last);

    if (at != MAX_NODES) {
        return at;
    }
    if (slash != NULL && slash != path) {
        memcpy(above, path, (size_t)(slash - path));
        above[slash - path] = '\0';
        parent = put_node(above, true);
    } else {
        parent = 0;
    }
    at = add_node(parent, is_directory);
    name_node(&nodes[at], slash != NULL ? slash + 1 : path,
              strlen(slash != NULL ? slash + 1 : path));
    return at;
}

void stub_files_put(const char *path, const void *bytes, uint64_t nbytes)
{
    struct stub_node *n = &nodes[put_node(path, false)];

    free(n->bytes);
    n->bytes = malloc(nbytes + 1);
    if (n->bytes == NULL) {
        abort();
    }
    if (nbytes > 0) {
        memcpy(n->bytes, bytes, nbytes);
    }
    n->nbytes = n->nflushed = nbytes;
}

void stub_files_put_directory(const char *path)
{
    (void)put_node(path, true);
}

void stub_files_put_wide(const char *directory, const uint16_t *name, bool is_directory)
{
    uint32_t i = add_node(put_node(directory, true), is_directory);

    for (size_t n = 0; name[n] != 0; n++) {
        nodes[i].name[n] = name[n];
    }
}

const struct stub_node *stub_files_find(const char *path)
{
    uint32_t parent;
    const char *last;
    uint32_t at = walk(path, &parent, &last);

    return at != MAX_NODES ? &nodes[at] : NULL;
}

uint32_t stub_files_count(const char *path)
{
    const struct stub_node *d = stub_files_find(path);
    uint32_t n = 0;

    for (uint32_t i = 1; d != NULL && i < nnodes; i++) {
        n += nodes[i].is_there && nodes[i].parent == (uint32_t)(d - nodes);
    }
    return n;
}

void stub_files_lose_power(void)
{
    for (uint32_t i = 1; i < nnodes; i++) {
        struct stub_node *n = &nodes[i];

        if (n->nflushed < n->nbytes) {
            memset(n->bytes + n->nflushed, 0xdb, n->nbytes - n->nflushed);
        }
    }
}

uint64_t stub_files_digest(void)
{
    uint64_t sum = 0;

    for (uint32_t i = 1; i < nnodes; i++) {
        uint64_t h = UINT64_C(0xcbf29ce484222325) + nodes[i].parent + nodes[i].is_directory;

        if (!nodes[i].is_there) {
            continue;
        }
        for (size_t k = 0; nodes[i].name[k] != 0; k++) {
            h = (h ^ nodes[i].name[k]) * UINT64_C(0x100000001b3);
        }
        for (uint64_t k = 0; k < nodes[i].nbytes; k++) {
            h = (h ^ nodes[i].bytes[k]) * UINT64_C(0x100000001b3);
        }
        sum += h; /* whatever the order of the nodes */
    }
    return sum;
}

/* ---- the functions of the table -------------------------------------------------------------- */

static void violated(const char *what)
{
    if (stub_files.violation == NULL) {
        stub_files.violation = what;
    }
}

/* Is it, or would it be, in \plat\reports, or one of these two? */
static bool is_ours(uint32_t parent, const char *name, size_t len)
{
    uint32_t plat = find_in(0, "plat", 4);
    uint32_t reports = plat != MAX_NODES ? find_in(plat, "reports", 7) : MAX_NODES;

    return (parent == 0 && len == 4 && strncmp(name, "plat", len) == 0) ||
           (parent == plat && plat != MAX_NODES && len == 7 &&
            strncmp(name, "reports", len) == 0) ||
           (parent == reports && reports != MAX_NODES);
}

static void change(uint32_t node)
{
    const struct stub_node *n = &nodes[node];
    char name[FW_FILE_NAME_UNITS];
    size_t len = 0;

    for (; n->name[len] != 0; len++) {
        name[len] = (char)n->name[len];
    }
    if (node == 0 || !is_ours(n->parent, name, len)) {
        violated("a change outside of \\plat\\reports");
    }
}

/* What every call begins with. `early` is set if it is to fail before it has done anything. */
static fw_status_t begin(enum stub_op op, bool *early)
{
    uint32_t call = stub_files.nops++;

    *early = false;
    if (call >= stub_files.gone_at) {
        generation++;
        stub_files.gone_at = STUB_NEVER_AT;
    }
    if (call == stub_files.stop_at && op != STUB_OP_WRITE) {
        longjmp(stub_files.stop, 1);
    }
    if (call == stub_files.fail_at) {
        stub_files.failed = op;
        *early = !stub_files.fail_late;
        return stub_files.fail_with;
    }
    return FW_SUCCESS;
}

static struct fw_file *begin_with(struct fw_file *f)
{
    if (f == NULL || f < handles || f >= handles + nhandles || !f->is_open) {
        violated("a handle that is not open");
        abort();
    }
    return f;
}

static fw_status_t medium(const struct fw_file *f)
{
    return f->generation == generation ? FW_SUCCESS : FW_MEDIA_CHANGED;
}

static struct fw_file *handle(uint32_t node, bool may_write)
{
    struct fw_file *f = &handles[nhandles++];

    if (nhandles == MAX_OPEN) {
        abort();
    }
    *f = (struct fw_file){
        .is_open = true, .may_write = may_write, .node = node, .generation = generation
    };
    stub_files.nopen++;
    return f;
}

static void drop(struct fw_file *f)
{
    f->is_open = false;
    stub_files.nopen--;
}

static fw_status_t files_root(struct fw_file **root)
{
    bool early;
    fw_status_t s = begin(STUB_OP_ROOT, &early);

    if (s == FW_SUCCESS && stub_files.no_volume) {
        return FW_UNSUPPORTED;
    }
    if (s == FW_SUCCESS) {
        *root = handle(0, false);
    }
    return s;
}

static fw_status_t files_volume(struct fw_file *root, struct fw_volume_info *info)
{
    bool early;
    fw_status_t s = begin(STUB_OP_VOLUME, &early);
    struct fw_file *f = begin_with(root);

    s = s == FW_SUCCESS ? medium(f) : s;
    if (s == FW_SUCCESS) {
        *info = (struct fw_volume_info){
            .is_read_only = stub_files.is_read_only && !stub_files.hides_it,
            .nbytes = stub_files.nblocks * BLOCK,
            .free_bytes = stub_files.says_free != 0 ? stub_files.says_free : free_blocks() * BLOCK,
            .block_bytes = stub_files.block_bytes,
        };
    }
    return s;
}

static fw_status_t files_open(struct fw_file *from, const char *path, enum fw_open how,
                              struct fw_file **f)
{
    bool makes = how == FW_OPEN_CREATE || how == FW_OPEN_MAKE_DIR;
    bool early;
    fw_status_t s = begin(makes ? STUB_OP_CREATE : STUB_OP_OPEN, &early);
    uint32_t parent, node;
    const char *last;

    (void)begin_with(from);
    if (early || medium(from) != FW_SUCCESS) {
        return early ? s : FW_MEDIA_CHANGED;
    }
    node = walk(path, &parent, &last);
    if (node == MAX_NODES) {
        if (!makes || parent == MAX_NODES) {
            return s != FW_SUCCESS ? s : FW_NOT_FOUND;
        }
        stub_files.nmade++;
        if (!is_ours(parent, last, strlen(last))) {
            violated("something made outside of \\plat\\reports");
        }
        if (stub_files.is_read_only) {
            return FW_WRITE_PROTECTED;
        }
        if (how == FW_OPEN_MAKE_DIR && free_blocks() == 0) {
            return FW_VOLUME_FULL;
        }
        node = add_node(parent, how == FW_OPEN_MAKE_DIR);
        name_node(&nodes[node], last, strlen(last));
    } else if (how == FW_OPEN_MAKE_DIR && !nodes[node].is_directory) {
        return FW_ACCESS_DENIED;
    } else if (how != FW_OPEN_READ && stub_files.is_read_only) {
        return FW_WRITE_PROTECTED;
    }
    if (s == FW_SUCCESS) {
        *f = handle(node, how != FW_OPEN_READ);
    }
    return s;
}

static void tell(const struct stub_node *n, struct fw_file_info *info)
{
    info->nbytes = n->nbytes;
    info->is_directory = n->is_directory;
    memcpy(info->name, n->name, sizeof(info->name));
}

static fw_status_t files_next(struct fw_file *directory, struct fw_file_info *info)
{
    bool early;
    fw_status_t s = begin(STUB_OP_NEXT, &early);
    struct fw_file *f = begin_with(directory);

    s = s == FW_SUCCESS ? medium(f) : s;
    if (s != FW_SUCCESS) {
        return s;
    }
    *info = (struct fw_file_info){ .is_directory = true };
    if (f->at < 2) { /* "." and ".." */
        info->name[0] = '.';
        info->name[1] = f->at == 1 ? '.' : 0;
        f->at++;
        return FW_SUCCESS;
    }
    for (uint64_t i = f->at - 1; i < nnodes; i++) {
        if (nodes[i].is_there && nodes[i].parent == f->node) {
            tell(&nodes[i], info);
            f->at = stub_files.is_endless ? 0 : i + 2;
            return FW_SUCCESS;
        }
    }
    *info = (struct fw_file_info){ 0 };
    return FW_SUCCESS;
}

static fw_status_t files_info(struct fw_file *file, struct fw_file_info *info)
{
    bool early;
    fw_status_t s = begin(STUB_OP_INFO, &early);
    struct fw_file *f = begin_with(file);

    s = s == FW_SUCCESS ? medium(f) : s;
    if (s == FW_SUCCESS) {
        tell(&nodes[f->node], info);
    }
    return s;
}

static fw_status_t files_read(struct fw_file *file, void *to, uint64_t *nbytes)
{
    bool early;
    fw_status_t s = begin(STUB_OP_READ, &early);
    struct fw_file *f = begin_with(file);
    const struct stub_node *n = &nodes[f->node];
    uint64_t part = n->nbytes - f->at;

    stub_files.largest = *nbytes > stub_files.largest ? *nbytes : stub_files.largest;
    s = s == FW_SUCCESS ? medium(f) : s;
    if (s != FW_SUCCESS) {
        return s;
    }
    part = part < *nbytes ? part : *nbytes;
    if (stub_files.read_chunk != 0 && part > stub_files.read_chunk) {
        part = stub_files.read_chunk;
    }
    if (part > 0) {
        memcpy(to, n->bytes + f->at, part);
    }
    f->at += part;
    *nbytes = stub_files.reads_too_much ? *nbytes + 1 : part;
    return FW_SUCCESS;
}

static fw_status_t files_write(struct fw_file *file, const void *from, uint64_t *nbytes)
{
    bool stops = stub_files.nops == stub_files.stop_at;
    bool early;
    fw_status_t s = begin(STUB_OP_WRITE, &early);
    struct fw_file *f = begin_with(file);
    struct stub_node *n = &nodes[f->node];
    uint64_t want = stops || stub_files.short_writes ? *nbytes / 2 : *nbytes;
    uint64_t room;

    stub_files.largest = *nbytes > stub_files.largest ? *nbytes : stub_files.largest;
    change(f->node);
    if (!f->may_write || n->is_directory) {
        violated("a write to what was not opened for it");
    }
    if (early || medium(f) != FW_SUCCESS) {
        *nbytes = 0;
        return early ? s : FW_MEDIA_CHANGED;
    }
    room = (free_blocks() + blocks_of(n->nbytes)) * BLOCK - n->nbytes;
    if (want > room) {
        want = room;
        s = s != FW_SUCCESS ? s : FW_VOLUME_FULL;
    }
    n->bytes = realloc(n->bytes, n->nbytes + want + 1);
    if (n->bytes == NULL || f->at != n->nbytes) {
        abort();
    }
    memcpy(n->bytes + n->nbytes, from, want);
    if (stub_files.drops_writes) {
        memset(n->bytes + n->nbytes, 0, want);
    }
    n->nbytes += want;
    if (stub_files.loses_tail && want > 0) {
        n->nbytes--;
        f->at--;
    }
    f->at += want;
    *nbytes = want;
    if (stops) {
        longjmp(stub_files.stop, 1);
    }
    return s;
}

static fw_status_t files_flush(struct fw_file *file)
{
    bool early;
    fw_status_t s = begin(STUB_OP_FLUSH, &early);
    struct fw_file *f = begin_with(file);

    if (early || medium(f) != FW_SUCCESS) {
        return early ? s : FW_MEDIA_CHANGED;
    }
    nodes[f->node].nflushed = nodes[f->node].nbytes;
    return s;
}

static fw_status_t files_rename(struct fw_file *file, const char *name)
{
    bool early;
    fw_status_t s = begin(STUB_OP_RENAME, &early);
    struct fw_file *f = begin_with(file);
    struct stub_node *n = &nodes[f->node];

    change(f->node);
    if (!f->may_write) {
        violated("a new name for what was not opened to be written");
    }
    if (early || medium(f) != FW_SUCCESS) {
        return early ? s : FW_MEDIA_CHANGED;
    }
    if (stub_files.cannot_rename) {
        return FW_UNSUPPORTED;
    }
    if (find_in(n->parent, name, strlen(name)) != MAX_NODES) {
        return FW_ACCESS_DENIED;
    }
    if (!stub_files.rename_lies) {
        name_node(n, name, strlen(name));
    }
    return s;
}

static fw_status_t files_remove(struct fw_file *file)
{
    bool early;
    fw_status_t s = begin(STUB_OP_REMOVE, &early);
    struct fw_file *f = begin_with(file);
    uint32_t node = f->node;

    drop(f);
    change(node);
    if (early || medium(f) != FW_SUCCESS) {
        return early ? s : FW_MEDIA_CHANGED;
    }
    for (uint32_t i = 1; i < nnodes; i++) {
        if (nodes[i].is_there && nodes[i].parent == node) {
            return 2; /* EFI_WARN_DELETE_FAILURE */
        }
    }
    nodes[node].is_there = false;
    return s;
}

static fw_status_t files_close(struct fw_file *file)
{
    bool early;
    fw_status_t s = begin(STUB_OP_CLOSE, &early);
    struct fw_file *f = begin_with(file);

    drop(f);
    return s;
}

const struct fw_files stub_files_table = {
    .root = files_root,
    .volume = files_volume,
    .open = files_open,
    .next = files_next,
    .info = files_info,
    .read = files_read,
    .write = files_write,
    .flush = files_flush,
    .rename = files_rename,
    .remove = files_remove,
    .close = files_close,
};
