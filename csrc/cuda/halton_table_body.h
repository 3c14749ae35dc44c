// Op halton by tables, for consecutive indices: the work of one block. With a period P = base^k
// and an index i = P high + low, the reversed digits of i are those of low, times base^(digits -
// k), plus those of high. A block keeps the first for all low < P; of a tile of its points it makes
// the second anew, for the few values of high in it. All are integers up to 2^53, so that their
// sum in double is exact, and the quotient is that of the digits one by one.
#pragma once

#include <type_traits>

#include "common/block_thread.h"
#include "common/thread_index.h"
#include "math/divisor.h"
#include "math/halton.h"

namespace colloc {

constexpr int halton_axes_a_launch = 16;  // they travel as kernel arguments
constexpr int64_t least_points_of_tables = 256;
constexpr int64_t most_digit_items = int64_t(1) << 20;  // coordinates
constexpr uint64_t longest_period = 1024;
constexpr int64_t halton_shared_memory = 48 << 10;  // what every GPU gives without being asked

struct HaltonTableAxis {
  math::HaltonAxis axis;
  double denominator, inverse;
  double weight;  // base^(digits - low_digits)
  math::Divisor<uint64_t> wide_base, wide_period;
  math::Divisor<uint32_t> base;
  math::SmallDivisor small_base, period;
  int32_t low_digits;
  int32_t highs;  // values of `high` that a tile can meet
  // Places in the block's memory, in doubles.
  int32_t low_table, high_table, maps;
};

// Digit maps as they are kept in shared memory.
struct SmallDigitMap {
  uint32_t h, g;
};

// Neighbours in a row that one store writes.
template <typename T, int Wide>
struct alignas(Wide * sizeof(T)) HaltonRow {
  T values[Wide];
};

// Threads next to each other make `Wide` coordinates each that are next to each other in memory, so
// that a warp's stores are one piece of it.
template <typename T, int Wide>
struct HaltonTableBody {
  static constexpr int threads = 256, least_blocks = 4;

  HaltonTableAxis axes[halton_axes_a_launch];
  int32_t count;   // axes in use, a multiple of Wide
  int32_t tile;    // points
  int32_t begins;  // where a tile begins in every axis' period; in doubles, like the other places
  int64_t n, dim;
  uint64_t start;
  T* out;  // at this launch's first axis

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& t) const {
    double* memory = reinterpret_cast<double*>(t.shared());
    if (axes[0].axis.scrambled) {
      make_maps(t, memory);
      t.sync();
    }
    make_low_tables(t, memory);
    for (int64_t first = t.block() * tile; first < n; first += t.blocks() * tile) {
      t.sync();  // the tile before has been read
      make_high_tables(t, memory, start + static_cast<uint64_t>(first));
      t.sync();
      const int64_t left = n - first;
      fill(t, memory, first, static_cast<int>(left < tile ? left : tile));
    }
  }

  template <typename Thread>
  COLLOC_BLOCK void make_maps(const Thread& t, double* memory) const {
    for (int a = t.warp(); a < count; a += threads / warp_size) {
      auto* maps = reinterpret_cast<SmallDigitMap*>(memory + axes[a].maps);
      for (int position = t.lane(); position < axes[a].axis.digits; position += warp_size) {
        const math::DigitMap map = math::digit_map(axes[a].axis, position);
        maps[position] = {static_cast<uint32_t>(map.h), static_cast<uint32_t>(map.g)};
      }
    }
  }

  // What stands for the digit at a position.
  static COLLOC_BLOCK uint32_t mapped(const HaltonTableAxis& axis, const SmallDigitMap* maps,
                                      uint32_t digit, int position) {
    if (!axis.axis.scrambled) return digit;
    return axis.small_base.remainder(maps[position].h * digit + maps[position].g);
  }

