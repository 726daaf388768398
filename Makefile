# crust: everything that is done to it. `make` alone tells what there is.

HOST      := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
TARGET    := $(or $(CARGO_TARGET_DIR),target)/$(HOST)
CRUST     := $(TARGET)/release/crust
# Another runtime: its path, or its name in $PATH.
RUNTIME   ?= $(CRUST)
PROGRAM   := $(if $(findstring /,$(RUNTIME)),$(abspath $(RUNTIME)),$(shell command -v $(RUNTIME)))
BUILT     := $(if $(filter $(CRUST),$(RUNTIME)),build)
PREFIX    ?= /usr/local
BUNDLES   := $(notdir $(patsubst %/,%,$(dir $(wildcard bundles/*/config.json))))
, := ,
# The guests of test-vm and vm-shell: v2, v1, hybrid, old, new, selinux. See docs/testing.md.
GUESTS     = $(or $(VM),v2)
VM_PROGRAM = $(if $(findstring /,$(RUNTIME)),$(PROGRAM),$(RUNTIME))
ROOT      := $(if $(filter 0,$(shell id -u)),,sudo)
VM_ROOT   := $(if $(ROOT),sudo --preserve-env=CRUST_VM_CACHE$(,)CRUST_VM_CLIENTS$(,)CRUST_VM_SECONDS$(,)CRUST_VM_BOOT$(,)CRUST_VM_MEMORY$(,)SPEC_TESTS_SLOWNESS)

# Where the suites of others run: here, or in a guest.
OTHERS     = $(if $(VM),$(VM_ROOT) vm/others $(VM),$(ROOT) suites/run)
OTHERS_PROGRAM = $(if $(VM),$(VM_PROGRAM),$(PROGRAM))

# What `make bench` measures with, and what crust is compared with: the runtimes that are installed.
FLOOR     := $(addprefix $(TARGET)/floor/,floor payload spawn)
PEERS     ?= $(foreach name,crun runc youki,$(addprefix $(name)=,$(shell command -v $(name))))

# What spec-tests-without takes away, one after the other, when it has taken all; and the cases in which it can matter.
CALLS     := clone3 close_range pidfd openat2 mount-api mount_setattr statx memfd_create keyctl bpf
CONCERNED := create/ start/ kill/ delete/ exec/ hooks/ mounts/ mount-options/ idmap/ rootfs-traps/ masked-paths/ readonly-paths/ \
             namespaces/ user-namespace/ terminal/ cgroups/ seccomp cli/leaked process/session-keyring

# What is fuzzed, and for how long each.
FUZZ      ?= mount_options cgroups_path state_json argv plan
FUZZ_SECONDS ?= 60

# What `crust --version` tells.
export CRUST_COMMIT ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)

.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*\#\# .*/\1/p' Makefile)

help: ## tell what there is (this)
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 12

deps: ## install the Debian packages that are missing
	@.ci/packages

build: deps ## build the static binary
	cargo build --release --locked --package crust
	@echo $(CRUST)

check: deps ## formatting, lints, documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

unit: deps ## tests of the parts
	cargo test --workspace --locked

spec-tests: deps $(BUILT) ## the specification's sentences, as root: [RUNTIME=runc]
	cargo build --release --locked --package spec-tests
	$(ROOT) $(TARGET)/release/spec-tests --runtime $(PROGRAM)

spec-tests-without: deps $(BUILT) ## the same without the system calls that old kernels and strict filters do not have: [CALLS=…]
	cargo build --release --locked --package spec-tests
	@for errno in ENOSYS EPERM; do for call in all $(CALLS); do echo "# without $$call: $$errno"; \
		cases=; test $$call = all || cases='$(CONCERNED)'; \
		$(ROOT) $(TARGET)/release/spec-tests --runtime $(PROGRAM) --without $$call --errno $$errno $$cases || exit; done; done

syscalls: deps $(BUILT) $(FLOOR) ## how many system calls each command makes, against benches/syscalls.txt, as root
	cargo build --release --locked --package benches
	$(ROOT) $(TARGET)/release/syscalls --runtime $(PROGRAM) --payload $(TARGET)/floor/payload --limits benches/syscalls.txt

test: check unit spec-tests syscalls ## check, unit, spec-tests and syscalls

bench: deps $(BUILT) $(FLOOR) ## crust beside what is installed, and the floor, as root: [ROWS="run exec"] [PEERS="crun=/usr/bin/crun"] [BENCH=…]
	cargo build --release --locked --package benches
	$(ROOT) $(TARGET)/release/bench --programs $(TARGET)/floor --runtime floor=$(TARGET)/floor/floor \
		--runtime crust=$(PROGRAM) $(PEERS:%=--runtime %) $(BENCH) $(ROWS)

order: deps $(FLOOR) ## find the functions that every container needs, and write link/usual.ld, as root; on x86_64
	cargo rustc --release --locked --package crust --bin crust -- -C strip=none
	cargo build --release --locked --package benches
	$(ROOT) $(TARGET)/release/order --runtime $(CRUST) --payload $(TARGET)/floor/payload --output link/usual.ld \
		$$(cc -print-file-name=libc.a) $(wildcard /usr/lib/*-linux-gnu/libm-*.a)

$(FLOOR): $(TARGET)/floor/%: benches/%.c
	@mkdir -p $(@D)
	cc -O2 -static -Wall -Wextra -Werror -o $@ $<

test-vm: deps $(BUILT) ## spec-tests in virtual machines: [VM="v2 v1 hybrid old new selinux"] [RUNTIME=runc] [CASES=…]
	cargo build --release --locked --package spec-tests
	$(VM_ROOT) vm/test $(VM_PROGRAM) $(TARGET)/release '$(GUESTS)' $(CASES)

test-clients: deps $(BUILT) ## containerd, CRI, CRI-O's calls, Docker, Podman and Buildah with crust as their runtime, as root: [CASES=docker/exec] [RUNTIME=runc]
	$(ROOT) clients/packages
	$(ROOT) clients/run --runtime $(PROGRAM) $(CASES)

test-clients-vm: deps $(BUILT) ## the same in a virtual machine, with systemd and newer clients: [VM=v2] [CASES=…] [RUNTIME=runc]
	$(VM_ROOT) vm/clients $(VM_PROGRAM) '$(GUESTS)' $(CASES)

vm-shell: $(BUILT) ## a shell in a virtual machine, which has crust in its PATH: [VM=v2]
	$(VM_ROOT) vm/run $(GUESTS) $(TARGET)/release

conformance: $(BUILT) ## a built checkout of opencontainers/runtime-tools, as root: SUITE_DIR=… [VM=v2] [CASES=…] [RUNTIME=runc]
	$(OTHERS) conformance '$(SUITE_DIR)' --runtime $(OTHERS_PROGRAM) $(if $(BUILT),--known auto) $(CASES)

bats: $(BUILT) ## a prepared checkout of opencontainers/runc, as root: SUITE_DIR=… [VM=v2 [SYSTEMD=1]] [FILES=…] [RUNTIME=runc]
	$(OTHERS) bats '$(SUITE_DIR)' --runtime $(OTHERS_PROGRAM) $(if $(SYSTEMD),--systemd) $(if $(BUILT),--known auto) $(FILES)

coverage: deps ## the lines that unit tests and spec-tests execute, as root
	.ci/coverage

deny: ## licences, origins, duplicates and known faults of what crust depends on
	.ci/deny

fuzz: deps ## feed anything to what reads config.json, state.json and argv: [FUZZ=plan] [FUZZ_SECONDS=60]
	command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	mkdir -p fuzz/corpus/plan && for bundle in $(BUNDLES); do cp bundles/$$bundle/config.json fuzz/corpus/plan/$$bundle; done
	cd fuzz && for target in $(FUZZ); do LIBSECCOMP_LINK_TYPE=dylib \
		cargo fuzz run --sanitizer none $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=20000 || exit; done

bundles: deps ## make the root file systems of the sample bundles
	@mkdir -p bundles/hello/rootfs bundles/volumes/writable
	cc -static -Os -o bundles/hello/rootfs/hello bundles/hello/hello.c
	@for bundle in $(filter-out hello,$(BUNDLES)); do \
		bin=bundles/$$bundle/rootfs/bin; mkdir -p $$bin && cp "$$(command -v busybox)" $$bin/busybox && \
		for name in $$($$bin/busybox --list); do \
			test $$name = busybox || ln -sf busybox $$bin/$$name || exit; \
		done || exit; \
	done

run: $(BUILT) bundles ## a short tour of a container, as root: [RUNTIME=runc]
	$(ROOT) $(PROGRAM) run --bundle bundles/tour crust-tour-$$$$

install: build ## install the binary: [PREFIX=/usr/local] [DESTDIR=]
	install -D -m 755 $(CRUST) $(DESTDIR)$(PREFIX)/sbin/crust

clean: ## remove what was built
	cargo clean
	rm -rf bundles/*/rootfs bundles/*/writable
