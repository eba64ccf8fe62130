# The outside libraries, each as one imported target. Rooms link them PRIVATE; nothing else sees their headers.
find_package(PkgConfig REQUIRED)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

pkg_check_modules(yaml REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(crypto REQUIRED IMPORTED_TARGET libcrypto)
pkg_check_modules(lmdb REQUIRED IMPORTED_TARGET lmdb)
pkg_check_modules(openblas REQUIRED IMPORTED_TARGET openblas)
pkg_check_modules(libevent REQUIRED IMPORTED_TARGET libevent_core libevent_pthreads)
find_package(simdjson CONFIG REQUIRED)
find_package(muparser CONFIG REQUIRED)

# Debian's FAISS names OpenMP and the BLAS of the day; bind it to GCC's OpenMP, which clang finds too, and to the
# same OpenBLAS as our own code, so that the program holds one BLAS whatever the alternatives system points at.
if(NOT TARGET OpenMP::OpenMP_CXX)
    add_library(OpenMP::OpenMP_CXX INTERFACE IMPORTED)
    set_target_properties(OpenMP::OpenMP_CXX PROPERTIES INTERFACE_LINK_LIBRARIES gomp)
endif()
find_package(faiss CONFIG REQUIRED)
set_target_properties(faiss PROPERTIES
    INTERFACE_LINK_LIBRARIES "OpenMP::OpenMP_CXX;PkgConfig::openblas;Threads::Threads")
