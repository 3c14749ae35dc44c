// Checks of the arguments of ops ntk_trace and ntk_gram_block.
#pragma once

#include <string>

#include "common/check.h"

namespace colloc {

struct NtkArguments {
  int64_t points, size, in, out;
};

// h (N, K, in), zbar (N, K, out).
inline NtkArguments check_ntk(const std::string& h_name, const Tensor& h, const std::string& z_name,
                              const Tensor& zbar) {
  check_float(h_name.c_str(), h.scalar_type());
  check_like(z_name.c_str(), zbar, h_name.c_str(), h);
  STD_TORCH_CHECK(h.dim() == 3, h_name, ": expected shape (N, K, in), got ", shape_of(h), ".");
  STD_TORCH_CHECK(zbar.dim() == 3 && zbar.size(0) == h.size(0) && zbar.size(1) == h.size(1), z_name,
                  ": expected shape (", h.size(0), ", ", h.size(1), ", out), got ", shape_of(zbar),
                  ".");
  return {h.size(0), h.size(1), h.size(2), zbar.size(2)};
}

struct NtkBlockArguments {
  NtkArguments first, second;
};

inline NtkBlockArguments check_ntk_block(const Tensor& h1, const Tensor& zbar1, const Tensor& h2,
                                         const Tensor& zbar2) {
  const NtkArguments first = check_ntk("h1", h1, "zbar1", zbar1);
  const NtkArguments second = check_ntk("h2", h2, "zbar2", zbar2);
  check_like("h2", h2, "h1", h1);
  STD_TORCH_CHECK(second.in == first.in && second.out == first.out,
                  "h2, zbar2: expected the layer of h1 and zbar1, ", first.in, " inputs and ",
                  first.out, " outputs, got ", second.in, " and ", second.out, ".");
  return {first, second};
}

}  // namespace colloc
