/*
 * uefi_console.c - the console of console.h, from ConIn and ConOut.
 */
#include <efi.h>
#undef __attribute__ /* gnu-efi 3.0 defines it away on this target */

#include "console.h"

static EFI_BOOT_SERVICES *bs;
static SIMPLE_INPUT_INTERFACE *in;
static SIMPLE_TEXT_OUTPUT_INTERFACE *out;

static fw_status_t console_size(uint32_t *columns, uint32_t *rows)
{
    UINTN w = 0, h = 0;
    EFI_STATUS s;

    if (out->Mode->Mode < 0) {
        return FW_DEVICE_ERROR;
    }
    s = out->QueryMode(out, (UINTN)out->Mode->Mode, &w, &h);
    if (!EFI_ERROR(s)) {
        *columns = w < UINT32_MAX ? (uint32_t)w : UINT32_MAX;
        *rows = h < UINT32_MAX ? (uint32_t)h : UINT32_MAX;
    }
    return s;
}

static fw_status_t console_put(uint32_t column, uint32_t row, uint8_t attribute,
                               const uint16_t *text)
{
    const SIMPLE_TEXT_OUTPUT_MODE *mode = out->Mode;
    /* Column 0 is not where a full row ended: a terminal that is wider did not go on there. */
    bool is_there = column != 0 && mode->CursorColumn >= 0 && mode->CursorRow >= 0 &&
                    (uint32_t)mode->CursorColumn == column && (uint32_t)mode->CursorRow == row;
    EFI_STATUS s = is_there ? EFI_SUCCESS : out->SetCursorPosition(out, column, row);

    if (EFI_ERROR(s)) {
        return s;
    }
    /* A console without colours may refuse; the text is what matters. OutputString() does not
     * change it, though its type says so. */
    (void)out->SetAttribute(out, attribute);
    return out->OutputString(out, (CHAR16 *)(uintptr_t)text);
}

static fw_status_t console_clear(uint8_t attribute)
{
    (void)out->SetAttribute(out, attribute);
    return out->ClearScreen(out);
}

static void console_show_cursor(bool shown)
{
    (void)out->EnableCursor(out, shown);
}

static bool console_has(uint16_t character)
{
    CHAR16 text[] = { character, 0 };

    return out->TestString(out, text) == EFI_SUCCESS;
}

static fw_status_t console_key(struct console_key *key)
{
    EFI_INPUT_KEY k = { 0, 0 };
    EFI_STATUS s = in->ReadKeyStroke(in, &k);

    if (!EFI_ERROR(s)) {
        *key = (struct console_key){ .scan = k.ScanCode, .character = k.UnicodeChar };
    }
    return s;
}

static fw_status_t console_wait(uint64_t us)
{
    EFI_EVENT events[2] = { in->WaitForKey, NULL };
    UINTN which = 0;
    EFI_STATUS s;

    if (us == CONSOLE_FOREVER) {
        return bs->WaitForEvent(1, events, &which);
    }
    s = bs->CreateEvent(EVT_TIMER, TPL_APPLICATION, NULL, NULL, &events[1]);
    if (EFI_ERROR(s)) {
        return s;
    }
    s = bs->SetTimer(events[1], TimerRelative, us * 10); /* in units of 100 ns */
    if (!EFI_ERROR(s)) {
        s = bs->WaitForEvent(2, events, &which);
    }
    (void)bs->CloseEvent(events[1]);
    return EFI_ERROR(s) ? s : which == 0 ? FW_SUCCESS : FW_TIMEOUT;
}

static const struct fw_console console = {
    .size = console_size,
    .put = console_put,
    .clear = console_clear,
    .show_cursor = console_show_cursor,
    .has = console_has,
    .key = console_key,
    .wait = console_wait,
};

const struct fw_console *console_uefi(void *system_table)
{
    EFI_SYSTEM_TABLE *st = system_table;

    bs = st->BootServices;
    in = st->ConIn;
    out = st->ConOut;
    return in != NULL && out != NULL && out->Mode != NULL ? &console : NULL;
}
