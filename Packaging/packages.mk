# Installation and packages; included by the Makefile.
#
#   make install          to PREFIX (default /usr/local), under DESTDIR when given; libraries to LIBDIR (default PREFIX/lib);
#                         DEBUG_INFO=1: debug information too, in .debug beside each file
#   make dist             dist/diffaccel-VERSION-linux-MACHINE.tar.gz, which runs where it is unpacked
#   make wheel            dist/*.whl and the source distribution for Python
#   make deb              dist/*.deb
#   make sbom             dist/diffaccel-VERSION.cdx.json: what is linked in, with versions and licences (CycloneDX)
#   make test-packages    installs each of them into a clean system and runs the quick starts there
#   make release VERSION=1.2.3 [DRY_RUN=1]
#
# What is packed is built in .build-dist, without the names of this machine's folders in it.

LIBDIR ?= $(PREFIX)/lib
DEBUG_INFO ?=
DIST = .build-dist/release
DIST_LIBRARY = $(DIST)/libdiffaccel.so
MACHINE := $(shell uname -m)
PACKED = diffaccel-$(VERSION)-linux-$(MACHINE)
SOURCE_NAME := /usr/src/diffaccel
# Same text for the same commit: files in packages are as old as it.
EPOCH = $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
TAR = tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@$(EPOCH) --format=ustar
DIST_ENVIRONMENT = SOURCE_DATE_EPOCH=$(EPOCH) VERSION="$(VERSION)" PYTHON="$(PYTHON)"

.PHONY: install uninstall build-dist dist wheel deb sbom release test-packages

# ---- installation: takes what was built, so that root needs no compiler; builds only when there is nothing ----

install:
	@if [ ! -f $(LIBRARY) ] || [ ! -f $(CLI) ]; then $(MAKE) --no-print-directory build; fi
	PREFIX="$(PREFIX)" LIBDIR="$(LIBDIR)" DESTDIR="$(DESTDIR)" VERSION="$(VERSION)" PYTHON="$(PYTHON)" DEBUG_INFO="$(DEBUG_INFO)" Packaging/install.sh $(RELEASE)
	@# The loader's cache, when it is this system that is installed to; without the right to, the paths still work.
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ] && command -v ldconfig >/dev/null; then ldconfig || true; fi

uninstall:
	rm -f "$(DESTDIR)$(LIBDIR)"/libdiffaccel.so* "$(DESTDIR)$(LIBDIR)/libdiffaccel_mpi.so" "$(DESTDIR)$(LIBDIR)"/.debug/libdiffaccel.so* \
		"$(DESTDIR)$(LIBDIR)/pkgconfig/diffaccel.pc" "$(DESTDIR)$(PREFIX)/include/diffaccel.h" "$(DESTDIR)$(PREFIX)/bin/diffaccel" \
		"$(DESTDIR)$(PREFIX)/bin/.debug/diffaccel.debug" "$(DESTDIR)$(PREFIX)"/share/man/man1/diffaccel*.1 \
		"$(DESTDIR)$(PREFIX)/share/bash-completion/completions/diffaccel" "$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_diffaccel" \
		"$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/diffaccel.fish"
	rm -rf "$(DESTDIR)$(LIBDIR)/cmake/diffaccel" "$(DESTDIR)$(PREFIX)/share/diffaccel"
	-rmdir "$(DESTDIR)$(LIBDIR)/.debug" "$(DESTDIR)$(PREFIX)/bin/.debug" 2>/dev/null || true

# ---- packages ----

DIST_FLAGS = $(SWIFT_FLAGS) --scratch-path .build-dist -Xswiftc -file-prefix-map -Xswiftc "$(CURDIR)=$(SOURCE_NAME)" \
	-Xcc "-ffile-prefix-map=$(CURDIR)=$(SOURCE_NAME)"

# What debuggers know a file by: of what it is built from and with. The linker's own is a sum of debug information too, which the compiler
# does not write twice alike. Not for a tree with changes, nor without git.
TREE := $(shell git diff --quiet HEAD 2>/dev/null && git rev-parse 'HEAD^{tree}' 2>/dev/null)
build_id = $(if $(TREE),-Xlinker --build-id=0x$(shell { echo $(TREE) $(MACHINE) $(1); $(SWIFT) --version; } 2>/dev/null | sha1sum | cut -c1-40))

build-dist:
	$(SWIFT) build -c release --product diffaccel $(DIST_FLAGS) $(call build_id,diffaccel)
	$(SWIFT) build -c release --product diffaccel-cli $(DIST_FLAGS) $(call build_id,diffaccel-cli)

dist: build-dist
	rm -rf build/dist && mkdir -p build/dist dist
	$(DIST_ENVIRONMENT) PREFIX="/$(PACKED)" LIBDIR="/$(PACKED)/lib" DESTDIR="build/dist" DEBUG_INFO=1 Packaging/install.sh $(DIST)
	cp README.md CHANGELOG.md build/dist/$(PACKED)/share/diffaccel/
	cd build/dist && $(TAR) --exclude=.debug -cf - $(PACKED) | gzip -9n >../../dist/$(PACKED).tar.gz
	cd build/dist && $(TAR) -cf - $(PACKED)/lib/.debug $(PACKED)/bin/.debug | gzip -1n >../../dist/$(PACKED)-debug.tar.gz
	git ls-files -z Models | $(TAR) --null -T - --transform 's|^|diffaccel-$(VERSION)/|' -cf - | gzip -6n >dist/diffaccel-$(VERSION)-models.tar.gz
	@ls -l dist/diffaccel-$(VERSION)*.tar.gz

# Tools that check and build wheels, in a folder of their own.
WHEEL_VENV := build/wheel-venv

$(WHEEL_VENV)/stamp:
	$(PYTHON) -m venv --clear $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check build auditwheel "setuptools>=77" wheel
	touch $@

wheel: build-dist $(WHEEL_VENV)/stamp
	rm -rf bindings/python/build bindings/python/*.egg-info && mkdir -p dist
	SOURCE_DATE_EPOCH=$(EPOCH) DIFFACCEL_LIBRARY="$(CURDIR)/$(DIST_LIBRARY)" DIFFACCEL_CLI="$(CURDIR)/$(DIST)/diffaccel-cli" \
		$(WHEEL_VENV)/bin/python -m build --no-isolation --sdist --wheel --outdir dist bindings/python
	rm -rf bindings/python/build bindings/python/*.egg-info
	$(WHEEL_VENV)/bin/python Packaging/check_wheel.py dist/diffaccel-$(VERSION)-py3-none-manylinux_*_$(MACHINE).whl

sbom:
	mkdir -p dist
	SOURCE_DATE_EPOCH=$(EPOCH) SWIFT="$(SWIFT)" $(PYTHON) Packaging/sbom.py $(VERSION) dist/diffaccel-$(VERSION).cdx.json

deb: build-dist sbom
	$(DIST_ENVIRONMENT) Packaging/deb.sh $(DIST) dist

test-packages:
	Tests/Packages/run.sh dist

release:
	DRY_RUN="$(DRY_RUN)" Packaging/release.sh "$(VERSION)"
