// What mathematics written over T, a number or a pack of numbers, needs besides arithmetic. Packs
// have overloads of select, roots, reciprocals and real_power (cpu/kernels/pack.h).
#pragma once

#include <cmath>

#include "math/host_device.h"

namespace colloc::math {

// A constant as T.
template <typename T>
COLLOC_HD T number(double value) {
  return static_cast<T>(value);
}

// a where the mask is set, else b.
template <typename T>
COLLOC_HD T select(bool mask, T a, T b) {
  return mask ? a : b;
}

template <typename T>
COLLOC_HD T square_root(T x) {
  return std::sqrt(x);
}

template <typename T>
COLLOC_HD T reciprocal(T x) {
  return T(1) / x;
}

template <typename T>
COLLOC_HD T reciprocal_root(T x) {
  return T(1) / std::sqrt(x);
}

template <typename T>
COLLOC_HD T real_power(T x, double exponent) {
  return std::pow(x, static_cast<T>(exponent));
}

template <typename T>
constexpr bool single() {
  if constexpr (requires { typename T::Scalar; }) {
    return sizeof(typename T::Scalar) == 4;
  } else {
    return sizeof(T) == 4;
  }
}

template <typename T>
constexpr T rounding = T(sizeof(T) == 4 ? 1.1920929e-07 : 2.220446049250313e-16);

template <typename T>
constexpr T largest = T(sizeof(T) == 4 ? 3.4028235e+38 : 1.7976931348623157e+308);

// NaN if a is.
template <typename D>
COLLOC_HD D smaller(D a, D b) {
  return select(b < a, b, a);
}

// Added under a root, so that nothing is divided by 0.
template <typename T>
constexpr double smallest = single<T>() ? 1e-36 : 1e-300;

}  // namespace colloc::math
