/*
 * ps2.c - the keyboard behind an 8042 controller.
 *
 * The controller may be absent (then its ports read as ones), emulated by firmware for a USB
 * keyboard (then it may know half of the commands), or real. So every wait is bounded, and only
 * what the keyboard's use depends on must succeed: the configuration byte can be read and written,
 * and a keyboard acknowledges that it shall send. The self-test's failure is told and otherwise
 * ignored, as emulations fail it. No reset of the keyboard: it takes half a second, and what
 * matters of it
 * ("set defaults") does not.
 *
 * Waits count reads of the status port, each about a microsecond on real hardware; a keyboard
 * answers within 20 ms.
 */
#include "dev/ps2.h"

#include "cpu/asm.h"
#include "lib/console.h"
#include "lib/keys.h"
#include "lib/log.h"

#define PS2_DATA   0x60
#define PS2_STATUS 0x64 /* read */
#define PS2_CMD    0x64 /* write */

#define STATUS_OUT_FULL 0x01 /* a byte for us */
#define STATUS_IN_FULL  0x02 /* our last byte is not taken yet */
#define STATUS_AUX      0x20 /* the byte is from the mouse */

#define CMD_READ_CONFIG  0x20
#define CMD_WRITE_CONFIG 0x60
#define CMD_DISABLE_AUX  0xa7
#define CMD_SELF_TEST    0xaa /* answers 0x55 */
#define CMD_DISABLE_KBD  0xad
#define CMD_ENABLE_KBD   0xae

#define CONFIG_KBD_IRQ   0x01
#define CONFIG_AUX_IRQ   0x02
#define CONFIG_KBD_OFF   0x10
#define CONFIG_AUX_OFF   0x20
#define CONFIG_TRANSLATE 0x40

#define KBD_DEFAULTS 0xf6
#define KBD_ENABLE   0xf4
#define KBD_ACK      0xfa
#define KBD_RESEND   0xfe

#define WAIT_READS  50000u
#define FLUSH_BYTES 64u /* more than any keyboard or controller holds back */
#define TRIES       3

static struct keys keys;

static bool wait_status(uint8_t mask, uint8_t want)
{
    for (unsigned i = 0; i < WAIT_READS; i++) {
        if ((inb(PS2_STATUS) & mask) == want) {
            return true;
        }
    }
    return false;
}

static bool send(uint16_t port, uint8_t byte)
{
    if (!wait_status(STATUS_IN_FULL, 0)) {
        return false;
    }
    outb(port, byte);
    return true;
}

/* The next byte that comes, or -1. */
static int receive(void)
{
    return wait_status(STATUS_OUT_FULL, STATUS_OUT_FULL) ? inb(PS2_DATA) : -1;
}

static void flush(void)
{
    for (unsigned i = 0; i < FLUSH_BYTES && (inb(PS2_STATUS) & STATUS_OUT_FULL) != 0; i++) {
        (void)inb(PS2_DATA);
    }
}

static int read_config(void)
{
    return send(PS2_CMD, CMD_READ_CONFIG) ? receive() : -1;
}

static bool write_config(int config)
{
    return send(PS2_CMD, CMD_WRITE_CONFIG) && send(PS2_DATA, (uint8_t)config);
}

/* A command that the keyboard acknowledges. Bytes that were under way before are passed over. */
static bool command(uint8_t byte)
{
    for (unsigned tries = 0; tries < TRIES; tries++) {
        int answer = 0;

        if (!send(PS2_DATA, byte)) {
            return false;
        }
        for (unsigned i = 0; i < FLUSH_BYTES && answer >= 0 && answer != KBD_RESEND; i++) {
            answer = receive();
            if (answer == KBD_ACK) {
                return true;
            }
        }
        if (answer < 0) {
            return false;
        }
    }
    return false;
}

/* The controller quiet, tested, and set to translate; what its configuration now is, or -1. */
static int setup_controller(void)
{
    int config, answer;

    if (inb(PS2_STATUS) == 0xff || !send(PS2_CMD, CMD_DISABLE_KBD) ||
        !send(PS2_CMD, CMD_DISABLE_AUX)) {
        return -1;
    }
    flush();
    config = read_config();
    if (config < 0) {
        return -1;
    }

    answer = send(PS2_CMD, CMD_SELF_TEST) ? receive() : -1;
    if (answer != 0x55) {
        log_warn("the keyboard controller fails its self-test (%d): using it nevertheless", answer);
        flush();
    }
    /* The self-test may have reset the configuration: write all of it. */
    config &= ~(CONFIG_KBD_IRQ | CONFIG_AUX_IRQ | CONFIG_KBD_OFF);
    config |= CONFIG_AUX_OFF | CONFIG_TRANSLATE;
    return write_config(config) ? read_config() : -1;
}

bool ps2_init(void)
{
    int config = setup_controller();

    if (config < 0) {
        return false;
    }
    /* Keyboards start with set 2; one whose controller does not translate is read as it is. */
    keys_init(&keys, (config & CONFIG_TRANSLATE) == 0);
    if (!send(PS2_CMD, CMD_ENABLE_KBD) || !command(KBD_DEFAULTS) || !command(KBD_ENABLE)) {
        return false;
    }
    return write_config((config | CONFIG_KBD_IRQ) & ~CONFIG_KBD_OFF);
}

void ps2_irq(void)
{
    char out[KEYS_MAX];

    for (unsigned i = 0; i < FLUSH_BYTES; i++) {
        uint8_t status = inb(PS2_STATUS);

        if ((status & STATUS_OUT_FULL) == 0) {
            break;
        }

        uint8_t code = inb(PS2_DATA);
        size_t n = (status & STATUS_AUX) == 0 ? keys_feed(&keys, code, out) : 0;

        for (size_t j = 0; j < n; j++) {
            console_input(out[j]);
        }
    }
}
