# Sourced by scripts of tests with a folder in $work: checks that count themselves.
passed=0
failed=0

# check DESCRIPTION COMMAND...: counts one check by the command's exit code; its output is shown when it fails.
check() {
    what=$1
    shift
    if "$@" >"$work/output" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $what"
        sed 's/^/    /' "$work/output" | tail -20
    fi
}
