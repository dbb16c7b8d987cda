# SPDX-License-Identifier: Apache-2.0
#
# make              build/sluice and its man pages
# make demo         boot a microVM to a shell     (installs what is missing)
# make check        the tests; QUICK=1, FULL=1    (installs what is missing)
# make lint         warnings, layers, format, static analysis
# make asan tsan    unit tests and stress programs under the sanitizers
# make fuzz         each fuzzer for FUZZ_SECONDS (60)
# make coverage     line coverage of memory/ and virtio/
# make bench        the figures of docs/benchmarks.md
# make install      PREFIX=/usr/local DESTDIR=
#
# One Makefile, no recursion into directories. A VARIANT (asan, tsan, cov,
# fuzz, hooks) builds the same rules with other flags into a directory of its own.

VERSION := 0.1.0

# Lowest first. A room may use those before it, never one after it: each is an
# archive, and a test program links its own room and those below only.
ROOMS := memory virtio devices vmm cli

CC := gcc
CLANG := clang-14
AR := ar
PREFIX ?= /usr/local
DESTDIR ?=
VARIANT ?=
FUZZ_SECONDS ?= 60

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wvla -Wundef -Wwrite-strings -Wpointer-arith -Wimplicit-fallthrough
HARDENING := -fstack-protector-strong -fPIE
CPPFLAGS += -I. -D_GNU_SOURCE
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu17 $(WARNINGS) $(HARDENING) $(VARIANT_CFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now -pthread $(VARIANT_LDFLAGS) $(LDFLAGS)
ifdef WERROR
WARNINGS += -Werror
endif

ifeq ($(VARIANT),asan)
VARIANT_CFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
VARIANT_LDFLAGS := -fsanitize=address,undefined
else ifeq ($(VARIANT),tsan)
CC := $(CLANG)
VARIANT_CFLAGS := -fsanitize=thread
VARIANT_LDFLAGS := -fsanitize=thread
else ifeq ($(VARIANT),cov)
CFLAGS := -O1 -g
VARIANT_CFLAGS := --coverage
VARIANT_LDFLAGS := --coverage
else ifeq ($(VARIANT),fuzz)
CC := $(CLANG)
VARIANT_CFLAGS := -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=all
VARIANT_LDFLAGS := -fsanitize=address,undefined
else ifeq ($(VARIANT),clang)
CC := $(CLANG)
VARIANT_CFLAGS := -Wthread-safety
else ifeq ($(VARIANT),hooks)
# Programs that take a fence, or a wait, out of the door: they have to fail.
VARIANT_CFLAGS := -DSLUICE_TEST_HOOKS
else
HARDENING += -D_FORTIFY_SOURCE=2
endif

# Everything of a variant lives below B; the plain build directly in build/.
B := build$(if $(VARIANT),/$(VARIANT))
OBJ := $(B)/obj

.PHONY: all
all: $(B)/sluice man

# --- rooms ------------------------------------------------------------------

room_objects = $(patsubst %.c,$(OBJ)/%.o,$(wildcard $(1)/*.c))

define room_rule
$(1)_OBJECTS := $(filter-out $(OBJ)/cli/main.o,$(call room_objects,$(1)))
$(B)/lib/$(1).a: $$($(1)_OBJECTS)
	@mkdir -p $$(@D)
	rm -f $$@ && $(AR) rcs $$@ $$^
endef
$(foreach room,$(ROOMS),$(eval $(call room_rule,$(room))))

# The archives that a program of room $(1) links, highest first, and libraries.
memory_ARCHIVES := $(B)/lib/memory.a
virtio_ARCHIVES := $(B)/lib/virtio.a $(memory_ARCHIVES)
devices_ARCHIVES := $(B)/lib/devices.a $(virtio_ARCHIVES)
vmm_ARCHIVES := $(B)/lib/vmm.a $(devices_ARCHIVES)
cli_ARCHIVES := $(B)/lib/cli.a $(vmm_ARCHIVES)
cli_LIBS := -linih

$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Who says the version: sluice --version, and the statistics.
$(OBJ)/cli/%.o $(OBJ)/vmm/%.o: CPPFLAGS += -DSLUICE_VERSION='"$(VERSION)"'

$(B)/sluice: $(OBJ)/cli/main.o $(cli_ARCHIVES)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) $(cli_LIBS)

# --- manual pages -----------------------------------------------------------

# Commands, options and keys in them are printed by the program itself.

MAN := $(B)/man/sluice.1 $(B)/man/sluice.ini.5
.PHONY: man
man: $(MAN)

$(B)/man/sluice.1: MAN_TOPIC := options
$(B)/man/sluice.ini.5: MAN_TOPIC := config
$(MAN): $(B)/man/%: docs/%.in $(B)/sluice
	@mkdir -p $(@D)
	$(B)/sluice help $(MAN_TOPIC) --format=man >$@.body
	sed -e '/^@[A-Z]*@$$/{r $@.body' -e 'd}' $< >$@.tmp
	mv $@.tmp $@ && rm -f $@.body

# --- unit tests: one program per room ---------------------------------------

define unit_rule
$(1)_TESTS := $$(patsubst %.c,$(OBJ)/%.o,$$(wildcard tests/unit/$(1)/*.c))
$(B)/unit/$(1): $$($(1)_TESTS) $$($(1)_ARCHIVES)
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_CFLAGS) -o $$@ $$^ $$(ALL_LDFLAGS) $$($(1)_LIBS) -lcriterion
UNIT_TESTS += $$(if $$($(1)_TESTS),$(B)/unit/$(1))
endef
$(foreach room,$(ROOMS),$(eval $(call unit_rule,$(room))))

$(OBJ)/tests/unit/cli/%.o: CPPFLAGS += -DSLUICE_VERSION='"$(VERSION)"'

.PHONY: unit
unit: $(UNIT_TESTS)

# --- stress programs and fuzzers: everything below cli ----------------------

STRESS := $(patsubst tests/stress/%.c,$(B)/stress/%,$(wildcard tests/stress/stress_*.c))
ifeq ($(VARIANT),hooks)
STRESS := $(B)/stress/stress_unmap $(B)/stress/litmus_fences
endif
$(B)/stress/%: $(OBJ)/tests/stress/%.o $(vmm_ARCHIVES)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS)

.PHONY: stress
stress: $(STRESS)

# With VARIANT=fuzz these are libFuzzer programs.
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
$(B)/fuzz/%: $(OBJ)/tests/fuzz/%.o $(cli_ARCHIVES)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer -o $@ $^ $(ALL_LDFLAGS) $(cli_LIBS)

.PHONY: fuzzers
fuzzers: $(FUZZERS)

# --- payload guests: freestanding, booted by their PVH note ------------------

GUEST_CFLAGS := -std=gnu17 $(WARNINGS) -O1 -g -I. -D_GNU_SOURCE \
	-ffreestanding -nostdlib \
	-fno-pic -fno-pie -mno-red-zone -mgeneral-regs-only -fcf-protection=none \
	-fno-stack-protector -fno-asynchronous-unwind-tables
# What all of them link; virtio/driver.c is the same as the host's.
GUEST_LIBRARY := guest heap blk
GUEST_COMMON := $(patsubst %,build/guest/obj/%.o,start $(GUEST_LIBRARY) driver)
GUESTS := $(patsubst tests/guest/%.c,build/guest/%,$(filter-out \
	$(GUEST_LIBRARY:%=tests/guest/%.c),$(wildcard tests/guest/*.c)))

build/guest/obj/%.o: tests/guest/%.c
	@mkdir -p $(@D)
	$(CC) $(GUEST_CFLAGS) -MMD -MP -c -o $@ $<

build/guest/obj/driver.o: virtio/driver.c
	@mkdir -p $(@D)
	$(CC) $(GUEST_CFLAGS) -DNDEBUG -MMD -MP -c -o $@ $<

build/guest/obj/%.o: tests/guest/%.S tests/guest/guest.h
	@mkdir -p $(@D)
	$(CC) -DSMP_TRAMPOLINE=0x8000 -c -o $@ $<

build/guest/%: build/guest/obj/%.o $(GUEST_COMMON) tests/guest/guest.ld
	$(CC) -nostdlib -static -no-pie -Wl,-z,max-page-size=4096 \
		-Wl,-z,noexecstack -Wl,--no-warn-rwx-segments \
		-Wl,--build-id=none -T tests/guest/guest.ld -o $@ \
		$(GUEST_COMMON) $<

.PHONY: guests
guests: $(GUESTS)

.SECONDARY:

# --- the commands of the README ---------------------------------------------

.PHONY: demo check lint asan tsan fuzz coverage bench run-demo run-check
# A recipe that fails gives make's own status, 2; these two have statuses of their
# own (the demo's is its command's; 3: packages are missing). Each is two targets
# because a recipe is expanded before it is run.
ifneq ($(filter demo check,$(MAKECMDGOALS)),)
# The shell of the guest expands a $ in the command, not make.
override export DEMO_CMD := $(value DEMO_CMD)

-load build/make_exit.so
build/make_exit.so: tests/support/make-exit.c
	@[ "$$(id -u)" -ne 0 ] || tests/setup build demo
	@mkdir -p $(@D)
	@! command -v gcc >/dev/null || gcc -shared -fPIC -o $@ $<
endif

run-demo run-check: run-%:
	@mkdir -p build
	@status=0; tests/$* || status=$$?; echo $$status >build/$*.status

demo check: %: run-%
	$(exit-with $(file <build/$*.status))@exit $$(cat build/$*.status)

lint:
	@tests/lint

asan:
	@tests/setup build check
	@$(MAKE) --no-print-directory VARIANT=asan unit
	@tests/support/run-unit build/asan/unit

tsan:
	@tests/setup build check
	@$(MAKE) --no-print-directory VARIANT=tsan stress
	@tests/support/run-stress build/tsan/stress

fuzz:
	@tests/setup build check
	@$(MAKE) --no-print-directory VARIANT=fuzz fuzzers
	@tests/fuzz/run $(FUZZ_SECONDS)

coverage:
	@tests/setup build check
	@tests/support/coverage

# Fills the figures of docs/benchmarks.md in anew: about 20 minutes, and nothing
# else should run meanwhile.
bench:
	@tests/setup build demo bench
	@tests/bench/fill-in

# --- installation -----------------------------------------------------------

.PHONY: install uninstall clean
install: all
	install -D -m 755 build/sluice $(DESTDIR)$(PREFIX)/bin/sluice
	install -D -m 644 build/man/sluice.1 $(DESTDIR)$(PREFIX)/share/man/man1/sluice.1
	install -D -m 644 build/man/sluice.ini.5 $(DESTDIR)$(PREFIX)/share/man/man5/sluice.ini.5

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/sluice \
		$(DESTDIR)$(PREFIX)/share/man/man1/sluice.1 \
		$(DESTDIR)$(PREFIX)/share/man/man5/sluice.ini.5

# Keeps build/images: kernels that took a download.
clean:
	[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name images -exec rm -rf {} +

-include $(shell find $(OBJ) build/guest/obj -name '*.d' 2>/dev/null)
