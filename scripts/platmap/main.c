/*
 * main.c - platmap: one table of commands, one of options.
 */
#include "platmap.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BIT(option) (1u << (option))

static const struct option {
    const char *name;
    char letter;       /* 0 for none */
    const char *value; /* what follows; NULL if nothing does */
    const char *help;
} options[OPTIONS] = {
    [OPT_HELP] = { "--help", 'h', NULL, "show this" },
    [OPT_MAP] = { "--map", 0, "WHICH",
                  "of several maps in a file: a number, counted from 1, or in a\n"
                  "report start, last, final, kernel or file" },
    [OPT_WITH] = { "--with", 0, "WHICH", "the same for the second map; without it, as --map" },
    [OPT_RAW] = { "--raw", 0, NULL, "the descriptors as they came (this is the default)" },
    [OPT_NORMALISED] = { "--normalised", 0, NULL,
                         "the regions made of them: sorted, without overlaps, of one use\n"
                         "each" },
    [OPT_TYPE] = { "--type", 0, "LIST",
                   "only these: names or numbers of UEFI types (BootServicesData, 4)\n"
                   "or of uses (\"free after exit\"), parted by commas" },
    [OPT_EXPLAIN] = { "--explain", 0, "ID", "explain a rule, such as M04; or all of them: all" },
    [OPT_JSON] = { "--json", 0, NULL, "for programs" },
    [OPT_TO] = { "--to", 0, "FORMAT",
                 "json     a report of Plat's\n"
                 "reports  reports, a line each, of any number of files\n"
                 "text     a report for people, all that is known: as the .txt beside it\n"
                 "csv      a line for each descriptor, names first\n"
                 "jsonl    JSON Lines: an object for each descriptor\n"
                 "e820     as Linux logs it: BIOS-e820: [mem ...] usable\n"
                 "memmap   words for Linux's command line, the whole map;\n"
                 "         in GRUB's files $ must be written \\$\n"
                 "badram   memory with errors, for GRUB's badram" },
    [OPT_AGAINST] = { "--against", 0, "FILE",
                      "the map of an earlier boot of the same machine: memory of runtime\n"
                      "services must be where it was (rule M38)" },
    [OPT_ARCH] = { "--arch", 0, "NAME",
                   "of maps that do not tell their own: x86, arm64, riscv64 or\n"
                   "loongarch64; some rules wait for it" },
    [OPT_OUTPUT] = { "--output", 'o', "FILE", "write there, not to standard output" },
};

static const struct command {
    const char *name;
    int (*run)(const struct args *a);
    int min_words;
    int max_words;
    unsigned options; /* beside --help and --map: bits */
    const char *words;
    const char *brief;
    const char *detail;
} commands[] = {
    { "show", cmd_show, 1, INT32_MAX, BIT(OPT_RAW) | BIT(OPT_NORMALISED) | BIT(OPT_TYPE), "FILE...",
      "the map as a table",
      "Addresses and attributes of each descriptor; in colour by use, on a terminal.\n" },
    { "summary", cmd_summary, 1, INT32_MAX, 0, "FILE...", "how much there is of what",
      "Totals by type and by use, what is usable when, and the largest runs. Each byte\n"
      "counts once, as what it was found to be.\n" },
    { "lint", cmd_lint, 0, INT32_MAX,
      BIT(OPT_EXPLAIN) | BIT(OPT_JSON) | BIT(OPT_AGAINST) | BIT(OPT_ARCH), "FILE...",
      "what is wrong with it",
      "A line for each finding, the worst first, then their number. With --json a line\n"
      "with one object for each file. A report's own findings are among them.\n"
      "Exit status: 0 nothing worse than warnings, 1 errors in a map, 2 trouble.\n" },
    { "at", cmd_at, 2, 2, BIT(OPT_ARCH), "ADDR FILE", "what is at an address",
      "The region, the descriptors and the findings there. ADDR is hexadecimal with 0x,\n"
      "else decimal. Exit status: 0 found, 1 the map says nothing about it, 2 trouble.\n" },
    { "diff", cmd_diff, 1, 2, BIT(OPT_WITH) | BIT(OPT_JSON), "A [B]", "what changed from A to B",
      "What moved, grew, changed its type or attributes, and whether that breaks\n"
      "hibernation or kexec. ! is breaking, * notable. Order and division of descriptors\n"
      "are no difference. With one file, two of its maps: --map start --with final.\n"
      "Exit status: 0 same, 1 different, 2 trouble.\n" },
    { "draw", cmd_draw, 1, 2, BIT(OPT_WITH) | BIT(OPT_OUTPUT), "A [B]", "a picture, as a web page",
      "One HTML file that needs nothing else: the map, or two maps and what changed from\n"
      "A to B, to scale and in detail, with uses, findings and tables. It zooms, searches\n"
      "and filters in a browser, and prints. With one file, two of its maps: --map start\n"
      "--with final. Nothing is written to a terminal: name a file.\n" },
    { "convert", cmd_convert, 1, INT32_MAX, BIT(OPT_TO) | BIT(OPT_OUTPUT) | BIT(OPT_ARCH),
      "FILE...", "in another format",
      "json, csv and jsonl hold the descriptors as they came; e820, memmap and badram\n"
      "are made of the normalised map.\n" },
    { "replay", cmd_replay, 1, 1, 0, "FILE", "what a kernel gets out of it",
      "Starts the frame pools of Plat's kernel on the map: usable memory, the largest\n"
      "run, free blocks of each order, and what the pools take for themselves.\n" },
};

