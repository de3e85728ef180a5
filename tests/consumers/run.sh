#!/usr/bin/env bash
# Builds and runs small projects that use mta in the ways that users do: tests/consumers/run.sh [WORK_FOLDER]
# SPDX-License-Identifier: MIT
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source_tree=$(cd "$here/../.." && pwd)
work=${1:-$source_tree/build/consumers}
prefix="$work/installed tree" # with a blank: users have such folders
rm -rf "$work"
mkdir -p "$work"

say() { printf 'consumers: %s\n' "$*"; }

quietly() {
    "$@" >"$work/log" 2>&1 || { cat "$work/log"; say "failed: $*"; exit 1; }
}

run_programs() {
    for program in use_mta use_io; do
        "$1/$program" || { say "$2: $program gave exit status $?, expected 0"; exit 1; }
    done
    say "$2: both programs built and ran"
}

cmake_consumer() {
    local way=$1
    shift
    quietly cmake -S "$here/$way" -B "$work/$way" -DCMAKE_BUILD_TYPE= "$@"
    quietly cmake --build "$work/$way" -j "$(nproc)"
    run_programs "$work/$way" "$way"
}

say "installing into $prefix"
quietly cmake -S "$source_tree" -B "$work/install" -DMTA_BUILD_TESTS=OFF -DMTA_BUILD_BENCH=OFF -DMTA_BUILD_EXAMPLES=OFF
quietly cmake --install "$work/install" --prefix "$prefix"
version=$(PKG_CONFIG_PATH="$prefix/share/pkgconfig" pkg-config --modversion mta-oracle)

# The tree is moved after it was installed: nothing in it may remember where it was.
mv "$prefix" "$prefix, moved"
prefix="$prefix, moved"
cmake_consumer find_package "-DCMAKE_PREFIX_PATH=$prefix" "-DEXPECTED_VERSION=$version"
cmake_consumer add_subdirectory "-DMTA_SOURCE=$source_tree"
cmake_consumer fetch_content "-DMTA_SOURCE=$source_tree"
quietly bash "$here/pkg_config/build.sh" "$prefix" "$work/pkg_config"
run_programs "$work/pkg_config" pkg-config
