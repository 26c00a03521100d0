// Drawing a token from logits by the inverse of the cumulative distribution, as sampling.py has it.
//
// A function of a row's own numbers; the sums are of float64, from the first token to the last, so
// neither the rows beside it nor the width of the vectors changes what is drawn.
#pragma once

#include <cmath>
#include <cstdint>

#include "simd.h"

struct Draws {
  const uint8_t* rows;      // (R) whether a row is drawn here
  const float* heat;        // (R) temperatures; 0: the likeliest token
  const uint64_t* keys;     // (R) of the random numbers
  uint64_t* positions;      // (R) of the next one
  const uint8_t* drawable;  // (C) tokens that may come
  const uint8_t* stops;     // (C) tokens after which somebody has to look
  float* chances;           // (R, C) scratch
};

// SplitMix64's number at a position as a multiple of 2^-48 in [0, 1); see randomness.py.
static inline double uniform(uint64_t key, uint64_t position) {
  uint64_t word = key + (position + 1) * 0x9E3779B97F4A7C15u;
  word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9u;
  word = (word ^ (word >> 27)) * 0x94D049BB133111EBu;
  word ^= word >> 31;
  return static_cast<double>(word >> 16) * 0x1p-48;
}

// The likeliest token that may come, of equals the first; -1 where none may.
static inline int64_t likeliest(const float* logits, const uint8_t* drawable, int64_t columns) {
  int64_t found = -1;
  float most = -INFINITY;
  for (int64_t i = 0; i < columns; ++i) {
    if (drawable[i] && logits[i] > most) {
      most = logits[i];
      found = i;
    }
  }
  return found;
}

// A row's next token, -1 where none may come; its position advances.
static inline int64_t draw(const Draws& draws, int64_t row, const float* logits, int64_t columns) {
  const uint64_t position = draws.positions[row]++;
  const int64_t best = likeliest(logits, draws.drawable, columns);
  if (best < 0 || draws.heat[row] == 0.0f) return best;
  float* chances = draws.chances + row * columns;
  const Vec heat = same(draws.heat[row]), largest = same(logits[best] / draws.heat[row]);
  for (int64_t i = 0; i < columns; i += kLanes) {
    store(chances + i, exponential(sub(div(load(logits + i), heat), largest)));
  }
  double total = 0.0;
  for (int64_t i = 0; i < columns; ++i) {
    const bool may = draws.drawable[i] && logits[i] > -INFINITY;
    chances[i] = may ? chances[i] : 0.0f;
    total += chances[i];
  }
  const double share = uniform(draws.keys[row], position) * total;
  double sum = 0.0;
  int64_t token = -1;
  do {
    sum += chances[++token];
  } while (sum <= share);
  return token;
}
