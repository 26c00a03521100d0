// What a call is given; the same structures stand in library.py. Shapes as in step.cpp.
#pragma once

#include <cstdint>

#include "product.h"

struct Layer {
  Matrix input;  // (H, 4H); of the first layer (E, 4H), or nothing where there is a table
  Matrix hidden;
  const float* bias;        // (4H) in the order i f o g
  const float* norm_scale;  // (H) after this layer, 0 in the padding; null: none
  const float* norm_shift;
};

struct Model {
  int64_t layers, hidden, columns, width, residual;  // width: hidden units without the padding
  const float* table;      // (V, 4H): the first layer's gate inputs, or null
  const float* embedding;  // (V, E), or null
  const Layer* layer;
  Matrix head;  // (H, C)
  const float* head_bias;
};

struct Scratch {
  float* hidden;    // (L, capacity, H): the states after the step
  float* inputs;    // (capacity, H): what goes up from the layers below
  float* gates;     // (capacity, 4H)
  uint8_t* bytes;   // (2, capacity, widest input): of the inputs and of the states
  float* scales;    // (2, capacity)
  int64_t capacity, widest;
};
