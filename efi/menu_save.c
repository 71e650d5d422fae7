/*
 * menu_save.c - write the report to the volume.
 */
#include "menu_ui.h"

static void put_result(const struct mm_sink *to, const struct inspect *in)
{
    const struct save_result *r = &in->saved;

    if (r->why != NULL) {
        mm_put_str(to, MENU_BAD "It was not saved: ");
        mm_put_str(to, r->why);
        mm_put_str(to, " (");
        mm_put_str(to, fw_status_name(r->status));
        mm_put_str(to, ").\n");
        if (r->advice != NULL) {
            mm_put_str(to, "What to do: ");
            mm_put_str(to, r->advice);
            mm_put_str(to, ".\n");
        }
    } else if (in->was_saved) {
        mm_put_str(to, MENU_GOOD "Saved as " SAVE_DIRECTORY "\\");
        mm_put_str(to, r->name);
        mm_put_str(to, ".json, and as .txt beside it.\n");
    }
}

static void save_put(struct menu *m, const struct mm_sink *to, const void *ctx)
{
    const struct inspect *in = m->in;

    (void)ctx;
    menu_put_heading(to, "Save a report");
    mm_put_str(to, "The report has all that these screens show, twice for the map: as Plat "
                   "started, and as it is when the file is written. It goes to " SAVE_DIRECTORY
                   " on the volume that Plat was started from, as .json for programs (platmap) "
                   "and as .txt for people. Nothing that is there is overwritten.\n\n");
    mm_put_str(to, in->report.with_identifiers ? MENU_WARN
                       "Serial numbers and UUIDs are in it: the option identifiers=on "
                       "asks for that.\n\n"
                                               : "Serial numbers and UUIDs are left out.\n\n");
    if (m->is_saving) {
        mm_put_str(to, MENU_STRONG "Saving...\n");
        return;
    }
    put_result(to, in);
    mm_put_str(to, MENU_STRONG "Press Enter to save");
    mm_put_str(to, in->was_saved ? " another one.\n" : ".\n");
}

static bool save_key(struct menu *m, enum key key)
{
    if (key != KEY_ENTER && key != 's') {
        return false;
    }
    m->is_saving = true;
    m->view.columns = 0;
    menu_draw(m);
    inspect_save(m->in);
    m->grid.unknown = true; /* it may have said something */
    m->is_saving = false;
    m->view.columns = 0;
    return true;
}

const struct menu_screen menu_save = {
    .name = "Save",
    .keys = "Enter saves",
    .help = "Enter writes the report to the volume that Plat was started from, whole or not at "
            "all. It takes a few seconds on a slow stick.\n\n"
            "Read it on another machine: platmap show, lint, diff and draw take the .json.\n",
    .put = save_put,
    .key = save_key,
};
