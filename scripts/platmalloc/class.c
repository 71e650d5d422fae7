/*
 * class.c - see class.h.
 */
#include "class.h"

#define FOUR(c) c, c, c, c
#define TWO(c)  c, c

const uint8_t class_table[CLASS_TABLED / 16 + 1] = {
    1,        1,        2,        3,        4,        5,        6,        7,        8, /* 128 */
    9,        10,       11,       12,       13,       14,       15,       16,          /* 256 */
    TWO(17),  TWO(18),  TWO(19),  TWO(20),  TWO(21),  TWO(22),  TWO(23),  TWO(24),     /* 512 */
    FOUR(25), FOUR(26), FOUR(27), FOUR(28), FOUR(29), FOUR(30), FOUR(31), FOUR(32),    /* 1024 */
};
