// Picks a kernel of the instruction set in use.
#pragma once

#include "common/capability.h"
#include "cpu/kernels/kernels.h"

#if defined(COLLOC_HAS_AVX2)
#define COLLOC_SELECT(kernel)                                              \
  (::colloc::capability() == ::colloc::Capability::avx512 ? avx512::kernel \
   : ::colloc::capability() == ::colloc::Capability::avx2 ? avx2::kernel   \
                                                          : baseline::kernel)
#else
#define COLLOC_SELECT(kernel) (baseline::kernel)
#endif
