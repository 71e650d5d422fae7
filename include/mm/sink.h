/*
 * sink.h - where text goes, and numbers as text: the one way in which mm/ prints.
 *
 * Model:    a sink takes bytes in order. What it does with them is its owner's affair: a buffer, a
 *           serial line, a screen, a file. Nothing that writes to one waits for an answer: a sink
 *           that can fail keeps its failure, and its owner asks for it at the end.
 *
 * Locking:  none here; a sink is used by one owner at a time, in any context its write() bears.
 *
 * Memory:   nothing is allocated; text handed to write() is borrowed for the time of the call and
 *           does not end in a NUL.
 */
#ifndef MM_SINK_H
#define MM_SINK_H

#include "mm/types.h"

struct mm_sink {
    void (*write)(void *ctx, const char *s, size_t n); /* n > 0 */
    void *ctx;
};

/* `n` bytes, none of them looked at. */
void mm_put(const struct mm_sink *to, const char *s, size_t n);

/* How long a text that ends in a NUL is, without it. O(that). */
size_t mm_length(const char *s);

/* A text that ends in a NUL; one character; a character `n` times. */
void mm_put_str(const struct mm_sink *to, const char *s);
void mm_put_char(const struct mm_sink *to, char c);
void mm_put_fill(const struct mm_sink *to, char c, size_t n);

/* For columns: with spaces behind it, until it is `width` characters; longer text is not cut. */
void mm_put_left(const struct mm_sink *to, const char *s, size_t width);

/* Decimal, behind spaces until it is `width` characters; 0 for none. */
void mm_put_u64(const struct mm_sink *to, uint64_t v, size_t width);

/* "0x" and at least `ndigits` lower-case digits; always at least one. */
void mm_put_hex(const struct mm_sink *to, uint64_t v, size_t ndigits);

/*
 * A size for a person, behind spaces until it is `width` characters: "0 B", "1023 B", "4.0 KiB",
 * "255.9 MiB", "1.0 TiB". Below 1 KiB exact; else in the largest unit of which there is at least
 * one, with one digit after the point, cut off and never rounded up: what is shown is never more
 * than what is there. At most MM_SIZE_CHARS characters.
 */
#define MM_SIZE_CHARS 10
void mm_put_size(const struct mm_sink *to, uint64_t nbytes, size_t width);

/*
 * A sink into a buffer of `size` > 0 bytes. `len` is the length of the whole text so far, whatever
 * fits; the buffer always holds its beginning and ends in a NUL. It was cut off if len >= size.
 */
struct mm_text {
    char *buf;
    size_t size;
    size_t len;
};

/* Begin an empty text; the sink that is returned writes to *t, which must outlive it. */
struct mm_sink mm_text_sink(struct mm_text *t, char *buf, size_t size);

#endif