static const char about[] =
    "\n"
    "FILE is a report of Plat's, by itself or in a log; the EFI shell's memmap, with or without\n"
    "-sfo; a kernel log of Linux (efi: mem..., BIOS-e820) or FreeBSD; /sys/firmware/memmap or\n"
    "/sys/firmware/efi/runtime-map, by `grep -r . DIRECTORY`; or the bytes of GetMemoryMap(). The\n"
    "format is recognised, other lines around the map do no harm. A file may have\n"
    "many reports, one a line. - is standard input.\n"
    "\n"
    "Exit status: 0 done, 1 as a command says, 2 trouble: an input that is damaged, incomplete or\n"
    "no memory map, or a wrong call. Of such a file nothing is shown but what is wrong with it.\n";

/* ---- help ------------------------------------------------------------------------------------ */

static void put_help(const struct mm_sink *to)
{
    say(to,
        "usage: platmap COMMAND [OPTION...] FILE...\n"
        "       platmap COMMAND --help | --help | --version\n"
        "\n"
        "Look at the memory map of a computer's firmware: show, check, compare, draw, convert it.\n"
        "\n");
    for (size_t i = 0; i < MM_COUNTOF(commands); i++) {
        say(to, "  %-8s %-10s %s\n", commands[i].name, commands[i].words, commands[i].brief);
    }
    say(to, "%s", about);
}

static void put_option(const struct mm_sink *to, const struct option *o)
{
    char left[32];
    const char *line = o->help;

    snprintf(left, sizeof(left), "%s%s%s", o->name, o->value != NULL ? " " : "",
             o->value != NULL ? o->value : "");
    if (o->letter != 0) {
        size_t n = strlen(left);

        snprintf(left + n, sizeof(left) - n, ", -%c", o->letter);
    }
    say(to, "  %-20s ", left);
    while (*line != '\0') {
        size_t n = strcspn(line, "\n");

        say(to, "%s%.*s\n", line != o->help ? "                       " : "", (int)n, line);
        line += n + (line[n] == '\n');
    }
}

static unsigned options_of(const struct command *c)
{
    return c->options | BIT(OPT_HELP) | BIT(OPT_MAP);
}

static void put_command_help(const struct mm_sink *to, const struct command *c)
{
    say(to, "usage: platmap %s [OPTION...] %s\n\n%s\n", c->name, c->words, c->detail);
    for (unsigned i = 0; i < OPTIONS; i++) {
        if ((options_of(c) & BIT(i)) != 0) {
            put_option(to, &options[i]);
        }
    }
    say(to, "%s", about);
}

/* ---- a call ---------------------------------------------------------------------------------- */

