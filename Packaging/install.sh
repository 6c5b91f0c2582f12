#!/bin/sh
# Puts what was built under $DESTDIR$PREFIX: the library with its links, the header, the command line, what build systems and
# shells ask for. Called by make install, make dist and make deb.
# Usage: install.sh FOLDER_OF_THE_BUILD   with PREFIX, LIBDIR, VERSION and, where wanted, DESTDIR and DEBUG_INFO=1
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$here")
build=$1
prefix=${DESTDIR:-}$PREFIX
libraries=${DESTDIR:-}$LIBDIR
full=libdiffaccel.so.$VERSION

# place SOURCE TARGET MODE: stripped where there are the tools for it; its debug information, where it is wanted, in .debug beside it, where
# debuggers look. It is not there unasked: some versions of valgrind give up on its form, and on the program.
place() {
    if ! command -v objcopy >/dev/null || ! command -v strip >/dev/null; then
        install -m "$3" "$1" "$2"
        return
    fi
    "$here/strip.sh" "$1" "$2"
    if [ -n "${DEBUG_INFO:-}" ]; then
        debug=$(dirname "$2")/.debug/$(basename "$2").debug
        install -d "$(dirname "$debug")"
        objcopy --only-keep-debug --compress-debug-sections "$1" "$debug"
        chmod 644 "$debug"
        objcopy --add-gnu-debuglink="$debug" "$2"
    fi
    chmod "$3" "$2"
}

# filled TEMPLATE TARGET: paths are relative to the file, so that the folder may be moved.
filled() {
    up=$(realpath -m --relative-to="$LIBDIR" "$PREFIX")
    sed -e "s|@UP@|../$up|" -e "s|@UP_FROM_LIBRARIES@|$up|" -e "s|@VERSION@|$VERSION|g" "$1" >"$2"
    chmod 644 "$2"
}

install -d "$libraries/pkgconfig" "$libraries/cmake/diffaccel" "$prefix/include" "$prefix/bin" "$prefix/share/diffaccel"
place "$build/libdiffaccel.so" "$libraries/$full" 755
ln -sf "$full" "$libraries/libdiffaccel.so.0"
ln -sf libdiffaccel.so.0 "$libraries/libdiffaccel.so"
if [ -f "$build/libdiffaccel_mpi.so" ]; then
    install -m 755 "$build/libdiffaccel_mpi.so" "$libraries/libdiffaccel_mpi.so"
fi
place "$build/diffaccel-cli" "$prefix/bin/diffaccel" 755
install -m 644 "$root/include/diffaccel.h" "$prefix/include/diffaccel.h"
install -m 644 "$here/diffaccel.supp" "$root/LICENSE" "$root/THIRD-PARTY.txt" "$prefix/share/diffaccel/"
filled "$here/diffaccel.pc.in" "$libraries/pkgconfig/diffaccel.pc"
filled "$here/diffaccel-config.cmake.in" "$libraries/cmake/diffaccel/diffaccel-config.cmake"
filled "$here/diffaccel-config-version.cmake.in" "$libraries/cmake/diffaccel/diffaccel-config-version.cmake"

# Manual pages and completions, from the tables that the program parses its arguments by.
program=$build/diffaccel-cli
share=$prefix/share
install -d "$share/bash-completion/completions" "$share/zsh/site-functions" "$share/fish/vendor_completions.d" "$share/man/man1"
"$program" --generate-completion-script bash | sed "1{/^#!/d}" >"$share/bash-completion/completions/diffaccel"
"$program" --generate-completion-script zsh >"$share/zsh/site-functions/_diffaccel"
"$program" --generate-completion-script fish >"$share/fish/vendor_completions.d/diffaccel.fish"
if command -v "${PYTHON:-python3}" >/dev/null; then
    "${PYTHON:-python3}" "$here/manual.py" "$program" "$root/Models" "$share/man/man1"
else
    echo "no ${PYTHON:-python3}: the manual pages are left out" >&2
fi
