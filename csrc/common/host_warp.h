// What the lanes of a warp do together in a block kernel on the host (host_block.h): products,
// shuffles, matrices from shared memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/host_block.h"
#include "common/host_half.h"

namespace colloc {

// Toward 0, as tensor cores round their sums.
inline float cut_off(double x) {
  const float rounded = static_cast<float>(x);
  const bool past = std::fabs(static_cast<double>(rounded)) > std::fabs(x);
  return math::bits_as<float>(math::bits_as<uint32_t>(rounded) - (past ? 1u : 0u));
}

COLLOC_APART inline void HostThread::multiply(float (&to)[4], const float (&c)[4],
                                              const uint32_t (&a)[4],
                                              const uint32_t (&b)[2]) const {
  HostWarp& warp = block_->warps_[this->warp()];
  std::memcpy(warp.a[lane()], a, sizeof(a));
  std::memcpy(warp.b[lane()], b, sizeof(b));
  std::memcpy(warp.c[lane()], c, sizeof(c));
  meet("mma", [](HostWarp& all) {
    const auto value = [](uint32_t bits, int half) -> double {
      return float_from_half(bits >> 16 * half & 0xffffu);
    };
    double left[16][16], right[16][8];
    for (int i = 0; i < warp_size; ++i) {
      const int g = i / 4, t = i % 4;
      for (int half = 0; half < 2; ++half) {
        for (int e = 0; e < 4; ++e) {
          left[g + 8 * (e % 2)][2 * t + 8 * (e / 2) + half] = value(all.a[i][e], half);
        }
        for (int e = 0; e < 2; ++e) right[2 * t + 8 * e + half][g] = value(all.b[i][e], half);
      }
    }
    for (int i = 0; i < warp_size; ++i) {
      for (int e = 0; e < 4; ++e) {
        const int row = i / 4 + 8 * (e / 2), column = 2 * (i % 4) + e % 2;
        double sum = all.c[i][e];
        for (int k = 0; k < 16; ++k) sum += left[row][k] * right[k][column];
        all.c[i][e] = cut_off(sum);
      }
    }
  });
  std::memcpy(to, warp.c[lane()], sizeof(to));
}

COLLOC_APART inline uint32_t HostThread::reduce_max(uint32_t x) const {
  HostWarp& warp = block_->warps_[this->warp()];
  warp.a[lane()][0] = x;
  meet("reduce_max", [](HostWarp& all) {
    uint32_t most = 0;
    for (int i = 0; i < warp_size; ++i) most = std::max(most, all.a[i][0]);
    for (int i = 0; i < warp_size; ++i) all.found[i][0] = most;
  });
  return warp.found[lane()][0];
}

COLLOC_APART inline float HostThread::shuffle_xor(float x, int mask) const {
  HostWarp& warp = block_->warps_[this->warp()];
  warp.c[lane()][0] = x;
  meet("shuffle", [mask](HostWarp& all) {
    for (int i = 0; i < warp_size; ++i) {
      all.found[i][0] = math::bits_as<uint32_t>(all.c[i ^ mask][0]);
    }
  });
  return math::bits_as<float>(warp.found[lane()][0]);
}

COLLOC_APART inline void HostThread::load_matrix(uint32_t (&to)[4], const float* row) const {
  HostWarp& warp = block_->warps_[this->warp()];
  warp.row[lane()] = check_shared(row, 16);
  meet("load_matrix", [](HostWarp& all) {
    for (int i = 0; i < warp_size; ++i) {
      for (int e = 0; e < 4; ++e) {
        all.found[i][e] = math::bits_as<uint32_t>(all.row[8 * e + i / 4][i % 4]);
      }
    }
  });
  std::memcpy(to, warp.found[lane()], sizeof(to));
}

COLLOC_APART inline void HostThread::load_transposed(uint32_t (&to)[4], const float* row) const {
  HostWarp& warp = block_->warps_[this->warp()];
  warp.row[lane()] = check_shared(row, 16);
  meet("load_transposed", [](HostWarp& all) {
    const auto half = [&](int matrix, int row, int column) {
      const uint32_t word = math::bits_as<uint32_t>(all.row[8 * matrix + row][column / 2]);
      return word >> 16 * (column % 2) & 0xffffu;
    };
    for (int i = 0; i < warp_size; ++i) {
      const int g = i / 4, t = i % 4;
      for (int e = 0; e < 4; ++e) {
        all.found[i][e] = half(e, 2 * t, g) | half(e, 2 * t + 1, g) << 16;
      }
    }
  });
  std::memcpy(to, warp.found[lane()], sizeof(to));
}

}  // namespace colloc
