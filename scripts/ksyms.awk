# The kernel's symbol table as assembler source: nm -n kernel.0.elf | awk -f ksyms.awk > ksyms.S
#
#   plat_ksyms        array of { uint32_t offset; uint32_t name; }, sorted by offset: a function's
#                     first byte counted from __image_start, and its name's from plat_ksym_names
#   plat_ksyms_count  uint64_t, the number of entries
#   plat_ksym_names   NUL-terminated names
#
# The table lies behind the text, which therefore stays where it was when nm saw it; and it holds
# offsets, so it needs no relocation. awk's numbers are doubles, exact to 2^53: an address is read
# in two halves, of which the upper must be that of the kernel's window. Plain POSIX awk: mawk
# and gawk print the same bytes.

function fail(why)
{
    print "ksyms.awk: " why > "/dev/stderr"
    failed = 1
    exit 1
}

function hex(s,    i, n)
{
    n = 0
    for (i = 1; i <= length(s); i++) {
        n = n * 16 + index("0123456789abcdef", substr(s, i, 1)) - 1
    }
    return n
}

NF != 3 {
    next # undefined: no address
}

$3 == "__image_start" {
    if (substr($1, 1, 8) != "ffffffff") {
        fail("__image_start is at " $1 ", not in the top 2 GiB")
    }
    base = hex(substr($1, 9))
    have_base = 1
}

$2 ~ /^[tTW]$/ {
    # One name an address. Marks of the linker script begin with two underscores: a function that
    # starts at the same place has the better name.
    if (count > 0 && addr[count] == $1) {
        if (name[count] ~ /^__/) {
            name[count] = $3
        }
        next
    }
    count++
    addr[count] = $1
    name[count] = $3
}

END {
    if (failed) {
        exit 1
    }
    if (!have_base) {
        fail("there is no symbol __image_start")
    }
    if (count == 0) {
        fail("there are no functions")
    }
    print "    .section .rodata.ksyms, \"a\", @progbits"
    print "    .globl plat_ksyms, plat_ksyms_count, plat_ksym_names"
    print "    .hidden plat_ksyms, plat_ksyms_count, plat_ksym_names"
    print "    .balign 8"
    print "plat_ksyms_count:"
    print "    .quad " count
    print "plat_ksyms:"
    at = 0
    for (i = 1; i <= count; i++) {
        if (substr(addr[i], 1, 8) != "ffffffff" || hex(substr(addr[i], 9)) < base) {
            fail(name[i] " at " addr[i] " is below __image_start")
        }
        printf "    .long %d, %d\n", hex(substr(addr[i], 9)) - base, at
        at += length(name[i]) + 1
    }
    print "plat_ksym_names:"
    for (i = 1; i <= count; i++) {
        print "    .asciz \"" name[i] "\""
    }
}
