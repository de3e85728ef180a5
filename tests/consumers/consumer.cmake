# What every CMake consumer does: two programs, and a look at what mta brings along.
# SPDX-License-Identifier: MIT
add_executable(use_mta ../use_mta.cpp)
target_link_libraries(use_mta PRIVATE mta::mta)
add_executable(use_io ../use_io.cpp)
target_link_libraries(use_io PRIVATE mta::io)

# No compile option, test, install rule or build type of ours may reach a consumer.
foreach(target IN ITEMS mta::mta mta::io)
    get_target_property(options ${target} INTERFACE_COMPILE_OPTIONS)
    if(options)
        message(FATAL_ERROR "${target}: got compile options ${options}, expected none")
    endif()
endforeach()
foreach(target IN ITEMS mta_options mta_test_main mta_bench mta-oracle)
    if(TARGET ${target})
        message(FATAL_ERROR "consumer: got target ${target}, expected only mta's libraries")
    endif()
endforeach()
if(CMAKE_BUILD_TYPE)
    message(FATAL_ERROR "consumer: got build type ${CMAKE_BUILD_TYPE}, expected the consumer's own choice")
endif()
