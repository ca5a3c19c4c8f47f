# SPDX-License-Identifier: Apache-2.0
#
# Short names for what contributors do; the build itself is meson.build. See CONTRIBUTING.md.
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
PYTHON ?= /usr/bin/python3

.DEFAULT_GOAL := build
.PHONY: build asan tsan fuzz-build units units-tsan check-fast test model bench soak fuzz tidy install \
	clean help

build: ## the program, at build/holdfast
	@tools/configure build --prefix=$(PREFIX)
	@ninja -C build

asan: ## the unit tests, under AddressSanitizer and UndefinedBehaviorSanitizer
	@tools/configure build-asan -Db_sanitize=address,undefined -Dunits=enabled
	@ninja -C build-asan -k 0 $(ONLY)

tsan: ## the unit tests, under ThreadSanitizer
	@tools/configure build-tsan -Db_sanitize=thread -Dunits=enabled
	@ninja -C build-tsan -k 0 $(ONLY)

fuzz-build:
	@CC=clang tools/configure build-fuzz -Dfuzz=true -Dunits=disabled \
		-Db_sanitize=address,undefined -Db_lundef=false
	@ninja -C build-fuzz -k 0

check-fast: ## format, layers, sizes, docs and unit tests: seconds
	@tools/test checks units

test: ## everything a contributor keeps green
	@tools/test

units: ## unit tests only (U=NAME: one of them)
	@tools/test units $(if $(U),--only $(U))

units-tsan: ## the threaded unit tests, under ThreadSanitizer
	@tools/test tsan

bench: build ## every figure the README quotes
	@tools/bench

model: ## the models of tests/model/ and their mutants
	@tools/test model

soak: build ## the long forms of the models and the system tests: hours
	tools/model --soak
	HOLDFAST_SOAK=1 $(PYTHON) -m pytest -p no:cacheprovider -ra tests/system

fuzz: fuzz-build ## one fuzz target: make fuzz T=gtid [FUZZ_SECONDS=3600]
	@tools/fuzz "$(T)" $(FUZZ_SECONDS)

tidy: build ## clang-tidy over src/
	@clang-tidy --quiet -p build $$(tools/list-sources lib; tools/list-sources main)

install: build ## into PREFIX (/usr/local), below DESTDIR
	@meson install -C build --no-rebuild

clean:
	rm -rf build build-asan build-tsan build-fuzz

help:
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24
