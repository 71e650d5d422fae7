/*
 * save.c - see save.h.
 *
 * Sticks are pulled out, volumes are full, firmware's FAT drivers are old, and some say that all
 * went well when it did not. So a save is a row of steps, each of which can fail, and what has been
 * done so far can be undone at any of them:
 *
 *   1  temporary files of an earlier, interrupted run are removed
 *   2  there is room at all; the directory is there, or made
 *   3  both temporary files are made, empty
 *   4  the report is composed, its size counted, a name and room for it found
 *   5  each file is written, flushed and closed
 *   6  each file is opened again and compared with what it should hold
 *   7  the .txt gets its name, and it is seen whether it has it
 *   8  the .json gets its name, likewise
 *
 * Power may fail between any two of them. Up to 7 there are temporary files, which nobody takes for
 * reports, and which step 1 of the next run removes: it knows them by their names, two that nobody
 * else uses, in a directory that is Plat's own. Between 7 and 8 there is a .txt without its .json:
 * whole, and its number is not used again.
 *
 * Nothing is made on a volume that is full: EDK II's FAT driver, asked for a directory then, leaves
 * one without a cluster, which is the directory at the top once more.
 *
 * A report is never kept in memory as text: it is made once to count its size, once to be written,
 * once to be compared. The same report gives the same bytes (mm/report.h).
 *
 * Rejected: for firmware that cannot rename, copying into a file of the final name. There is no
 * order of writes by which such a file would not be half there at some moment; nothing is saved
 * then, and that is said.
 */
#include "save.h"

#include "bytes.h"
#include "mm/json.h"

#define MAX_ENTRIES      65536u /* of a directory: as many as FAT can have; a damaged one has no end */
#define MAX_NUMBER       99999u
#define DIRECTORY_BLOCKS 4u /* for two new directories, or growing ones */
#define PRODUCT_CHARS    32u
#define DATE_CHARS       10u
#define BUFFER_BYTES     UINT64_C(0x10000)
#define PATH_CHARS       (sizeof(SAVE_DIRECTORY "\\") + SAVE_NAME_CHARS)
#define JSON_ENDING      ".json"
#define TEXT_ENDING      ".txt"

_Static_assert(BUFFER_BYTES <= FW_READ_MAX, "pieces that firmware can take");
_Static_assert(PRODUCT_CHARS + 1 + DATE_CHARS + 1 + 5 + sizeof(JSON_ENDING) <= SAVE_NAME_CHARS,
               "every name that is made has room");

/* What the two files have in them, and how far each of them is. */
struct target {
    const char *temporary;
    const char *ending;
    void (*put)(const struct mm_sink *to, const struct report *r);
    uint64_t nbytes;
    struct fw_file *f;      /* open, or NULL */
    bool may_be_temporary;  /* there may be a file of ours called so */
    bool may_have_its_name; /* likewise the final name */
};

enum { TEXT, JSON, TARGETS };

struct save {
    const struct fw_files *files;
    struct fw_file *root;
    struct target targets[TARGETS];
    bool made_plat;
    bool made_reports;
    const struct report *report;
    struct save_result *out;
};

/* Between a sink's small pieces and a file's large ones. */
static unsigned char buffer[BUFFER_BYTES];

/* ---- texts ----------------------------------------------------------------------------------- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Is s[0, n) `text`, but for the case of letters? */
static bool is_same(const char *s, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\0' || lower(s[i]) != lower(text[i])) {
            return false;
        }
    }
    return text[n] == '\0';
}

static bool ends_in(const char *s, const char *ending)
{
    size_t n = mm_length(s);
    size_t m = mm_length(ending);

    return n >= m && is_same(s + n - m, ending, m);
}

/* The name of something in a directory as ASCII. False if it has other characters, or too many. */
static bool name_of(const struct fw_file_info *info, char name[SAVE_NAME_CHARS])
{
    size_t n = 0;

    while (info->name[n] != 0) {
        if (info->name[n] < 0x20 || info->name[n] > 0x7e || n + 1 == SAVE_NAME_CHARS) {
            return false;
        }
        name[n] = (char)info->name[n];
        n++;
    }
    name[n] = '\0';
    return n > 0;
}

static void make_path(char path[PATH_CHARS], const char *name, const char *ending)
{
    struct mm_text t;
    struct mm_sink to = mm_text_sink(&t, path, PATH_CHARS);

    mm_put_str(&to, SAVE_DIRECTORY "\\");
    mm_put_str(&to, name);
    mm_put_str(&to, ending);
}

