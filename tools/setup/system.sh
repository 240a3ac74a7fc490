# Sourced by `run`: the few system packages that wheels cannot bring (the Vulkan loader, an OpenCL driver for the
# CPU, a C++ compiler, the headers of OpenCL; for tests Mesa's Vulkan driver, the validation layer, glslang).
#
# Only what is missing is fetched. Root on Debian or Ubuntu installs it with apt-get. Everybody else there gets it
# unpacked into the cache: apt-get resolves and downloads with state and cache folders of its own, dpkg-deb
# unpacks, and environment.sh points the loaders and compilers at the result. The system is not touched.
# shellcheck shell=bash

sysroot=$INTEROP_CACHE/sysroot
apt_folder=$INTEROP_CACHE/apt
environment_file=$INTEROP_CACHE/environment.sh

# ---- what is there -------------------------------------------------------------------------------------------

has_library() {
    [ -n "$(find "$sysroot/usr/lib" -maxdepth 2 -name "$1" 2>/dev/null)" ] ||
        { PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null || true; } | grep -qF "$1 "
}
has_vulkan() { has_library libvulkan.so.1; }
has_opencl() { # one that runs on the CPU; a GPU's alone does not do
    grep -qliE 'pocl|intelocl' /etc/OpenCL/vendors/*.icd "$sysroot"/etc/OpenCL/vendors/*.icd 2>/dev/null
}
find_compiler() {
    local candidate
    for candidate in ${CXX:+"$CXX"} "$INTEROP_CACHE/bin/c++" g++ c++ clang++; do
        if command -v "$candidate" >/dev/null && compiles_cxx17 "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}
compiles_cxx17() { # headers and linker included: a bare compiler package lacks one or the other
    printf '#include <cmath>\n#include <thread>\nint main() { return std::isnan(std::sqrt(2.0)); }\n' |
        "$1" -std=c++17 -x c++ -shared -fPIC -o /dev/null - 2>/dev/null
}
has_compiler() { find_compiler >/dev/null; }
has_file() { # PATTERN...: does any of them match a file?
    local pattern
    for pattern in "$@"; do compgen -G "$pattern" >/dev/null && return 0; done
    return 1
}
has_headers() { has_file {/usr/include,/usr/local/include,"$sysroot/usr/include"}/CL/cl_layer.h; }
has_lavapipe() { has_file {/usr/share,/etc,"$sysroot/usr/share"}/vulkan/icd.d/lvp_icd'*.json'; }
has_glslang() { [ -x "$sysroot/usr/bin/glslangValidator" ] || command -v glslangValidator >/dev/null; }
has_validation() {
    has_file {/usr/share,/etc,"$sysroot/usr/share"}/vulkan/explicit_layer.d/VkLayer_khronos_validation.json
}

# need: package on Debian and Ubuntu | on Fedora | on Arch | what it is
describe_need() {
    case $1 in
        vulkan) echo 'libvulkan1|vulkan-loader|vulkan-icd-loader|the Vulkan loader' ;;
        opencl) echo 'pocl-opencl-icd|pocl|pocl|an OpenCL driver for the CPU (PoCL)' ;;
        compiler) echo 'g++|gcc-c++|gcc|a C++17 compiler' ;;
        headers) echo 'opencl-headers|opencl-headers|opencl-headers|the headers of OpenCL' ;;
        glslang) echo 'glslang-tools|glslang|glslang|the compiler of GLSL' ;;
        lavapipe) echo "mesa-vulkan-drivers|mesa-vulkan-drivers|vulkan-swrast|Mesa's Vulkan driver for the CPU" ;;
        validation)
            echo 'vulkan-validationlayers|vulkan-validation-layers|vulkan-validation-layers|the validation layer'
            ;;
    esac
}

# ---- how to get the rest -------------------------------------------------------------------------------------

has_apt() { command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; }
can_install_packages() {
    has_apt && case ${INTEROP_SYSTEM:-auto} in
        auto) [ "$(id -u)" = 0 ] ;;
        install) true ;;
        *) false ;;
    esac
}
can_unpack_packages() {
    has_apt && case ${INTEROP_SYSTEM:-auto} in auto | unpack) true ;; *) false ;; esac
}

# The package lists may be missing (images), or too old for what the mirror still has.
install_packages() {
    has_file '/var/lib/apt/lists/*Packages*' || step "Package lists" apt-get -q update || return
    step "System packages: $*" apt_install "$@" ||
        { step "Package lists" apt-get -q update && step "System packages: $*" apt_install "$@"; }
}
apt_install() { DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$@"; }

# The system's own configuration of apt (mirrors, proxies, keys), less its folders and hooks, which are root's.
write_apt_configuration() {
    mkdir -p "$apt_folder"/{state/lists/partial,cache/archives/partial,log,parts}
    {
        apt-config dump | grep -vE '^(Dir|DPkg|Unattended-Upgrade)|Invoke|^APT::(Periodic|Sandbox)'
        printf 'Dir::State "%s";\nDir::Cache "%s";\nDir::Log "%s";\n' "$apt_folder"/{state,cache,log}
        printf 'Dir::Etc::parts "%s";\nDir::State::status "%s";\n' "$apt_folder"/{parts,status}
        printf 'Debug::NoLocking "true";\nAPT::Get::Assume-Yes "true";\nAPT::Install-Recommends "false";\n'
        printf 'Acquire::Languages "none";\n'
        [ "$(id -u)" != 0 ] || printf 'APT::Sandbox::User "root";\n' # the cache need not be readable to _apt
    } >"$apt_folder/apt.conf"
    # What the system has, and what was unpacked before: neither is fetched again.
    cat /var/lib/dpkg/status "$sysroot/packages" >"$apt_folder/status" 2>/dev/null || true
    export APT_CONFIG=$apt_folder/apt.conf
}

unpack_packages() {
    write_apt_configuration
    has_file "$apt_folder/state/lists/*Packages*" ||
        step "Package lists (not touching the system's)" apt-get -q update || return
    step "System packages, into the cache: $*" apt_unpack "$@" ||
        { step "Package lists" apt-get -q update && step "System packages, into the cache: $*" apt_unpack "$@"; }
}
apt_unpack() {
    local archive
    apt-get -q install --download-only "$@" || return
    prepare_sysroot
    for archive in "$apt_folder"/cache/archives/*.deb; do
        [ -e "$archive" ] || continue # the system has it all
        dpkg-deb --fsys-tarfile "$archive" |
            tar -x -C "$sysroot" --keep-directory-symlink --no-same-owner --exclude './usr/share/doc' || return
        dpkg-deb --field "$archive" | sed '1i Status: install ok installed' >>"$sysroot/packages" || return
        echo >>"$sysroot/packages"
        rm "$archive"
    done
    relocate_sysroot
}

# /lib and /bin are links into /usr on the systems at hand, while some packages still say /lib.
prepare_sysroot() {
    local folder
    for folder in bin sbin lib lib64; do
        mkdir -p "$sysroot/usr/$folder"
        [ -e "$sysroot/$folder" ] || ln -s "usr/$folder" "$sysroot/$folder"
    done
}

# Packages expect to live in /: point what is absolute or dangling to where it is.
relocate_sysroot() {
    local link target name folder
    # A link to a file of a package that the system has already (libstdc++.so -> libstdc++.so.6) dangles here.
    find "$sysroot" -xtype l | while read -r link; do
        target=$(readlink "$link")
        case $target in /*) target=$sysroot$target ;; *) target=$(dirname "$link")/$target ;; esac
        target=$(realpath -ms "$target")
        name=${target#"$sysroot"}
        if [ -e "$target" ]; then
            ln -sfn "$target" "$link"
        elif [ "$name" != "$target" ] && [ -e "$name" ]; then
            mkdir -p "${target%/*}" && ln -sfn "$name" "$target"
        fi
    done
    # Linker scripts name these files; the C library itself must stay the system's.
    for folder in "$sysroot"/usr/lib/*-linux-gnu; do
        for name in libc.so.6 libm.so.6 libmvec.so.1 libgcc_s.so.1 ld-linux-x86-64.so.2 ld-linux-aarch64.so.1; do
            [ -e "/lib/${folder##*/}/$name" ] && ln -sfn "/lib/${folder##*/}/$name" "$folder/$name"
        done
    done
    for name in "$sysroot"/usr/lib/*-linux-gnu/ld-linux-*.so.*; do
        [ -e "$name" ] && ln -sfn "$name" "$sysroot/usr/lib64/${name##*/}"
    done
    for name in "$sysroot"/usr/share/vulkan/icd.d/*.json; do
        [ -e "$name" ] && sed -i "s|\"library_path\": *\"/usr/|\"library_path\": \"$sysroot/usr/|" "$name"
    done
    return 0
}

# ---- where loaders and compilers look ------------------------------------------------------------------------

# A compiler from the cache is one command with its sysroot inside: CMake and the HIP runtime want a single path.
write_wrappers() {
    local machine compiler name option=''
    [ -d "$sysroot/usr/bin" ] || return 0
    machine=$(uname -m)-linux-gnu
    # Where the system has the C library's headers, they were not unpacked and the compiler finds them by itself.
    [ ! -e "$sysroot/usr/include/stdio.h" ] || option="--sysroot='$sysroot'"
    for name in gcc g++; do
        compiler=$(find "$sysroot/usr/bin" -name "$machine-$name-[0-9]*" | sort -V | tail -n 1)
        [ -n "$compiler" ] || continue
        write_wrapper "$name" "'$compiler' $option"
        case $name in gcc) ln -sf gcc "$INTEROP_CACHE/bin/cc" ;; g++) ln -sf g++ "$INTEROP_CACHE/bin/c++" ;; esac
    done
    # PoCL links with the `ld` on the path and knows only the system's folders, where no compiler has put its files.
    compiler=$(find "$sysroot/usr/lib/gcc/$machine" -name libgcc.a 2>/dev/null | head -n 1) || true
    if [ -n "$compiler" ]; then
        name=$sysroot/usr/bin/ld
        [ -e "$name" ] || name=/usr/bin/ld
        write_wrapper ld "'$name' $option" "-L'${compiler%/*}' -L'$sysroot/usr/lib/$machine'"
    fi
}
write_wrapper() { # NAME COMMAND [LAST ARGUMENTS]
    mkdir -p "$INTEROP_CACHE/bin"
    printf '#!/bin/sh\nexec %s "$@" %s\n' "$2" "${3-}" >"$INTEROP_CACHE/bin/$1"
    chmod +x "$INTEROP_CACHE/bin/$1"
}

# Written once, sourced by every ./run.
write_environment() {
    local vendors=$INTEROP_CACHE/opencl-vendors icd folder
    mkdir -p "$INTEROP_CACHE"
    {
        echo "# Written by ./run; delete $INTEROP_CACHE to start over."
        if [ -d "$sysroot/usr" ]; then
            folder=$(find "$sysroot/usr/lib" -maxdepth 1 -name '*-linux-gnu' | head -n 1)
            echo "export XDG_DATA_DIRS=\${XDG_DATA_DIRS:-/usr/local/share:/usr/share}"
            echo "search_also LD_LIBRARY_PATH '$folder'"
            echo "search_also PATH '$sysroot/usr/bin'"
            echo "search_also XDG_DATA_DIRS '$sysroot/usr/share'"
            echo "search_also CMAKE_PREFIX_PATH '$sysroot/usr'"
        fi
        if compgen -G "$sysroot/etc/OpenCL/vendors/*.icd" >/dev/null; then
            rm -rf "$vendors" && mkdir -p "$vendors"
            for icd in /etc/OpenCL/vendors/*.icd "$sysroot"/etc/OpenCL/vendors/*.icd; do
                [ -e "$icd" ] && cp "$icd" "$vendors/"
            done
            echo "export OCL_ICD_VENDORS=\${OCL_ICD_VENDORS:-'$vendors'}"
        fi
        if [ -x "$INTEROP_CACHE/bin/c++" ]; then
            echo "export CC=\${CC:-'$INTEROP_CACHE/bin/cc'} CXX=\${CXX:-'$INTEROP_CACHE/bin/c++'}"
            echo "export SOFTGPU_CXX=\${SOFTGPU_CXX:-'$INTEROP_CACHE/bin/c++'}"
        fi
    } >"$environment_file.new"
    mv "$environment_file.new" "$environment_file"
}

search_also() { # VARIABLE FOLDER: append it, once
    case ":${!1-}:" in *":$2:"*) ;; *) export "$1=${!1:+${!1}:}$2" ;; esac
}

# Also called on the fast path: no process may be started here. Calling it twice is harmless.
enter_environment() {
    case :$PATH: in *":$venv/bin:"*) ;; *) PATH=$venv/bin:$INTEROP_CACHE/bin:$PATH ;; esac
    export PATH VIRTUAL_ENV=$venv
    export CMAKE_GENERATOR=${CMAKE_GENERATOR:-Ninja} # from its wheel; make may be missing
    export POCL_CACHE_DIR=${POCL_CACHE_DIR:-$INTEROP_CACHE/pocl}
    # shellcheck disable=SC1090
    [ ! -e "$environment_file" ] || . "$environment_file"
}

# set_up_system NEED...: see to it that each need is met, or say what to install.
set_up_system() {
    local need missing=() packages=() fedora arch what debian
    for need in "$@"; do "has_$need" || missing+=("$need"); done
    if [ ${#missing[@]} -gt 0 ]; then
        for need in "${missing[@]}"; do packages+=("$(describe_need "$need" | cut -d'|' -f1)"); done
        if can_install_packages; then
            install_packages "${packages[@]}" || true
        elif can_unpack_packages; then
            unpack_packages "${packages[@]}" || true
        fi
    fi
    write_wrappers
    write_environment
    enter_environment
    for need in "${missing[@]}"; do
        "has_$need" && continue
        IFS='|' read -r debian fedora arch what < <(describe_need "$need")
        shortfall "$what is missing. Install it: apt-get install $debian (Fedora: $fedora, Arch: $arch)"
    done
}
