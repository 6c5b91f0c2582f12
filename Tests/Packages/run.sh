#!/bin/bash
# Installs each package into a clean Debian system, without network and without Swift, and runs the quick starts of the article FirstSteps there.
# Usage: run.sh FOLDER_OF_PACKAGES [wheel|source_distribution|tarball|deb ...]   (SUITE, by default bullseye with glibc 2.31, may be set)
# As root, with mmdebstrap; the system is made once and kept in build/roots. Ends with "N passed, N failed"; the exit code is 0 only when
# nothing failed.
set -u

here=$(realpath "$(dirname "$0")") root=$(realpath "$(dirname "$0")/../..")
packages=$(realpath "${1:?the folder of the packages}") || exit 2
shift
suite=${SUITE:-bullseye}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/bindings/python/pyproject.toml")
machine=$(uname -m)
python=$root/build/wheel-venv/bin/python # of make wheel
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

. "$here/../checks.sh"

# ---- a clean system ----

base=$root/build/roots/$suite.tar
if [ ! -f "$base" ]; then
    command -v mmdebstrap >/dev/null || { echo "no mmdebstrap: apt-get install mmdebstrap" >&2; exit 2; }
    [ "$(id -u)" = 0 ] || { echo "a clean system is made by root" >&2; exit 2; }
    mkdir -p "$(dirname "$base")"
    mmdebstrap --variant=minbase --include=gcc,libc6-dev,make,cmake,pkg-config,python3-pip \
        "$suite" "$base.part.tar" || exit 2
    mv "$base.part.tar" "$base"
fi

# clean: a system as new in $system, with the models, the programs of FirstSteps.md and the tests' own programs in /try.
clean() {
    system=$work/system
    rm -rf "$system"
    mkdir -p "$system"
    tar -xf "$base" -C "$system"
    mkdir -p "$system/try/cmake"
    tar -xzf "$packages/diffaccel-$version-models.tar.gz" --strip-components=1 -C "$system/try"
    snippet c >"$system/try/program.c"
    snippet python >"$system/try/program.py"
    cp "$here/CMakeLists.txt" "$system/try/cmake/"
    cp "$system/try/program.c" "$system/try/cmake/"
}

# snippet LANGUAGE: the first block of that language in the article FirstSteps.
snippet() { awk -v start="\`\`\`$1" '$0 == start { inside = !done; next } /^```/ { if (inside) done = 1; inside = 0 } inside' "$root/Sources/DiffAccel/Documentation.docc/FirstSteps.md"; }

# within COMMAND: in the clean system, in the folder of the models, without network.
within() {
    unshare --mount --net --pid --fork bash -c 'mount -t proc proc "$0/proc" && mount -t tmpfs tmpfs "$0/dev" && mknod -m 666 "$0/dev/null" c 1 3 \
        && mknod -m 666 "$0/dev/urandom" c 1 9 && exec chroot "$0" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        bash -c "cd /try && $1"' "$system" "$1"
}

# The command line as the articles have it, on the models that are there; and that it is what it says it is.
command_line() {
    check "$1: the version" within "diffaccel --version | grep -qx 'diffaccel $version'"
    check "$1: a picture of a prompt" within "diffaccel sample Models/emoji-sd --prompt 'red apple' --steps 4 --out apple.png && head -c 4 apple.png | grep -q PNG"
    check "$1: a picture of a picture" within "diffaccel sample Models/emoji-sd --prompt 'green apple' --init-image apple.png --strength 0.6 --steps 4 --out green.png"
    check "$1: a text" within "diffaccel sample Models/tiny-llada --prompt 'And it came to pass' --length 16 --block-length 16 --plan dkv:decode:8 --quiet | grep -q '[a-z]'"
    check "$1: a plan" within "diffaccel plan show interval:2 --model Models/fashion-dit --steps 20 --png plan.png && test -s plan.png"
}

# A program in C, compiled with what pkg-config and CMake say. Usage: from_c NAME ENVIRONMENT
from_c() {
    check "$1: the C program of FirstSteps.md" within "export $2; cc program.c -o program \$(pkg-config --cflags --libs diffaccel) && ./program | grep -qx '28 x 28 pixels'"
    check "$1: the same through CMake" within "export $2; cd cmake && cmake -DCMAKE_BUILD_TYPE=Release . && make && cd .. && cmake/program | grep -qx '28 x 28 pixels'"
    check "$1: CMake is refused another version" within "export $2; cd cmake && sed -i 's/diffaccel 0.1/diffaccel 99.0/' CMakeLists.txt && rm -f CMakeCache.txt && ! cmake ."
}

# ---- the packages ----

wheel() {
    clean
    check "no Swift in the clean system" within "! command -v swift && ! ls /usr/lib/swift"
    cp "$packages/diffaccel-$version-py3-none-manylinux"_*_"$machine.whl" "$system/try/" || { check "there is a wheel" false; return; }
    local own
    own=$(within "python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'")
    "$python" -m pip download --quiet --disable-pip-version-check --only-binary :all: --no-deps --python-version "$own" --dest "$root/build/roots/python-$own" numpy ||
        { check "NumPy for Python $own" false; return; }
    cp "$root/build/roots/python-$own"/numpy-*.whl "$system/try/"
    check "the wheel is installed" within "python3 -m pip install --no-index --find-links . diffaccel"
    check "the Python program of FirstSteps.md" within "python3 program.py && head -c 4 grid.png | grep -q PNG"
    command_line "wheel"
    check "python -m diffaccel" within "python3 -m diffaccel --version | grep -qx 'diffaccel $version'"
    check "python -m diffaccel: exit codes are the program's" within "python3 -m diffaccel sample Models/no-such; test \$? = 1"
    check "licences and types are there" within "cd /usr/local/lib/python3*/dist-packages && test -f diffaccel/py.typed && ls diffaccel-*/licenses/LICENSE diffaccel-*/licenses/THIRD-PARTY.txt"
    check "the wheel goes and leaves nothing" within "python3 -m pip uninstall -y diffaccel && ! find / -xdev -name '*diffaccel*' -not -path '/try/*' | grep ."
}

