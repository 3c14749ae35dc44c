# What of torch the libraries need: headers, libtorch_cpu, and the ABI version they target.
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
execute_process(COMMAND "${Python_EXECUTABLE}" "${CMAKE_CURRENT_LIST_DIR}/torch_facts.py"
                OUTPUT_VARIABLE facts ERROR_VARIABLE problem RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "cannot import torch in ${Python_EXECUTABLE}; install torch >= 2.11 there first.\n${problem}")
endif()
string(REPLACE "\n" ";" facts "${facts}")
foreach(fact IN LISTS facts)
  if(fact MATCHES "^(TORCH_[A-Z0-9_]+)=(.*)$")
    set(${CMAKE_MATCH_1} "${CMAKE_MATCH_2}")
  endif()
endforeach()
if(TORCH_VERSION VERSION_LESS 2.11)
  message(FATAL_ERROR "torch ${TORCH_VERSION} found, colloc needs torch >= 2.11 (stable ABI)")
endif()
message(STATUS "torch ${TORCH_VERSION} in ${TORCH_ROOT}, CUDA: ${TORCH_CUDA}")

add_library(colloc_torch INTERFACE)
target_include_directories(colloc_torch SYSTEM INTERFACE
  "${TORCH_ROOT}/include" "${TORCH_ROOT}/include/torch/csrc/api/include")
# 2.11: a library built on any later release loads on every release from 2.11 on.
target_compile_definitions(colloc_torch INTERFACE TORCH_TARGET_VERSION=0x020b000000000000)
find_library(TORCH_CPU_LIBRARY torch_cpu PATHS "${TORCH_ROOT}/lib" NO_DEFAULT_PATH REQUIRED)
target_link_libraries(colloc_torch INTERFACE "${TORCH_CPU_LIBRARY}")
# Error messages name the source file as it is called in the repository, not on the build machine.
target_compile_options(colloc_torch INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=>
  $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=>)
