# Language levels, warnings and sanitizers. Rooms get them by linking vireo_flags, tests by vireo_test_flags.
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON) # the rooms also make up libvireo_features.so
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# No -march here: faster instruction sets are chosen at run time, per file.
set(CMAKE_C_FLAGS_DEBUG "-O0 -g3")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g3")
set(CMAKE_C_FLAGS_RELEASE "-O3 -g -DNDEBUG -D_FORTIFY_SOURCE=2 -fstack-protector-strong")
set(CMAKE_CXX_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
set(CMAKE_C_FLAGS_SANITIZE "-O1 -g -fno-omit-frame-pointer")
set(CMAKE_CXX_FLAGS_SANITIZE "${CMAKE_C_FLAGS_SANITIZE}")

# Flags shared by rooms and tests. The first group is for the host compilers alone; nvcc has its own.
add_library(vireo_test_flags INTERFACE)
target_compile_options(vireo_test_flags INTERFACE
    $<$<COMPILE_LANGUAGE:C,CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wvla -Wformat=2 -Wundef -Werror>
    $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wold-style-definition>)
target_compile_definitions(vireo_test_flags INTERFACE _GNU_SOURCE)

add_library(vireo_flags INTERFACE)
target_link_libraries(vireo_flags INTERFACE vireo_test_flags)
target_compile_options(vireo_flags INTERFACE $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>)
target_compile_definitions(vireo_flags INTERFACE VIREO_VERSION="${PROJECT_VERSION}")

if(VIREO_SANITIZE)
    add_compile_options($<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=${VIREO_SANITIZE}>
                        $<$<COMPILE_LANGUAGE:C,CXX>:-fno-sanitize-recover=all>)
    add_link_options(-fsanitize=${VIREO_SANITIZE})
endif()
if(VIREO_FUZZERS)
    if(NOT CMAKE_C_COMPILER_ID STREQUAL "Clang")
        message(FATAL_ERROR "VIREO_FUZZERS needs clang; the fuzz preset chooses it")
    endif()
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()
