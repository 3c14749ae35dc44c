// R-equivalence of distance functions phi_i >= 0 with derivatives: phi = (sum_i phi_i^-m)^(-1/m).
//
// Relative to the nearest piece, 1, in units of the second smallest value, s:
//   phi = phi_1 (1 + z)^(-1/m),  z = (phi_1 / s)^m sum_{i != 1} (s / phi_i)^m.
// No term is infinite where phi_1 is 0, and none grows towards the piece: nothing cancels there.
#pragma once

#include "math/jet.h"
#include "math/number.h"

namespace colloc::math {

template <typename T>
COLLOC_HD T power(T base, int exponent) {
  T result = T(1);
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) result = result * base;
    base = base * base;
  }
  return result;
}

template <typename T, int exponent>
COLLOC_HD T power(T base, Index<exponent>) {
  static_assert(exponent == 1 || exponent == 2);
  return exponent == 1 ? base : base * base;
}

// Adds the jet of (s / phi_i)^m to `sum`; nothing where `skip`.
template <JetOrder O, int n, typename T, typename Power, typename Mask>
COLLOC_HD void add_reciprocal_power(const T* phi, T s, Power m, Mask skip, T* sum) {
  using Form = JetForm<O, n>;
  const T inverse = T(1) / phi[0], number = T(int(m)), one = T(1), zero = T(0);
  T f[4], h[Form::size];
  f[0] = select(skip, zero, power(s * inverse, m));
  const T factor = select(skip, zero, inverse);  // no inf * 0
  f[1] = -(number * f[0] * factor);
  f[2] = -((number + one) * f[1] * factor);
  f[3] = -((number + one + one) * f[2] * factor);
  jet_compose<O, n>(phi, f, h);
  unroll<0, Form::size>([&](auto c) COLLOC_INLINE_LAMBDA { sum[c] = sum[c] + h[c]; });
}

// The jet of (phi / s)^m; also where phi is 0.
template <JetOrder O, int n, typename T>
COLLOC_HD void whole_power(const T* phi, T s, int m, T* h) {
  const T unit = T(1) / s, v = phi[0] * unit;
  const int twice = m * (m - 1), thrice = twice * (m - 2);
  T f[4];
  f[0] = power(v, m);
  f[1] = T(m) * power(v, m - 1) * unit;
  f[2] = m < 2 ? T(0) : T(twice) * power(v, m - 2) * (unit * unit);
  f[3] = m < 3 ? T(0) : T(thrice) * power(v, m - 3) * (unit * unit * unit);
  jet_compose<O, n>(phi, f, h);
}

// base^(-1/m).
template <typename T>
COLLOC_HD T inverse_root(T base, int m) {
  const T one = T(1);
  if (m == 1) return one / base;
  if (m == 2) return one / square_root(base);
  return real_power(base, -1.0 / m);
}

// phi from the nearest piece's jet and the sum over the others.
template <JetOrder O, int n, typename T>
COLLOC_HD void equivalence(const T* nearest, const T* others, T s, int m, T* phi) {
  using Form = JetForm<O, n>;
  T small[Form::size], z[Form::size], rho[Form::size], f[4];
  whole_power<O, n>(nearest, s, m, small);
  jet_multiply<O, n>(small, others, z);
  const T one = T(1), inverse = one / (one + z[0]), exponent = one / T(m);
  f[0] = inverse_root(one + z[0], m);
  f[1] = -(exponent * f[0] * inverse);
  f[2] = -((exponent + one) * f[1] * inverse);
  f[3] = -((exponent + one + one) * f[2] * inverse);
  jet_compose<O, n>(z, f, rho);
  jet_multiply<O, n>(nearest, rho, phi);
}

// At a joint, where several pieces are 0, phi has a corner: its derivatives are those of the
// pieces times count^(-(m + 1) / m), the limit along phi_i = phi_j without what is infinite there.
template <typename T>
COLLOC_HD T joint_share(T count, int m) {
  return inverse_root(count, m) / count;
}

}  // namespace colloc::math
