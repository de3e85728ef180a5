# The library's INTERFACE targets and their header file sets.
# SPDX-License-Identifier: MIT

include(MtaDependencies)

# Declares target `name`, known as mta::`alias`, with the headers below include/ that match the globs after it.
function(mta_add_headers name alias)
    set(root "${PROJECT_SOURCE_DIR}/include")
    list(TRANSFORM ARGN PREPEND "${root}/mta/")
    file(GLOB_RECURSE headers CONFIGURE_DEPENDS ${ARGN})
    foreach(header IN LISTS headers)
        file(RELATIVE_PATH header "${root}" "${header}")
        set_property(DIRECTORY "${PROJECT_SOURCE_DIR}" APPEND PROPERTY MTA_HEADERS "${header}")
    endforeach()
    add_library(${name} INTERFACE)
    add_library(mta::${alias} ALIAS ${name})
    set_target_properties(${name} PROPERTIES EXPORT_NAME ${alias})
    target_compile_features(${name} INTERFACE cxx_std_20)
    # File sets came with CMake 3.23; older ones install the directory.
    if(CMAKE_VERSION VERSION_GREATER_EQUAL 3.23)
        target_sources(${name} INTERFACE FILE_SET HEADERS BASE_DIRS "${root}" FILES ${headers})
    else()
        target_include_directories(
            ${name} INTERFACE "$<BUILD_INTERFACE:${root}>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>"
        )
    endif()
endfunction()

include(GNUInstallDirs)
mta_find_eigen(MTA_WITHOUT_EIGEN)
if(MTA_WITHOUT_EIGEN)
    message(FATAL_ERROR "${MTA_WITHOUT_EIGEN}")
endif()
mta_add_headers(
    mta mta version.hpp mta.hpp core/*.hpp ops/*.hpp layers/*.hpp fast/*.hpp check/*.hpp optim/*.hpp models/*.hpp tasks/*.hpp
)
target_link_libraries(mta INTERFACE Eigen3::Eigen)
if(MTA_OPENMP)
    mta_find_openmp()
    # By name and only if it exists: an installed mta serves compilers with and without OpenMP.
    target_link_libraries(mta INTERFACE "$<TARGET_NAME_IF_EXISTS:OpenMP::OpenMP_CXX>")
    if(NOT TARGET OpenMP::OpenMP_CXX)
        message(STATUS "mta: no OpenMP for this compiler; loops run serially")
    endif()
endif()

# mta::<room> on top of `base`, with the third-party target `library` and further rooms after `problem`, which says why
# there is no such target.
function(mta_add_room_target room base library problem)
    if(NOT TARGET ${base} AND NOT problem)
        set(problem "target ${base} is missing")
    endif()
    if(NOT problem)
        set(headers "${room}/*.hpp" "${room}/*.h")
        foreach(more IN LISTS ARGN)
            list(APPEND headers "${more}/*.hpp")
        endforeach()
        mta_add_headers(mta_${room} ${room} ${headers})
        target_link_libraries(mta_${room} INTERFACE ${base} ${library})
    elseif(PROJECT_IS_TOP_LEVEL)
        message(FATAL_ERROR "mta::${room}: ${problem}")
    else()
        message(STATUS "mta: no target mta::${room}: ${problem}")
    endif()
endfunction()

mta_find_json(MTA_WITHOUT_JSON)
mta_add_room_target(io mta nlohmann_json::nlohmann_json "${MTA_WITHOUT_JSON}" train)
mta_find_crypto(MTA_WITHOUT_CRYPTO)
# Candidates are loaded with dlopen, in a process and on a thread of their own.
mta_add_room_target(oracle mta_io "OpenSSL::Crypto;${CMAKE_DL_LIBS};pthread" "${MTA_WITHOUT_CRYPTO}")
