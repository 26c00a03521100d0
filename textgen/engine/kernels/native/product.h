// Matrix products of a few rows with weights that lie in panels of 4 · kLanes columns.
//
// Every sum has one accumulator that runs through the inputs from first to last, whatever the
// number of rows, so a row's bits do not depend on the rows beside it. Weights are float32, or
// signed bytes with a scale for each column; then the rows are unsigned bytes around 128 with a
// scale for each row, and the sums are whole numbers, so exact.
#pragma once

#include <cstddef>
#include <cstring>
#include <type_traits>

#include "simd.h"

constexpr int kPanel = 4 * kLanes;
constexpr int kAhead = 16;  // rows of a panel that are fetched ahead where nothing is reused

struct Matrix {  // (inputs, panels · kPanel)
  const void* weights;     // float (panels, inputs, kPanel), or bytes (panels, inputs / 4, kPanel, 4)
  const float* scales;     // (panels · kPanel) of bytes, null for floats
  const int32_t* offsets;  // -128 · the sum of a column's bytes
  int64_t inputs;
};

struct Operand {  // rows (rows, inputs), by ``index`` where it is not null
  const float* values;
  const uint8_t* bytes;  // (rows, inputs), of Matrix with scales, with a scale for each row
  const float* scales;
  int64_t stride;
  const int64_t* index;

  const float* row(int64_t r) const { return values + (index ? index[r] : r) * stride; }
};

template <int R>
using Sums = Vec[R][4];

template <int R>
static inline void add_floats(Sums<R>& sums, const Matrix& matrix, const Operand& x, int64_t panel,
                              int64_t row) {
  const float* w = static_cast<const float*>(matrix.weights) + panel * matrix.inputs * kPanel;
  const float* rows[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) rows[r] = x.row(row + r);
  for (int64_t k = 0; k < matrix.inputs; ++k, w += kPanel) {
    if (R <= 2) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) __builtin_prefetch(w + kAhead * kPanel + v * kLanes);
    }
    const Vec w0 = load(w), w1 = load(w + kLanes);
    const Vec w2 = load(w + 2 * kLanes), w3 = load(w + 3 * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vec value = same(rows[r][k]);
      sums[r][0] = fma(value, w0, sums[r][0]);
      sums[r][1] = fma(value, w1, sums[r][1]);
      sums[r][2] = fma(value, w2, sums[r][2]);
      sums[r][3] = fma(value, w3, sums[r][3]);
    }
  }
}

template <int R>
static inline void add_bytes(Sums<R>& sums, const Matrix& matrix, const Operand& x, int64_t panel,
                             int64_t row) {
  const int8_t* w = static_cast<const int8_t*>(matrix.weights) + panel * matrix.inputs * kPanel;
  const int64_t column = panel * kPanel;
  const uint8_t* rows[R];
  Ints whole[R][4];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    rows[r] = x.bytes + (row + r) * matrix.inputs;
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) whole[r][v] = load_ints(matrix.offsets + column + v * kLanes);
  }
  for (int64_t k = 0; k < matrix.inputs; k += 4, w += 4 * kPanel) {
    if (R <= 2) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) __builtin_prefetch(w + 4 * (kAhead * kPanel + v * kLanes));
    }
    const Ints w0 = load_ints(w), w1 = load_ints(w + 4 * kLanes);
    const Ints w2 = load_ints(w + 8 * kLanes), w3 = load_ints(w + 12 * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      int32_t four;
      std::memcpy(&four, rows[r] + k, 4);
      const Ints value = same_int(four);
      whole[r][0] = dot4(whole[r][0], value, w0);
      whole[r][1] = dot4(whole[r][1], value, w1);
      whole[r][2] = dot4(whole[r][2], value, w2);
      whole[r][3] = dot4(whole[r][3], value, w3);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const Vec scale = same(x.scales[row + r]);
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const Vec both = mul(scale, load(matrix.scales + column + v * kLanes));
      sums[r][v] = fma(to_float(whole[r][v]), both, sums[r][v]);
    }
  }
}

// sums += rows row … row + R - 1 of x · one panel of the matrix
template <int R>
static inline void add_product(Sums<R>& sums, const Matrix& matrix, const Operand& x,
                               int64_t panel, int64_t row) {
  if (matrix.scales) {
    add_bytes<R>(sums, matrix, x, panel, row);
  } else {
    add_floats<R>(sums, matrix, x, panel, row);
  }
}

// body(R, row) for blocks of R rows that cover first … end - 1; R is a compile-time constant.
template <class Body>
static inline void in_blocks(int64_t first, int64_t end, const Body& body) {
  for (; first + kRows <= end; first += kRows) body(std::integral_constant<int, kRows>(), first);
  switch (end - first) {
    case 1: body(std::integral_constant<int, 1>(), first); break;
    case 2: body(std::integral_constant<int, 2>(), first); break;
    case 3: body(std::integral_constant<int, 3>(), first); break;
    case 4: body(std::integral_constant<int, 4>(), first); break;
    case 5: body(std::integral_constant<int, 5>(), first); break;
    default: break;
  }
}

// One row (a multiple of kLanes numbers) as bytes around 128; returns what a step of one is worth.
static inline float quantize(const float* from, int64_t count, uint8_t* to) {
  Vec largest = same(0.0f);
  for (int64_t i = 0; i < count; i += kLanes) {
    const Vec value = load(from + i);
    largest = most(largest, most(value, sub(same(0.0f), value)));
  }
  float lanes[kLanes], most_of_all = 0.0f;
  store(lanes, largest);
  for (float lane : lanes) most_of_all = lane > most_of_all ? lane : most_of_all;
  const float inverse = most_of_all > 0.0f ? 127.0f / most_of_all : 0.0f;
  // What is added to 1.5·2^23 is rounded to a whole number, which stands in the low bits.
  const Vec factor = same(inverse), magic = same(12583040.0f);  // 1.5·2^23 + 128
  for (int64_t i = 0; i < count; i += kLanes) {
    store_low_bytes(to + i, fma(load(from + i), factor, magic));
  }
  return most_of_all / 127.0f;
}
