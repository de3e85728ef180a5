#!/usr/bin/env bash
# The main job on real data, from a fresh machine on: examples/run.sh [OUTPUT_FOLDER]
# SPDX-License-Identifier: MIT
#
# Builds the programs, evaluates multi-token attention on the queries, keys and values of a trained language model reading
# Genesis 1, compares every output, gradient and stage with an independent PyTorch implementation, catches a candidate
# with one classic bug, and draws heat maps. Results go to OUTPUT_FOLDER (default: build/real_text).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "${1:-$here/../build/real_text}"
output=$(cd "${1:-$here/../build/real_text}" && pwd)
source "$here/../cmake/prerequisites.sh"
steps=6

step() {
    printf '\n[%d/%d] %s\n' "$1" "$steps" "$2"
}

# The programs, optimised, without tests and benchmarks.
build_programs() {
    local build=$MTA_SOURCE/build/examples
    cmake -S "$MTA_SOURCE" -B "$build" -DCMAKE_BUILD_TYPE=Release -DMTA_BUILD_TESTS=OFF -DMTA_BUILD_BENCH=OFF
    cmake --build "$build" --parallel "$MTA_JOBS"
    programs=$build/bin
}

# Evaluates the case and judges it; the stages were stored as float32, hence their bound.
judge_reference() {
    "$programs/mta-oracle" eval --config "$case.json" --in "$case.in.safetensors" \
        --out "$output/reference.safetensors" --trace
    echo "output and gradients, float64, bound 1e-12 of each tensor's maximum:"
    "$programs/mta-oracle" compare "$case.expected.safetensors" "$output/reference.safetensors" \
        --json "$output/reference.compare.json"
    echo "stages and their gradients, stored as float32, bound 1e-7:"
    "$programs/mta-oracle" compare "$case.expected_stages.safetensors" "$output/reference.safetensors" --rtol 1e-7
}

# A candidate whose kernel is mirrored along the keys must be caught, at the stage where the kernel is used.
judge_candidate() {
    local status=0
    "$programs/flipped-kernel" "$case.json" "$case.in.safetensors" "$output/candidate.safetensors"
    "$programs/mta-oracle" compare "$case.expected_stages.safetensors" "$output/candidate.safetensors" --rtol 1e-7 \
        --json "$output/candidate.compare.json" || status=$?
    if [ "$status" -ne 1 ]; then
        echo "examples/run.sh: the oracle ended with $status for a wrong candidate, expected 1 (mismatch)" >&2
        exit 1
    fi
    if ! grep -q '"first_wrong": "stage.pre_conv"' "$output/candidate.compare.json"; then
        echo "examples/run.sh: the first wrong stage was not pre_conv, where the kernel is used" >&2
        exit 1
    fi
    echo "caught: the logits are right and pre_conv is the first wrong stage, so the bug is in the convolution"
}

# A library is judged in a child process; the right one agrees, of the wrong one the bug is named.
judge_libraries() {
    local symbols=(--symbol my_mta_forward --backward-symbol my_mta_backward) status=0
    "$programs/mta-oracle" check --lib "$programs/../lib/candidate-right.so" "${symbols[@]}"
    "$programs/mta-oracle" check --lib "$programs/../lib/candidate-flipped-keys.so" "${symbols[@]}" \
        --json "$output/flipped_keys.check.json" --heat-map "$output/flipped_keys.png" || status=$?
    if [ "$status" -ne 1 ]; then
        echo "examples/run.sh: the oracle ended with $status for a wrong library, expected 1 (mismatch)" >&2
        exit 1
    fi
    if ! grep -q '"name": "pre.kernel flipped on the key axis + post.kernel' "$output/flipped_keys.check.json"; then
        echo "examples/run.sh: the bug was not named, expected a kernel flipped on the key axis" >&2
        exit 1
    fi
}

step 1 "prerequisites"
require_packages g++ make cmake pkg-config libeigen3-dev nlohmann-json3-dev libssl-dev libstb-dev libcli11-dev
source "$here/../cmake/presets.sh"
case=$MTA_SOURCE/examples/real_text/genesis1

step 2 "building the programs (one to three minutes on two cores)"
build_programs

step 3 "layer 17 of SmolLM2-135M on Genesis 1: ours against an independent PyTorch implementation"
judge_reference

step 4 "a candidate with one bug: its kernel is flipped on the key axis"
judge_candidate

step 5 "two C libraries, one right and one with that bug, on the smoke suite"
judge_libraries

step 6 "heat maps of head 4: its kernels, and its attention map before and after"
"$programs/draw-attention" "$case.json" "$case.in.safetensors" 4 "$output"

printf '\nAll as it should be, after %d s. Results are in %s\n' "$SECONDS" "$output"
