# Reads the version from version.hpp, the one place that states it.
# SPDX-License-Identifier: MIT

# Sets `variable` to MAJOR.MINOR.PATCH as the macros of `header` say.
function(mta_read_version header variable)
    set(version "")
    foreach(part IN ITEMS MAJOR MINOR PATCH)
        file(STRINGS "${header}" line REGEX "^#define MTA_VERSION_${part} [0-9]+$")
        if(NOT line)
            message(FATAL_ERROR "mta_read_version: ${header}: expected a line '#define MTA_VERSION_${part} <number>'")
        endif()
        string(REGEX REPLACE ".* " "" number "${line}")
        list(APPEND version "${number}")
    endforeach()
    list(JOIN version "." version)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${header}")
    set(${variable} "${version}" PARENT_SCOPE)
endfunction()