/* ---- the name -------------------------------------------------------------------------------- */

/* `text` as letters, digits and dashes. False if it says nothing. */
static bool make_product(char product[PRODUCT_CHARS + 1], const char *text)
{
    /* What boards say whose maker left the field as it came. */
    static const char *const fillers[] = {
        "to-be-filled-by-o-e-m",
        "default-string",
        "system-product-name",
        "product-name",
        "system-manufacturer",
        "not-specified",
        "not-applicable",
        "unknown",
        "undefined",
        "none",
        "n-a",
        "oem",
        "o-e-m",
        "type1productconfigid",
    };
    size_t n = 0;

    for (; text != NULL && *text != '\0' && n < PRODUCT_CHARS; text++) {
        char c = lower(*text);

        if ((c >= 'a' && c <= 'z') || is_digit(c)) {
            product[n++] = c;
        } else if (n > 0 && product[n - 1] != '-') {
            product[n++] = '-';
        }
    }
    while (n > 0 && product[n - 1] == '-') {
        n--;
    }
    product[n] = '\0';
    for (size_t i = 0; i < MM_COUNTOF(fillers); i++) {
        if (is_same(product, fillers[i], n)) {
            return false;
        }
    }
    return n > 0;
}

/* "<product>-<date>-". Never one of the names that DOS keeps for devices: those have no dash. */
static void make_prefix(char name[SAVE_NAME_CHARS], const struct report *r)
{
    const struct report_smbios *sm = &r->smbios;
    bool has_smbios = (r->known & REPORT_HAS_SMBIOS) != 0;
    bool has_firmware = (r->known & REPORT_HAS_FIRMWARE) != 0;
    const struct report_time *t = &r->time;
    char product[PRODUCT_CHARS + 1];
    struct mm_text text;
    struct mm_sink to = mm_text_sink(&text, name, SAVE_NAME_CHARS);

    if (!(has_smbios &&
          (make_product(product, sm->product) || make_product(product, sm->board_product) ||
           make_product(product, sm->manufacturer))) &&
        !(has_firmware && make_product(product, r->firmware.vendor))) {
        (void)make_product(product, "machine");
    }
    mm_put_str(&to, product);
    if ((r->known & REPORT_HAS_TIME) != 0 && t->year >= 1000 && t->year <= 9999 && t->month >= 1 &&
        t->month <= 12 && t->day >= 1 && t->day <= 31) {
        mm_put_char(&to, '-');
        mm_put_u64(&to, t->year, 0);
        mm_put_str(&to, t->month < 10 ? "-0" : "-");
        mm_put_u64(&to, t->month, 0);
        mm_put_str(&to, t->day < 10 ? "-0" : "-");
        mm_put_u64(&to, t->day, 0);
    } else {
        mm_put_str(&to, "-nodate");
    }
    mm_put_char(&to, '-');
}

/* The number of a file that is called `prefix`, a number, and whatever ending; 0 if it is not. */
static uint32_t number_of(const char *name, const char *prefix)
{
    size_t n = mm_length(prefix);
    uint32_t v = 0;

    if (mm_length(name) <= n || !is_same(name, prefix, n)) {
        return 0;
    }
    for (; is_digit(name[n]); n++) {
        v = v * 10 + (uint32_t)(name[n] - '0');
        if (v > MAX_NUMBER) {
            return 0;
        }
    }
    return name[n] == '\0' || name[n] == '.' ? v : 0;
}

/* ---- errors ---------------------------------------------------------------------------------- */

/* Warnings, of which UEFI has few, are no success here: what was asked for was not done. */
static fw_status_t error_of(fw_status_t status)
{
    return status == FW_SUCCESS || fw_failed(status) ? status : FW_DEVICE_ERROR;
}

