# FAISS and cuVS for the GPU (kernels/knn.h), looked for in a build with CUDA: VIREO_FAISS_GPU_FOUND, and VIREO_CUVS_FOUND
# with the target vireo_cuvs. CMAKE_PREFIX_PATH says where, as for any package.
include(CheckCXXSourceCompiles)

# Say what was found; an error where the setting is ON and nothing was.
function(vireo_report setting found what)
    if(found)
        message(STATUS "${what}: found")
    elseif(${setting} STREQUAL "ON")
        message(FATAL_ERROR "${setting} is ON, and ${what} was not found")
    else()
        message(STATUS "${what}: not there")
    endif()
endfunction()

# A FAISS that was built for the CPU (such as Debian's) lacks the headers or the code, so a program is linked.
set(VIREO_FAISS_GPU_FOUND FALSE)
if(NOT VIREO_FAISS_GPU STREQUAL "OFF")
    set(CMAKE_REQUIRED_LIBRARIES faiss CUDA::cudart_static CUDA::cublas)
    check_cxx_source_compiles("
        #include <faiss/gpu/GpuIndexIVFPQ.h>
        #include <faiss/gpu/StandardGpuResources.h>
        int main()
        {
            faiss::gpu::StandardGpuResources resources;
            faiss::gpu::GpuIndexIVFPQ index(&resources, 8, 1, 4, 8, faiss::METRIC_INNER_PRODUCT);
            index.nprobe = 1;
        }" VIREO_FAISS_GPU_LINKS)
    unset(CMAKE_REQUIRED_LIBRARIES)
    set(VIREO_FAISS_GPU_FOUND ${VIREO_FAISS_GPU_LINKS})
    vireo_report(VIREO_FAISS_GPU "${VIREO_FAISS_GPU_FOUND}" "FAISS for the GPU, 1.8 or newer")
endif()

# Not by its own CMake files, which want CMake 4. Its C headers include DLPack's.
set(VIREO_CUVS_FOUND FALSE)
if(NOT VIREO_CUVS STREQUAL "OFF")
    find_path(VIREO_CUVS_INCLUDE cuvs/core/dataset.h)
    find_path(VIREO_DLPACK_INCLUDE dlpack/dlpack.h)
    find_library(VIREO_CUVS_LIBRARY cuvs_c)
    if(VIREO_CUVS_INCLUDE AND VIREO_DLPACK_INCLUDE AND VIREO_CUVS_LIBRARY)
        add_library(vireo_cuvs INTERFACE)
        target_include_directories(vireo_cuvs SYSTEM INTERFACE ${VIREO_CUVS_INCLUDE} ${VIREO_DLPACK_INCLUDE})
        target_link_libraries(vireo_cuvs INTERFACE ${VIREO_CUVS_LIBRARY} CUDA::cudart_static)
        set(VIREO_CUVS_FOUND TRUE)
    endif()
    vireo_report(VIREO_CUVS ${VIREO_CUVS_FOUND} "cuVS 26.08 or newer, with DLPack's header")
endif()
