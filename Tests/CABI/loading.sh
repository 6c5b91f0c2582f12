# Sourced by run.sh: hosts that have symbols and environment variables of their own, in every way of loading.

guests="$here/guest.c $here/tiny_checkpoint.c"
guest_flags="-std=gnu11 -O1 -Wall -Wextra -Werror -I$root/include"
against_library="-L$folder -ldiffaccel -Wl,-rpath,$folder"
# shellcheck disable=SC2086
check "the guest compiles" "$cc" $guest_flags $guests -o "$work/guest" -ldl -lm
# shellcheck disable=SC2086
check "the linked guest compiles" "$cc" $guest_flags $guests -o "$work/guest-linked" -Wl,--no-as-needed $against_library -ldl -lm

# Without anything odd: the bits that every other run must give.
env -i "$work/guest" local "$library" >"$work/guest-bits" 2>"$work/guest-notes"
check "the library is loaded and leaves nothing behind" test -s "$work/guest-bits" -a ! -s "$work/guest-notes"

# guest DESCRIPTION COMMAND...: the command prints the same bits, and nothing else.
guest() {
    what=$1
    shift
    timeout 60 "$@" >"$work/guest-found" 2>"$work/guest-notes"
    cat "$work/guest-notes" >>"$work/guest-found"
    check "$what" diff "$work/guest-bits" "$work/guest-found"
}

# ---- symbols: all that the library has inside, as functions of the host that must not be called ----

# What the C library itself has is left out: a host that defines malloc means it for everybody (interposable.txt).
# So is atexit, which every object has a copy of.
{ ldd "$library" | awk '$3 ~ /^\// { print $3 }' | xargs nm -D --defined-only; } 2>/dev/null | awk 'NF == 3 { sub(/@.*/, "", $3); print $3 }' |
    LC_ALL=C sort -u >"$work/system.txt"
nm --defined-only "$library" | awk 'NF == 3 && $3 !~ /^(da_|_init$|_fini$|atexit$|_GLOBAL_|__do_global|frame_dummy|_DYNAMIC|__dso_handle$|__TMC_END__$|__FRAME_END__$|(de)?register_tm_clones$)/ && $3 !~ /[."\\]/ {
    print $3 }' | LC_ALL=C sort -u | LC_ALL=C comm -23 - "$work/system.txt" >"$work/inside.txt"
check "the library has its symbols, jansson's, C++'s and the Swift runtime's among them (or: stripped)" \
    sh -c "for name in json_object_get json_loads hashtable_set swift_retain _Znwm __cxa_guard_acquire; do grep -qx \$name '$work/inside.txt' || exit 1; done"
{
    echo '.text'
    sed 's/.*/.globl "&"\n"&":/' "$work/inside.txt"
    case $(uname -m) in aarch64) echo 'brk #1' ;; *) echo 'ud2' ;; esac
    echo '.section .note.GNU-stack,"",%progbits'
} >"$work/traps.s"
check "a library of traps" "$cc" -shared "$work/traps.s" -o "$work/libtraps.so"
# shellcheck disable=SC2086
check "a program of traps" "$cc" $guest_flags $guests "$work/traps.s" -rdynamic -o "$work/guest-traps" -Wl,--no-as-needed $against_library -ldl -lm
# shellcheck disable=SC2086
check "a program with a library of traps" "$cc" $guest_flags $guests -o "$work/guest-beside" -Wl,--no-as-needed "$work/libtraps.so" \
    $against_library -Wl,-rpath,"$work" -ldl -lm

guest "linked, symbols in a preloaded library" env LD_PRELOAD="$work/libtraps.so" "$work/guest-linked" linked
guest "linked, symbols in the program" "$work/guest-traps" linked
guest "linked, symbols in another library of the program" "$work/guest-beside" linked
for mode in local global deep lazy; do
    guest "dlopen ($mode), symbols in a preloaded library" env LD_PRELOAD="$work/libtraps.so" "$work/guest" $mode "$library"
    guest "dlopen ($mode), symbols in a library opened before" "$work/guest" $mode "$library" "$work/libtraps.so"
    guest "dlopen ($mode), bound at once" env LD_BIND_NOW=1 "$work/guest" $mode "$library" "$work/libtraps.so"
