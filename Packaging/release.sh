#!/bin/sh
# Makes a release: release.sh VERSION, with DRY_RUN=1 in a copy of the repository that is thrown away.
set -eu

version=$1
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
fail() {
    echo "release: $*" >&2
    exit 1
}

echo "$version" | grep -qxE '(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)' || fail "a version is major.minor.patch, found \"$version\": make release VERSION=1.2.3"
[ -z "$(git status --porcelain)" ] || fail "there are changes that are not committed: commit or stash them"
if [ -n "${DRY_RUN:-}" ]; then
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    git clone --quiet --shared . "$copy/release"
    cd "$copy/release"
    git config user.name release && git config user.email release@localhost
fi

last=$(git tag --list '[0-9]*.[0-9]*.[0-9]*' | sort -V | tail -1)
written=$(sed -n 's/^version = "\(.*\)"/\1/p' bindings/python/pyproject.toml)
[ "$(printf '%s\n%s\n%s\n' "${last:-0.0.0}" "$written" "$version" | sort -V | tail -1)" = "$version" ] && [ "$version" != "$last" ] ||
    fail "$version is not later than ${last:-$written}"
notes=$(awk '/^## /{ inside = $2 == "Unreleased" } inside && !/^## /' CHANGELOG.md | grep -c '[^[:space:]]' || true)
[ "$notes" -gt 0 ] || fail "CHANGELOG.md says nothing under Unreleased"
Tests/CABI/abi.sh || fail "the C interface has lost something that was released"

# Where the version stands.
sed -i "s/^version = \".*\"/version = \"$version\"/" bindings/python/pyproject.toml
sed -i "s/versionText: StaticString = \".*\"/versionText: StaticString = \"$version\"/" Sources/DiffAccel/Library.swift
sed -i "s/^## Unreleased\$/## Unreleased\n\n## $version ($(date -u +%Y-%m-%d))/" CHANGELOG.md
grep -qx "version = \"$version\"" bindings/python/pyproject.toml || fail "bindings/python/pyproject.toml does not say its version in the known way"
grep -qF "versionText: StaticString = \"$version\"" Sources/DiffAccel/Library.swift || fail "Library.swift does not say its version in the known way"
git add -A
git commit --quiet -m "release $version"
git tag -a -m "DiffAccel $version" "$version"
git --no-pager show --stat --format='%h %s' HEAD
echo "tagged $version$([ -z "${DRY_RUN:-}" ] || echo ', in a copy that is now thrown away')"
[ -n "${DRY_RUN:-}" ] || cat <<NEXT
next: make wheel dist deb sbom test-packages, then push the commit and the tag;
      for Swift packages: Packaging/package_repository.sh $version FOLDER.git, and push that
NEXT
