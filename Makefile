# DiffAccel: build, install, test. Everything works from a clean clone, as root or not, without questions.
#
#   make deps      system packages the build needs (apt)
#   make           libdiffaccel.so and the command line
#   make check     tests of one target: make check TARGET=DiffTensorTests [FILTER=ShapeTests]
#   make test      all tests, part by part; -k goes on after one that failed
#   make docs      the site, in docs/ (Documentation/docs.mk)
#   make hooks     git looks at the form of what is committed
#   make mpi       the plug-in for MPI, with MPI=openmpi (default) or mpich
#   make install   to PREFIX (default /usr/local), under DESTDIR when given; for packages see Packaging/packages.mk

PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
PYTHON ?= python3
CLANG_FORMAT ?= clang-format

# Fails the build when a target imports what it does not name as a dependency: the layers stay layers.
SWIFT_FLAGS := --explicit-target-dependency-import-check error
RELEASE := .build/release
LIBRARY := $(RELEASE)/libdiffaccel.so
CLI := $(RELEASE)/diffaccel-cli
VENV := .venv
# A Python with the safetensors package, the reference for verdicts on files; without it that comparison is left out, and said so.
HOSTILE_PYTHON ?= $(VENV)/bin/python
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' bindings/python/pyproject.toml)
C_SOURCES = $(wildcard bindings/c/*.c Tests/CABI/*.c Tests/CABI/*.h Tests/KernelTable/*.[ch] Tests/Fuzz/*.[ch] Tests/Fuzz/targets/*.[ch] Tests/Hostile/*.[ch] Tests/Surfaces/*.c Tests/Ranks/*.c Sources/CBoundary/*.c Sources/CCommandLine/*.c Sources/COlderLibc/*.c Sources/CKernels/*.c Sources/CRanks/*.c Sources/CRanks/include/*.h Sources/CTokenizerData/*.c Plugins/mpi/*.[ch])
SWIFT_SOURCES = Sources Tests bindings Package.swift

.DEFAULT_GOAL := all
.PHONY: all build mpi test-mpi test-ranks deps venv demo check test test-swift test-c test-asan test-tsan test-valgrind test-fuzz test-traps test-spills test-kernels test-arm64 test-canary test-python test-tokenizers test-examples test-package test-package-by-version format format-check hooks clean help

all: build

build:
	$(call needs,$(SWIFT),Swift 6.3 or later of https://www.swift.org/install)
	$(SWIFT) build -c release --product diffaccel $(SWIFT_FLAGS)
	$(SWIFT) build -c release --product diffaccel-cli $(SWIFT_FLAGS)
	@# The name that programs ask the loader for, when they are linked with the library where it was built.
	@ln -sf libdiffaccel.so $(RELEASE)/libdiffaccel.so.0

# ---- libdiffaccel_mpi.so: ranks over MPI, loaded when a plan asks for them; beside the library for Open MPI, in a folder of its own for MPICH ----

MPI ?= openmpi
MPI_FOLDER = $(RELEASE)$(if $(filter mpich,$(MPI)),/mpich)
MPI_PACKAGES = $(if $(filter mpich,$(MPI)),libmpich-dev mpich,libopenmpi-dev openmpi-bin)
MPI_FLAGS := -O2 -std=c17 -D_FORTIFY_SOURCE=2 -fstack-protector-strong -Wl,-z,relro,-z,now -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror -pthread -ISources/CRanks/include

mpi:
	@case "$(MPI)" in openmpi | mpich) ;; *) echo "MPI is openmpi or mpich, found $(MPI)" >&2; exit 2 ;; esac
	@command -v mpicc.$(MPI) >/dev/null || $(MAKE) --no-print-directory deps PACKAGES="$(MPI_PACKAGES)"
	@mkdir -p $(MPI_FOLDER)
	mpicc.$(MPI) $(MPI_FLAGS) Plugins/mpi/*.c -o $(MPI_FOLDER)/libdiffaccel_mpi.so

include Packaging/packages.mk
include Documentation/docs.mk

# ---- what building and testing need ----

# For the census of the other architecture's kernels.
CROSS_HEADERS := $(if $(filter aarch64,$(shell uname -m)),libc6-dev-amd64-cross,libc6-dev-arm64-cross)
PACKAGES := libopenblas-dev libjansson-dev libpng-dev libsndfile1-dev pkg-config python3-venv clang-format abigail-tools binutils $(CROSS_HEADERS)

deps:
	@missing=; \
	for package in $(PACKAGES); do \
		dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$package"; \
	done; \
	if ! command -v $(SWIFT) >/dev/null; then echo "swift is not on the PATH: version 6.3 or later from https://www.swift.org/install"; fi; \
	if [ -z "$$missing" ]; then echo "all packages are installed"; exit 0; fi; \
	if ! command -v apt-get >/dev/null; then echo "missing:$$missing (no apt-get here: please install what they contain)" >&2; exit 1; fi; \
	sudo=; \
	if [ "$$(id -u)" != 0 ]; then \
		if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo="sudo -n"; \
		else echo "missing:$$missing; as root: apt-get install$$missing" >&2; exit 1; fi; \
	fi; \
	echo "installing$$missing"; \
	export DEBIAN_FRONTEND=noninteractive; \
	$$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends $$missing \
		|| { echo "could not install:$$missing" >&2; exit 1; }

# The stamp says which packages are inside; a broken half-made folder is made anew.
venv: $(VENV)/stamp

$(VENV)/stamp: bindings/python/pyproject.toml Makefile
	$(call needs,$(PYTHON))
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check "numpy>=1.21" pytest tqdm \
		|| { echo "make $@ needs numpy, pytest and tqdm from PyPI, or from what PIP_INDEX_URL or PIP_FIND_LINKS names" >&2; exit 1; }
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check "tokenizers>=0.20" || true
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check "safetensors==0.8.0" || true
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check matplotlib || true
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check mypy Pillow || true
	touch $@

# Everything from nothing: installs what is missing, builds, samples.
demo: deps build
	@echo "a prompt in, a picture out: plain, and with deep features kept"
	./$(CLI) demo --model Models/emoji-sd
	./$(CLI) sample Models/emoji-sd --prompt "red apple" --steps 20 --scale 4 --out out/red-apple.png
	@echo; echo "a prompt in, sound out: a melody, and its mel spectrogram, with LiteFocus"
	./$(CLI) sample Models/tiny-audio --prompt "a slow melody on a flute" --seconds 20 --steps 20 --guidance 3 --plan litefocus --out out/flute.wav \
		--spectrogram out/flute.png
	@echo; echo "pictures of classes: plain, with rules of reuse and learned routers, and with half the blocks"
	./$(CLI) demo
	@echo; echo "next-scale generation: the drafter alone, then CoDe with a smaller refiner"
	./$(CLI) sample Models/fashion-var --labels 0,1,2,3,4,5,6,7,8,9 --out out/var-plain.png
	./$(CLI) sample Models/fashion-var --labels 0,1,2,3,4,5,6,7,8,9 --out out/var-code.png --plan Models/fashion-var/code.json
	@echo; echo "a diffusion language model: plain, then with delayed caching of keys and values"
	./$(CLI) sample Models/tiny-llada --prompt "And it came to pass" --length 64 --block-length 16 --temperature 0.6 --live
	./$(CLI) sample Models/tiny-llada --prompt "And it came to pass" --length 64 --block-length 16 --temperature 0.6 --plan dkv:decode:8 --live

# ---- tests ----

# What a part of the tests cannot do without, and what installs it: $(call needs,TOOLS[,remedy]).
needs = @for tool in $(1); do command -v "$$tool" >/dev/null || { echo "make $@ needs $$tool: $(or $(2),make deps)" >&2; exit 1; }; done

TEST_PARTS := format-check test-swift test-traps test-spills test-kernels test-c test-hostile test-fuzz test-python test-tokenizers test-examples \
	test-package test-ranks

# One after another also under make -j: two suites at once would fight for the processor, and each ends with its figures. A part that
# fails is named with the command that runs it alone.
test: deps
	+@MAKE="$(MAKE)" Tests/parts.sh $(TEST_PARTS)

# The quick loop: what one target's tests say, or a suite's of it. Installs nothing.
check:
	@if [ ! -d "Tests/$(TARGET)" ] || [ -z "$(TARGET)" ]; then \
		echo "make check TARGET=NAME [FILTER=SUITE[/TEST]] with one of: $(patsubst Tests/%/,%,$(wildcard Tests/*Tests/))" >&2; exit 2; \
	fi
	$(SWIFT) test --no-parallel $(SWIFT_FLAGS) --filter '^$(TARGET)\.$(FILTER)'

# Not in parallel: the kernels' tests switch instruction sets and fail allocations, which is for the whole process.
test-swift:
	$(call needs,$(SWIFT),Swift 6.3 or later of https://www.swift.org/install)
	$(SWIFT) test --no-parallel $(SWIFT_FLAGS)

# DIFFACCEL_LONG=1 runs the soak for minutes instead of seconds.
test-c: build
	$(call needs,cc c++ nm ldd strip abidw)
	Tests/CABI/run.sh $(RELEASE)

# The Swift suite and the C programs under a sanitizer, in build folders of their own: some twenty minutes each.
test-asan:
	Tests/CABI/sanitize.sh address

test-tsan:
	Tests/CABI/sanitize.sh thread

# The C programs under valgrind, which sees leaks and uninitialised memory in the library as it is shipped.
test-valgrind: build
	Tests/CABI/valgrind.sh $(RELEASE)

# Hostile files, failing system calls, and the verdicts of the safetensors package on mutated files.
test-hostile: build venv
	HOSTILE_PYTHON="$(HOSTILE_PYTHON)" Tests/Hostile/run.sh $(RELEASE)

# Fourteen targets for some seconds; Tests/Fuzz/run.sh goes on for as long as one likes, also with an instrumented library.
test-fuzz: build
	$(call needs,$(SWIFT),Swift 6.3 or later of https://www.swift.org/install)
	SWIFT="$(SWIFT)" FUZZ_LIBRARY="$(CURDIR)/$(RELEASE)" Tests/Fuzz/run.sh all 5000 1

# What is left in the library that could end the host's process, and words in the sources that would (Tests/TrapCensus/README.md).
test-traps: build
	$(call needs,$(PYTHON))
	$(PYTHON) Tests/TrapCensus/lint.py
	$(PYTHON) Tests/TrapCensus/census.py $(RELEASE)

# Accesses to the stack in the kernels' innermost loops, for every instruction set (Tests/SpillCensus/README.md).
test-spills:
	$(call needs,$(PYTHON) $(SWIFT))
	$(PYTHON) Tests/SpillCensus/census.py

# The kernels against plain C on every instruction set of this machine, and compiled for 64-bit ARM under user-mode emulation.
test-kernels:
	$(call needs,$(SWIFT),Swift 6.3 or later of https://www.swift.org/install)
	SWIFT="$(SWIFT)" Tests/KernelTable/run.sh

test-arm64:
	$(MAKE) --no-print-directory deps PACKAGES="qemu-user-static gcc-aarch64-linux-gnu"
	SWIFT="$(SWIFT)" Tests/KernelTable/run.sh arm64

# The tests of the tests: a library with planted faults, built in .build-canary.
test-canary:
	SWIFT="$(SWIFT)" PYTHON="$(PYTHON)" Tests/Canary/run.sh

test-python: build venv
	$(SWIFT) build -c release --product surface-defaults $(SWIFT_FLAGS)
	DIFFACCEL_LIBRARY="$(CURDIR)/$(LIBRARY)" $(VENV)/bin/python -m pytest bindings/python/tests

# Ranks started by mpirun on this machine, of both MPIs (Tests/Ranks/README.md).
test-mpi: build venv
	$(MAKE) --no-print-directory mpi MPI=openmpi
	$(MAKE) --no-print-directory mpi MPI=mpich
	$(SWIFT) build -c release --product rank-exercise $(SWIFT_FLAGS)
	Tests/Ranks/run.sh $(RELEASE) openmpi mpich
	Tests/Ranks/sample.sh $(RELEASE) openmpi mpich

# A minute of it, with Open MPI alone and only where that is installed.
test-ranks: build venv
	@if ! command -v mpicc.openmpi >/dev/null; then echo "no Open MPI here: ranks are left out (make test-mpi installs it)"; exit 0; fi; \
	$(MAKE) --no-print-directory mpi && SHORT=1 Tests/Ranks/sample.sh $(RELEASE) openmpi

# Tokens and texts of 10,000 lines beside the tokenizers package, on vocabularies trained there; and how patterns cut texts.
test-tokenizers: build venv
	$(VENV)/bin/python Tests/Tokenizers/compare.py $(CLI)
	$(VENV)/bin/python Tests/Tokenizers/patterns.py $(CLI)

# Every program in bindings, README.md and the articles: C compiled and run, Python run, Swift compiled, commands tried.
test-examples: build venv
	$(VENV)/bin/python Tests/Examples/run.py $(RELEASE)

# Other packages that use the library as a Swift package: by path, and by version through git.
test-package:
	$(call needs,$(SWIFT),Swift 6.3 or later of https://www.swift.org/install)
	$(SWIFT) build -c release --package-path bindings/swift-example --scratch-path .build-package
	.build-package/release/sample-with-plan Models/fashion-dit

test-package-by-version:
	SWIFT="$(SWIFT)" Tests/Packages/swift_package.sh

# ---- form ----

format:
	$(call needs,$(CLANG_FORMAT) $(SWIFT))
	$(CLANG_FORMAT) -i $(C_SOURCES)
	$(SWIFT) format format --in-place --parallel --recursive $(SWIFT_SOURCES)

format-check:
	$(call needs,$(CLANG_FORMAT) $(SWIFT))
	$(CLANG_FORMAT) --dry-run -Werror $(C_SOURCES)
	$(SWIFT) format lint --strict --parallel --recursive $(SWIFT_SOURCES)

# Form, length and stray paths of what is committed are looked at before each commit (Tools/hooks/pre-commit).
hooks:
	git config core.hooksPath Tools/hooks
	@echo "git runs Tools/hooks/pre-commit from now on; git config --unset core.hooksPath ends that"

clean:
	rm -rf .build .build-canary .build-dist build dist docs $(VENV) bindings/python/build bindings/python/*.egg-info bindings/python/.pytest_cache
	find bindings -name __pycache__ -type d -prune -exec rm -rf {} +
