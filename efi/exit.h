/*
 * exit.h - the last memory map, and ExitBootServices().
 *
 * Source:   UEFI 2.10, 7.4.6 EFI_BOOT_SERVICES.ExitBootServices().
 */
#ifndef EFI_EXIT_H
#define EFI_EXIT_H

#include "firmware.h"
#include "map.h"

#define EXIT_TRIES 16u

enum exit_result {
    EXIT_DONE,  /* boot services are gone, m holds the map whose key was accepted */
    EXIT_GREW,  /* not tried: the map does not fit; m->nbytes is what it needs */
    EXIT_STAY,  /* not tried: something is wrong with the map; boot services are whole */
    EXIT_STUCK, /* tried in vain: no way back */
};

struct exit_report {
    uint32_t tries; /* calls of ExitBootServices() */
    uint32_t grew;  /* reads of the map for which the buffer was too small */
    fw_status_t status;
    const char *why; /* unless EXIT_DONE or EXIT_GREW */
};

/*
 * Read the map into m and leave, again and again while firmware says that the key is stale, up to
 * EXIT_TRIES times. Between the first read and success nothing is printed or allocated, and no
 * other service is called.
 */
enum exit_result exit_leave(const struct fw *fw, struct map_buffer *m, struct exit_report *r);

/* After EXIT_STUCK: say why, wait long enough to be read, reset. Returns only from a host test. */
void exit_give_up(const struct fw *fw, const struct exit_report *r);

#endif
