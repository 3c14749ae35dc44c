#include "cpu/kernels/jet_kernels.h"

namespace colloc::COLLOC_CAPABILITY {

const JetKernels<float> jet_float = jet_kernels<float>;

}  // namespace colloc::COLLOC_CAPABILITY
