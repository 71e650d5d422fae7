/*
 * report: all that is known of the machine's memory map, for platmap, or for a person.
 */
#include "lib/console.h"
#include "lib/fmt.h"
#include "mm/mapdiff.h"
#include "mm/report.h"
#include "mm/vmalloc.h"
#include "monitor/args.h"
#include "monitor/printer.h"
#include "monitor/style.h"
#include "survey.h"
#include "vm.h"

static void count(void *ctx, const char *s, size_t n)
{
    uint64_t *total = ctx;

    (void)s;
    *total += n;
}

/* "start, final and kernel" */
static void say_captures(const struct report *r)
{
    for (uint32_t i = 0; i < r->ncaptures; i++) {
        kprintf("%s%s",
                i == 0                 ? ""
                : i + 1 < r->ncaptures ? ", "
                                       : " and ",
                report_when_name(r->captures[i].when));
    }
}

/*
 * The document, in one line, to whoever keeps what comes over the wire. A screen would show nothing
 * but a page of hexadecimal digits, for as long as drawing takes.
 */
static int send(const struct args *a, const struct survey *s)
{
    uint64_t nbytes = 0;
    const struct mm_sink counter = { count, &nbytes };
    char size[FMT_BYTES_MAX];
    struct printer p;

    if (!console_send(NULL, 0)) {
        return args_error(a, "there is no serial port to send it over; report -t shows it here");
    }
    report_write(&s->report, &counter, JSON_LINE);
    kprintf(STYLE_HEAD "%s over serial, for platmap: the maps ", fmt_bytes(size, nbytes));
    say_captures(&s->report);
    kprintf("; Ctrl-C stops" STYLE_OFF "\n");
    printer_begin(&p, PRINTER_NO_SCREEN);
    report_write(&s->report, &p.sink, JSON_LINE);
    if (!printer_end(&p)) {
        return args_error(a, "stopped; what was sent is of no use");
    }
    kputs("report: sent\n");
    return 0;
}

static int show_text(const struct survey *s)
{
    struct printer p;

    printer_begin(&p, PRINTER_EVERYWHERE);
    report_put_text(&p.sink, &s->report);
    return printer_end(&p) ? 0 : 1;
}

/* Two captures, and what is different. */
struct comparison {
    const char *title;
    const struct memmap *from, *to;
    struct mapdiff diff;
    void *storage;
};

static bool compare(struct comparison *c)
{
    uint64_t nbytes = mapdiff_storage_bytes(c->from->nregions, c->to->nregions);

    c->storage = vmalloc(nbytes, "differences");
    return c->storage != NULL &&
           mapdiff_make(&c->diff, c->from, c->to, UINT64_MAX, c->storage, nbytes) == MM_OK;
}

static void put_comparison(const struct mm_sink *to, const struct comparison *c)
{
    mm_put_str(to, STYLE_BOLD);
    mm_put_str(to, c->title);
    mm_put_str(to, STYLE_OFF "\n");
    mapdiff_put(to, &c->diff);
}

static int show_differences(const struct args *a, const struct survey *s)
{
    struct comparison exit = { .title =
                                   "start to final: what firmware and the stub did before exit",
                               .from = &s->start,
                               .to = &s->final };
    struct comparison kernel = { .title = "final to kernel: what the kernel made of it",
                                 .from = &s->final,
                                 .to = &vm_map };
    struct printer p;
    int status = 1;

    if (compare(&exit) && compare(&kernel)) {
        printer_begin(&p, PRINTER_EVERYWHERE);
        put_comparison(&p.sink, &exit);
        mm_put_char(&p.sink, '\n');
        put_comparison(&p.sink, &kernel);
        status = printer_end(&p) ? 0 : 1;
    } else {
        (void)args_error(a, "not enough memory to compare the maps");
    }
    vfree(exit.storage);
    vfree(kernel.storage);
    return status;
}

static int cmd_report(int argc, char **argv)
{
    struct survey *s;
    struct args a;
    int status;

    if (!args_parse(&a, argc, argv, "td", 0, 0) || !args_at_most_one(&a, "td")) {
        return 1;
    }
    s = survey_take();
    if (s == NULL) {
        return args_error(&a, "not enough memory");
    }
    status = args_has(&a, 't')   ? show_text(s)
             : args_has(&a, 'd') ? show_differences(&a, s)
                                 : send(&a, s);
    survey_drop(s);
    return status;
}

MONITOR_COMMAND(report) = {
    .name = "report",
    .args = "[-t | -d]",
    .brief = "everything about the map, to be kept, compared and drawn elsewhere",
    .help = "A JSON document in one line, over serial only: the map as the stub began, the\n"
            "one that ExitBootServices() accepted, both verbatim, the kernel's regions, the\n"
            "machine, and what lint found. platmap finds it in a log: \"platmap show LOG\".\n"
            "  -t  as text to read, on the screen, too\n"
            "  -d  what is different between the three maps, in words\n",
    .run = cmd_report,
};
