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

# FastDense then multiplies matrices with the BLAS that CMake finds. Its threads would compete with ours: run the programs
# with OPENBLAS_NUM_THREADS=1 (or that library's own word for it).
option(MTA_BLAS "Use a BLAS library for Eigen's matrix products in this project's own programs" OFF)
if(MTA_BLAS)
    find_package(BLAS REQUIRED)
    target_compile_definitions(mta_options INTERFACE EIGEN_USE_BLAS)
    target_link_libraries(mta_options INTERFACE BLAS::BLAS)
endif()

# Most of a source's compile time goes into the headers' functions, which every source compiles anew: twenty at once
# take a third of the time, and 2 GB. Off, one changed file compiles sooner.
option(MTA_UNITY_BUILD "Compile this project's own programs up to 24 sources at a time" ON)

# Compiles and links `target` as this project does, with the libraries after it.
function(mta_program target)
    set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
    get_target_property(sources ${target} SOURCES)
    list(FILTER sources EXCLUDE REGEX "^\\$<")
    list(LENGTH sources count)
    if(MTA_UNITY_BUILD AND count GREATER 1)
        # Batches of equal size, so that every core has its share.
        math(EXPR batches "(${count} + 23) / 24")
        math(EXPR size "(${count} + ${batches} - 1) / ${batches}")
        set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${size})
    endif()
    target_link_libraries(${target} PRIVATE mta_options ${ARGN})
endfunction()
