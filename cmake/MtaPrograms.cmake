# Compile options of this project's own tests, benchmarks and programs; never exported to consumers.
# SPDX-License-Identifier: MIT

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release)
    message(STATUS "mta: no build type given, using Release")
endif()

add_library(mta_options INTERFACE)
target_compile_options(
    mta_options
    INTERFACE -ffp-contract=off
              -Wall
              -Wextra
              -Wconversion
              -Wshadow
              # Eigen's index type is signed and std::span's is not; g++ leaves this one out of -Wconversion.
              -Wno-sign-conversion
              $<$<BOOL:${MTA_WERROR}>:-Werror>
)

# stb_image_write.h lies in a folder of its own on Debian; only io/heat_map.hpp includes it.
find_path(MTA_STB_INCLUDE_DIR stb_image_write.h PATH_SUFFIXES stb)
if(MTA_STB_INCLUDE_DIR)
    target_include_directories(mta_options SYSTEM INTERFACE "${MTA_STB_INCLUDE_DIR}")
endif()

# Compiles and links `target` as this project does, with the libraries after it.
function(mta_program target)
    set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
    target_link_libraries(${target} PRIVATE mta_options ${ARGN})
endfunction()
