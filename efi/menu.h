/*
 * menu.h - the inspector's screens on firmware's console, for the person in front of it: overview,
 * map, findings, tables, comparison with a saved report, saving, and the ways out.
 *
 * Model:    what is shown is a struct inspect, which saving brings up to date. Everything works on
 * 80 columns and 25 rows, without colour, and over a serial line whose terminal has letters, Enter
 * and nothing else; what there is more of it is used. Console and keyboard may fail at any time:
 * the worst that comes of it is that the machine boots.
 * Memory:   from a pool of its own, all given back on return.
 */
#ifndef EFI_MENU_H
#define EFI_MENU_H

#include "inspect.h"

enum menu_choice {
    MENU_BOOT, /* go on, and boot the kernel */
    MENU_EXIT, /* back to firmware */
};

/*
 * Show the screens until one of the ways out is taken. Restarting and firmware's set-up happen
 * inside. Without a console, or one that fails, it says so on fw->print: MENU_BOOT.
 */
enum menu_choice menu_run(struct inspect *in);

/*
 * Offer the inspector for so many seconds, in a line that counts down. True if a key was pressed;
 * what a terminal sends by itself (NUL, answers in escape sequences) is no key, nor is what was
 * typed before the line was there. False at once if there is no console.
 */
bool menu_wait_key(const struct fw *fw, uint32_t seconds);

#endif