  template <typename Thread>
  COLLOC_BLOCK void make_low_tables(const Thread& t, double* memory) const {
    for (int a = 0; a < count; ++a) {
      const HaltonTableAxis& axis = axes[a];
      const auto* maps = reinterpret_cast<const SmallDigitMap*>(memory + axis.maps);
      for (uint32_t low = t.thread(); low < axis.period.value; low += threads) {
        uint32_t rest = low, reversed = 0;
        for (int position = 0; position < axis.low_digits; ++position) {
          const uint32_t quotient = axis.small_base.quotient(rest);
          const uint32_t digit = rest - quotient * axis.small_base.value;
          reversed = reversed * axis.small_base.value + mapped(axis, maps, digit, position);
          rest = quotient;
        }
        memory[axis.low_table + low] = axis.weight * static_cast<double>(reversed);
      }
    }
  }

  // A warp an axis.
  template <typename Thread>
  COLLOC_BLOCK void make_high_tables(const Thread& t, double* memory, uint64_t index) const {
    for (int a = t.warp(); a < count; a += threads / warp_size) {
      const HaltonTableAxis& axis = axes[a];
      const auto* maps = reinterpret_cast<const SmallDigitMap*>(memory + axis.maps);
      const auto [high, low] = axis.wide_period.divide(index);
      if (t.lane() == 0) reinterpret_cast<uint32_t*>(memory + begins)[a] = low;
      const bool narrow = high + static_cast<uint64_t>(axis.highs) <= 0xffffffffu;
      for (int k = t.lane(); k < axis.highs; k += warp_size) {
        uint64_t reversed = 0;
        if (narrow) {
          uint32_t rest = static_cast<uint32_t>(high) + static_cast<uint32_t>(k);
          for (int position = axis.low_digits; position < axis.axis.digits; ++position) {
            const auto [quotient, digit] = axis.base.divide(rest);
            reversed = reversed * axis.base.value + mapped(axis, maps, digit, position);
            rest = quotient;
          }
        } else {
          uint64_t rest = high + static_cast<uint64_t>(k);
          for (int position = axis.low_digits; position < axis.axis.digits; ++position) {
            const auto [quotient, digit] = axis.wide_base.divide(rest);
            reversed = reversed * axis.base.value +
                       mapped(axis, maps, static_cast<uint32_t>(digit), position);
            rest = quotient;
          }
        }
        memory[axis.high_table + k] = static_cast<double>(reversed);
      }
    }
  }

  // A thread makes axes a .. a + Wide - 1 of every few points.
  template <typename Thread>
  COLLOC_BLOCK void fill(const Thread& t, const double* memory, int64_t first, int size) const {
    const int parts = count / Wide, step = threads / parts;  // parts of a row; points at a time
    const int point = t.thread() / parts, a = (t.thread() - point * parts) * Wide;
    if (point >= step) return;  // left over
    const double* low_table[Wide];
    const double* high_table[Wide];
    double denominator[Wide], inverse[Wide];
    uint32_t begin[Wide];
    math::SmallDivisor period[Wide];
#pragma unroll
    for (int w = 0; w < Wide; ++w) {
      const HaltonTableAxis& axis = axes[a + w];
      low_table[w] = memory + axis.low_table;
      high_table[w] = memory + axis.high_table;
      denominator[w] = axis.denominator;
      inverse[w] = axis.inverse;
      begin[w] = reinterpret_cast<const uint32_t*>(memory + begins)[a + w];
      period[w] = axis.period;
    }
    T* row = out + (first + point) * dim + a;
    for (int i = point; i < size; i += step, row += step * dim) {
      HaltonRow<T, Wide> made;
#pragma unroll
      for (int w = 0; w < Wide; ++w) {
        const uint32_t place = begin[w] + static_cast<uint32_t>(i);
        const uint32_t high = period[w].quotient(place);
        const double reversed = low_table[w][place - high * period[w].value] + high_table[w][high];
        made.values[w] = math::as_coordinate(
            math::halton_quotient_by(reversed, denominator[w], inverse[w]), T(0));
      }
      *reinterpret_cast<HaltonRow<T, Wide>*>(row) = made;
    }
  }

  BlockGrid grid(int64_t doubles) const {
    const int64_t tiles = (n + tile - 1) / tile, most = 132 * least_blocks;
    return {tiles < most ? tiles : most, static_cast<size_t>(doubles) * sizeof(double)};
  }
};

