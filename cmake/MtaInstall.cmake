# Install rules: headers, CMake package files and pkg-config files. All of it is independent of the machine.
# SPDX-License-Identifier: MIT

include(CMakePackageConfigHelpers)
set(MTA_PACKAGE_DIR "${CMAKE_INSTALL_DATADIR}/cmake/mta")
set(MTA_PKGCONFIG_DIR "${CMAKE_INSTALL_DATADIR}/pkgconfig")

function(mta_install_target target export)
    # The include directory is named a second time for consumers whose CMake knows no file sets.
    set(where INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
    if(CMAKE_VERSION VERSION_GREATER_EQUAL 3.23)
        list(APPEND where FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
    endif()
    install(TARGETS ${target} EXPORT ${export} ${where})
    install(EXPORT ${export} NAMESPACE mta:: DESTINATION "${MTA_PACKAGE_DIR}")
endfunction()

function(mta_install_pkgconfig name)
    configure_file("cmake/${name}.pc.in" "${name}.pc" @ONLY)
    install(FILES "${PROJECT_BINARY_DIR}/${name}.pc" DESTINATION "${MTA_PKGCONFIG_DIR}")
endfunction()

if(CMAKE_VERSION VERSION_LESS 3.23)
    install(DIRECTORY include/mta DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
endif()
# The .pc files say where they are relative to the prefix, so that an installed tree may be moved.
file(RELATIVE_PATH MTA_PREFIX_FROM_PC "/p/${MTA_PKGCONFIG_DIR}" "/p")
mta_install_target(mta mtaTargets)
mta_install_pkgconfig(mta)
foreach(room IN ITEMS io oracle)
    if(TARGET mta_${room})
        mta_install_target(mta_${room} mta_${room}Targets)
        mta_install_pkgconfig(mta-${room})
    endif()
endforeach()

configure_package_config_file(
    cmake/mtaConfig.cmake.in mtaConfig.cmake INSTALL_DESTINATION "${MTA_PACKAGE_DIR}" NO_SET_AND_CHECK_MACRO
)
write_basic_package_version_file(mtaConfigVersion.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(
    FILES "${PROJECT_BINARY_DIR}/mtaConfig.cmake" "${PROJECT_BINARY_DIR}/mtaConfigVersion.cmake"
          "${PROJECT_SOURCE_DIR}/cmake/MtaDependencies.cmake"
    DESTINATION "${MTA_PACKAGE_DIR}"
)
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