# refuses PIP_ARGUMENT...: pip fails, says what to do, and makes nothing.
refuses() {
    ! env -u DIFFACCEL_LIBRARY "$python" -m pip "$1" --no-deps --no-build-isolation "${@:2}" "$work/source" >"$work/said" 2>&1 || return 1
    grep -q 'make build' "$work/said" && grep -q DIFFACCEL_LIBRARY "$work/said" && ! ls "$work/empty"/* 2>/dev/null
}

source_distribution() {
    mkdir -p "$work/source"
    tar -xzf "$packages/diffaccel-$version.tar.gz" --strip-components=1 -C "$work/source" || { check "there is a source distribution" false; return; }
    check "pip wheel of the sources without a library fails with the remedy" refuses wheel --wheel-dir "$work/empty"
    check "so does pip install" refuses install --target "$work/empty"
    mkdir -p "$work/package"
    unzip -q -o "$packages/diffaccel-$version-py3-none-manylinux"_*_"$machine.whl" 'diffaccel/libdiffaccel.so' 'diffaccel/bin/*' -d "$work/package"
    check "with the library that is named they make a wheel" env DIFFACCEL_LIBRARY="$work/package/diffaccel/libdiffaccel.so" \
        DIFFACCEL_CLI="$work/package/diffaccel/bin/diffaccel" "$python" -m pip wheel --no-deps --no-build-isolation --wheel-dir "$work/made" "$work/source"
    check "which is for the same systems" ls "$work/made/$(cd "$packages" && ls diffaccel-"$version"-py3-none-manylinux_*_"$machine".whl)"
    check "without the library where that is asked for" env DIFFACCEL_SYSTEM_LIBRARY=1 "$python" -m pip wheel --no-deps --no-build-isolation \
        --wheel-dir "$work/pure" "$work/source"
    check "which is for every system" ls "$work/pure/diffaccel-$version-py3-none-any.whl"
}

tarball() {
    clean
    mkdir -p "$system/srv/moved"
    tar -xzf "$packages/diffaccel-$version-linux-$machine.tar.gz" --strip-components=1 -C "$system/srv/moved" || { check "there is a tarball" false; return; }
    from_c "tarball, moved" "PKG_CONFIG_PATH=/srv/moved/lib/pkgconfig CMAKE_PREFIX_PATH=/srv/moved LD_LIBRARY_PATH=/srv/moved/lib"
    ln -s /srv/moved/bin/diffaccel "$system/usr/local/bin/diffaccel"
    command_line "tarball"
    check "no name of a folder of the build in it" sh -c "! grep -rIlF -e '$root' '$system/srv/moved' && ! grep -rlaF -e '$root/Sources' '$system/srv/moved'"
    check "stripped" sh -c "! nm '$system/srv/moved/lib/libdiffaccel.so' 2>/dev/null | grep ."
    check "bash completes" within "source /srv/moved/share/bash-completion/completions/diffaccel && complete -p diffaccel"
    check "the manual" within "grep -q 'prompt' /srv/moved/share/man/man1/diffaccel-sample.1"
    if command -v man >/dev/null; then
        check "its pages have no warning of the formatter" sh -c "for page in '$system'/srv/moved/share/man/man1/*.1; do man --warnings -l -Tutf8 \$page 2>&1 >/dev/null; done >'$work/warnings'; ! grep . '$work/warnings'"
    fi
}

deb() {
    clean
    local own
    own=$(dpkg --print-architecture)
    cp "$packages"/*diffaccel*_"$version"_{"$own",all}.deb "$system/try/" || { check "there are Debian packages" false; return; }
    check "the Debian packages are installed" within "dpkg -i *.deb"
    from_c "deb" "NONE="
    rm -rf "$system/try/Models"
    ln -s /usr/share/diffaccel/models "$system/try/Models"
    command_line "deb"
    check "the manual" within "zcat /usr/share/man/man1/diffaccel-sample.1.gz | grep -q 'prompt'"
    check "they go and leave nothing" within "dpkg -P libdiffaccel0-dbgsym libdiffaccel-dev libdiffaccel0 diffaccel diffaccel-models && ! find / -xdev -name '*diffaccel*' -not -path '/try/*' | grep ."
    if command -v lintian >/dev/null; then
        check "lintian has nothing to say" sh -c "! lintian --allow-root --tag-display-limit 0 --fail-on none '$packages'/*diffaccel*_'$version'_*.deb 2>&1 | grep '^[EW]:'"
    else
        echo "no lintian: its checks are left out"
    fi
}

for package in "${@:-wheel source_distribution tarball deb}"; do for one in $package; do $one; done; done
echo "$passed passed, $failed failed"
test "$failed" -eq 0
