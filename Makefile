# Plat: make, make run, make test, make verify, make fuzz, make bench, make bench-pmm, make bench-heap, make usb DEV=..., make debug. See README.md.
# LLVM=-19 builds with clang-19 and lld-19; V=1 shows the commands;
# DEBUG=1 makes the debug build, in build/debug: frames and kmalloc's blocks are poisoned, and it is kept who
# took each.

VERSION := 0.4
LLVM   ?=
CLANG  := clang$(LLVM)
GCC    ?= gcc
PYTHON ?= /usr/bin/python3
B      ?= build$(if $(DEBUG),/debug)
export B
,      := ,
Q      := $(if $(V),,@)
MAKEFLAGS += --jobs=$(shell nproc)
say     = $(if $(V),,@printf '  %-6s %s\n' $(1) $(2))

WARN   := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef
# What a call returns to is who took a frame: a call that ends a function is a call, too.
WATCH  := -DPMM_DEBUG -fno-optimize-sibling-calls
COMMON := -std=c17 -O2 -g -Iinclude -MMD -MP -ffile-prefix-map=$(CURDIR)=. $(WARN) \
          $(if $(DEBUG),$(WATCH))

.PHONY: all run debug usb test test-quick test-unit test-boot debug-build verify fuzz bench bench-pmm bench-heap clean format
.DELETE_ON_ERROR:
all: $(B)/plat.efi $(B)/plat.img $(B)/platmap $(B)/libplatmalloc.so $(B)/libplatmalloc.a

# ---- mm/: the library, for the kernel and for the host -------------------------------------------

MM     := $(sort $(wildcard mm/*/*.c))
KCOM   := --target=x86_64-unknown-none-elf -ffreestanding -fPIE -fvisibility=hidden -mno-red-zone \
          -mgeneral-regs-only -fno-omit-frame-pointer -fstack-protector-strong \
          -mstack-protector-guard=global -fno-asynchronous-unwind-tables
# Undefined behaviour traps (ud1), and the panic says which check it was.
KUB    := -fsanitize=bounds,shift,signed-integer-overflow,integer-divide-by-zero,unreachable,return,bool,enum \
          -fsanitize-trap=all
KCFLAGS := $(COMMON) $(KCOM) $(KUB) -Wunreachable-code -DMM_PORT_INLINE='"../../kernel/port_inline.h"'
LIBMM  := $(B)/libmm.a

$(B)/mm/%.o: mm/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(KCFLAGS) -c -o $@ $<

$(LIBMM): $(MM:%.c=$(B)/%.o)
	$(call say,AR,$@)
	@rm -f $@
	$(Q)ar rcsD $@ $^

# ---- kernel/: linked twice, the second time with the symbols that the first link shows ------------

KSRC   := $(sort $(wildcard kernel/*.c kernel/*/*.c kernel/*.S kernel/*/*.S))
KOBJ   := $(addprefix $(B)/,$(addsuffix .o,$(basename $(KSRC)))) $(B)/font.o
KLD    := ld.lld$(LLVM) -pie --no-dynamic-linker -z text -z max-page-size=4096 -z noexecstack \
          --build-id=none --orphan-handling=error -T kernel/kernel.ld
FONT   ?= $(firstword $(wildcard /usr/share/consolefonts/Uni2-Terminus16.psf.gz \
          /usr/lib/kbd/consolefonts/ter-116n.psf.gz /usr/share/kbd/consolefonts/ter-116n.psf.gz))

$(B)/kernel/%.o: kernel/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(KCFLAGS) -Ikernel -c -o $@ $<

