#!/bin/sh
# Debian packages of what was built: libdiffaccel0, libdiffaccel-dev, diffaccel, diffaccel-models, and debug information.
# Usage: deb.sh FOLDER_OF_THE_BUILD OUTPUT   with VERSION and SOURCE_DATE_EPOCH
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$here")
build=$1
output=$2
for tool in dpkg-deb dpkg-architecture objdump; do
    command -v $tool >/dev/null || { echo "no $tool: apt-get install dpkg-dev binutils" >&2; exit 2; }
done
architecture=$(dpkg --print-architecture)
multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
maintainer=${MAINTAINER:-"$(git -C "$root" log -1 --format='%an <%ae>')"}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
mkdir -p "$output"

PREFIX=/usr LIBDIR=/usr/lib/$multiarch DESTDIR=$work/all DEBUG_INFO=1 "$here/install.sh" "$build"
all=$work/all/usr
glibc=$(objdump -T "$build/libdiffaccel.so" "$build/diffaccel-cli" | grep -oE 'GLIBC_2\.[0-9]+' | sort -t. -k2n | tail -1 | sed 's/GLIBC_//')

# take PACKAGE PATH...: moves files of the whole into the package.
take() {
    package=$1
    shift
    for path; do
        mkdir -p "$work/$package/usr/$(dirname "$path")"
        mv "$all/$path" "$work/$package/usr/$path"
    done
}

# A debug file under the name that the build's number gives it, where debuggers look first.
debug_of() {
    number=$(readelf -n "$1" | sed -n 's/.*Build ID: //p')
    mkdir -p "$work/libdiffaccel0-dbgsym/usr/lib/debug/.build-id/$(echo "$number" | cut -c1-2)"
    mv "$2" "$work/libdiffaccel0-dbgsym/usr/lib/debug/.build-id/$(echo "$number" | cut -c1-2)/$(echo "$number" | cut -c3-).debug"
}
libraries=lib/$multiarch
debug_of "$build/libdiffaccel.so" "$all/$libraries/.debug/libdiffaccel.so.$VERSION.debug"
debug_of "$build/diffaccel-cli" "$all/bin/.debug/diffaccel.debug"
# The one that was linked to by name is found by its number instead.
for file in "$all/$libraries/libdiffaccel.so.$VERSION" "$all/bin/diffaccel"; do objcopy --remove-section=.gnu_debuglink "$file"; done
chmod 644 "$all/$libraries/libdiffaccel.so.$VERSION"

take libdiffaccel0 "$libraries/libdiffaccel.so.0" "$libraries/libdiffaccel.so.$VERSION"
take libdiffaccel-dev "$libraries/libdiffaccel.so" "$libraries/pkgconfig" "$libraries/cmake" include share/diffaccel/diffaccel.supp
take diffaccel bin/diffaccel share/man share/bash-completion share/fish
mkdir -p "$work/diffaccel/usr/share/zsh"
mv "$all/share/zsh/site-functions" "$work/diffaccel/usr/share/zsh/vendor-completions"
gzip -9n "$work/diffaccel/usr/share/man/man1/"*.1
mkdir -p "$work/diffaccel-models/usr/share/diffaccel/models"
(cd "$root" && git ls-files -z Models | tar --null -T - -cf - --mode=go=rX,u=rwX) | tar -xf - --strip-components=1 -C "$work/diffaccel-models/usr/share/diffaccel/models"

# ---- what is beside the files ----

