# Finds what the headers include; shared by this project and by the installed mtaConfig.cmake.
# SPDX-License-Identifier: MIT

# Eigen: asked for without a version, because Debian's 3.4.0 refuses version ranges and Eigen 5 refuses "3.4".
# Sets `reason` to a sentence when it cannot be used, to nothing otherwise.
macro(mta_find_eigen reason)
    set(${reason} "")
    if(NOT TARGET Eigen3::Eigen)
        find_package(Eigen3 CONFIG QUIET)
    endif()
    if(NOT TARGET Eigen3::Eigen)
        set(${reason} "Eigen: not found, expected version 3.4 or later (Debian, Ubuntu: libeigen3-dev)")
    elseif(Eigen3_VERSION AND Eigen3_VERSION VERSION_LESS 3.4)
        set(${reason} "Eigen: got version ${Eigen3_VERSION}, expected 3.4 or later")
    endif()
endmacro()

# OpenMP is optional: without it the parallel loops run serially, to the same bits.
macro(mta_find_openmp)
    if(NOT TARGET OpenMP::OpenMP_CXX)
        find_package(OpenMP QUIET COMPONENTS CXX)
    endif()
endmacro()

# Sets `reason` as mta_find_eigen does.
macro(mta_find_json reason)
    set(${reason} "")
    if(NOT TARGET nlohmann_json::nlohmann_json)
        find_package(nlohmann_json CONFIG QUIET)
    endif()
    if(NOT TARGET nlohmann_json::nlohmann_json)
        set(${reason} "nlohmann_json: not found, expected version 3.9 or later (Debian, Ubuntu: nlohmann-json3-dev)")
    elseif(nlohmann_json_VERSION AND nlohmann_json_VERSION VERSION_LESS 3.9)
        set(${reason} "nlohmann_json: got version ${nlohmann_json_VERSION}, expected 3.9 or later")
    endif()
endmacro()

# Sets `reason` as mta_find_eigen does.
macro(mta_find_crypto reason)
    set(${reason} "")
    if(NOT TARGET OpenSSL::Crypto)
        find_package(OpenSSL QUIET COMPONENTS Crypto)
    endif()
    if(NOT TARGET OpenSSL::Crypto)
        set(${reason} "OpenSSL: not found, expected its libcrypto (Debian, Ubuntu: libssl-dev)")
    endif()
endmacro()