/* Says what went wrong, by the status if that is plain enough, else by what was being done. */
static bool fail(struct save *s, fw_status_t status, const char *why)
{
    struct save_result *out = s->out;

    out->status = error_of(status);
    switch (status) {
    case FW_UNSUPPORTED:
        out->why = why;
        out->advice = "start Plat from a stick or a disk with a FAT file system";
        break;
    case FW_WRITE_PROTECTED:
        out->why = "the volume cannot be written";
        out->advice = "start Plat from one that can, or take off its write protection";
        break;
    case FW_VOLUME_FULL:
        out->why = "there is not enough room on the volume";
        out->advice = "remove something from it; old reports are in " SAVE_DIRECTORY;
        break;
    case FW_NO_MEDIA:
    case FW_MEDIA_CHANGED:
        out->why = "the medium that Plat was started from was taken out or changed";
        out->advice = "put it back, and start Plat again";
        break;
    case FW_VOLUME_CORRUPTED:
        out->why = "the file system is damaged";
        out->advice = "have it repaired on another computer (chkdsk, fsck)";
        break;
    default:
        out->why = why;
        out->advice = "try again, or another stick; on this one, check the file system";
        break;
    }
    return false;
}

static bool fail_with(struct save *s, fw_status_t status, const char *why, const char *advice)
{
    s->out->status = status;
    s->out->why = why;
    s->out->advice = advice;
    return false;
}

/* ---- files ----------------------------------------------------------------------------------- */

static fw_status_t close_file(const struct fw_files *files, struct fw_file **f)
{
    fw_status_t status = *f != NULL ? files->close(*f) : FW_SUCCESS;

    *f = NULL;
    return status;
}

/* What is at `path`: NOT_FOUND, or *info. */
static fw_status_t look_at(const struct save *s, const char *path, struct fw_file_info *info)
{
    struct fw_file *f;
    fw_status_t status = s->files->open(s->root, path, FW_OPEN_READ, &f);

    if (status == FW_SUCCESS) {
        status = s->files->info(f, info);
        (void)s->files->close(f);
    }
    return status;
}

