// The arithmetic of generation: a step of many rows, or many steps of prompts, in one call.
//
// Plain C functions for ctypes. All memory is the caller's; shapes are checked there. R rows,
// L layers, H hidden units (a multiple of kLanes), V tokens, C columns of logits.
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "draw.h"
#include "model.h"
#include "pool.h"

namespace {

constexpr int kMostLayers = 64;
constexpr int64_t kWorthSharing = 1 << 17;  // multiplications; less is done before a helper comes

struct Call {
  Pool& pool;
  bool shared;

  // task(panel, first row, end) over all panels and rows
  template <class Task>
  void panels(int64_t count, int64_t rows, int64_t inputs, const Task& task) {
    int64_t groups = 1;  // of rows, where there are too few panels for the threads
    while (count * groups < 4 * pool.threads() && rows / groups >= 8 * kRows) groups *= 2;
    const int64_t blocks = (rows + kRows - 1) / kRows;
    const int64_t size = (blocks + groups - 1) / groups * kRows;
    const bool worth = count * kPanel * inputs * rows >= kWorthSharing;
    pool.run(shared && worth, static_cast<uint32_t>(count * groups), [&](uint32_t index) {
      const int64_t first = index % groups * size;
      const int64_t end = first + size < rows ? first + size : rows;
      task(index / groups, first, end);
    });
  }

  // task(row) for all rows; each about as much as ``work`` multiplications
  template <class Task>
  void rows(int64_t count, int64_t work, const Task& task) {
    pool.run(shared && count * work >= kWorthSharing, static_cast<uint32_t>(count), task);
  }
};

// The bytes of an operand's rows, where the matrix needs them; slot 0 or 1 of the scratch.
Operand ready(Call& call, const Matrix& matrix, Operand x, const Scratch& scratch, int slot,
              int64_t rows) {
  if (!matrix.scales) return x;
  uint8_t* bytes = scratch.bytes + slot * scratch.capacity * scratch.widest;
  float* scales = scratch.scales + slot * scratch.capacity;
  call.rows(rows, 16 * matrix.inputs, [&](uint32_t row) {
    scales[row] = quantize(x.row(row), matrix.inputs, bytes + row * matrix.inputs);
  });
  x.bytes = bytes;
  x.scales = scales;
  return x;
}

// The sum of numbers, or of their squares; 16 sums side by side, whatever the vectors' width.
template <bool Squares>
float total(const float* from, int64_t count) {
  constexpr int kSums = 16 / kLanes;
  Vec sums[kSums];
  for (int v = 0; v < kSums; ++v) sums[v] = same(0.0f);
  for (int64_t i = 0; i < count; i += 16) {
    for (int v = 0; v < kSums; ++v) {
      const Vec value = load(from + i + v * kLanes);
      sums[v] = Squares ? fma(value, value, sums[v]) : add(sums[v], value);
    }
  }
  float lanes[16], result = 0.0f;
  for (int v = 0; v < kSums; ++v) store(lanes + v * kLanes, sums[v]);
  for (float lane : lanes) result += lane;
  return result;
}

// Layer normalization in place (Ba et al. 2016); numbers behind ``width`` are 0 before and after.
void normalize(float* row, int64_t size, int64_t width, const float* scale, const float* shift) {
  const Vec mean = same(total<false>(row, size) / width);
  for (int64_t i = 0; i < size; i += kLanes) store(row + i, sub(load(row + i), mean));
  for (int64_t i = width; i < size; ++i) row[i] = 0.0f;
  const Vec inverse = same(1.0f / std::sqrt(total<true>(row, size) / width + 1e-5f));
  for (int64_t i = 0; i < size; i += kLanes) {
    store(row + i, fma(mul(load(row + i), inverse), load(scale + i), load(shift + i)));
  }
}

// What goes up from ``layers`` states of rows (stride H), lowest first; maybe into ``to``.
const float* upwards(Call& call, const Model& model, const float* const* states, int64_t layers,
                     int64_t rows, float* to) {
  const int64_t size = model.hidden;
  const Layer& last = model.layer[layers - 1];
  if (!last.norm_scale && (!model.residual || layers == 1)) return states[layers - 1];
  call.rows(rows, 8 * size, [&](uint32_t row) {
    float* out = to + row * size;
    const int64_t lowest = model.residual ? 0 : layers - 1;
    std::memcpy(out, states[lowest] + row * size, size * sizeof(float));
    for (int64_t layer = lowest + 1; layer < layers; ++layer) {
      const float* more = states[layer] + row * size;
      for (int64_t i = 0; i < size; i += kLanes) store(out + i, add(load(out + i), load(more + i)));
    }
    if (last.norm_scale) normalize(out, size, model.width, last.norm_scale, last.norm_shift);
  });
  return to;
}

// h, c → h', c' of one layer. ``start``: rows (4H) of biases or gate inputs; ``x`` may be null.
void cell_step(Call& call, const Layer& layer, int64_t size, Operand start, const Operand* x,
               const Operand& h, float* cell, float* next, int64_t rows) {
  const int64_t inputs = layer.hidden.inputs + (x ? layer.input.inputs : 0);
  call.panels(size / kLanes, rows, inputs, [&](int64_t panel, int64_t first, int64_t end) {
    in_blocks(first, end, [&](auto block, int64_t row) {
      constexpr int R = decltype(block)::value;
      Sums<R> sums;
      const int64_t unit = panel * kLanes;
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const float* gates = start.row(row + r) + unit;
#pragma GCC unroll 4
        for (int g = 0; g < 4; ++g) sums[r][g] = load(gates + g * size);
      }
      if (x) add_product<R>(sums, layer.input, *x, panel, row);
      add_product<R>(sums, layer.hidden, h, panel, row);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const int64_t at = (row + r) * size + unit;
        const Vec kept = mul(sigmoid(sums[r][1]), load(cell + at));
        const Vec c = fma(sigmoid(sums[r][0]), hyperbolic_tangent(sums[r][3]), kept);
        store(cell + at, c);
        store(next + at, mul(sigmoid(sums[r][2]), hyperbolic_tangent(c)));
      }
    });
  });
}

