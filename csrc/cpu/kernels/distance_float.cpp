#include "cpu/kernels/distance_kernels.h"

namespace colloc::COLLOC_CAPABILITY {

const DistanceKernel<float> distance_float = distance<float>;

}  // namespace colloc::COLLOC_CAPABILITY