/* Remove what is at `path`; that nothing is there is fine. A directory goes only if it is empty. */
static fw_status_t remove_path(const struct save *s, const char *path)
{
    struct fw_file *f;
    fw_status_t status = s->files->open(s->root, path, FW_OPEN_WRITE, &f);

    if (status == FW_SUCCESS) {
        status = s->files->remove(f);
    }
    return status == FW_NOT_FOUND ? FW_SUCCESS : status;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static bool make_directory(struct save *s, const char *path, bool *made)
{
    struct fw_file_info info;
    fw_status_t status = look_at(s, path, &info);

    if (status == FW_NOT_FOUND) {
        struct fw_file *f;

        *made = true;
        status = s->files->open(s->root, path, FW_OPEN_MAKE_DIR, &f);
        if (status == FW_SUCCESS) {
            status = s->files->info(f, &info);
            (void)s->files->close(f);
        }
    }
    if (status != FW_SUCCESS) {
        return fail(s, status, "the directory " SAVE_DIRECTORY " cannot be made");
    }
    if (!info.is_directory) {
        return fail_with(s, FW_ACCESS_DENIED,
                         "a file is in the way of the directory " SAVE_DIRECTORY,
                         "rename the file, then save again");
    }
    return true;
}

static bool find_volume(struct save *s)
{
    struct fw_volume_info volume;
    fw_status_t status = s->files->root(&s->root);

    if (status != FW_SUCCESS) {
        s->root = NULL;
        return fail(s, status, "Plat was not started from a file system");
    }
    status = s->files->volume(s->root, &volume);
    if (status != FW_SUCCESS) {
        return fail(s, status, "firmware does not say how large the volume is");
    }
    return !volume.is_read_only || fail(s, FW_WRITE_PROTECTED, NULL);
}

static bool remove_leftover(struct save *s, const struct target *t)
{
    struct fw_file_info info;
    char path[PATH_CHARS];
    fw_status_t status;

    make_path(path, t->temporary, "");
    status = look_at(s, path, &info);
    if (status == FW_NOT_FOUND) {
        return true;
    }
    if (status == FW_SUCCESS && info.is_directory) {
        return fail_with(s, FW_ACCESS_DENIED, "a directory is called as the temporary file",
                         "remove \"plat-unfinished\" from " SAVE_DIRECTORY);
    }
    if (status == FW_SUCCESS) {
        status = remove_path(s, path);
    }
    return status == FW_SUCCESS ||
           fail(s, status, "the unfinished file of an earlier save cannot be removed");
}

/* The files in whole blocks, as far as they are known, and some for directories; the reserve. */
static bool has_room(struct save *s)
{
    struct fw_volume_info volume;
    fw_status_t status = s->files->volume(s->root, &volume);
    uint64_t block, need, reserve;

    if (status != FW_SUCCESS) {
        return fail(s, status, "firmware does not say how large the volume is");
    }
    block = volume.block_bytes != 0 ? volume.block_bytes : STUB_PAGE;
    need = DIRECTORY_BLOCKS * block; /* all fits: a block < 2^32, a file at most SAVE_MAX_BYTES */
    for (unsigned i = 0; i < TARGETS; i++) {
        need += (s->targets[i].nbytes + block - 1) / block * block;
    }
    reserve = volume.nbytes / 16 < SAVE_RESERVE ? volume.nbytes / 16 : SAVE_RESERVE;
    return volume.free_bytes >= need + reserve || fail(s, FW_VOLUME_FULL, NULL);
}

static bool create(struct save *s, struct target *t)
{
    struct fw_file_info info;
    char path[PATH_CHARS];
    fw_status_t status;

    make_path(path, t->temporary, "");
    t->may_be_temporary = true;
    status = s->files->open(s->root, path, FW_OPEN_CREATE, &t->f);
    if (status != FW_SUCCESS) {
        t->f = NULL;
        return fail(s, status, "a file cannot be made in " SAVE_DIRECTORY);
    }
    status = s->files->info(t->f, &info);
    if (status != FW_SUCCESS || info.is_directory || info.nbytes != 0) {
        return fail(s, status != FW_SUCCESS ? status : FW_DEVICE_ERROR, "a new file is not empty");
    }
    return true;
}

static void count_bytes(void *ctx, const char *bytes, size_t n)
{
    (void)bytes;
    *(uint64_t *)ctx += n;
}

static bool compose_it(struct save *s, const struct report *(*compose)(void *ctx), void *ctx)
{
    s->report = compose(ctx);
    if (s->report == NULL) {
        return fail_with(s, FW_OUT_OF_RESOURCES, "there is no memory for the report",
                         "start Plat before other programs");
    }
    for (unsigned i = 0; i < TARGETS; i++) {
        struct target *t = &s->targets[i];
        struct mm_sink to = { .write = count_bytes, .ctx = &t->nbytes };

        t->put(&to, s->report);
        if (t->nbytes > SAVE_MAX_BYTES) {
            return fail_with(s, FW_BAD_BUFFER_SIZE, "the report is larger than 64 MiB",
                             "this memory map is far too long; update the firmware");
        }
    }
    return true;
}

/* Complete the name by a number higher than all that are there, whatever their endings. */
static bool find_name(struct save *s)
{
    char *prefix = s->out->name;
    struct fw_file *directory;
    uint32_t highest = 0;
    struct mm_text text;
    struct mm_sink to;
    fw_status_t status;

    make_prefix(prefix, s->report);
    status = s->files->open(s->root, SAVE_DIRECTORY, FW_OPEN_READ, &directory);
    for (uint32_t i = 0; status == FW_SUCCESS; i++) {
        struct fw_file_info info;
        char name[SAVE_NAME_CHARS];

        status = i < MAX_ENTRIES ? s->files->next(directory, &info) : FW_VOLUME_CORRUPTED;
        if (status != FW_SUCCESS || info.name[0] == 0) {
            (void)s->files->close(directory);
            break;
        }
        if (name_of(&info, name) && number_of(name, prefix) > highest) {
            highest = number_of(name, prefix);
        }
    }
    if (status != FW_SUCCESS) {
        return fail(s, status, "the directory " SAVE_DIRECTORY " cannot be read");
    }
    if (highest == MAX_NUMBER) {
        return fail_with(s, FW_ACCESS_DENIED, "there is no number left for a name of today",
                         "remove reports from " SAVE_DIRECTORY);
    }
    to = mm_text_sink(&text, prefix + mm_length(prefix), SAVE_NAME_CHARS - mm_length(prefix));
    mm_put_u64(&to, highest + 1, 0);
    return true;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* A file that is written, or compared, through the buffer. */
struct stream {
    const struct fw_files *files;
    struct fw_file *f;
    uint64_t n;  /* bytes in the buffer */
    uint64_t at; /* comparing: of them, those that are done with */
    bool differs;
    fw_status_t status; /* of the first failure; nothing is done after it */
};

static void stream_empty(struct stream *st)
{
    uint64_t n = st->n;

    st->n = 0;
    if (st->status == FW_SUCCESS && n > 0) {
        uint64_t done = n;

        st->status = st->files->write(st->f, buffer, &done);
        /* UEFI 2.10 13.5.6: partial writes only occur when the space is full, or on an error. */
        if (st->status == FW_SUCCESS && done != n) {
            st->status = done < n ? FW_VOLUME_FULL : FW_DEVICE_ERROR;
        }
    }
}

static void stream_write(void *ctx, const char *bytes, size_t n)
{
    struct stream *st = ctx;

    while (n > 0) {
        size_t part = n < BUFFER_BYTES - st->n ? n : (size_t)(BUFFER_BYTES - st->n);

        memcpy(buffer + st->n, bytes, part);
        st->n += part;
        bytes += part;
        n -= part;
        if (st->n == BUFFER_BYTES) {
            stream_empty(st);
        }
    }
}

static bool write_target(struct save *s, struct target *t)
{
    struct stream st = { .files = s->files, .f = t->f };
    struct mm_sink to = { .write = stream_write, .ctx = &st };
    fw_status_t status;

    t->put(&to, s->report);
    stream_empty(&st);
    if (st.status == FW_SUCCESS) {
        st.status = s->files->flush(t->f);
    }
    status = close_file(s->files, &t->f);
    if (st.status == FW_SUCCESS) {
        st.status = status;
    }
    return st.status == FW_SUCCESS || fail(s, st.status, "the file cannot be written");
}

static void stream_fill(struct stream *st)
{
    uint64_t got = BUFFER_BYTES;

    st->status = st->files->read(st->f, buffer, &got);
    st->differs = st->status != FW_SUCCESS || got == 0 || got > BUFFER_BYTES;
    st->n = st->differs ? 0 : got;
    st->at = 0;
}

static void stream_compare(void *ctx, const char *bytes, size_t n)
{
    struct stream *st = ctx;

    while (n > 0 && !st->differs) {
        size_t part;

        if (st->at == st->n) {
            stream_fill(st);
        }
        part = n < st->n - st->at ? n : (size_t)(st->n - st->at);
        st->differs = st->differs || memcmp(buffer + st->at, bytes, part) != 0;
        st->at += part;
        bytes += part;
        n -= part;
    }
}

/* Is it all there? The file stays open. */
static bool verify(struct save *s, struct target *t)
{
    struct stream st = { .files = s->files };
    struct mm_sink to = { .write = stream_compare, .ctx = &st };
    struct fw_file_info info;
    char path[PATH_CHARS];

    make_path(path, t->temporary, "");
    st.status = s->files->open(s->root, path, FW_OPEN_WRITE, &t->f);
    if (st.status != FW_SUCCESS) {
        t->f = NULL;
        return fail(s, st.status, "the file that was written cannot be opened");
    }
    st.f = t->f;
    st.status = s->files->info(t->f, &info);
    if (st.status == FW_SUCCESS && info.nbytes == t->nbytes) {
        t->put(&to, s->report);
    } else {
        st.differs = true;
    }
    if (st.status != FW_SUCCESS) {
        return fail(s, st.status, "the file that was written cannot be read");
    }
    if (st.differs) {
        return fail_with(s, FW_DEVICE_ERROR, "the file does not hold what was written to it",
                         "the medium is failing: use another one");
    }
    return true;
}

static bool give_name(struct save *s, struct target *t)
{
    const char *name;
    struct fw_file_info info;
    char path[PATH_CHARS];
    fw_status_t status;
    fw_status_t closed;

    make_path(path, s->out->name, t->ending);
    name = path + sizeof(SAVE_DIRECTORY "\\") - 1;
    status = look_at(s, path, &info);
    if (status != FW_NOT_FOUND) {
        return fail(s, status != FW_SUCCESS ? status : FW_ACCESS_DENIED,
                    "a file that its directory does not show is in the way");
    }
    t->may_have_its_name = true;
    status = s->files->rename(t->f, name);
    if (status == FW_SUCCESS) {
        status = s->files->flush(t->f);
    }
    closed = close_file(s->files, &t->f);
    status = status != FW_SUCCESS ? status : closed;
    if (status == FW_SUCCESS) {
        status = look_at(s, path, &info);
    }
    if (status == FW_SUCCESS && (info.is_directory || info.nbytes != t->nbytes)) {
        status = FW_DEVICE_ERROR;
    }
    if (status == FW_UNSUPPORTED || status == FW_ACCESS_DENIED || status == FW_NOT_FOUND) {
        return fail_with(s, status, "firmware cannot rename files",
                         "update the firmware; nothing half written is ever left as a report");
    }
    return status == FW_SUCCESS || fail(s, status, "the file cannot be renamed");
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* Remove what was made. The .json goes first: there is none without its .txt. */
static void undo(struct save *s)
{
    char path[PATH_CHARS];

    for (unsigned i = TARGETS; i > 0; i--) {
        struct target *t = &s->targets[i - 1];

        if (t->f != NULL) {
            (void)s->files->remove(t->f);
            t->f = NULL;
        }
        if (t->may_have_its_name) {
            make_path(path, s->out->name, t->ending);
            (void)remove_path(s, path);
        }
        if (t->may_be_temporary) {
            make_path(path, t->temporary, "");
            (void)remove_path(s, path);
        }
    }
    if (s->made_reports) {
        (void)remove_path(s, SAVE_DIRECTORY);
    }
    if (s->made_plat) {
        (void)remove_path(s, "\\plat");
    }
}

static void put_json(const struct mm_sink *to, const struct report *r)
{
    report_write(r, to, JSON_LINE);
}

void save_report(const struct fw *fw, const struct report *(*compose)(void *ctx), void *ctx,
                 struct save_result *out)
{
    struct save s = {
        .files = fw->files,
        .targets = {
            [TEXT] = { .temporary = "plat-unfinished" TEXT_ENDING ".tmp",
                       .ending = TEXT_ENDING,
                       .put = report_put_text },
            [JSON] = { .temporary = "plat-unfinished" JSON_ENDING ".tmp",
                       .ending = JSON_ENDING,
                       .put = put_json },
        },
        .out = out,
    };
    struct target *text = &s.targets[TEXT];
    struct target *json = &s.targets[JSON];

    *out = (struct save_result){ .status = FW_SUCCESS };
    if (fw->files == NULL) {
        (void)fail(&s, FW_UNSUPPORTED, "Plat was not started from a file system");
        return;
    }
    if (!(find_volume(&s) && remove_leftover(&s, text) && remove_leftover(&s, json) &&
          has_room(&s) && make_directory(&s, "\\plat", &s.made_plat) &&
          make_directory(&s, SAVE_DIRECTORY, &s.made_reports) && create(&s, text) &&
          create(&s, json) && compose_it(&s, compose, ctx) && find_name(&s) && has_room(&s) &&
          write_target(&s, text) && write_target(&s, json) && verify(&s, text) &&
          verify(&s, json) && give_name(&s, text) && give_name(&s, json))) {
        undo(&s);
        out->name[0] = '\0';
    }
    (void)close_file(s.files, &s.root);
}

/* ---- reports that are there ------------------------------------------------------------------ */

/* A name that a report may have, in the directory and in a path. macOS puts ._x beside each x. */
static bool is_report_name(const char *name)
{
    if (name[0] == '.' || mm_length(name) >= SAVE_NAME_CHARS || !ends_in(name, JSON_ENDING)) {
        return false;
    }
    for (; *name != '\0'; name++) {
        if (*name < 0x20 || *name > 0x7e || *name == '\\' || *name == '/' || *name == ':') {
            return false;
        }
    }
    return true;
}

/* Where the digits of a number begin that count, and how many they are. */
static size_t digits_of(const char **s)
{
    size_t n = 0;

    while ((*s)[0] == '0' && is_digit((*s)[1])) {
        (*s)++;
    }
    while (is_digit((*s)[n])) {
        n++;
    }
    return n;
}

/* As they are listed: < 0 if a comes before b. */
static int compare_names(const char *a, const char *b)
{
    while (*a != '\0' && *b != '\0') {
        if (is_digit(*a) && is_digit(*b)) {
            size_t n = digits_of(&a);
            size_t m = digits_of(&b);
            int order = n != m ? (n < m ? -1 : 1) : memcmp(a, b, n);

            if (order != 0) {
                return order;
            }
            a += n;
            b += n;
        } else if (lower(*a) != lower(*b)) {
            return lower(*a) < lower(*b) ? -1 : 1;
        } else {
            a++;
            b++;
        }
    }
    return (*a != '\0') - (*b != '\0');
}

/* Put it where it belongs; if there is no room, the first goes. */
static void list_add(struct save_entry *entries, uint32_t max, uint32_t *n,
                     const struct save_entry *e)
{
    uint32_t at = *n;

    while (at > 0 && compare_names(e->name, entries[at - 1].name) < 0) {
        at--;
    }
    if (*n < max) {
        memmove(&entries[at + 1], &entries[at], (*n - at) * sizeof(*entries));
        entries[at] = *e;
        ++*n;
    } else if (at > 0) {
        memmove(&entries[0], &entries[1], (at - 1) * sizeof(*entries));
        entries[at - 1] = *e;
    }
}

/* Every report in the open directory. */
static fw_status_t list_directory(const struct fw_files *files, struct fw_file *directory,
                                  struct save_entry *entries, uint32_t max, uint32_t *n)
{
    for (uint32_t i = 0; i < MAX_ENTRIES; i++) {
        struct fw_file_info info;
        struct save_entry e;
        fw_status_t status = files->next(directory, &info);

        if (status != FW_SUCCESS || info.name[0] == 0) {
            return status;
        }
        if (!info.is_directory && name_of(&info, e.name) && is_report_name(e.name)) {
            e.nbytes = info.nbytes;
            list_add(entries, max, n, &e);
        }
    }
    return FW_VOLUME_CORRUPTED;
}

fw_status_t save_list(const struct fw *fw, struct save_entry *entries, uint32_t max, uint32_t *n)
{
    const struct fw_files *files = fw->files;
    struct fw_file *root;
    struct fw_file *directory;
    struct fw_file_info info;
    fw_status_t status = files != NULL ? files->root(&root) : FW_UNSUPPORTED;

    *n = 0;
    if (status != FW_SUCCESS) {
        return error_of(status);
    }
    status = files->open(root, SAVE_DIRECTORY, FW_OPEN_READ, &directory);
    (void)files->close(root);
    if (status != FW_SUCCESS) {
        return status == FW_NOT_FOUND ? FW_SUCCESS : error_of(status);
    }
    status = files->info(directory, &info);
    if (status == FW_SUCCESS && info.is_directory) {
        status = list_directory(files, directory, entries, max, n);
    }
    (void)files->close(directory);
    return error_of(status);
}

/* All of the open file, which says that it is so long. */
static fw_status_t load_bytes(const struct fw_files *files, struct fw_file *f, unsigned char *to,
                              uint64_t nbytes)
{
    while (nbytes > 0) {
        uint64_t want = nbytes < FW_READ_MAX ? nbytes : FW_READ_MAX;
        uint64_t got = want;
        fw_status_t status = files->read(f, to, &got);

        if (status != FW_SUCCESS) {
            return status;
        }
        if (got == 0 || got > want) {
            return FW_DEVICE_ERROR;
        }
        to += got;
        nbytes -= got;
    }
    return FW_SUCCESS;
}

fw_status_t save_load(const struct fw *fw, struct pool *pool, const char *name, uint64_t *pa,
                      uint64_t *nbytes)
{
    const struct fw_files *files = fw->files;
    struct fw_file_info info;
    struct fw_file *root;
    struct fw_file *f;
    char path[PATH_CHARS];
    fw_status_t status;
    uint64_t at;

    if (!is_report_name(name)) {
        return FW_INVALID_PARAMETER;
    }
    status = files != NULL ? files->root(&root) : FW_UNSUPPORTED;
    if (status != FW_SUCCESS) {
        return error_of(status);
    }
    make_path(path, name, "");
    status = files->open(root, path, FW_OPEN_READ, &f);
    (void)files->close(root);
    if (status != FW_SUCCESS) {
        return error_of(status);
    }
    status = files->info(f, &info);
    if (status == FW_SUCCESS && info.is_directory) {
        status = FW_UNSUPPORTED;
    }
    if (status == FW_SUCCESS && info.nbytes > SAVE_MAX_BYTES) {
        status = FW_BAD_BUFFER_SIZE;
    }
    if (status == FW_SUCCESS) {
        /* An empty file has an address, too. */
        status = pool_alloc(pool, info.nbytes + 1, STUB_PAGE, POOL_ANY, &at);
    }
    if (status == FW_SUCCESS) {
        status = load_bytes(files, f, fw_pointer(at), info.nbytes);
        if (status == FW_SUCCESS) {
            *pa = at;
            *nbytes = info.nbytes;
        } else {
            pool_free(pool, at);
        }
    }
    (void)files->close(f);
    return error_of(status);
}
