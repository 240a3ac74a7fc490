# Sourced by `run`: the checks of `./run lint` and `./run test`, and small helpers of the commands.
# shellcheck shell=bash

failed_checks=()

check() { # NAME COMMAND...: all checks run, so that one look shows everything
    local name=$1
    shift
    printf '== %s\n' "$name"
    "$@" || failed_checks+=("$name")
}

native_sources() { find "$softgpu/native" -name '*.c' -o -name '*.cpp' -o -name '*.cu' -o -name '*.h' -o -name '*.hpp'; }

run_lint() {
    local sources typed said pyright
    cd "$root"
    said=$(mktemp)
    pyright --warnings >"$said" 2>&1 & # takes as long as all others together
    pyright=$!
    mapfile -t typed < <(compgen -G 'plugins/*/src'; compgen -G 'plugins/*/tests')
    check "ruff check" ruff check .
    check "ruff format" ruff format --check .
    check "mypy" mypy interop backends tests tools examples benchmarks "${typed[@]}"
    mapfile -t sources < <(native_sources)
    [ ${#sources[@]} -eq 0 ] || check "clang-format" clang-format --dry-run --Werror "${sources[@]}"
    check "pyright" wait "$pyright"
    cat "$said" && rm -f "$said"
    [ ${#failed_checks[@]} -eq 0 ] || { say "lint failed: ${failed_checks[*]}" && return 1; }
}

# Strict: a broken link, a missing page or an unknown name fails it.
build_docs() { (cd "$root" && NO_MKDOCS_2_WARNING=1 python -m mkdocs build --site-dir "$INTEROP_CACHE/site"); }

# pytest's own closing line comes last unless something outside it failed.
run_tests() {
    local checks=0 tests=0
    run_lint || checks=$?
    check "docs" build_docs
    [ ${#failed_checks[@]} -eq 0 ] || checks=1
    # Kernels compiled by an earlier run must not hide a compiler that fails now.
    export PYOPENCL_NO_CACHE=1
    # Whole files to each worker, in the order of tests/conftest.py: what a file shares, it makes once.
    python -m pytest -p tests._skips -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder "$@" || tests=$?
    if [ $checks -ne 0 ] || [ ${#shortfalls[@]} -gt 0 ]; then
        [ $checks -eq 0 ] || say "./run test: failed, by ${failed_checks[*]}"
        report_shortfalls
        exit 1
    fi
    exit $tests
}

wants_png() { # do the arguments already say where the picture goes, or that none is wanted?
    local argument
    for argument in "$@"; do
        case $argument in --png | --png=* | --no-png | --help | -h) return 0 ;; esac
    done
    return 1
}
