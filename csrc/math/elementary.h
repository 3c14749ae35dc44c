// Elementary functions without branches, so that loops over them vectorise: exp, expm1, sincos,
// log, log1p on (0, 1], and the scaled complementary error function. Errors are a few units in the
// last place. Coefficients: tools/coefficients.py.
#pragma once

#include <cmath>
#include <cstdint>

#include "math/host_device.h"

namespace colloc::math {

template <typename T>
COLLOC_HD T horner(T, T c) {
  return c;
}

// c0 + c1 x + c2 x^2 + ...
template <typename T, typename... Rest>
COLLOC_HD T horner(T x, T c0, Rest... rest) {
  return c0 + x * horner(x, rest...);
}

template <typename T>
constexpr bool is_float = sizeof(T) == 4;

template <typename To, typename From>
COLLOC_HD To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof(To));
  return to;
}

template <typename T>
COLLOC_HD T absolute(T x) {
  return x < T(0) ? -x : x;
}

// 1 / x and a / b. On a GPU the special function unit's reciprocal with one correction, within a
// unit in the last place of float, is a third of the instructions of a division; x and b must lie
// between 2^-126 and 2^126.
template <typename T>
COLLOC_HD T reciprocal_bounded(T x) {
#if defined(__CUDA_ARCH__)
  if constexpr (is_float<T>) {
    float r;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return fmaf(fmaf(-x, r, 1.0f), r, r);
  }
#endif
  return T(1) / x;
}

template <typename T>
COLLOC_HD T quotient_bounded(T a, T b) {
#if defined(__CUDA_ARCH__)
  if constexpr (is_float<T>) {
    float r;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(b));
    const float q = a * r;
    return fmaf(fmaf(-q, b, a), r, q);
  }
#endif
  return a / b;
}

template <typename T>
struct ExpParts {
  T scale;  // 2^n
  T tail;   // expm1(r), with x = n log 2 + r and |r| <= log(2) / 2
};

// Splits exp(x) = scale (1 + tail) for -87 <= x <= 88 (float), -708 <= x <= 709 (double).
// Adding the magic number 1.5 * 2^(mantissa bits) leaves round(x / log 2) in the low bits.
template <typename T>
COLLOC_HD ExpParts<T> exp_parts(T x) {
  ExpParts<T> parts;
  if constexpr (is_float<T>) {
    const float magic = 12582912.0f;
    const float shifted = x * 1.442695041f + magic;
    const float n = shifted - magic;
    // log 2 in two parts, the first short enough for n * part to be exact
    const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    parts.tail = r + r * r *
                         horner(r, 0.50000000135f, 0.16666666682f, 0.041666464197f,
                                0.0083333108446f, 0.0013933730716f, 0.00019891080464f);
    parts.scale = bits_as<float>((bits_as<int32_t>(shifted) + 127) << 23);
  } else {
    const double magic = 6755399441055744.0;
    const double shifted = x * 1.4426950408889634 + magic;
    const double n = shifted - magic;
    const double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    parts.tail =
        r + r * r *
                horner(r, 0.5, 0.1666666666666667103, 0.04166666666666666978,
                       0.00833333333332608312, 0.001388888888888371117, 0.0001984126987500227879,
                       0.0000248015873256774619, 2.755725517000088744e-6, 2.755727347871858047e-7,
                       2.510531272962210179e-8, 2.09147553258932022e-9);
    parts.scale = bits_as<double>((bits_as<int64_t>(shifted) + 1023) << 52);
  }
  return parts;
}

// exp(-x) and expm1(-x) for x >= 0; exactly 0 and -1 once exp(-x) would be subnormal. NaN stays.
template <typename T>
COLLOC_HD void exp_of_negative(T x, T& exponential, T& minus_one) {
  const T lowest = is_float<T> ? T(87) : T(708);
  const bool vanished = x > lowest;
  const ExpParts<T> p = exp_parts<T>(vanished ? -lowest : -x);
  exponential = vanished ? T(0) : p.scale + p.scale * p.tail;
  minus_one = vanished ? T(-1) : p.scale * p.tail + (p.scale - T(1));
}

