#include "cpu/kernels/distance_kernels.h"

namespace colloc::COLLOC_CAPABILITY {

const DistanceKernel<double> distance_double = distance<double>;

}  // namespace colloc::COLLOC_CAPABILITY
