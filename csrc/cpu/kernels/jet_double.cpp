#include "cpu/kernels/jet_kernels.h"

namespace colloc::COLLOC_CAPABILITY {

const JetKernels<double> jet_double = jet_kernels<double>;

}  // namespace colloc::COLLOC_CAPABILITY