template <typename T>
COLLOC_HD T exp_of_negative(T x) {
#if defined(__CUDA_ARCH__)
  if constexpr (is_float<T>) {
    // The special function unit's 2^y, within 2 units in the last place, times 1 + what rounding y
    // = -x / log 2 left.
    const float y = x * -1.442695022f;
    const float rest = fmaf(x, -1.925963033e-8f, fmaf(x, -1.442695022f, -y));
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(y));
    return x > 87.0f ? 0.0f : fmaf(power, 0.6931471806f * rest, power);
  }
#endif
  T exponential, unused;
  exp_of_negative(x, exponential, unused);
  return exponential;
}

// log(1 + e) for 0 <= e <= 1, by 2 atanh(e / (2 + e)).
template <typename T>
COLLOC_HD T log1p_unit(T e) {
  const T s = quotient_bounded(e, T(2) + e);
  const T s2 = s * s;
  T tail;
  if constexpr (is_float<T>) {
    tail = horner(s2, 0.33333333325f, 0.20000005385f, 0.14285152861f, 0.11132355605f,
                  0.087323512327f, 0.10393808428f);
  } else {
    tail = horner(s2, 0.3333333333333333344, 0.1999999999999976125, 0.1428571428580004965,
                  0.1111111109911838528, 0.09090909948981357191, 0.07692271982430274643,
                  0.06667589315724627918, 0.0586713953065159873, 0.05422589197440007411,
                  0.0374607189777538365, 0.07815288900461425223);
  }
  return T(2) * (s + s * s2 * tail);
}

// log(x) of a normal number x > 0: x = 2^k m with m in [sqrt(1/2), sqrt(2)), log m by 2 atanh(s),
// s = (m - 1) / (m + 1).
COLLOC_HD double log_normal(double x) {
  const uint64_t bits = bits_as<uint64_t>(x);
  // The exponent field after the step from sqrt(1/2) to 1 is added: k + 1023.
  const uint64_t field = (bits + 0x00095f619980c433ull) >> 52;
  const double m = bits_as<double>(bits - ((field - 1023) << 52));
  // As the low bits of 2^52 it is a number without a conversion.
  const double k = bits_as<double>(field | 0x4330000000000000ull) - (4503599627370496.0 + 1023.0);
  const double s = (m - 1.0) / (m + 1.0);
  const double s2 = s * s;
  const double tail = horner(s2, 0.3333333333333334844, 0.1999999999994972365,
                             0.1428571431300071279, 0.1111110556528036322, 0.09091444716878758211,
                             0.0766585567333649799, 0.07308288210822192974);
  // log 2 in two parts, the first short enough for k * part to be exact
  const double low = 2.0 * s * s2 * tail + k * 1.90821492927058770002e-10;
  return k * 6.93147180369123816490e-01 + (2.0 * s + low);
}

// The same for x > 0 that may be subnormal.
COLLOC_HD double log_positive(double x) {
  const bool subnormal = x < 2.2250738585072014e-308;
  const double value = log_normal(subnormal ? x * 18014398509481984.0 : x);  // 2^54
  return subnormal ? value - 37.429947750237047 : value;
}

// exp(x), 0 below -708; x <= 709.
COLLOC_HD double exp_bounded(double x) {
  const ExpParts<double> p = exp_parts<double>(x < -708.0 ? -708.0 : x);
  return x < -708.0 ? 0.0 : p.scale + p.scale * p.tail;
}

