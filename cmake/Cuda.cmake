# colloc_cuda: built where torch is a CUDA build and a matching nvcc is at hand. Everything
# else builds for the CPU and says why in COLLOC_CUDA_STATUS (shown by `colloc info`).
set(COLLOC_CUDA_SOURCES
  csrc/cuda/halton.cu
  csrc/cuda/adaptive_activation.cu
  csrc/cuda/distance.cu
  csrc/cuda/importance_probabilities.cu
  csrc/cuda/importance_sample.cu
  csrc/cuda/jet_activation.cu
  csrc/cuda/mlp_jet_fused.cu
  csrc/cuda/mlp_jet_fused_backward.cu
  csrc/cuda/mlp_jet_fused_forward.cu
  csrc/cuda/ntk_gram_block.cu
  csrc/cuda/ntk_trace.cu
  csrc/cuda/signed_distance.cu
  csrc/cuda/transfinite.cu)
set_source_files_properties(csrc/cuda/signed_distance.cu PROPERTIES
  COMPILE_OPTIONS -fmad=false) # as on the CPU
# Divisions to 2 ulp: the exact ones call a function, and leave no registers.
set_source_files_properties(csrc/cuda/mlp_jet_fused_backward.cu PROPERTIES
  COMPILE_OPTIONS -prec-div=false)
set(COLLOC_CUDA_STATUS "")

if(COLLOC_CUDA STREQUAL "OFF" AND NOT COLLOC_CHECK_CUDA)
  set(COLLOC_CUDA_STATUS "not built: COLLOC_CUDA=OFF")
else()
  if(DEFINED ENV{CUDACXX})
    set(COLLOC_NVCC "$ENV{CUDACXX}")
  else()
    find_program(COLLOC_NVCC nvcc HINTS "$ENV{CUDA_HOME}/bin" /usr/local/cuda/bin)
  endif()
  set(nvcc_version "")
  if(COLLOC_NVCC)
    execute_process(COMMAND "${COLLOC_NVCC}" --version OUTPUT_VARIABLE nvcc_text ERROR_QUIET)
    if(nvcc_text MATCHES "release ([0-9]+\\.[0-9]+)")
      set(nvcc_version "${CMAKE_MATCH_1}")
    endif()
  endif()

  string(REGEX MATCH "^[0-9]+" torch_major "${TORCH_CUDA}")
  string(REGEX MATCH "^[0-9]+" nvcc_major "${nvcc_version}")
  if(NOT COLLOC_NVCC OR NOT nvcc_version)
    set(COLLOC_CUDA_STATUS "not built: no nvcc found (install the CUDA toolkit, or set CUDACXX)")
  elseif(COLLOC_CHECK_CUDA)
    set(COLLOC_CUDA_STATUS "")
  elseif(TORCH_CUDA STREQUAL "")
    set(COLLOC_CUDA_STATUS "not built: torch ${TORCH_VERSION} is a CPU build (install a CUDA build of torch)")
  elseif(NOT torch_major STREQUAL nvcc_major)
    set(COLLOC_CUDA_STATUS "not built: torch is built for CUDA ${TORCH_CUDA}, nvcc is ${nvcc_version} (their major versions must be equal)")
  endif()

  if(COLLOC_CUDA_STATUS)
    if(COLLOC_CUDA STREQUAL "ON")
      message(FATAL_ERROR "COLLOC_CUDA=ON, but the CUDA library is ${COLLOC_CUDA_STATUS}")
    endif()
  else()
    if(COLLOC_CHECK_CUDA)
      set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 90-virtual)
    elseif(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 90-virtual)
    endif()
    set(CMAKE_CUDA_COMPILER "${COLLOC_NVCC}")
    set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
    enable_language(CUDA)
    set(CMAKE_CUDA_STANDARD 20)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    set(kind SHARED)
    if(COLLOC_CHECK_CUDA)
      set(kind OBJECT)
    endif()
    add_library(colloc_cuda ${kind} ${COLLOC_CUDA_SOURCES})
    target_include_directories(colloc_cuda PRIVATE csrc)
    target_link_libraries(colloc_cuda PRIVATE colloc_torch)
    # USE_CUDA opens the CUDA part of the stable ABI's header.
    target_compile_definitions(colloc_cuda PRIVATE USE_CUDA)
    target_compile_options(colloc_cuda PRIVATE -O3 -t 2 --expt-relaxed-constexpr
      -Xcompiler=-Wall)
    if(NOT COLLOC_CHECK_CUDA)
      find_library(TORCH_CUDA_LIBRARY torch_cuda PATHS "${TORCH_ROOT}/lib" NO_DEFAULT_PATH REQUIRED)
      target_link_libraries(colloc_cuda PRIVATE "${TORCH_CUDA_LIBRARY}")
      set_target_properties(colloc_cuda PROPERTIES
        INSTALL_RPATH "$ORIGIN/../torch/lib;$ORIGIN/../nvidia/cu${torch_major}/lib;$ORIGIN/../nvidia/cuda_runtime/lib")
      install(TARGETS colloc_cuda LIBRARY DESTINATION .)
      set(COLLOC_CUDA_STATUS "built with nvcc ${nvcc_version} for torch ${TORCH_VERSION}")
    else()
      set(COLLOC_CUDA_STATUS "compile check only")
    endif()
  endif()
endif()
message(STATUS "CUDA library: ${COLLOC_CUDA_STATUS}")
