// Weights of transfinite interpolation between groups of pieces, with derivatives up to the third:
//   w_i = phi_i^-mu_i / sum_j phi_j^-mu_j,  phi in units of a length,
// which are 1 on group i, 0 on the others, and sum to 1.
//
// With 1 the group of the largest term, P = (phi_1 / s_1)^mu_1 and Y_i = (s_i / phi_i)^mu_i:
//   w_1 = 1 / (1 + P sum_{i != 1} Y_i),  w_i = P w_1 Y_i,
// with the units s_i such that the second largest term is 1: nothing overflows, nothing is
// infinite where phi_1 is 0, and the sum is 1 to rounding whatever the scale.
#pragma once

#include <cmath>
#include <cstdint>

#include "math/equivalence.h"

namespace colloc::math {

// Which group comes first, and what the second one's logarithm is.
struct Leader {
  int64_t group;
  double second;  // mu log(phi / length)
  int64_t zeros;  // groups that are 0
};

template <typename Read>
COLLOC_HD Leader leader(const Read& value, const int64_t* mu, int64_t groups, double length) {
  double nearest = largest<double>;
  Leader found{0, largest<double>, 0};
  for (int64_t g = 0; g < groups; ++g) {
    const double phi = value(g);
    found.zeros += phi == 0;
    const double term = phi == 0 ? -largest<double> : mu[g] * std::log(phi / length);
    if (term < nearest) {
      found.second = nearest;
      nearest = term;
      found.group = g;
    } else if (term < found.second) {
      found.second = term;
    }
  }
  return found;
}

// read(g, c): component c of phi_g; write(g, c, w).
template <JetOrder O, int n, typename Read, typename Write>
COLLOC_HD void transfinite(const Read& read, const int64_t* mu, int64_t groups, double length,
                           const Write& write) {
  using Form = JetForm<O, n>;
  // Below this, powers of the reciprocal would overflow.
  const auto value = [&](int64_t g) { return read(g, 0) < 1e-75 ? 0.0 : read(g, 0); };
  const Leader first = leader(value, mu, groups, length);
  if (groups == 1 || first.zeros > 1) {
    // Alone, or at a joint: the groups that meet there share it, and derivatives are left out.
    for (int64_t g = 0; g < groups; ++g) {
      const bool shares = groups == 1 || value(g) == 0;
      const double share =
          shares ? 1.0 / (groups == 1 ? 1.0 : static_cast<double>(first.zeros)) : 0;
      for (int c = 0; c < Form::size; ++c) write(g, c, c == 0 ? share : 0.0);
    }
    return;
  }
  const auto unit = [&](int64_t g) {
    const double exponent = first.second / static_cast<double>(mu[g]);
    return length * std::exp(exponent < -170.0 ? -170.0 : (exponent > 690.0 ? 690.0 : exponent));
  };
  const auto load = [&](int64_t g, double* phi) {
    for (int c = 0; c < Form::size; ++c) phi[c] = read(g, c);
  };
  double phi[Form::size], others[Form::size] = {};
  for (int64_t g = 0; g < groups; ++g) {
    if (g == first.group) continue;
    load(g, phi);
    add_reciprocal_power<O, n>(phi, unit(g), static_cast<int>(mu[g]), false, others);
  }
  double power[Form::size], z[Form::size], leading[Form::size], rest[Form::size], f[4];
  load(first.group, phi);
  whole_power<O, n>(phi, unit(first.group), static_cast<int>(mu[first.group]), power);
  jet_multiply<O, n>(power, others, z);
  f[0] = 1.0 / (1.0 + z[0]);
  f[1] = -f[0] * f[0];
  f[2] = -2.0 * f[1] * f[0];
  f[3] = -3.0 * f[2] * f[0];
  jet_compose<O, n>(z, f, leading);
  jet_multiply<O, n>(power, leading, rest);
  for (int64_t g = 0; g < groups; ++g) {
    if (g == first.group) {
      for (int c = 0; c < Form::size; ++c) write(g, c, leading[c]);
      continue;
    }
    double own[Form::size] = {}, weight[Form::size];
    load(g, phi);
    add_reciprocal_power<O, n>(phi, unit(g), static_cast<int>(mu[g]), false, own);
    jet_multiply<O, n>(rest, own, weight);
    for (int c = 0; c < Form::size; ++c) write(g, c, weight[c]);
  }
}

}  // namespace colloc::math