// rows · matrix + bias into ``out`` (rows, columns). Panels hold columns side by side where
// ``apart`` is kLanes, and the same unit's four gates where it is H.
void product(Call& call, const Matrix& matrix, const float* bias, const Operand& x, float* out,
             int64_t columns, int64_t apart, int64_t rows) {
  const int64_t count = (columns + kPanel - 1) / kPanel;
  call.panels(count, rows, matrix.inputs, [&](int64_t panel, int64_t first, int64_t end) {
    const int64_t column = apart == kLanes ? panel * kPanel : panel * kLanes;
    in_blocks(first, end, [&](auto block, int64_t row) {
      constexpr int R = decltype(block)::value;
      Sums<R> sums;
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) {
          const int64_t at = column + v * apart;
          sums[r][v] = at < columns ? load(bias + at) : same(0.0f);
        }
      }
      add_product<R>(sums, matrix, x, panel, row);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) {
          const int64_t at = column + v * apart;
          if (at < columns) store(out + (row + r) * columns + at, sums[r][v]);
        }
      }
    });
  });
}

Operand rows_of(const float* values, int64_t stride, const int64_t* index = nullptr) {
  return {values, nullptr, nullptr, stride, index};
}

// One step; see textgen_step.
void advance(Call& call, const Model& model, const Scratch& scratch, const int64_t* tokens,
             float* hidden, float* cell, int64_t stride, float* logits, int64_t rows) {
  const int64_t size = model.hidden;
  const float* states[kMostLayers];
  for (int64_t index = 0; index < model.layers; ++index) {
    const Layer& layer = model.layer[index];
    float* next = scratch.hidden + index * scratch.capacity * size;
    const float* before = hidden + index * stride * size;
    Operand start = rows_of(layer.bias, 0), x{};
    bool with_input = true;
    if (index > 0) {
      x = rows_of(upwards(call, model, states, index, rows, scratch.inputs), size);
    } else if (model.table) {
      start = rows_of(model.table, 4 * size, tokens);
      with_input = false;
    } else {
      x = rows_of(model.embedding, layer.input.inputs, tokens);
    }
    if (with_input) x = ready(call, layer.input, x, scratch, 0, rows);
    const Operand h = ready(call, layer.hidden, rows_of(before, size), scratch, 1, rows);
    cell_step(call, layer, size, start, with_input ? &x : nullptr, h, cell + index * stride * size,
              next, rows);
    states[index] = next;
  }
  const float* top = upwards(call, model, states, model.layers, rows, scratch.inputs);
  const Operand x = ready(call, model.head, rows_of(top, size), scratch, 0, rows);
  product(call, model.head, model.head_bias, x, logits, model.columns, kLanes, rows);
  for (int64_t index = 0; index < model.layers; ++index) {
    std::memcpy(hidden + index * stride * size, states[index], rows * size * sizeof(float));
  }
}

}  // namespace