# control PACKAGE SECTION ARCHITECTURE DEPENDS RECOMMENDS SHORT, with the long description on the standard input.
control() {
    package=$1
    folder=$work/$package
    documents=$folder/usr/share/doc/$package
    mkdir -p "$folder/DEBIAN" "$documents"
    cp "$here/debian/copyright" "$documents/copyright"
    date=$(date -u -R -d "@$SOURCE_DATE_EPOCH")
    printf 'diffaccel (%s) unstable; urgency=medium\n\n  * Release %s, see CHANGELOG.md of the sources.\n\n -- %s  %s\n' \
        "$VERSION" "$VERSION" "$maintainer" "$date" | gzip -9n >"$documents/changelog.gz"
    if [ -f "$here/debian/$package.lintian-overrides" ]; then
        mkdir -p "$folder/usr/share/lintian/overrides"
        cp "$here/debian/$package.lintian-overrides" "$folder/usr/share/lintian/overrides/$package"
    fi
    find "$folder/usr" -type d -exec chmod 755 {} +
    (cd "$folder" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
    {
        echo "Package: $package"
        echo "Source: diffaccel"
        echo "Version: $VERSION"
        echo "Architecture: $3"
        echo "Maintainer: $maintainer"
        echo "Installed-Size: $(du -k -s "$folder/usr" | cut -f1)"
        [ -z "$4" ] || echo "Depends: $4"
        [ -z "$5" ] || echo "Recommends: $5"
        echo "Section: $2"
        echo "Priority: optional"
        case $package in libdiffaccel0 | libdiffaccel-dev) echo "Multi-Arch: same" ;; *-models) echo "Multi-Arch: foreign" ;; esac
        echo "Description: $6"
        sed 's/^$/./; s/^/ /'
    } >"$folder/DEBIAN/control"
    find "$folder" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

mkdir -p "$work/libdiffaccel0/DEBIAN"
echo "libdiffaccel 0 libdiffaccel0 (>= $VERSION)" >"$work/libdiffaccel0/DEBIAN/shlibs"
{
    echo "libdiffaccel.so.0 libdiffaccel0 #MINVER#"
    echo " DIFFACCEL_0@DIFFACCEL_0 $VERSION"
    sed "s/.*/ &@DIFFACCEL_0 $VERSION/" "$root/Tests/CABI/exports.txt"
} >"$work/libdiffaccel0/DEBIAN/symbols"
echo "activate-noawait ldconfig" >"$work/libdiffaccel0/DEBIAN/triggers"

control libdiffaccel0 libs "$architecture" "libc6 (>= $glibc)" "" "accelerated sampling of diffusion models on CPUs" <<'TEXT'
DiffAccel loads published checkpoints of diffusion, next-scale and masked
language models and samples from them on CPUs inside another program, with
published methods that skip what need not be computed.

This package has the shared library with its C interface.
TEXT
control libdiffaccel-dev libdevel "$architecture" "libdiffaccel0 (= $VERSION)" "" "accelerated sampling of diffusion models on CPUs (development)" <<'TEXT'
DiffAccel loads published checkpoints of diffusion, next-scale and masked
language models and samples from them on CPUs inside another program, with
published methods that skip what need not be computed.

This package has the header and what pkg-config, CMake and valgrind ask for.
TEXT
control diffaccel science "$architecture" "libc6 (>= $glibc)" "diffaccel-models, libsndfile1" "accelerated sampling of diffusion models on CPUs (command line)" <<'TEXT'
DiffAccel loads published checkpoints of diffusion, next-scale and masked
language models and samples from them on CPUs, with published methods that
skip what need not be computed.

This package has the program diffaccel, which draws pictures, writes texts
and makes sounds of prompts, and trains routers and pruned models.
TEXT
control diffaccel-models science all "" "diffaccel" "small models for DiffAccel" <<'TEXT'
Small models that were trained for DiffAccel: a Stable Diffusion model of
emoji, class-conditional models of clothes, a next-scale pair and a masked
language model. They are for first steps and tests.
TEXT
control libdiffaccel0-dbgsym debug "$architecture" "libdiffaccel0 (= $VERSION)" "" "debug symbols for libdiffaccel0 and diffaccel" <<'TEXT'
Debug information of the shared library and of the command line, found by
debuggers by the numbers of the builds.
TEXT
rm -f "$work/libdiffaccel0-dbgsym/DEBIAN/md5sums"

for package in libdiffaccel0 libdiffaccel-dev diffaccel diffaccel-models libdiffaccel0-dbgsym; do
    case $package in *-models) kind=all level=0 ;; *) kind=$architecture level=3 ;; esac
    dpkg-deb --root-owner-group -Zxz -z$level --build "$work/$package" "$output/${package}_${VERSION}_$kind.deb"
done
