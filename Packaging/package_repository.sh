#!/bin/sh
# Makes, or continues, a repository for Swift packages to fetch: a commit and a tag for each version, without the history and what a package
# does not build (the models and golden sets, nine tenths of a clone).
# Usage: package_repository.sh VERSION FOLDER.git   of what is committed; push FOLDER.git to where packages depend on it.
set -eu

version=$1
folder=$2
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
objects=$(cd "$root" && realpath "$(git rev-parse --git-path objects)")
[ -d "$folder" ] || git init --quiet --bare --initial-branch=main "$folder"
GIT_DIR=$(realpath "$folder")
GIT_INDEX_FILE=$GIT_DIR/package-index
GIT_ALTERNATE_OBJECT_DIRECTORIES=$objects
listed=$(git -C "$root" ls-tree -r --full-tree HEAD | grep -v -e '	Models/' -e '	Tests/Golden/')
name=$(git -C "$root" log -1 --format=%an)
email=$(git -C "$root" log -1 --format=%ae)
date=$(git -C "$root" log -1 --format=%cI)
export GIT_DIR GIT_INDEX_FILE GIT_ALTERNATE_OBJECT_DIRECTORIES
export GIT_AUTHOR_NAME="$name" GIT_AUTHOR_EMAIL="$email" GIT_AUTHOR_DATE="$date" GIT_COMMITTER_NAME="$name" GIT_COMMITTER_EMAIL="$email" GIT_COMMITTER_DATE="$date"

rm -f "$GIT_INDEX_FILE"
printf '%s\n' "$listed" | git update-index --index-info
tree=$(git write-tree)
parent=$(git rev-parse --verify --quiet refs/heads/main || true)
commit=$(git commit-tree "$tree" ${parent:+-p "$parent"} -m "DiffAccel $version")
git update-ref refs/heads/main "$commit"
git tag -a -m "DiffAccel $version" "$version" "$commit"
rm -f "$GIT_INDEX_FILE"
# Everything of it in itself: what was only looked up in the other repository is copied.
git repack -a -d -q
echo "$folder: $version, $(du -sk "$folder" | cut -f1) KiB"
