/*
 * One loop: a line is read, cut into commands at ';', each command is cut into words, and the
 * command that the first word names is run.
 *
 * There is no parser to speak of, on purpose: no variables, no pipes, no conditions. Tests and the
 * run= option need a sequence that stops where something fails, and people need words in double
 * quotes; more would be a language to learn and to keep.
 */
#include "monitor/monitor.h"

#include "dev/pit.h"
#include "lib/console.h"
#include "lib/fmt.h"
#include "lib/line.h"
#include "lib/string.h"
#include "mm/pmm.h"
#include "monitor/args.h"
#include "monitor/style.h"
#include "vm.h"

#define PROMPT STYLE_BOLD "plat> " STYLE_OFF

#define IDLE_PORTION 4u /* frames to zero between two looks for a key */
#define IDLE_HZ      20u
#define IDLE_TICKS   20u /* a second without a key */

extern const struct monitor_command __commands_start[], __commands_end[];

const struct monitor_command *const *monitor_commands(unsigned *count)
{
    static const struct monitor_command *sorted[MONITOR_MAX_COMMANDS];
    static unsigned n;

    if (n == 0) {
        for (const struct monitor_command *c = __commands_start; c < __commands_end; c++) {
            unsigned i = n++;

            MM_ASSERT(i < MONITOR_MAX_COMMANDS);
            for (; i > 0 && strcmp(sorted[i - 1]->name, c->name) > 0; i--) {
                sorted[i] = sorted[i - 1];
            }
            sorted[i] = c;
        }
    }
    *count = n;
    return sorted;
}

const struct monitor_command *monitor_find(const char *name)
{
    unsigned n;
    const struct monitor_command *const *all = monitor_commands(&n);

    for (unsigned i = 0; i < n; i++) {
        if (strcmp(all[i]->name, name) == 0) {
            return all[i];
        }
    }
    return NULL;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* The end of the command that begins at `s`: its ';' outside of quotes, or the end of the line. */
static char *command_end(char *s)
{
    bool quoted = false;

    for (; *s != '\0' && (quoted || *s != ';'); s++) {
        quoted ^= *s == '"';
    }
    return s;
}

/* Cut `s` into words, in place; quotes go. -1: a quote is not closed, or too many words. */
static int split_words(char *s, char *argv[MONITOR_MAX_ARGS])
{
    int argc = 0;

    for (;;) {
        bool quoted = false;
        char *to;

        while (is_space(*s)) {
            s++;
        }
        if (*s == '\0') {
            return argc;
        }
        if (argc == (int)MONITOR_MAX_ARGS) {
            kprintf(STYLE_BAD "error:" STYLE_OFF " more than %u words\n", MONITOR_MAX_ARGS);
            return -1;
        }
        argv[argc++] = to = s;
        for (; *s != '\0' && (quoted || !is_space(*s)); s++) {
            if (*s == '"') {
                quoted = !quoted;
            } else {
                *to++ = *s;
            }
        }
        if (quoted) {
            kputs(STYLE_BAD "error:" STYLE_OFF " a double quote is not closed\n");
            return -1;
        }
        if (*s != '\0') {
            s++;
        }
        *to = '\0';
    }
}

static int run_command(char *s)
{
    char *argv[MONITOR_MAX_ARGS];
    int argc = split_words(s, argv);
    const struct monitor_command *c;

    if (argc <= 0) {
        return argc;
    }
    c = monitor_find(argv[0]);
    if (c == NULL) {
        kprintf(STYLE_BAD "%s:" STYLE_OFF " there is no such command; \"help\" lists them all\n",
                argv[0]);
        return 1;
    }
    return c->run(argc, argv);
}

/* Run what `line` says; `show` each command before it runs. */
static int run_line(char *line, bool show)
{
    int status = 0;

    while (*line != '\0' && status == 0) {
        char *end = command_end(line);
        char *next = *end == ';' ? end + 1 : end;

        *end = '\0';
        while (is_space(*line)) {
            line++;
        }
        if (show && *line != '\0') {
            kprintf(PROMPT "%s\n", line);
        }
        status = run_command(line);
        line = next;
    }
    return status;
}

int monitor_execute(char *line)
{
    return run_line(line, true);
}

static void show(void *ctx, const char *s, size_t n)
{
    (void)ctx;
    console_write(s, n);
}

/* The names of commands complete the first word of a command, and the word behind "help". */
static const char *complete(void *ctx, const char *text, size_t start, size_t n, size_t index)
{
    size_t at = start;
    unsigned count;
    const struct monitor_command *const *all = monitor_commands(&count);

    (void)ctx;
    while (at > 0 && is_space(text[at - 1])) {
        at--;
    }
    if (at >= 4 && strncmp(text + at - 4, "help", 4) == 0) {
        at -= 4;
        while (at > 0 && is_space(text[at - 1])) {
            at--;
        }
    }
    if (at > 0 && text[at - 1] != ';') {
        return NULL;
    }
    for (unsigned i = 0; i < count; i++) {
        if (strncmp(all[i]->name, text + start, n - start) == 0 && index-- == 0) {
            return all[i]->name;
        }
    }
    return NULL;
}

static unsigned idle_ticks;

/* A processor that waits for long does not keep frames that others may want. */
static void idle_tick(void)
{
    if (++idle_ticks < IDLE_TICKS) {
        return;
    }
    pit_stop();
    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        if (vm_pools[kind] != NULL) {
            pmm_idle(vm_pools[kind]);
        }
    }
}