// Whether the axis can go by tables; with `axis`, its constants.
inline bool halton_table_axis(const math::HaltonAxis& from, int64_t tile, HaltonTableAxis& axis) {
  if (from.denominator > math::exact_in_double || from.base > longest_period) return false;
  // A table that is longer than the tile costs more than it saves.
  const uint64_t longest =
      static_cast<uint64_t>(tile) < longest_period ? static_cast<uint64_t>(tile) : longest_period;
  uint64_t period = from.base;
  axis.low_digits = 1;
  while (axis.low_digits < from.digits && period * from.base <= longest) {
    period *= from.base;
    ++axis.low_digits;
  }
  axis.axis = from;
  axis.denominator = static_cast<double>(from.denominator);
  axis.inverse = 1.0 / axis.denominator;
  axis.weight = static_cast<double>(from.denominator / period);
  axis.wide_base = math::divisor_of(from.base);
  axis.wide_period = math::divisor_of(period);
  axis.base = math::divisor_of(static_cast<uint32_t>(from.base));
  axis.small_base = math::small_divisor_of(static_cast<uint32_t>(from.base));
  axis.period = math::small_divisor_of(static_cast<uint32_t>(period));
  axis.highs = static_cast<int32_t>((tile + static_cast<int64_t>(period) - 2) /
                                    static_cast<int64_t>(period)) +
               1;
  return true;
}

// Hands run_blocks a body for some of the axes from `first` on; returns how many, 0 where the
// first can't go by tables.
template <typename T, typename Axes, typename RunBlocks>
int64_t halton_table_body(const Axes& axes, int64_t first, int64_t n, int64_t dim, uint64_t start,
                          T* out, const RunBlocks& run_blocks) {
  constexpr int64_t threads = HaltonTableBody<T, 1>::threads;
  const int64_t shared = n / (132 * 2) / threads * threads;  // a tile, in whole rounds of threads
  const int64_t tile = shared < threads ? threads : (shared < 2048 ? shared : 2048);
  HaltonTableAxis found[halton_axes_a_launch];
  int64_t count = 0, doubles = (halton_axes_a_launch + 1) / 2;
  while (count < halton_axes_a_launch && first + count < dim &&
         halton_table_axis(axes[first + count], tile, found[count])) {
    HaltonTableAxis& axis = found[count];
    const int64_t maps = axis.axis.scrambled ? axis.axis.digits : 0;
    const int64_t more = axis.period.value + axis.highs + maps;
    if ((doubles + more) * static_cast<int64_t>(sizeof(double)) > halton_shared_memory) break;
    axis.low_table = static_cast<int32_t>(doubles);
    axis.high_table = axis.low_table + static_cast<int32_t>(axis.period.value);
    axis.maps = axis.high_table + axis.highs;
    doubles += more;
    ++count;
  }
  const auto run = [&](auto wide) {
    constexpr int columns = decltype(wide)::value;
    HaltonTableBody<T, columns> body{};
    for (int64_t i = 0; i < count; ++i) body.axes[i] = found[i];
    body.count = static_cast<int32_t>(count);
    body.tile = static_cast<int32_t>(tile);
    body.begins = 0;
    body.n = n;
    body.dim = dim;
    body.start = start;
    body.out = out + first;
    run_blocks(body, body.grid(doubles));
    return count;
  };
  if (count == 0) return 0;
  // Stores of up to 16 bytes, where they divide a row, so that this launch and the next one begin
  // at a multiple of them.
  const auto fits = [&](int wide) {
    return dim % wide == 0 && count >= wide &&
           reinterpret_cast<uintptr_t>(out + first) % (wide * sizeof(T)) == 0;
  };
  if constexpr (sizeof(T) == 4) {
    if (fits(4)) {
      count -= count % 4;
      return run(std::integral_constant<int, 4>{});
    }
  }
  if (fits(2)) {
    count -= count % 2;
    return run(std::integral_constant<int, 2>{});
  }
  return run(std::integral_constant<int, 1>{});
}

}  // namespace colloc
