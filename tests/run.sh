#!/usr/bin/env bash
# Runs the tests, from a fresh machine on: tests/run.sh [--quick | --all] [LEG ...]
# SPDX-License-Identifier: MIT
#
# Legs, in order; naming some runs only those:
#   dev         everything with warnings as errors and Eigen's assertions, all tests       (also --quick)
#   hygiene     the house rules, and the rules' own tests                                  (also --quick)
#   headers     every header compiles alone
#   consumers   small projects use the library in the ways that users do
#   mutations   a sample of the named bugs must be caught (--all: every one)
#   no-openmp   core and check without OpenMP and without optimisation
#   native      all but files and oracle with -O3 -march=native: the bit promises must hold
#   asan        all tests with address and undefined-behaviour sanitizers       (--all: the programs too)
#   pytorch     a PyTorch implementation is judged through the C interface; skipped where there is no torch
#               (tests/run.sh pytorch installs it into MTA_VENV, default ~/.cache/mta-venv: 5 GB, some minutes)
#   clang       dev with clang++                                                           (only --all)
#   tsan        core and the fast path under the thread sanitizer, clang++ with Archer     (only --all)
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
source cmake/prerequisites.sh

QUICK=(dev hygiene)
DEFAULT=(dev hygiene headers consumers mutations no-openmp native asan pytorch)
ALL=("${DEFAULT[@]}" clang tsan)
MUTATION_SAMPLE=8

usage() {
    sed -n '2,/^set/p' "$0" | sed -n 's/^# \{0,1\}//p'
}

say() { printf '\n==== %s\n' "$*"; }

# Runs the tests of build/PRESET whose names match the pattern; further arguments go to ctest.
run_tests() {
    (cd "build/$1" && ctest --output-on-failure --no-tests=error -j "$MTA_JOBS" -R "${2:-.}" "${@:3}")
}

leg_dev() {
    configure_preset dev && build_targets dev all && run_tests dev
}

leg_hygiene() {
    python3 tests/hygiene/self_test.py && python3 tests/hygiene/check.py &&
        python3 tests/mutations/run.py --list >/dev/null
}

leg_headers() {
    python3 tests/headers/self_test.py && python3 tests/headers/check.py -j "$MTA_JOBS"
}

leg_consumers() {
    tests/consumers/run.sh
}

leg_mutations() {
    local size=(--sample "$MUTATION_SAMPLE")
    [ "$scope" = all ] && size=()
    python3 tests/mutations/self_test.py && python3 tests/mutations/run.py "${size[@]}" -j "$MTA_JOBS"
}

leg_no-openmp() {
    configure_preset no-openmp && build_targets no-openmp mta_test_core mta_test_check &&
        run_tests no-openmp '^(core|check)\.'
}

leg_native() {
    configure_preset native && build_targets native mta_test_ops mta_test_layers mta_test_fast mta_test_optim mta_test_models &&
        run_tests native '^(ops|layers|fast|optim|models)\.' -E '^models\.programs$'
}

leg_asan() {
    local rooms=(core ops check layers fast io oracle optim models tasks train)
    if [ "$scope" = all ]; then
        configure_preset asan && build_targets asan mta_all_tests &&
            run_tests asan '^(core|ops|check|layers|fast|io|oracle|optim|models|tasks|train|link|examples)\.'
        return
    fi
    configure_preset asan && build_targets asan "${rooms[@]/#/mta_test_}" &&
        run_tests asan '^(core|ops|check|layers|fast|io|oracle|optim|models|tasks|train)\.' \
            -E '^(oracle\.command_line|train\.kill|models\.programs)$'
}

# Runs where torch is at hand, or when it is asked for by name; anything else is said, not hidden.
leg_pytorch() {
    local venv=${MTA_VENV:-$HOME/.cache/mta-venv}
    if [[ " ${legs_named[*]} " != *" pytorch "* ]] && ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
        result=skipped
        echo "skipped: no torch in $venv; 'tests/run.sh pytorch' installs it and runs this leg"
        return 0
    fi
    examples/python/run.sh
}

leg_clang() {
    if ! command -v clang++ >/dev/null 2>&1; then
        echo "skipped: no clang++ on this machine"
        return 0
    fi
    configure_preset clang && build_targets clang all && run_tests clang
}

# A deliberate race must be found first, so that silence means something.
leg_tsan() {
    local archer
    archer=$(find /usr/lib/llvm-*/lib -name libarcher.so 2>/dev/null | sort | tail -n 1)
    if ! command -v clang++ >/dev/null 2>&1 || [ -z "$archer" ]; then
        echo "skipped: no clang++ or no libarcher.so on this machine (Debian: clang libomp-dev)"
        return 0
    fi
    export OMP_TOOL_LIBRARIES=$archer TSAN_OPTIONS="ignore_noninstrumented_modules=1 exitcode=66"
    local race=build/tsan/race
    configure_preset tsan && build_targets tsan mta_test_core mta_test_fast &&
        clang++ -O1 -g1 -fsanitize=thread -fopenmp tests/support/race.cpp -o "$race" || return 1
    "$race" >"$race.log" 2>&1
    [ $? -eq 66 ] || { echo "a deliberate race was not reported, see $race.log" >&2; return 1; }
    "$race" --without >"$race.log" 2>&1 || { echo "a race was reported where there is none, see $race.log" >&2; return 1; }
    OMP_NUM_THREADS=4 run_tests tsan '^(core|fast)\.'
}

# Runs one leg, remembers its seconds and whether it failed.
run_leg() {
    local leg=$1 start=$SECONDS result=ok
    say "$leg"
    # Not in a condition's scope: `set -e` is off on purpose, every leg says itself whether it failed.
    "leg_$leg"
    local status=$?
    [ $status -eq 0 ] || { result=FAILED; failed+=("$leg"); }
    report+=("$(printf '%-10s %5d s  %s' "$leg" $((SECONDS - start)) "$result")")
    say "$leg: $result after $((SECONDS - start)) s"
}

scope=default
legs_named=()
for argument in "$@"; do
    case $argument in
        --quick | --all) scope=${argument#--} ;;
        --help | -h) usage && exit 0 ;;
        *)
            if ! [[ " ${ALL[*]} " == *" $argument "* ]]; then
                echo "tests/run.sh: got '$argument', expected --quick, --all or one of: ${ALL[*]}" >&2
                exit 2
            fi
            legs_named+=("$argument")
            ;;
    esac
done
legs=("${legs_named[@]}")
if [ ${#legs[@]} -eq 0 ]; then
    case $scope in
        quick) legs=("${QUICK[@]}") ;;
        all) legs=("${ALL[@]}") ;;
        *) legs=("${DEFAULT[@]}") ;;
    esac
fi

say "prerequisites"
require_packages g++ make cmake python3 pkg-config libeigen3-dev nlohmann-json3-dev libssl-dev libstb-dev \
    libcli11-dev doctest-dev libbenchmark-dev
source cmake/presets.sh
export OMP_WAIT_POLICY=PASSIVE
failed=()
report=()
for leg in "${legs[@]}"; do
    run_leg "$leg"
done

say "summary (total $SECONDS s)"
printf '%s\n' "${report[@]}"
if [ ${#failed[@]} -gt 0 ]; then
    echo "FAILED: ${failed[*]}"
    exit 1
fi
echo "all legs passed"