/* While there is no key: zero frames for those who will want zeroed ones, then sleep. */
static char wait_key(void)
{
    int c = console_getc();

    while (c < 0) {
        if (pmm_fill_zeroed(vm_pmm, IDLE_PORTION) == 0) {
            idle_ticks = 0;
            pit_start(IDLE_HZ, idle_tick);
            console_wait();
            pit_stop();
        }
        c = console_getc();
    }
    return (char)c;
}

static void greet(void)
{
    char all[FMT_BYTES_MAX], unused[FMT_BYTES_MAX];
    uint64_t nfree, nframes = vm_count_frames(&nfree);

    kprintf("\n" STYLE_BOLD "Plat" STYLE_OFF
            ": %s of memory, %s free. \"help\" lists the commands.\n",
            fmt_bytes(all, nframes * MM_PAGE_SIZE), fmt_bytes(unused, nfree * MM_PAGE_SIZE));
}

void monitor_run(void)
{
    static struct line editor;
    static char line[LINE_MAX];

    greet();
    line_init(&editor, PROMPT, show, complete, NULL);
    for (;;) {
        enum line_event event = LINE_MORE;

        line_start(&editor);
        while (event == LINE_MORE) {
            event = line_feed(&editor, wait_key());
        }
        if (event == LINE_DONE) {
            memcpy(line, line_text(&editor), strlen(line_text(&editor)) + 1);
            run_line(line, false);
        }
    }
}

static int cmd_help(int argc, char **argv)
{
    const struct monitor_command *const *all;
    const struct monitor_command *c;
    struct args a;
    unsigned n;

    if (!args_parse(&a, argc, argv, "", 0, 1)) {
        return 1;
    }
    if (a.n == 0) {
        all = monitor_commands(&n);
        for (unsigned i = 0; i < n; i++) {
            kprintf("  " STYLE_BOLD "%-11s" STYLE_OFF "%s\n", all[i]->name, all[i]->brief);
        }
        kputs(STYLE_HEAD
              "\"help COMMAND\" says more. Commands may be parted by ';'. Up and Down walk the\n"
              "history, Tab completes. Numbers: 42, 0x2a, and with k, m, g, t: 64k, 2m." STYLE_OFF
              "\n");
        return 0;
    }
    c = monitor_find(a.operand[0]);
    if (c == NULL) {
        return args_error(&a, "there is no command \"%s\"; \"help\" lists them all", a.operand[0]);
    }
    kprintf("usage: " STYLE_BOLD "%s" STYLE_OFF "%s%s\n%s.\n", c->name,
            c->args[0] != '\0' ? " " : "", c->args, c->brief);
    if (c->help[0] != '\0') {
        kputs("\n");
        kputs(c->help); /* may be more than kprintf() takes at once */
    }
    return 0;
}

static int cmd_echo(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        kprintf("%s%s", i > 1 ? " " : "", argv[i]);
    }
    kputs("\n");
    return 0;
}

static int cmd_clear(int argc, char **argv)
{
    struct args a;

    if (!args_parse(&a, argc, argv, "", 0, 0)) {
        return 1;
    }
    kputs("\033[H\033[2J");
    return 0;
}

MONITOR_COMMAND(help) = {
    .name = "help",
    .args = "[COMMAND]",
    .brief = "list the commands, or explain one",
    .help = "",
    .run = cmd_help,
};

MONITOR_COMMAND(echo) = {
    .name = "echo",
    .args = "[WORD...]",
    .brief = "print the words",
    .help = "Words in double quotes keep their spaces and semicolons.\n",
    .run = cmd_echo,
};

MONITOR_COMMAND(clear) = {
    .name = "clear",
    .args = "",
    .brief = "clear the screen",
    .help = "Control-L does the same while a line is being typed.\n",
    .run = cmd_clear,
};
