# Installs or names the Debian packages that a script needs; to be sourced by bash.
# SPDX-License-Identifier: MIT
#
#   source cmake/prerequisites.sh
#   require_packages g++ cmake libeigen3-dev
#
# A package counts as present when what it provides is there, however it came. On Debian and Ubuntu the missing ones
# are installed with apt-get (through sudo when not root); elsewhere they are named in one sentence and the script ends.

# Whether the C++ compiler finds a header.
_have_header() {
    local flags
    flags=$(pkg-config --cflags eigen3 2>/dev/null || echo "-I/usr/include/eigen3 -I/usr/local/include/eigen3")
    # shellcheck disable=SC2086 # flags are several words
    printf '#include <%s>\n' "$1" | "${CXX:-c++}" -std=c++20 $flags -E -x c++ - >/dev/null 2>&1
}

_have_command() { command -v "$1" >/dev/null 2>&1; }

# Whether what a Debian package provides is there.
_have_package() {
    case $1 in
        g++) _have_command "${CXX:-c++}" ;;
        make) _have_command make || _have_command ninja ;;
        cmake | git) _have_command "$1" ;;
        pkg-config) _have_command pkg-config ;;
        python3) _have_command python3 ;;
        libeigen3-dev) _have_header unsupported/Eigen/CXX11/Tensor ;;
        nlohmann-json3-dev) _have_header nlohmann/json.hpp ;;
        libssl-dev) _have_header openssl/evp.h ;;
        libstb-dev) _have_header stb/stb_image_write.h || _have_header stb_image_write.h ;;
        libcli11-dev) _have_header CLI/CLI.hpp ;;
        doctest-dev) _have_header doctest/doctest.h ;;
        libbenchmark-dev) _have_header benchmark/benchmark.h ;;
        *) echo "prerequisites: got package $1, expected one that this script knows" >&2 && exit 2 ;;
    esac
}

# Sets `missing` to those of the named packages that are not there.
_find_missing() {
    missing=()
    local package
    for package in "$@"; do
        _have_package "$package" || missing+=("$package")
    done
}

_apt_install() {
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! _have_command sudo; then
            echo "prerequisites: missing $*; run as root or install sudo, then try again" >&2
            exit 1
        fi
        as_root=(sudo)
    fi
    echo "prerequisites: installing $*"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

# Makes sure that the named packages are there, or ends the script.
require_packages() {
    local missing
    _find_missing "$@"
    if [ ${#missing[@]} -gt 0 ]; then
        if ! _have_command apt-get; then
            echo "prerequisites: missing what Debian calls ${missing[*]}; please install it with this system's" \
                "package manager and try again" >&2
            exit 1
        fi
        _apt_install "${missing[@]}"
        _find_missing "$@"
        if [ ${#missing[@]} -gt 0 ]; then
            echo "prerequisites: ${missing[*]}: installed, but the compiler ${CXX:-c++} does not find it" >&2
            exit 1
        fi
    fi
    echo "prerequisites: all there ($*)"
}
