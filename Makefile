# SPDX-License-Identifier: Apache-2.0
# The front door. `make help` lists what it does; the build itself is CMakeLists.txt, the presets CMakePresets.json.
SHELL  := /bin/bash
BUILD  ?= build
PREFIX ?= /usr/local
JOBS   ?= $(shell nproc)
# T=word runs only the tests whose name has it; F=name chooses a fuzz target, FUZZ_SECONDS bounds it.
T ?=
F ?=
FUZZ_SECONDS ?= 60

.DEFAULT_GOAL := build
.PHONY: build help demo test run asan ubsan tsan clang check fmt fuzz bless bench install new clean distclean deps tests-deps

deps:
	@tools/bootstrap
tests-deps:
	@tools/bootstrap --tests

$(BUILD)/build.ninja: | deps
	@cmake --preset release -B $(BUILD) >$(BUILD).log 2>&1 || { cat $(BUILD).log; rm -f $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log

build: deps $(BUILD)/build.ninja ## build the program: build/hangar (the default)
	@cmake --build $(BUILD) -j $(JOBS) --target programs

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## show what hangar does, on the small models in models/
	@tools/demo

run: build ## run the program: make run A="ls --json"
	@$(BUILD)/hangar $(A)

test: deps tests-deps $(BUILD)/build.ninja ## all tests; T=word runs those whose name has the word
	@cmake --build $(BUILD) -j $(JOBS)
	@tests/run-all $(BUILD) --parallel $$(tests/slots $(JOBS)) $(if $(T),-R '$(T)')

asan: deps ## the unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@tests/run-preset asan $(JOBS) '$(T)'
ubsan: deps ## the unit tests under UndefinedBehaviorSanitizer alone
	@tests/run-preset ubsan $(JOBS) '$(T)'
tsan: deps ## the unit tests under ThreadSanitizer
	@tests/run-preset tsan $(JOBS) '$(T)'
clang: deps ## build everything with clang, warnings as errors
	@cmake --preset clang >/dev/null && cmake --build --preset clang -j $(JOBS)

check: deps ## layers, sizes, documents, format
	@tools/check

fmt: deps ## format the C sources
	@tools/check format --fix

fuzz: deps ## fuzz F=target for FUZZ_SECONDS (60); without F each target in turn
	@tests/run-fuzz "$(F)" $(FUZZ_SECONDS) $(JOBS)

bless: build ## accept the program's present output as the golden output
	@HANGAR=$(abspath $(BUILD))/hangar HANGAR_TOP=$(CURDIR) HANGAR_BUILD=$(abspath $(BUILD)) tests/cli/run --bless $(T)

bench: build ## measure
	@bench/all

install: build ## install below PREFIX (/usr/local)
	@cmake --install $(BUILD) --prefix "$(abspath $(PREFIX))" >$(BUILD)/install.log || { tail -n 5 $(BUILD)/install.log; exit 1; }
	@echo "installed below $(abspath $(PREFIX))"

new: ## make the files of a new thing: KIND=verb|arch|engine|provider NAME=word
	@tools/new "$(KIND)" "$(NAME)"

clean: ## remove what was built
	@rm -rf build build-asan build-ubsan build-tsan build-clang build-fuzz

distclean: clean ## also remove what was fetched
	@rm -rf .deps tests/node_modules