extern "C" {

int32_t textgen_lanes() { return kLanes; }

void* textgen_pool(int32_t threads) { return new Pool(threads); }

// One step of ``rows`` rows: tokens (R), hidden and cell (L, stride, H) in place, logits (R, C).
void textgen_step(void* pool, const Model* model, const Scratch* scratch, const int64_t* tokens,
                  float* hidden, float* cell, int64_t stride, float* logits, int64_t rows) {
  Pool& threads = *static_cast<Pool*>(pool);
  const auto turn = threads.begin();
  Call call{threads, turn.owns_lock()};
  advance(call, *model, *scratch, tokens, hidden, cell, stride, logits, rows);
}

// Up to ``steps`` steps that each draw a token for every row of ``draws`` and feed it; no more
// after one that ``stops``, or once ``seconds`` have passed. Drawn tokens (steps, R) into
// ``drawn``; the number of steps is returned. A row that is not to be drawn has one step alone.
int64_t textgen_burst(void* pool, const Model* model, const Scratch* scratch, const Draws* draws,
                      int64_t* tokens, float* hidden, float* cell, int64_t stride, float* logits,
                      int64_t* drawn, int64_t rows, int64_t steps, double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::duration<double>(seconds);
  Pool& threads = *static_cast<Pool*>(pool);
  const auto turn = threads.begin();
  Call call{threads, turn.owns_lock()};
  const int64_t columns = model->columns;
  for (int64_t step = 0;;) {
    advance(call, *model, *scratch, tokens, hidden, cell, stride, logits, rows);
    int64_t* now = drawn + step * rows;
    call.rows(rows, 16 * columns, [&](uint32_t row) {
      if (!draws->rows[row]) return;
      now[row] = draw(*draws, row, logits + row * columns, columns);
      tokens[row] = now[row] < 0 ? 0 : now[row];
    });
    bool ends = ++step == steps || Clock::now() >= until;
    for (int64_t row = 0; row < rows && !ends; ++row) {
      ends = !draws->rows[row] || now[row] < 0 || draws->stops[now[row]];
    }
    if (ends) return step;
  }
}

// ``steps`` steps of prompts, layer by layer. active[t] prompts take part in step t, the first
// ones, and never more than in the step before. Rows lie one step after the other: tokens (S) with
// S the sum of ``active``; hidden (L, stride, H), whose first active[0] rows are the states before
// and the following S those after each step; cell (L, PROMPTS, H) in place.
void textgen_read(void* pool, const Model* model, const Scratch* scratch, const int64_t* tokens,
                  const int64_t* active, int64_t steps, float* hidden, int64_t stride, float* cell,
                  int64_t prompts) {
  Pool& threads = *static_cast<Pool*>(pool);
  const auto turn = threads.begin();
  Call call{threads, turn.owns_lock()};
  const int64_t size = model->hidden;
  int64_t total = 0;
  for (int64_t step = 0; step < steps; ++step) total += active[step];
  const float* states[kMostLayers];
  for (int64_t index = 0; index < model->layers; ++index) {
    const Layer& layer = model->layer[index];
    Operand start = rows_of(scratch->gates, 4 * size);
    if (index == 0 && model->table) {
      start = rows_of(model->table, 4 * size, tokens);
    } else {
      Operand x = rows_of(model->embedding, layer.input.inputs, tokens);
      if (index > 0) x = rows_of(upwards(call, *model, states, index, total, scratch->inputs), size);
      x = ready(call, layer.input, x, *scratch, 0, total);
      product(call, layer.input, layer.bias, x, scratch->gates, 4 * size, size, total);
    }
    float* before = hidden + index * stride * size;
    float* after = before + active[0] * size;
    states[index] = after;
    int64_t done = 0;
    for (int64_t step = 0; step < steps; ++step) {
      const int64_t rows = active[step];
      Operand begin = start;
      if (begin.index) {
        begin.index += done;
      } else {
        begin.values += done * 4 * size;
      }
      const Operand h = ready(call, layer.hidden, rows_of(before, size), *scratch, 1, rows);
      cell_step(call, layer, size, begin, nullptr, h, cell + index * prompts * size, after, rows);
      done += rows;
      before = after;
      after += rows * size;
    }
  }
}

}  // extern "C"
