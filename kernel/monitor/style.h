/*
 * style.h - the few colours of the monitor's output (SGR, ECMA-48 8.3.117; lib/term.h draws them).
 */
#ifndef MONITOR_STYLE_H
#define MONITOR_STYLE_H

#define STYLE_HEAD "\033[90m"   /* headings and remarks: dim */
#define STYLE_OK   "\033[32m"   /* what is as it should be */
#define STYLE_BAD  "\033[1;31m" /* what is broken */
#define STYLE_BOLD "\033[1m"
#define STYLE_OFF  "\033[0m"

#endif
