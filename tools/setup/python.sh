# Sourced by `run`: a Python environment in the cache with this tree installed into it, editable.
# shellcheck shell=bash

venv=$INTEROP_CACHE/venv

is_good_python() {
    "$1" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in ${INTEROP_PYTHON:+"$INTEROP_PYTHON"} python3 python3.13 python3.12 python3.11 python3.14; do
        if command -v "$candidate" >/dev/null && is_good_python "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# The environment itself. uv makes one even where no Python is installed; else Python's venv does.
make_environment() {
    local python
    if command -v uv >/dev/null; then
        step "Python environment (uv)" uv venv --quiet --clear --seed --python "${INTEROP_PYTHON:->=3.11}" "$venv" && return
    fi
    if ! python=$(find_python); then
        if can_install_packages; then install_packages python3 python3-venv || true; fi
        python=$(find_python) || die "needs Python 3.11 or newer (on Debian 12, Ubuntu 24.04 or later:" \
            "apt-get install python3 python3-venv); or set INTEROP_PYTHON; or install uv, which brings a Python"
    fi
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        environment_without_ensurepip "$python"
    else
        step "Python environment ($("$python" -V))" "$python" -m venv --clear "$venv" || die "cannot make $venv"
    fi
}

# Debian packs pip's wheel apart from Python: install the package, or borrow the wheel from it.
environment_without_ensurepip() {
    local python=$1 package wheel
    package=python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv
    if can_install_packages && install_packages "$package"; then
        step "Python environment ($("$python" -V))" "$python" -m venv --clear "$venv" || die "cannot make $venv"
    elif can_unpack_packages && unpack_packages python3-pip-whl; then
        wheel=$(find {,"$sysroot"}/usr/share/python-wheels -name 'pip-*.whl' 2>/dev/null | head -n 1) || true
        step "Python environment, pip" venv_from_wheel "$python" "$wheel" || die "cannot make $venv"
    else
        die "$python lacks ensurepip: install $package (apt-get install $package), then run this again"
    fi
}
venv_from_wheel() { "$1" -m venv --clear --without-pip "$venv" && "$venv/bin/python" "$2/pip" install pip; }

install_python_packages() {
    if command -v uv >/dev/null && ! [ -x "$venv/bin/pip" ]; then
        VIRTUAL_ENV=$venv uv pip install "$@"
    else
        "$venv/bin/python" -m pip install --progress-bar off --disable-pip-version-check "$@"
    fi
}

# Distributions of this tree besides its root and the software drivers, which drivers.sh builds.
list_plugins() {
    printf '%s\n' "$root/plugins/numpy"
    # The CUDA bindings are of no use without the driver; the checks install them, and NVRTC, for the plugin's
    # own tests, which run over a stand-in for the driver.
    if [ "$1" = dev ]; then
        printf '%s\n' "$root/plugins/cuda[cuda13]"
    elif [ -e /proc/driver/nvidia/version ]; then
        printf '%s\n' "$root/plugins/cuda"
    fi
}

install_base() {
    local editable=() folder
    while read -r folder; do editable+=(-e "$folder"); done < <(list_plugins base)
    # The first pip of a distribution may be too old for dependency groups (25.1).
    install_python_packages --upgrade pip &&
        (cd "$root" && install_python_packages --group build-system) &&
        (cd "$root" && install_python_packages --no-build-isolation -e '.[all]' "${editable[@]}")
}
install_dev() {
    local editable=() folder
    while read -r folder; do editable+=(-e "$folder"); done < <(list_plugins dev)
    (cd "$root" && install_python_packages --no-build-isolation --group dev "${editable[@]}")
}
install_docs() { (cd "$root" && install_python_packages --group docs); }

# set_up_python GROUP...: the environment with this tree, and the dependency groups named (dev, docs).
set_up_python() {
    local key group
    key=$(digest "$root/pyproject.toml" "$root"/plugins/*/pyproject.toml)-$root
    # Its scripts hold absolute paths, so an environment that was moved is of no use.
    if ! [ -x "$venv/bin/python" ] || ! is_done venv "$venv"; then
        rm -f "$stamp_folder"/{base,dev,docs,native}
        make_environment
        mark_done venv "$venv"
    fi
    for group in base "$@"; do
        is_done "$group" "$key" && continue
        case $group in
            base) step "Python packages (about 130 MB)" install_base ;;
            dev) step "Tools for tests and lint (about 150 MB)" install_dev ;;
            docs) step "Tools for the documentation (about 30 MB)" install_docs ;;
        esac || die "Python packages could not be installed (above); a package index must be within reach"
        mark_done "$group" "$key"
    done
}
