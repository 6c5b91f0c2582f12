# Sourced by run.sh: what the header says in every language that includes it, and what the library exports, needs and weighs.

# ---- the header ----

printf '#include <diffaccel.h>\nint main(void) { return da_abi_version() < 0; }\n' >"$work/header.c"
cp "$work/header.c" "$work/header.cc"
strict="-pedantic -Wall -Wextra -Wpedantic -Wconversion -Werror -I$root/include"
for compiler in "$cc" gcc clang; do
    command -v "$compiler" >/dev/null 2>&1 || continue
    for standard in c99 c11 c17; do
        # shellcheck disable=SC2086
        check "the header as $standard ($compiler)" "$compiler" -std=$standard $strict -c "$work/header.c" -o "$work/header.o"
    done
done
for compiler in "$cxx" g++ clang++; do
    command -v "$compiler" >/dev/null 2>&1 || continue
    for standard in c++11 c++17 c++20; do
        # shellcheck disable=SC2086
        check "the header as $standard ($compiler)" "$compiler" -std=$standard $strict -c "$work/header.cc" -o "$work/header.o"
    done
done

# ---- the examples ----

for example in "$root"/bindings/c/*.c; do
    name=$(basename "$example" .c)
    # shellcheck disable=SC2086
    check "the example $name.c" "$cc" -std=c11 $strict "$example" -o "$work/example-$name" -L"$folder" -ldiffaccel -Wl,-rpath,"$folder" -lm
    check "the example $name tells how it is used" sh -c "'$work/example-$name' 2>&1 | grep -q '^usage: '"
done

# ---- exports, needs, size ----

nm -D --defined-only "$library" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | LC_ALL=C sort >"$work/exported.txt"
check "exported functions are those of exports.txt" diff "$here/exports.txt" "$work/exported.txt"
# Local symbols (lower case) cannot be bound to; anything else must be ours.
nm -D --defined-only "$library" | awk '$2 !~ /^[a-zA]$/ && $3 !~ /^da_/ { print }' >"$work/foreign.txt"
check "no foreign symbol is exported" test ! -s "$work/foreign.txt"
sed -n 's/^\(const char \*\|int32_t \)\(da_[a-z_]*\)(.*/\2/p' "$root/include/diffaccel.h" | LC_ALL=C sort >"$work/declared.txt"
check "exports.txt names what the header declares" diff "$here/exports.txt" "$work/declared.txt"
ldd "$library" >"$work/needs.txt"
check "neither Foundation nor another Swift library is linked" sh -c "! grep -iE 'foundation|libswift|dispatch' '$work/needs.txt'"
check "every library it needs is there" sh -c "! grep 'not found' '$work/needs.txt'"
cp "$library" "$work/stripped.so" && strip "$work/stripped.so"
size=$(wc -c <"$work/stripped.so")
check "stripped, it has at most 14 MB (found $size bytes)" test "$size" -le 14680064

# ---- what was released stays ----

check "types and functions are those of the released interface" "$here/abi.sh"
check "every promise of the header names a test that exists" "${PYTHON:-python3}" "$here/promises.py"
