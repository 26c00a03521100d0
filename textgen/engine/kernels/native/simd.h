// Vectors of float32, of the width that this machine has, and the few operations that are needed.
//
// Every operation is exact in IEEE 754 (a fused multiply-add rounds once), so a lane's result does
// not depend on the width: AVX2 and AVX-512 give the same bits.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) && defined(__AVX512BW__)
using Vec = __m512;
constexpr int kLanes = 16;
constexpr int kRows = 6;  // rows that are multiplied at once: 6 × 4 sums fit the 32 registers
static inline Vec load(const float* at) { return _mm512_loadu_ps(at); }
static inline void store(float* at, Vec value) { _mm512_storeu_ps(at, value); }
static inline Vec same(float value) { return _mm512_set1_ps(value); }
static inline Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
static inline Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
static inline Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
static inline Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
static inline Vec least(Vec a, Vec b) { return _mm512_min_ps(a, b); }
static inline Vec most(Vec a, Vec b) { return _mm512_max_ps(a, b); }
// 2^n for whole n in [-126, 127] given as n + 1.5·2^23
static inline Vec power_of_two(Vec shifted) {
  __m512i bits = _mm512_castps_si512(shifted);
  bits = _mm512_slli_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(127)), 23);
  return _mm512_castsi512_ps(bits);
}
// the lowest byte of each lane
static inline void store_low_bytes(uint8_t* at, Vec value) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(at),
                   _mm512_cvtepi32_epi8(_mm512_castps_si512(value)));
}
using Ints = __m512i;
static inline Ints load_ints(const void* at) { return _mm512_loadu_si512(at); }
static inline Ints same_int(int32_t value) { return _mm512_set1_epi32(value); }
static inline Vec to_float(Ints value) { return _mm512_cvtepi32_ps(value); }
// sums + Σ of four products of unsigned and signed bytes, exact
static inline Ints dot4(Ints sums, Ints bytes, Ints weights) {
#if defined(__AVX512VNNI__)
  // GCC 12 copies and spills every sum around the intrinsic.
  asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(bytes), "v"(weights));
  return sums;
#else
  const Ints low = _mm512_set1_epi16(0xff);
  Ints even = _mm512_madd_epi16(_mm512_and_si512(bytes, low),
                                _mm512_srai_epi16(_mm512_slli_epi16(weights, 8), 8));
  Ints odd = _mm512_madd_epi16(_mm512_srli_epi16(bytes, 8), _mm512_srai_epi16(weights, 8));
  return _mm512_add_epi32(sums, _mm512_add_epi32(even, odd));
#endif
}
#elif defined(__AVX2__) && defined(__FMA__)
using Vec = __m256;
constexpr int kLanes = 8;
constexpr int kRows = 2;
static inline Vec load(const float* at) { return _mm256_loadu_ps(at); }
static inline void store(float* at, Vec value) { _mm256_storeu_ps(at, value); }
static inline Vec same(float value) { return _mm256_set1_ps(value); }
static inline Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
static inline Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
static inline Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
static inline Vec div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
static inline Vec least(Vec a, Vec b) { return _mm256_min_ps(a, b); }
static inline Vec most(Vec a, Vec b) { return _mm256_max_ps(a, b); }
static inline Vec power_of_two(Vec shifted) {
  __m256i bits = _mm256_castps_si256(shifted);
  bits = _mm256_slli_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(127)), 23);
  return _mm256_castsi256_ps(bits);
}
static inline void store_low_bytes(uint8_t* at, Vec value) {
  const __m256i pick = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                        0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m256i bytes = _mm256_shuffle_epi8(_mm256_castps_si256(value), pick);
  const int32_t low = _mm256_extract_epi32(bytes, 0), high = _mm256_extract_epi32(bytes, 4);
  std::memcpy(at, &low, 4);
  std::memcpy(at + 4, &high, 4);
}
using Ints = __m256i;
static inline Ints load_ints(const void* at) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(at));
}
static inline Ints same_int(int32_t value) { return _mm256_set1_epi32(value); }
static inline Vec to_float(Ints value) { return _mm256_cvtepi32_ps(value); }
static inline Ints dot4(Ints sums, Ints bytes, Ints weights) {
#if defined(__AVXVNNI__)
  return _mm256_dpbusd_avx_epi32(sums, bytes, weights);
#else
  const Ints low = _mm256_set1_epi16(0xff);
  Ints even = _mm256_madd_epi16(_mm256_and_si256(bytes, low),
                                _mm256_srai_epi16(_mm256_slli_epi16(weights, 8), 8));
  Ints odd = _mm256_madd_epi16(_mm256_srli_epi16(bytes, 8), _mm256_srai_epi16(weights, 8));
  return _mm256_add_epi32(sums, _mm256_add_epi32(even, odd));
#endif
}
#else
#error "needs AVX2 with FMA, or AVX-512"
#endif

// e^x within 2 units in the last place for x in [-87, 88], outside of it that of the nearer end.
static inline Vec exponential(Vec x) {
  x = least(most(x, same(-87.0f)), same(88.0f));
  const Vec magic = same(12582912.0f);  // 1.5·2^23: what is added to it is rounded to a whole
  Vec shifted = fma(x, same(1.44269504f), magic);
  Vec whole = sub(shifted, magic);
  Vec rest = fma(whole, same(-0.693359375f), x);
  rest = fma(whole, same(2.12194440e-4f), rest);
  Vec sum = same(1.9875691500e-4f);  // Cephes' expf
  sum = fma(sum, rest, same(1.3981999507e-3f));
  sum = fma(sum, rest, same(8.3334519073e-3f));
  sum = fma(sum, rest, same(4.1665795894e-2f));
  sum = fma(sum, rest, same(1.6666665459e-1f));
  sum = fma(sum, rest, same(5.0000001201e-1f));
  sum = fma(sum, mul(rest, rest), add(rest, same(1.0f)));
  return mul(sum, power_of_two(shifted));
}

static inline Vec sigmoid(Vec x) {
  return div(same(1.0f), add(same(1.0f), exponential(sub(same(0.0f), x))));
}

// 1 - 2 / (e^2x + 1): absolute error below 1e-7, which is what a state needs
static inline Vec hyperbolic_tangent(Vec x) {
  return sub(same(1.0f), div(same(2.0f), add(exponential(add(x, x)), same(1.0f))));
}
