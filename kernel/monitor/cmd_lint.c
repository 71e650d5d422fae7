/*
 * lint: what is wrong with the map that firmware handed over.
 */
#include "mm/maplint.h"
#include "mm/mapshow.h"
#include "monitor/args.h"
#include "monitor/printer.h"
#include "survey.h"

#define RULE_COLUMNS 79u

static int explain(const struct args *a)
{
    const struct maplint_rule *rule = maplint_rule(a->operand[0]);
    struct printer p;

    if (rule == NULL) {
        return args_fail(a, "there is no rule \"%s\"; they are M01 to M43 and A01 to A08",
                         a->operand[0]);
    }
    printer_begin(&p, PRINTER_EVERYWHERE);
    maplint_put_rule(&p.sink, rule, RULE_COLUMNS);
    return printer_end(&p) ? 0 : 1;
}

static int show_findings(const struct args *a)
{
    struct survey *s = survey_take();
    struct printer p;
    bool done;

    if (s == NULL) {
        return args_error(a, "not enough memory");
    }
    printer_begin(&p, PRINTER_EVERYWHERE);
    for (uint32_t i = 0; i < s->lint.n; i++) {
        const struct memmap_finding *f = &s->lint.findings[i];

        mm_put_str(&p.sink, mapshow_severity_style(f->severity));
        maplint_put_finding(&p.sink, f);
        mm_put_str(&p.sink, MAPSHOW_OFF "\n");
    }
    mapshow_put_count(&p.sink, &s->lint);
    mm_put_char(&p.sink, '\n');
    done = printer_end(&p);
    survey_drop(s);
    return done ? 0 : 1;
}

static int cmd_lint(int argc, char **argv)
{
    struct args a;

    if (!args_parse(&a, argc, argv, "", 0, 1)) {
        return 1;
    }
    return a.n == 1 ? explain(&a) : show_findings(&a);
}

MONITOR_COMMAND(lint) = {
    .name = "lint",
    .args = "[RULE]",
    .brief = "what is wrong with firmware's map, or worth knowing about it",
    .help = "A line for each finding about the map that ExitBootServices() accepted, the\n"
            "worst first: severity, rule, address, descriptor, and what is so.\n"
            "  RULE  what a rule means, what comes of it, and what to do: \"lint M04\"\n",
    .run = cmd_lint,
};
