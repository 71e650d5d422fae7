/*
 * error.c - words for the error codes of mm/types.h.
 */
#include "mm/types.h"

const char *mm_strerror(mm_err_t err)
{
    switch (err) {
    case MM_OK:
        return "no error";
    case MM_EINVAL:
        return "bad argument";
    case MM_ENOMEM:
        return "out of memory";
    case MM_EBUSY:
        return "already in use";
    case MM_ENOENT:
        return "nothing there";
    case MM_ENOSPC:
        return "storage too small";
    default:
        return "unknown error";
    }
}