$(B)/kernel/%.o: kernel/%.S
	$(call say,AS,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(KCFLAGS) -Ikernel -c -o $@ $<

$(B)/font.o: $(FONT) scripts/font.S
	$(call say,FONT,$(FONT))
	@mkdir -p $(@D)
	$(Q)test -n "$(FONT)" || { echo "no PSF console font found: run scripts/setup" >&2; exit 1; }
	$(Q)gzip -dc $(FONT) > $(B)/font.psf
	$(Q)$(CLANG) $(KCOM) -I$(B) -c -o $@ scripts/font.S

$(B)/kernel.0.elf: kernel/kernel.ld $(KOBJ) $(LIBMM)
	$(call say,LD,$@)
	$(Q)$(KLD) -o $@ $(KOBJ) $(LIBMM)

$(B)/ksyms.S: $(B)/kernel.0.elf scripts/ksyms.awk
	$(call say,KSYMS,$@)
	$(Q)nm -n $< | awk -f scripts/ksyms.awk > $@

$(B)/ksyms.o: $(B)/ksyms.S
	$(Q)$(CLANG) $(KCOM) -c -o $@ $<

$(B)/kernel.elf: kernel/kernel.ld $(KOBJ) $(B)/ksyms.o $(LIBMM)
	$(call say,LD,$@)
	$(Q)$(KLD) -o $@ $(KOBJ) $(B)/ksyms.o $(LIBMM)

# ---- efi/: the stub, a PE32+ file that carries the kernel -----------------------------------------

EFISRC := $(sort $(wildcard efi/*.c efi/*.S))
EFIOBJ := $(addprefix $(B)/,$(addsuffix .o,$(basename $(EFISRC)))) $(B)/payload.o
# The inspector's core; what the stub does not call is left out by the linker.
EFIMM  := $(patsubst mm/%.c,$(B)/efi/mm/%.o,$(filter mm/memmap/%,$(MM)))
GNUEFI ?= $(firstword $(wildcard /usr/include/efi /usr/include/gnu-efi))
ECOM   := --target=x86_64-unknown-windows -ffreestanding -fshort-wchar -mno-red-zone \
          -mno-stack-arg-probe -mgeneral-regs-only -fcf-protection=branch
ECFLAGS := $(COMMON) $(ECOM) -DPLAT_VERSION='"$(VERSION)"' -isystem $(GNUEFI) -isystem $(GNUEFI)/x86_64 -Wunreachable-code

$(B)/efi/%.o: efi/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(ECFLAGS) -c -o $@ $<

$(B)/efi/mm/%.o: mm/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(ECFLAGS) -ffunction-sections -fdata-sections -c -o $@ $<

$(B)/efi/%.o: efi/%.S
	$(call say,AS,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(ECOM) -Iinclude -c -o $@ $<

$(B)/payload.o: scripts/payload.S $(B)/kernel.elf
	$(call say,EMBED,$(B)/kernel.elf)
	$(Q)objcopy --strip-all $(B)/kernel.elf $(B)/kernel.stripped.elf
	$(Q)$(CLANG) $(ECOM) -I$(B) -c -o $@ scripts/payload.S

$(B)/plat.efi: $(EFIOBJ) $(EFIMM)
	$(call say,LINK,$@)
	$(Q)lld-link$(LLVM) /subsystem:efi_application /entry:efi_main /nodefaultlib /dynamicbase /nxcompat \
	    /filealign:4096 /Brepro /out:$@ $^

# Misbehaving firmware, for the boot tests.
$(B)/badfw.efi: tests/boot/badfw.c
	$(call say,LINK,$@)
	@mkdir -p $(B)/tests
	$(Q)$(CLANG) $(ECFLAGS) -c -o $(B)/tests/badfw.o $<
	$(Q)lld-link$(LLVM) /subsystem:efi_application /entry:efi_main /nodefaultlib /Brepro /out:$@ $(B)/tests/badfw.o

# ---- platmap: the inspector, for the host; one file that needs nothing else -----------------------

MAPSRC  := $(sort $(wildcard scripts/platmap/*.c)) $(filter mm/memmap/% mm/pmm/%,$(MM))
MAPFLAGS := $(COMMON) -D_XOPEN_SOURCE=700 -DPLAT_VERSION='"$(VERSION)"' -Wunreachable-code

$(B)/host/%.o: %.c
	$(call say,HOSTCC,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(MAPFLAGS) -c -o $@ $<

# The style sheet and the script of the pages that draw makes.
$(B)/host/draw_page.o: scripts/platmap/draw_page.S scripts/platmap/draw.css scripts/platmap/draw.js
	$(call say,EMBED,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) -c -o $@ $<

$(B)/platmap: $(MAPSRC:%.c=$(B)/host/%.o) $(B)/host/draw_page.o
	$(call say,LINK,$@)
	$(Q)$(CLANG) -static -o $@ $^

# ---- libplatmalloc: mm/heap's first fit as the malloc of Linux programs ---------------------------

PMSRC   := $(sort $(wildcard scripts/platmalloc/*.c)) $(filter mm/heap/ff%,$(MM))
# Nobody's debug build; what looks like the work of malloc in it must not become a call of that; and valgrind
# of today does not read DWARF 5 as clang writes it.
PMFLAGS := $(filter-out $(WATCH),$(COMMON)) -D_GNU_SOURCE -fPIC -fvisibility=hidden \
           -ftls-model=initial-exec -fno-builtin-malloc -fno-builtin-calloc -mprfchw \
           -ffunction-sections -gdwarf-4 -Wunreachable-code

$(B)/platmalloc/%.o: %.c
	$(call say,HOSTCC,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(PMFLAGS) -c -o $@ $<

$(B)/libplatmalloc.so: $(PMSRC:%.c=$(B)/platmalloc/%.o)
	$(call say,LINK,$@)
	$(Q)$(CLANG) -shared -Wl,-soname,libplatmalloc.so -Wl,-z,defs -Wl,-z,now -Wl,-z,nodelete \
	    -Wl,--gc-sections -o $@ $^

$(B)/libplatmalloc.a: $(PMSRC:%.c=$(B)/platmalloc/%.o)
	$(call say,AR,$@)
	@rm -f $@
	$(Q)ar rcsD $@ $^

# ---- image, QEMU, stick ---------------------------------------------------------------------------

$(B)/plat.img: $(B)/plat.efi scripts/mkimage scripts/plat.conf
	$(call say,IMAGE,$@)
	$(Q)scripts/mkimage $@ $(B)/plat.efi scripts/plat.conf

run: all
	scripts/run-qemu $(RUN)

debug: all
	scripts/debug-qemu

usb: all
	scripts/mkusb "$(DEV)" $(B)/plat.img

# ---- tests ----------------------------------------------------------------------------------------

# Unit tests: every tests/unit/test_*.c is a program, linked with mm/, the stub's logic and the host's port;
# once by clang with ASan and UBSan, once by gcc. One is about the debug build, and made as such too.
UNIT   := $(sort $(patsubst tests/unit/test_%.c,%,$(wildcard tests/unit/test_*.c)))
# Files of efi/ and kernel/ that touch no machine, and so run on the host too.
STUB_LOGIC := $(filter-out efi/main.c efi/uefi_%.c efi/bytes.c efi/sbat.c,$(sort $(wildcard efi/*.c)))
KLOGIC := $(addprefix kernel/lib/,badram.c console.c ffdemo.c fmt.c fragdemo.c heapmap.c heaptrace.c keys.c line.c log.c opts.c psf.c ramtest.c \
          term.c)
UNITSRC := $(MM) $(STUB_LOGIC) $(KLOGIC) $(filter-out tests/unit/test_%.c,$(sort $(wildcard tests/unit/*.c)))
# For programs about the frame pool alone.
POOLSRC := tests/unit/host_port.c $(filter mm/memmap/% mm/pmm/%,$(MM))
HOSTCOM := $(COMMON) -D_GNU_SOURCE -Itests/unit -Iefi -Ikernel -fno-omit-frame-pointer

define host_rules
$(B)/$(1)/%.o: %.c
	$$(call say,$(2),$$<)
	@mkdir -p $$(@D)
	$(Q)$(3) $(HOSTCOM) $(4) -c -o $$@ $$<

$(B)/$(1)/test_%: $(B)/$(1)/tests/unit/test_%.o $(5:%.c=$(B)/$(1)/%.o)
	$(Q)$(3) $(4) -o $$@ $$^ -lcmocka
endef
# Those further down call port_cpu(), as those who lift mm/ out may do.
HINLINE := -DMM_PORT_INLINE='"../../tests/unit/host_inline.h"'
$(eval $(call host_rules,clang,CLANG,$(CLANG),$(HINLINE) -fsanitize=address$(,)undefined -fno-sanitize-recover=all -Wunreachable-code,$(UNITSRC)))
$(eval $(call host_rules,gcc,GCC,$(GCC),$(HINLINE),$(UNITSRC)))
$(eval $(call host_rules,gcc-debug,GCC,$(GCC),$(WATCH),$(POOLSRC) $(filter-out %/vmalloc.c,$(filter mm/heap/%,$(MM)))))
# ThreadSanitizer, for the programs that have threads to speak of.
$(eval $(call host_rules,tsan,TSAN,$(CLANG),-fsanitize=thread,$(POOLSRC) $(filter-out %/vmalloc.c,$(filter mm/heap/%,$(MM)))))
.SECONDARY:

UNITBIN := $(UNIT:%=$(B)/clang/test_%) $(UNIT:%=$(B)/gcc/test_%) $(B)/gcc-debug/test_pmm_debug $(B)/gcc-debug/test_kmalloc_debug \
           $(B)/tsan/test_pmm_threads $(B)/tsan/test_slab_threads $(B)/tsan/test_kmalloc

# For the boot test of the debug build. This build's B and -j are not its.
debug-build:
	$(Q)$(if $(DEBUG),:,MAKEFLAGS= $(MAKE) --no-print-directory DEBUG=1 B=$(B)/debug LLVM=$(LLVM) V=$(V))

test: all debug-build $(UNITBIN) $(B)/badfw.efi
	scripts/test all $(UNITBIN)

# With sanitizers each program once; threads without, which cost them four times as much.
QUICKBIN := $(filter-out %/test_pmm_threads,$(UNIT:%=$(B)/clang/test_%)) $(B)/gcc/test_pmm_threads

test-quick: all $(QUICKBIN) $(B)/badfw.efi
	scripts/test quick $(QUICKBIN)

test-unit: $(UNITBIN)
	scripts/test unit $(UNITBIN)

test-boot: all debug-build $(B)/badfw.efi
	scripts/test boot

# The frame pool's protocol, as models in tests/spin, in every state there is.
verify:
	GCC=$(GCC) scripts/verify

# Any bytes at all for whatever reads what is not ours: a minute each (SECONDS_EACH=600 or RUNS_EACH=10000000),
# by libFuzzer. Without word of each comparison it runs three times as fast, and gets by with dictionaries.
FUZZ    := -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZCOV := -fsanitize=fuzzer-no-link -fno-sanitize-coverage=trace-cmp,indirect-calls
FUZZBIN := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
$(eval $(call host_rules,fuzz,FUZZ,$(CLANG),$(HINLINE) $(FUZZCOV) $(FUZZ)))
FUZZSRC := $(filter mm/memmap/% mm/heap/list.c mm/heap/ff%,$(MM)) $(filter efi/facts% efi/pool.c,$(STUB_LOGIC)) \
           $(addprefix tests/unit/,host_port.c heap_kind.c heap_world.c)
$(FUZZBIN): $(B)/fuzz/%: $(B)/fuzz/tests/fuzz/%.o $(FUZZSRC:%.c=$(B)/fuzz/%.o)
	$(Q)$(CLANG) -fsanitize=fuzzer $(FUZZ) -o $@ $^ -lcmocka

fuzz: $(FUZZBIN) $(B)/gcc/test_mapfile $(B)/gcc/test_report $(B)/platmap
	scripts/fuzz $(FUZZBIN)

bench: all
	scripts/bench

# Frame allocators side by side, by gcc and by clang, mm/ without sanitizers; ARGS="--so FILE --csv".
$(eval $(call host_rules,bench/gcc,GCC,$(GCC),$(HINLINE)))
$(eval $(call host_rules,bench/clang,CLANG,$(CLANG),$(HINLINE)))
BENCHSRC := $(filter-out %_heap.c tests/bench/heap_%,$(sort $(wildcard tests/bench/*.c))) $(POOLSRC)
BENCHBIN := $(B)/bench/gcc/bench_frames $(B)/bench/clang/bench_frames

$(BENCHBIN): %/bench_frames: $(addprefix %/,$(BENCHSRC:.c=.o))
	$(Q)$(if $(filter %/gcc,$*),$(GCC),$(CLANG)) -o $@ $^ -lpthread -ldl

bench-pmm: $(BENCHBIN)
	$(Q)for b in $(BENCHBIN); do $$b $(ARGS) || exit; done

# Heaps side by side, by gcc; the first time, programs are recorded at work. ARGS="--so FILE --preload FILE".
HEAPSRC := $(filter-out %_record.c,$(sort $(wildcard tests/bench/*heap*.c))) tests/bench/common.c \
           tests/unit/host_port.c $(MM)

$(B)/bench/%/bench_heap: $(addprefix $(B)/bench/%/,$(HEAPSRC:.c=.o))
	$(Q)$(if $(filter gcc,$*),$(GCC),$(CLANG)) -o $@ $^ -lpthread -ldl

$(B)/bench/heap_record.so: tests/bench/heap_record.c
	$(call say,GCC,$<)
	@mkdir -p $(@D)
	$(Q)$(GCC) $(HOSTCOM) -fPIC -fvisibility=hidden -shared -o $@ $<

bench-heap: $(B)/bench/gcc/bench_heap $(B)/bench/heap_record.so $(B)/libplatmalloc.so
	$(Q)scripts/heap-traces --recorder $(B)/bench/heap_record.so $(B)/bench/traces
	$(Q)$< --recorded $(B)/bench/traces --preload $(B)/libplatmalloc.so $(ARGS)

format:
	clang-format -i $(shell git ls-files '*.[ch]')

clean:
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
