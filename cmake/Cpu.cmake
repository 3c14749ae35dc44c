# colloc_ops: op schemas, argument checks and the CPU kernels. The kernels are compiled once
# per instruction set; the one to use is chosen when the library is loaded.
set(COLLOC_KERNELS
  csrc/cpu/kernels/halton.cpp
  csrc/cpu/kernels/adaptive_activation.cpp
  csrc/cpu/kernels/distance_double.cpp
  csrc/cpu/kernels/distance_float.cpp
  csrc/cpu/kernels/importance_draw.cpp
  csrc/cpu/kernels/importance_measure.cpp
  csrc/cpu/kernels/jet_double.cpp
  csrc/cpu/kernels/jet_float.cpp
  csrc/cpu/kernels/ntk.cpp
  csrc/cpu/kernels/signed_distance.cpp)

# Never -ffast-math: it breaks magic-number rounding, and its start-up object flushes
# denormals for the whole process.
set(COLLOC_VECTOR_FLAGS -O3 -fopenmp-simd -fno-math-errno -fno-trapping-math -ffp-contract=fast)
# Fused, u v - w z would not be 0 where both products are equal: points on slanted pieces.
set_source_files_properties(csrc/cpu/kernels/signed_distance.cpp PROPERTIES
  COMPILE_OPTIONS -ffp-contract=off)
string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" processor)

option(COLLOC_BASELINE_ALONE "CPU kernels for the least instruction set alone: a quick build" OFF)
set(COLLOC_CAPABILITIES baseline)
if(processor MATCHES "x86_64|amd64" AND NOT COLLOC_BASELINE_ALONE)
  list(APPEND COLLOC_CAPABILITIES avx2 avx512)
endif()
set(flags_baseline "")
set(flags_avx2 -mavx2 -mfma)
set(flags_avx512 -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mprefer-vector-width=512)

add_library(colloc_ops SHARED
  csrc/library.cpp
  csrc/common/capability.cpp
  csrc/cpu/halton.cpp
  csrc/cpu/adaptive_activation.cpp
  csrc/cpu/blas.cpp
  csrc/cpu/distance.cpp
  csrc/cpu/importance_probabilities.cpp
  csrc/cpu/importance_sample.cpp
  csrc/cpu/jet_activation.cpp
  csrc/cpu/mlp_jet.cpp
  csrc/cpu/mlp_jet_arguments.cpp
  csrc/cpu/mlp_jet_squares.cpp
  csrc/cpu/mlp_jet_tiles.cpp
  csrc/cpu/ntk_gram_block.cpp
  csrc/cpu/ntk_trace.cpp
  csrc/cpu/pool.cpp
  csrc/cpu/signed_distance.cpp
  csrc/cpu/transfinite.cpp)
target_include_directories(colloc_ops PRIVATE csrc)
target_link_libraries(colloc_ops PRIVATE colloc_torch ${CMAKE_DL_LIBS})
target_compile_options(colloc_ops PRIVATE -O2 -Wall -Wextra)
set_target_properties(colloc_ops PROPERTIES INSTALL_RPATH "$ORIGIN/../torch/lib")

foreach(capability IN LISTS COLLOC_CAPABILITIES)
  add_library(colloc_kernels_${capability} OBJECT ${COLLOC_KERNELS})
  target_include_directories(colloc_kernels_${capability} PRIVATE csrc)
  target_compile_options(colloc_kernels_${capability} PRIVATE
    ${COLLOC_VECTOR_FLAGS} ${flags_${capability}} -Wall -Wextra)
  target_compile_definitions(colloc_kernels_${capability} PRIVATE COLLOC_CAPABILITY=${capability})
  target_sources(colloc_ops PRIVATE $<TARGET_OBJECTS:colloc_kernels_${capability}>)
  string(TOUPPER "${capability}" upper)
  target_compile_definitions(colloc_ops PRIVATE COLLOC_HAS_${upper}=1)
endforeach()
