# Sourced with the library's path in $library: the library takes no notice of the Swift runtime's variables, so tests run with all of them
# set, the crash reporter's to what would print at once and install handlers.
for name in $(grep -aoE 'SWIFT_[A-Z_]+[A-Z]' "$library" | LC_ALL=C sort -u); do export "$name=YES"; done
export SWIFT_BACKTRACE=enable=yes,warnings=enabled,interactive=no,output-to=stderr
