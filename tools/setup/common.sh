# Sourced by `run`: words on the terminal, and stamps that tell what has been done already.
# shellcheck shell=bash

log_folder=$INTEROP_CACHE/log
stamp_folder=$INTEROP_CACHE/stamps
shortfalls=() # what could not be set up, one sentence each; empty when all is well

# All of it goes to standard error, so that `./run ... --json | tool` stays clean.
say() { printf '%s\n' "$*" >&2; }
die() {
    say "run: $*"
    exit 1
}

# shortfall SENTENCE: remember it, go on with what there is; report_shortfalls prints them together.
shortfall() { shortfalls+=("$1"); }

report_shortfalls() {
    [ ${#shortfalls[@]} -gt 0 ] || return 0
    say ""
    say "Set-up is incomplete; what does not need these runs all the same:"
    local line
    for line in "${shortfalls[@]}"; do say "  - $line"; done
    say ""
}

# step TITLE COMMAND...: run it with its output in a log file; print what is done and how long it took, or the
# end of the log when it fails.
step() {
    local title=$1 started=$SECONDS log status=0
    shift
    mkdir -p "$log_folder"
    log=$log_folder/$(printf '%s' "$title" | tr -cs 'A-Za-z0-9' '-' | cut -c1-40).log
    printf '  %s ... ' "$title" >&2
    "$@" >"$log" 2>&1 </dev/null || status=$?
    if [ $status -eq 0 ]; then
        say "done ($((SECONDS - started)) s)"
    else
        say "FAILED ($((SECONDS - started)) s); the end of $log:"
        tail -n 12 "$log" | sed 's/^/    | /' >&2
    fi
    return $status
}

# digest FILE_OR_FOLDER...: one hash over the contents of all files found there; missing ones count as empty.
digest() {
    local path existing=()
    for path in "$@"; do [ -e "$path" ] && existing+=("$path"); done
    [ ${#existing[@]} -gt 0 ] || { echo none; return; }
    find "${existing[@]}" -name build -prune -o -type f ! -name '*.pyc' -print0 | LC_ALL=C sort -z |
        xargs -0 sha256sum | sha256sum | cut -c1-32
}

# A stamp NAME holds the key under which that piece of set-up last succeeded.
is_done() { [ "$(cat "$stamp_folder/$1" 2>/dev/null)" = "$2" ]; }
mark_done() {
    mkdir -p "$stamp_folder"
    printf '%s\n' "$2" >"$stamp_folder/$1"
}

# Two runs at once: the second waits for the first one's set-up instead of spoiling it.
lock_cache() {
    mkdir -p "$INTEROP_CACHE" || die "cannot write to $INTEROP_CACHE; set INTEROP_CACHE to a folder of yours"
    command -v flock >/dev/null || return 0
    exec {cache_lock}>"$INTEROP_CACHE/lock"
    if ! flock -n "$cache_lock"; then
        say "  waiting for another ./run to finish its set-up ..."
        flock "$cache_lock"
    fi
}
unlock_cache() { [ -z "${cache_lock-}" ] || exec {cache_lock}>&-; }