done

# The real ones, of whatever version the host has: jansson, C++, another Swift runtime.
swift_libraries=$(dirname -- "$(readlink -f -- "$(command -v "${SWIFT:-swift}" || echo /usr/bin/swift)")")/../lib/swift/linux
for other in libjansson.so.4 libstdc++.so.6 libgcc_s.so.1 "$swift_libraries/libswiftCore.so"; do
    "$work/guest" local "$library" "$other" >/dev/null 2>&1 || continue
    for mode in local global deep; do
        guest "dlopen ($mode) after $(basename "$other")" env -i "$work/guest" $mode "$library" "$other"
    done
done

# ---- what may be interposed is known ----

nm -D --undefined-only "$library" | awk '{ sub(/@.*/, "", $2); print $2 }' | LC_ALL=C sort >"$work/undefined.txt"
awk '!/^(#|@|$)/ { for (i = 2; i <= NF; i++) print $i }' "$here/interposable.txt" | LC_ALL=C sort -u >"$work/interposable.txt"
check "every symbol that a host could take the place of is in interposable.txt, with a reason" \
    sh -c "! LC_ALL=C comm -23 '$work/undefined.txt' '$work/interposable.txt' | grep ."
check "every reason in interposable.txt is explained" sh -c \
    "awk '/^@/ { known[substr(\$1, 2)] = 1 } !/^(#|@|\$)/ && !(\$1 in known) { print; bad = 1 } END { exit bad }' '$here/interposable.txt'"
readelf -d "$library" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | grep -vE '^(libc\.so\.6|libm\.so\.6|libpthread\.so\.0|libdl\.so\.2|ld-linux[-a-z0-9_]*\.so\.[12])$' >"$work/needed.txt"
check "it needs the C library and nothing else" sh -c "! grep . '$work/needed.txt'"
objdump -T "$library" | grep -oE 'GLIBC_2\.[0-9]+' | sort -u | awk -F. '$2 > 27' >"$work/newer.txt"
check "it needs nothing of the C library that is newer than glibc 2.27 (Sources/COlderLibc)" sh -c "! grep . '$work/newer.txt'"
check "its own symbols have a version without the name of a folder" sh -c "! readelf -V '$library' | grep 'Name: .*/'"
# A constructor more would run in the host before it has asked for anything.
nm "$library" | sed -n 's/.* _GLOBAL__sub_I_//p' | grep -vxE 'MetadataLookup.cpp|GlobalObjects.cpp|Linux.cpp|eh_alloc.cc|system_error.cc' >"$work/constructors.txt"
check "no constructor runs that is not known" sh -c "! grep . '$work/constructors.txt'"

# ---- the Swift runtime's variables: every one that the library has the name of ----

swift_variables=$(grep -aoE 'SWIFT_[A-Z_]+[A-Z]' "$library" | LC_ALL=C sort -u)
check "the library has names of the Swift runtime's variables" test "$(echo "$swift_variables" | wc -l)" -ge 20
for value in enable=yes,warnings=enabled,output-to=stderr enable=tty,format=x YES 1 no /no/such/path 5.9; do
    all_set=$(for name in $swift_variables; do echo "$name=$value"; done)
    # shellcheck disable=SC2086
    guest "every variable of the Swift runtime is $value" env $all_set "$work/guest" local "$library"
    # shellcheck disable=SC2086
    guest "every variable of the Swift runtime is $value, linked" env $all_set "$work/guest-linked" linked
done
guest "variables of the C and C++ libraries" env GLIBCXX_FORCE_NEW=1 GLIBCXX_TUNABLES=glibcxx.eh_pool.obj_count=0 LC_ALL=xx_YY \
    MALLOC_ARENA_MAX=1 OMP_NUM_THREADS=0 OPENBLAS_NUM_THREADS=x JANSSON_SEED=1 "$work/guest" local "$library"
