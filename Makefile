# SPDX-License-Identifier: MIT OR Apache-2.0
# Short names for real commands; `make help` lists them. Read what a target runs: there is nothing else behind it.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
# The compiler wrapper chooses the MPI. Each MPI builds in a directory of its own: cargo does not notice the change.
MPICC ?= mpicc
ifeq ($(MPICC),mpicc)
CARGO_TARGET_DIR ?= $(CURDIR)/target
else
CARGO_TARGET_DIR ?= $(CURDIR)/target-$(notdir $(MPICC))
endif
export MPICC CARGO_TARGET_DIR
export PATH := $(HOME)/.cargo/bin:$(PATH)

RELEASE := $(CARGO_TARGET_DIR)/release
VERSION := $(shell sed -n 's/^version *= *"\(.*\)"/\1/p' Cargo.toml | head -n 1)
VERSION_MAJOR := $(firstword $(subst ., ,$(VERSION)))
# What a shared library and CMake can compare: no "-alpha.1".
VERSION_NUMBERS := $(firstword $(subst -, ,$(VERSION)))

.DEFAULT_GOAL := build
.PHONY: build demo test test-long sabotage bench install clean help

build: ## build the libraries and commands, optimised
	$(CARGO) build --release --locked -p scr-capi -p scr-commands
	$(CARGO) build --release --locked -p scr-capi --no-default-features --target-dir $(CARGO_TARGET_DIR)/single

demo: ## lose nodes of a running job, and see it end with the right result (SEED=n, BREAK=1)
	scripts/setup --for demo
	$(MAKE) build
	scripts/demo

test: ## format, lints, all tests; what CI runs
	scripts/setup --for test
	scripts/test

test-long: ## the same, with the longer campaigns
	scripts/setup --for test
	SCR_TEST_LONG=1 scripts/test

sabotage: ## switch on one fault at a time: the tests must notice each
	scripts/setup --for test
	scripts/sabotage

bench: ## measure
	$(CARGO) bench --locked -p scr-benches

install: ## copy what `make` built below $(DESTDIR)$(PREFIX)
	scripts/install "$(RELEASE)" "$(CARGO_TARGET_DIR)/single/release" "$(DESTDIR)" "$(PREFIX)" "$(VERSION_NUMBERS)"

clean: ## remove everything that was built
	rm -rf target target-* demo

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
