#!/usr/bin/env bash
# Judges a PyTorch implementation with the oracle, from a fresh machine on: examples/python/run.sh [PYTEST ARGUMENTS]
# SPDX-License-Identifier: MIT
#
# Makes a virtual environment outside of this tree (MTA_VENV, default ~/.cache/mta-venv), installs what is missing there
# from PyPI (numpy, torch, pytest; torch is large), builds libmta_oracle.so into build/python and runs pytest.
# MTA_PYTHON names the interpreter (python3); MTA_TORCH a pip requirement instead of `torch`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../cmake/prerequisites.sh"
require_packages g++ make cmake python3 pkg-config libeigen3-dev nlohmann-json3-dev libssl-dev libstb-dev libcli11-dev
source "$here/../../cmake/presets.sh"
venv=$(realpath -m "${MTA_VENV:-$HOME/.cache/mta-venv}")

# Says what is wrong in one sentence and ends with 3.
give_up() {
    echo "examples/python/run.sh: $1" >&2
    exit 3
}

make_environment() {
    if [ ! -x "$venv/bin/python" ]; then
        "${MTA_PYTHON:-python3}" -m venv "$venv" ||
            give_up "cannot make a virtual environment in $venv, expected a Python with the module venv (Debian: python3-venv)"
    fi
    local missing=()
    "$venv/bin/python" -c 'import numpy' 2>/dev/null || missing+=(numpy)
    "$venv/bin/python" -c 'import pytest' 2>/dev/null || missing+=(pytest)
    "$venv/bin/python" -c 'import torch' 2>/dev/null || missing+=("${MTA_TORCH:-torch}")
    if [ ${#missing[@]} -gt 0 ]; then
        echo "installing ${missing[*]} into $venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${missing[@]}" ||
            give_up "cannot install ${missing[*]} into $venv, expected a network or a prepared environment in MTA_VENV"
    fi
}

build_library() {
    local build=$MTA_SOURCE/build/python
    cmake -S "$MTA_SOURCE" -B "$build" -DCMAKE_BUILD_TYPE=Release -DMTA_BUILD_TESTS=OFF -DMTA_BUILD_BENCH=OFF
    cmake --build "$build" --parallel "$MTA_JOBS" --target mta-oracle-c
    export MTA_ORACLE_LIBRARY=$build/lib/libmta_oracle.so
}

make_environment
build_library
export PYTHONDONTWRITEBYTECODE=1 OMP_WAIT_POLICY=PASSIVE
cd "$here"
exec "$venv/bin/python" -m pytest -p no:cacheprovider -q "$@" .