/* The option that `word` is, or begins with and a '='; OPTIONS if it is none of these. */
static unsigned find_option(const char *word, unsigned allowed)
{
    size_t n = strcspn(word, "=");
    unsigned i;

    for (i = 0; i < OPTIONS; i++) {
        const struct option *o = &options[i];
        bool is_name = strlen(o->name) == n && strncmp(o->name, word, n) == 0;
        bool is_letter = o->letter != 0 && word[1] == o->letter && word[2] == '\0';

        if ((allowed & BIT(i)) != 0 && (is_name || is_letter)) {
            break;
        }
    }
    return i;
}

/* The architecture called `name`; false after a complaint. */
static bool find_arch(const char *name, enum mapfile_arch *arch)
{
    for (unsigned i = MAPFILE_ARCH_UNKNOWN + 1; i < MAPFILE_ARCHS; i++) {
        if (strcmp(name, mapfile_arch_name((enum mapfile_arch)i)) == 0) {
            *arch = (enum mapfile_arch)i;
            return true;
        }
    }
    complain("--arch: there is no architecture %s; there are x86, arm64, riscv64, loongarch64",
             name);
    return false;
}

/* Part options from words, which go to the front of argv; false after a complaint. */
static bool parse(struct args *a, const struct command *c, int argc, const char **argv)
{
    bool only_words = false;
    int n = 0;

    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        const char *value = strchr(word, '=');
        unsigned id;

        if (only_words || word[0] != '-' || word[1] == '\0') {
            argv[n++] = word;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            only_words = true;
            continue;
        }
        id = find_option(word, options_of(c));
        if (id == OPTIONS) {
            complain("%s: there is no option %s; see platmap %s --help", c->name, word, c->name);
            return false;
        }
        if (options[id].value == NULL && value != NULL) {
            complain("%s: %s takes no value", c->name, options[id].name);
            return false;
        }
        if (options[id].value != NULL && value == NULL && ++i == argc) {
            complain("%s: %s needs a value", c->name, word);
            return false;
        }
        a->option[id] = options[id].value == NULL ? "" : value != NULL ? value + 1 : argv[i];
    }
    a->words = argv;
    a->nwords = n;
    if (a->option[OPT_ARCH] != NULL && !find_arch(a->option[OPT_ARCH], &a->arch)) {
        return false;
    }
    if (a->option[OPT_HELP] == NULL && (n < c->min_words || n > c->max_words)) {
        complain("usage: platmap %s [OPTION...] %s", c->name, c->words);
        return false;
    }
    return true;
}

static int run_command(const struct command *c, int argc, const char **argv)
{
    struct args a = { .colour = isatty(STDOUT_FILENO) != 0 };
    struct answer answer;
    int status;

    if (!parse(&a, c, argc, argv)) {
        return STATUS_TROUBLE;
    }
    answer_begin(&answer);
    a.to = &answer.sink;
    if (a.option[OPT_HELP] != NULL) {
        put_command_help(a.to, c);
        status = STATUS_OK;
    } else {
        status = c->run(&a);
    }
    /* A file of nothing is not written for a command that met trouble. */
    if ((answer.len != 0 || status != STATUS_TROUBLE) &&
        !answer_write(&answer, a.option[OPT_OUTPUT])) {
        status = STATUS_TROUBLE;
    }
    answer_drop(&answer);
    return status;
}

static int run_alone(const char *word)
{
    bool is_help = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
    struct answer answer;
    int status = STATUS_OK;

    answer_begin(&answer);
    if (is_help) {
        put_help(&answer.sink);
    } else if (strcmp(word, "--version") == 0) {
        say(&answer.sink, "platmap " PLAT_VERSION "\n");
    } else {
        complain("there is no command %s; see platmap --help", word);
        status = STATUS_TROUBLE;
    }
    if (!answer_write(&answer, NULL)) {
        status = STATUS_TROUBLE;
    }
    answer_drop(&answer);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        complain("usage: platmap COMMAND [OPTION...] FILE...; see platmap --help");
        return STATUS_TROUBLE;
    }
    for (size_t i = 0; i < MM_COUNTOF(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return run_command(&commands[i], argc - 2, (const char **)argv + 2);
        }
    }
    return run_alone(argv[1]);
}
