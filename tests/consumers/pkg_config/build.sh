#!/usr/bin/env bash
# Builds the consumer programs with pkg-config alone: build.sh PREFIX OUTPUT_FOLDER
# SPDX-License-Identifier: MIT
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
prefix=$1 out=$2
export PKG_CONFIG_PATH="$prefix/share/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
mkdir -p "$out"
for program in use_mta:mta use_io:mta-io; do
    # eval: pkg-config quotes blanks in paths for a shell.
    eval "flags=($(pkg-config --cflags --libs "${program#*:}"))"
    "${CXX:-c++}" -std=c++20 -fopenmp "${flags[@]}" "$here/../${program%:*}.cpp" -o "$out/${program%:*}"
done
