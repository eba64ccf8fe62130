# vireo_room(NAME [USES room...] [LIBS library...] [OPTIONAL source...])
#
# Defines the static library vireo_NAME from the C and C++ files of the calling folder (main.c apart, which is a
# program's). USES are the rooms whose contract headers it may include; LIBS are outside libraries, seen by this room
# alone. OPTIONAL sources are left to the caller to add. The contract headers themselves are flat in include/vireo/, so
# tests/headers/check_includes.py holds each room to the same table. A folder without sources yet gives an empty target that others can link.
function(vireo_room name)
    cmake_parse_arguments(ROOM "" "" "USES;LIBS;OPTIONAL" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS *.c *.cc *.cu)
    foreach(optional ${ROOM_OPTIONAL})
        list(REMOVE_ITEM sources ${CMAKE_CURRENT_SOURCE_DIR}/${optional})
    endforeach()
    list(FILTER sources EXCLUDE REGEX "/main\\.c$")
    list(TRANSFORM ROOM_USES PREPEND vireo_)
    set(target vireo_${name})
    if(NOT sources)
        message(STATUS "room ${name} has no sources yet")
        add_library(${target} INTERFACE)
        target_include_directories(${target} INTERFACE ${PROJECT_SOURCE_DIR}/include)
        target_link_libraries(${target} INTERFACE ${ROOM_USES})
        return()
    endif()
    add_library(${target} STATIC ${sources})
    target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}/include)
    target_link_libraries(${target} PUBLIC ${ROOM_USES} PRIVATE vireo_flags ${ROOM_LIBS})
endfunction()
