#!/bin/sh
# A Swift package that depends on this one by version, through a git server's URL: builds the Swift lines of FirstSteps.md and runs them.
# Usage: swift_package.sh   (SWIFT and PACKAGE_FOLDER, where it is built, may be set). Takes what is committed.
# Ends with "N passed, N failed"; the exit code is 0 only when nothing failed.
set -u

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
swift=${SWIFT:-swift}
folder=${PACKAGE_FOLDER:-$root/.build-package/by-version}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/bindings/python/pyproject.toml")
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT INT TERM
. "$here/../checks.sh"

# The repository as a server has it after a release.
"$root/Packaging/package_repository.sh" "$version" "$work/diffaccel.git" || exit 2
size=$(du -sk "$work/diffaccel.git" | cut -f1)
check "what a package fetches is under 60 MB (found $size KiB)" test "$size" -lt 61440
git clone --quiet --bare --depth 1 "file://$root" "$work/whole.git" || exit 2
size=$(du -sk "$work/whole.git" | cut -f1)
check "a clone of this one commit, models and all, is under 60 MB too (found $size KiB)" test "$size" -lt 61440

mkdir -p "$folder/Sources/quick-start"
cat >"$folder/Package.swift" <<SWIFT
// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "quick-start",
    dependencies: [.package(url: "file://$work/diffaccel.git", from: "$version")],
    targets: [.executableTarget(name: "quick-start", dependencies: [.product(name: "DiffAccel", package: "diffaccel")])])
SWIFT
awk '/^```swift$/ { inside = !done; next } /^```/ { if (inside) done = 1; inside = 0 } inside' "$root/Sources/DiffAccel/Documentation.docc/FirstSteps.md" >"$folder/Sources/quick-start/main.swift"
cat >>"$folder/Sources/quick-start/main.swift" <<'SWIFT'
for images in [result.images, apple.images] { print(images.map { [$0.count, $0.height, $0.width, $0.channels] } ?? []) }
SWIFT
rm -f "$folder/Package.resolved"
check "a package by version is built" "$swift" build -c release --package-path "$folder"
check "the version is the one asked for" sh -c "grep -A12 '\"diffaccel\"' '$folder/Package.resolved' | grep -q '\"version\" : \"$version\"'"
check "the Swift lines of FirstSteps.md run" sh -c "cd '$root' && '$folder/.build/release/quick-start' | grep -F '[2, 28, 28, 1]'"

echo "$passed passed, $failed failed"
test "$failed" -eq 0
