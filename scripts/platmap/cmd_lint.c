/*
 * cmd_lint.c - lint: what is wrong with maps, or worth knowing about them.
 */
#include "platmap.h"

#include <stdlib.h>
#include <string.h>

#include "mm/mapshow.h"

#define RULE_COLUMNS 78

static int explain(const struct args *a)
{
    const char *id = a->option[OPT_EXPLAIN];
    const struct maplint_rule *rule = maplint_rule(id);

    if (rule != NULL) {
        maplint_put_rule(a->to, rule, RULE_COLUMNS);
        return STATUS_OK;
    }
    if (strcmp(id, "all") != 0) {
        complain("lint: there is no rule %s; --explain all shows every one", id);
        return STATUS_TROUBLE;
    }
    for (size_t i = 0; i < MAPLINT_NRULES; i++) {
        if (i > 0) {
            say(a->to, "\n");
        }
        maplint_put_rule(a->to, &maplint_rules[i], RULE_COLUMNS);
    }
    return STATUS_OK;
}

static void put_text(const struct args *a, const struct input *in,
                     const struct maplint_result *lint)
{
    for (uint32_t i = 0; i < lint->n; i++) {
        const struct memmap_finding *f = &lint->findings[i];

        say(a->to, "%s%.900s:", a->colour ? mapshow_severity_style(f->severity) : "", in->name);
        if (in->lines != NULL && f->desc < in->map.ndescs) {
            say(a->to, "%u:", in->lines[f->desc]);
        }
        say(a->to, " ");
        maplint_put_finding(a->to, f);
        say(a->to, "%s\n", a->colour ? MAPSHOW_OFF : "");
    }
    say(a->to, "%.900s: ", in->name);
    mapshow_put_count(a->to, lint);
    say(a->to, "%s\n", in->capture->is_whole ? "" : "; " NOT_WHOLE);
}

/* A number, or null for `none`. */
static void put_number(struct json_writer *w, const char *key, uint64_t v, uint64_t none)
{
    json_key(w, key);
    if (v != none) {
        json_put_u64(w, v);
    } else {
        json_put_null(w);
    }
}

/* One object on one line. */
static void put_json(const struct args *a, const struct input *in,
                     const struct maplint_result *lint)
{
    struct json_writer w;

    json_write_begin(&w, a->to, JSON_LINE);
    json_begin_object(&w);
    json_key(&w, "file");
    json_put_text(&w, in->source.name);
    put_number(&w, "line", in->line, 0);
    json_key(&w, "whole");
    json_put_bool(&w, in->capture->is_whole);
    json_key(&w, "errors");
    json_put_u64(&w, lint->count[MEMMAP_ERROR]);
    json_key(&w, "warnings");
    json_put_u64(&w, lint->count[MEMMAP_WARN]);
    json_key(&w, "infos");
    json_put_u64(&w, lint->count[MEMMAP_INFO]);
    json_key(&w, "lost");
    json_put_u64(&w, lint->lost);
    json_key(&w, "findings");
    json_begin_array(&w);
    for (uint32_t i = 0; i < lint->n; i++) {
        const struct memmap_finding *f = &lint->findings[i];

        json_begin_object(&w);
        json_key(&w, "rule");
        json_put_text(&w, f->rule);
        json_key(&w, "severity");
        json_put_text(&w, maplint_severity_name(f->severity));
        json_key(&w, "what");
        json_put_text(&w, f->what);
        json_key(&w, "subject");
        json_put_text(&w, f->subject);
        put_number(&w, "descriptor", f->desc, MEMMAP_NODESC);
        put_number(&w, "other", f->other, MEMMAP_NODESC);
        json_key(&w, "base");
        json_put_hex(&w, f->base, 16);
        json_key(&w, "end");
        json_put_hex(&w, f->end, 16);
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
    json_write_end(&w);
}

struct linting {
    const struct args *args;
    const struct input *against; /* the map of an earlier boot; NULL for none */
};

static int lint_one(void *ctx, struct input *in)
{
    const struct linting *l = ctx;
    struct maplint_result lint;
    int status;

    input_assume_arch(in, l->args->arch);
    if (l->against != NULL && !input_has_runtime(in)) {
        return STATUS_TROUBLE;
    }
    lint = input_lint(in);
    if (l->against != NULL) {
        input_compare(&lint, l->against, in);
    }
    (l->args->option[OPT_JSON] != NULL ? put_json : put_text)(l->args, in, &lint);
    status = lint.count[MEMMAP_ERROR] != 0 ? STATUS_FOUND : STATUS_OK;
    free(lint.findings);
    return status;
}

int cmd_lint(const struct args *a)
{
    struct linting l = { .args = a };
    struct input against;
    int status = STATUS_OK;

    if (a->option[OPT_EXPLAIN] != NULL) {
        if (a->nwords != 0) {
            complain("lint: --explain takes no files");
            return STATUS_TROUBLE;
        }
        return explain(a);
    }
    if (a->nwords == 0) {
        complain("lint: no file is named; - is standard input");
        return STATUS_TROUBLE;
    }
    if (a->option[OPT_AGAINST] != NULL) {
        if (!input_open(&against, a->option[OPT_AGAINST], NULL)) {
            return STATUS_TROUBLE;
        }
        if (!input_has_runtime(&against)) {
            input_close(&against);
            return STATUS_TROUBLE;
        }
        l.against = &against;
    }
    for (int i = 0; i < a->nwords; i++) {
        status = worse_of(status, input_each(a->words[i], a->option[OPT_MAP], lint_one, &l));
    }
    if (l.against != NULL) {
        input_close(&against);
    }
    return status;
}