// exp(z^2) erfc(z) for z >= 0; polynomial in (z - K) / (z + K), K = 3.75
// (Shepherd and Laframboise, Mathematics of Computation 36, 1981).
template <typename T>
COLLOC_HD T erfcx(T z) {
  const T bounded = z > T(1e4) ? T(1e4) : z;
  const T y = quotient_bounded(bounded - T(3.75), bounded + T(3.75));
  T p;
  if constexpr (is_float<T>) {
    p = horner(y, 1.2375126185f, -0.14024060801f, 0.0035863101017f, 0.08227741756f, -0.10881458496f,
               0.092296367961f, -0.058645982868f, 0.028396482121f, -0.009845491095f,
               0.0016886622311f, 0.00039670463828f, -0.00022874723359f);
  } else {
    p = horner(y, 1.237512630837827582, -0.1402405985855469619, 0.003585415485463774964,
               0.08227673849014515912, -0.1088039301417178578, 0.09230432116037876714,
               -0.05869339859021236722, 0.0283622774189406648, -0.009746579552504242968,
               0.001755625853001725795, 0.0002937136342850081258, -0.0002901540809795271307,
               0.00005164921139070285187, 0.00002238424031422443833, -0.00001144441243917172306,
               -9.735619015182663294e-7, 1.752057970166318102e-6, -5.721597255990987179e-8,
               -2.591069687796657853e-7, 2.326191327669656739e-8, 3.896545254898596811e-8,
               -3.743568033634583217e-9, -5.284286979631420566e-9, 3.110310719839164993e-10,
               4.43495907000962826e-10);
  }
  return quotient_bounded(p, T(1) + T(2) * bounded);
}

// Up to this |x| the three-part reduction of sincos_bounded is exact; above it, and for
// infinities and NaN, the callers take the C library's functions.
template <typename T>
COLLOC_HD constexpr T sincos_limit() {
  return is_float<T> ? T(8192) : T(1e6);
}

// sin(x + quarter_turns pi / 2) for |x| <= sincos_limit.
template <typename T>
COLLOC_HD T sin_bounded(T x, int quarter_turns) {
  T s, c;
  int quadrant;
  if constexpr (is_float<T>) {
    const float magic = 12582912.0f;
    const float shifted = x * 0.636619772f + magic;
    const float n = shifted - magic;
    quadrant = bits_as<int32_t>(shifted) + quarter_turns;
    const float r = ((x - n * 1.5703125f) - n * 4.83751296997e-4f) - n * 7.54978995489e-8f;
    const float r2 = r * r;
    s = r +
        r * r2 * horner(r2, -0.16666666664f, 0.008333331866f, -0.00019840082013f, 2.7249314055e-6f);
    c = 1.0f - 0.5f * r2 +
        r2 * r2 *
            horner(r2, 0.041666666664f, -0.0013888887665f, 2.4800596436e-5f, -2.7300448619e-7f);
  } else {
    const double magic = 6755399441055744.0;
    const double shifted = x * 0.63661977236758134308 + magic;
    const double n = shifted - magic;
    quadrant = static_cast<int>(bits_as<int64_t>(shifted)) + quarter_turns;
    const double r = ((x - n * 1.57079632673412561417e+00) - n * 6.07710050630396597660e-11) -
                     n * 2.02226624879595063154e-21;
    const double r2 = r * r;
    s = r + r * r2 *
                horner(r2, -0.1666666666666666667, 0.00833333333333331470,
                       -0.0001984126984126501703, 2.75573192193019187e-6, -2.505210621952189423e-8,
                       1.605852957226787635e-10, -7.586576588171072463e-13);
    c = 1.0 - 0.5 * r2 +
        r2 * r2 *
            horner(r2, 0.04166666666666666667, -0.001388888888888888785, 0.00002480158730158461979,
                   -2.755731922138211558e-7, 2.087675578389403842e-9, -1.147045974967560614e-11,
                   4.745804889760674174e-14);
  }
  const T value = (quadrant & 1) ? c : s;
  return (quadrant & 2) ? -value : value;
}

// The same for any x: the C library's beyond the limit (branches, so not for vector loops).
template <typename T>
COLLOC_HD T sin_any(T x, int quarter_turns) {
  if (absolute(x) <= sincos_limit<T>()) {
    return sin_bounded(x, quarter_turns);
  }
  const T value = (quarter_turns & 1) ? T(cos(x)) : T(sin(x));
  return (quarter_turns & 2) ? -value : value;
}

}  // namespace colloc::math
