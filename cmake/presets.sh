# Configures and builds with the presets of CMakePresets.json, also where CMake is too old to read them; to be sourced.
# SPDX-License-Identifier: MIT
#
#   source cmake/presets.sh
#   configure_preset dev -DMTA_WERROR=OFF     # into build/dev of the source tree
#   build_targets dev all

MTA_SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
MTA_JOBS=${MTA_JOBS:-$(nproc 2>/dev/null || echo 2)}
if [ -z "${CMAKE_GENERATOR:-}" ] && command -v ninja >/dev/null 2>&1; then
    export CMAKE_GENERATOR=Ninja
fi

_cmake_reads_presets() {
    local version
    version=$(cmake --version | head -n 1)
    version=${version##* }
    [ "$(printf '%s\n' 3.25 "$version" | sort -V | head -n 1)" = 3.25 ]
}

# The cache variables of a preset as -D options, one a line; parents first, so that the preset's own come last.
_preset_options() {
    python3 - "$MTA_SOURCE/CMakePresets.json" "$1" <<'PYTHON'
import json, sys
presets = {p["name"]: p for p in json.load(open(sys.argv[1]))["configurePresets"]}
chain = [presets[sys.argv[2]]]
while "inherits" in chain[-1]:
    chain.append(presets[chain[-1]["inherits"]])
for preset in reversed(chain):
    for name, value in preset.get("cacheVariables", {}).items():
        print(f"-D{name}={value}")
PYTHON
}

# Configures build/PRESET; further arguments go to cmake.
configure_preset() {
    local preset=$1
    shift
    if _cmake_reads_presets; then
        (cd "$MTA_SOURCE" && cmake --preset "$preset" "$@")
    else
        local options
        mapfile -t options < <(_preset_options "$preset")
        cmake -S "$MTA_SOURCE" -B "$MTA_SOURCE/build/$preset" "${options[@]}" "$@"
    fi
}

# Builds targets of build/PRESET.
build_targets() {
    local preset=$1
    shift
    cmake --build "$MTA_SOURCE/build/$preset" --parallel "$MTA_JOBS" --target "$@"
}
