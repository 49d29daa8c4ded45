/**
 * @file The prelude of every rendered C translation unit: storage conversions, integer rules, Philox,
 * sorting, and elementary functions as branch-free scalar code that GCC and clang vectorize once it is inlined in a
 * simd loop. No header is included (immintrin.h alone costs 0.4 s). Errors in ulp of the result, over all floats
 * against double precision (test/long/math.test.ts, with fused multiply-add; a sample without); NaN and ±inf as in libm.
 * Sources: Cephes (log), Cody & Waite (reductions), own minimax fits (exp, expm1, tanh, erf), Taylor's series (sin, cos), Random123 (Philox4x32-10).
 */
import type { TargetInfo } from '../kernel/target.js';
import { cBf16Dot, cLookups, cNarrowTypes, cTransposes, cVectorTypes } from './c-vectors.js';

const common = String.raw`
#ifndef __clang__
// It carries a broadcast's element from step to step through the stack: 2.5 times slower where rows overlap (convolutions).
#pragma GCC optimize("no-predictive-commoning")
// Partial redundancy elimination carries loads across iterations too, and sinking moves work under a select that does not
// change in the loop: either keeps loops from being vectorized (Adam behind a guard: 1.7 ms, then 0.5).
#pragma GCC optimize("no-tree-pre", "no-tree-sink")
#endif
#define T_FN static inline __attribute__((always_inline, unused))
// Unrolled before GCC looks for vectors, a lane after another stays one: an exponential took 80 cycles for 8 lanes with AVX2.
#define T_LANES(N) _Pragma("GCC unroll 1") for (int l_ = 0; l_ < (N); l_++)
#define T_MAP1(V, N, F, X) ({ V x_ = (X), r_; T_LANES(N) r_[l_] = F(x_[l_]); r_; })
#define T_MAP2(V, N, F, X, Y) ({ V x_ = (X), y_ = (Y), r_; T_LANES(N) r_[l_] = F(x_[l_], y_[l_]); r_; })
#define T_MAPC(VX, V, N, F, X) ({ VX x_ = (X); V r_; T_LANES(N) r_[l_] = F(x_[l_]); r_; })
#define T_SELECT(V, I, C, A, B) ({ I c_ = (C); V a_ = (A), b_ = (B); (V)((c_ & (I)a_) | (~c_ & (I)b_)); })
#define T_MAXV(V, I, A, B) ({ V p_ = (A), q_ = (B); T_SELECT(V, I, (p_ > q_) | (p_ != p_), p_, q_); })
#define T_MINV(V, I, A, B) ({ V p_ = (A), q_ = (B); T_SELECT(V, I, (p_ < q_) | (p_ != p_), p_, q_); })
typedef unsigned short t_u16;
T_FN int t_bits(float x) { int i; __builtin_memcpy(&i, &x, 4); return i; }
T_FN float t_float(int i) { float x; __builtin_memcpy(&x, &i, 4); return x; }
T_FN long t_dbits(double x) { long i; __builtin_memcpy(&i, &x, 8); return i; }

// ---- storage
T_FN float t_bf16_load(t_u16 h) { return t_float((int)((unsigned)h << 16)); }
T_FN t_u16 t_bf16_store(float x) {
  unsigned b = (unsigned)t_bits(x);
  unsigned r = (b + 0x7fffu + ((b >> 16) & 1)) >> 16;
  return (t_u16)(x != x ? (b >> 16) | 0x40 : r);
}
T_FN float t_f16_load(t_u16 h) {
  int o = (h & 0x7fff) << 13;
  float f = t_float(o) * 0x1p112f; // rebias; subnormals become normal
  int i = t_bits(f) | (f >= 65536.0f ? 0x7f800000 : 0);
  return t_float(i | ((h & 0x8000) << 16));
}
T_FN t_u16 t_f16_store(float x) {
  unsigned b = (unsigned)t_bits(x), sign = (b >> 16) & 0x8000u, a = b & 0x7fffffffu;
  unsigned normal = (a + 0xfffu + ((a >> 13) & 1) - 0x38000000u) >> 13;
  // Adding 0.5 puts one unit of a subnormal half at the last place, so the addition rounds it.
  unsigned small = (unsigned)t_bits(t_float((int)a) + 0.5f) - 0x3f000000u;
  unsigned r = a < 0x38800000u ? small : normal;
  r = a >= 0x47800000u ? 0x7c00u : r;
  r = a > 0x7f800000u ? 0x7e00u : r;
  return (t_u16)(sign | r);
}
/** float → int as JavaScript's ToInt32: truncates, wraps modulo 2^32, NaN and infinities give 0. */
T_FN int t_f2i(float x) {
  int b = t_bits(x), e = ((b >> 23) & 255) - 150, m = (b & 0x7fffff) | 0x800000;
  int big = e > 31 || e < 0 ? 0 : m << (e & 31);
  big = b < 0 ? -big : big;
  float a = __builtin_fabsf(x);
  int in = a < 0x1p31f;
  return in ? (int)(in ? x : 0.0f) : big;
}
T_FN unsigned t_f2u(float x) { return (unsigned)t_f2i(x); }
T_FN int t_f2b(float x) { return (x < 0.0f) | (x > 0.0f); }

T_FN float t_round_f16(float x) { return t_f16_load(t_f16_store(x)); }
T_FN float t_round_bf16(float x) { return t_bf16_load(t_bf16_store(x)); }

// ---- integers: floor division, by zero gives 0
T_FN int t_idiv_i(int a, int b) { if (b == 0) return 0; if (b == -1) return -a; int q = a / b; return q - ((a % b != 0) & ((a ^ b) < 0)); }
T_FN int t_mod_i(int a, int b) { if (b == 0 || b == -1) return 0; int r = a % b; return r != 0 && (r ^ b) < 0 ? r + b : r; }
T_FN unsigned t_idiv_u(unsigned a, unsigned b) { return b == 0 ? 0 : a / b; }
T_FN unsigned t_mod_u(unsigned a, unsigned b) { return b == 0 ? 0 : a % b; }
T_FN long t_idiv_l(long a, long b) { if (b == 0) return 0; long q = a / b; return q - ((a % b != 0) & ((a ^ b) < 0)); }
T_FN long t_mod_l(long a, long b) { if (b == 0) return 0; long r = a % b; return r != 0 && (r ^ b) < 0 ? r + b : r; }
T_FN unsigned t_pow_u(unsigned a, unsigned b) { unsigned r = 1; for (int i = 0; i < 32; i++) { r = b & 1 ? r * a : r; a *= a; b >>= 1; } return r; }
T_FN int t_pow_i(int a, int b) {
  if (b < 0) return a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0;
  return (int)t_pow_u((unsigned)a, (unsigned)b);
}

T_FN int t_abs_i(int a) { return a < 0 ? -a : a; }
T_FN int t_sign_i(int a) { return (a > 0) - (a < 0); }
T_FN unsigned t_sign_u(unsigned a) { return a != 0; }
T_FN int t_max_i(int a, int b) { return a > b ? a : b; }
T_FN int t_min_i(int a, int b) { return a < b ? a : b; }
T_FN unsigned t_max_u(unsigned a, unsigned b) { return a > b ? a : b; }
T_FN unsigned t_min_u(unsigned a, unsigned b) { return a < b ? a : b; }
T_FN long t_max_l(long a, long b) { return a > b ? a : b; }
T_FN long t_min_l(long a, long b) { return a < b ? a : b; }

// ---- floats
T_FN int t_not(float x) { return (x == 0.0f) | (x != x); }
T_FN float t_max(float a, float b) { return (a > b) | (a != a) ? a : b; }
T_FN float t_min(float a, float b) { return (a < b) | (a != a) ? a : b; }
T_FN float t_sign(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }
/** x ≥ 0 (or NaN) with the sign of y. */
T_FN float t_with_sign(float x, float y) { return t_float(t_bits(x) | (t_bits(y) & (int)0x80000000)); }
T_FN float t_neg_if(float x, int sign) { return t_float(t_bits(x) ^ sign); }
/** In double precision, where a quotient of floats is never rounded up to a whole number. */
T_FN float t_idiv(float a, float b) { return (float)__builtin_floor((double)a / b); }
T_FN float t_mod(float a, float b) { return (float)(a - b * __builtin_floor((double)a / b)); }
// Clamps go by a float's bits where that is one integer minimum, and each is one comparison elsewhere: of two comparisons
// of one value GCC makes a dozen masks. 0x1.8p23 added to a float of up to 22 bits leaves its nearest integer in the low bits.
/** min(x, limit) for limit > 0, but for NaN. */
T_FN float t_at_most(float x, float limit) { int a = t_bits(x), b = t_bits(limit); return t_float(a < b ? a : b); }
/** max(x, limit) for limit < 0, but for NaN. */
T_FN float t_at_least(float x, float limit) {
  unsigned a = (unsigned)t_bits(x), b = (unsigned)t_bits(limit);
  return t_float((int)(a < b ? a : b));
}
/** e^c for -104 ≤ c ≤ 89, at most 1.01 ulp. */
T_FN float t_exp_in(float c) {
  float k = c * 0x1.715476p+0f + (0x1.8p23f + 254.0f);
  // 2^n in two factors, whose exponents (with their bias) are halves of n + 254: results below 2^-126 are rounded once.
  int n = t_bits(k), h = n >> 1;
  k -= 0x1.8p23f + 254.0f;
  float f = c - k * 0x1.62e4p-1f;
  f = f - k * 0x1.7f7d1cp-20f;
  float p = 0x1.6850e4p-10f;
  p = p * f + 0x1.123bccp-7f;
  p = p * f + 0x1.555b98p-5f;
  p = p * f + 0x1.55548ep-3f;
  p = p * f + 0x1.fffff8p-2f;
  p = p * (f * f) + f;
  float s = t_float(h << 23);
  return (s * p + s) * t_float((n - h) << 23);
}
/** exp, at most 1.01 ulp. */
T_FN float t_exp(float x) {
  float r = t_exp_in(t_at_most(t_at_least(x, -104.0f), 89.0f));
  return x != x ? x : r;
}
/** exp(x) - 1, at most 2 ulp. */
T_FN float t_expm1(float x) {
  float c = t_at_most(t_at_least(x, -20.0f), 89.0f);
  float k = c * 0x1.715476p+0f + (0x1.8p23f + 126.0f);
  float t = t_float(t_bits(k) << 23); // 2^(n-1): n may be 128
  k -= 0x1.8p23f + 126.0f;
  float f = c - k * 0x1.62e4p-1f;
  f = f - k * 0x1.7f7d1cp-20f;
  float p = 0x1.6b9ce8p-10f;
  p = p * f + 0x1.12256cp-7f;
  p = p * f + 0x1.5556f2p-5f;
  p = p * f + 0x1.5554b4p-3f;
  p = p * f + 0x1.fffffep-2f;
  p = p * (f * f) + f;
  float r = 2.0f * (t * p + (t - 0.5f));
  return __builtin_fabsf(x) > 0.0f ? r : x;
}
/** Natural logarithm, at most 1 ulp; negative gives NaN. */
T_FN float t_log(float x) {
  int tiny = x < 0x1p-126f;
  float y = tiny ? x * 0x1p23f : x;
  int b = t_bits(y), e = (b - 0x3f3504f3) >> 23; // mantissa in [sqrt(1/2), sqrt 2)
  float f = t_float(b - (e << 23)) - 1.0f;
  float k = (float)(e - (tiny ? 23 : 0));
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  float z = f * f;
  float r = p * f * z - 2.12194440e-4f * k - 0.5f * z;
  r = f + r + 0.693359375f * k;
  r = x < __builtin_inff() ? r : x;
  r = x < 0.0f ? __builtin_nanf("") : r;
  return x == 0.0f ? -__builtin_inff() : r;
}
/** log(1 + x), at most 2 ulp. */
T_FN float t_log1p(float x) {
  float u = 1.0f + x, d = u - 1.0f;
  float c = (x - d) / u;
  c = u > 0.0f && u < 0x1p25f ? c : 0.0f;
  float r = t_log(u) + c;
  return x == 0.0f ? x : r;
}
/** 1 / sqrt(x), at most 1.5 ulp. */
T_FN float t_rsqrt(float x) { return 1.0f / __builtin_sqrtf(x); }
/** tanh, at most 2.5 ulp: w / (1 - w) with w = (1 - exp(-2|x|)) / 2. */
T_FN float t_tanh(float x) {
  float a = __builtin_fabsf(x);
  a = a > 10.0f ? 10.0f : a;
  float k = a * -0x1.715476p+1f + (0x1.8p23f + 127.0f);
  float s = t_float(t_bits(k) << 23);
  k -= 0x1.8p23f + 127.0f;
  float f = a + k * 0x1.62e4p-2f;
  f = f + k * 0x1.7f7d1cp-21f;
  float p = -0x1.6b9ce8p-5f;
  p = p * f + 0x1.12256cp-3f;
  p = p * f - 0x1.5556f2p-2f;
  p = p * f + 0x1.5554b4p-1f;
  p = p * f - 0x1.fffffep-1f;
  p = p * (f * f) + f;
  float w = s * p + (0.5f - 0.5f * s);
  return t_with_sign(w / (1.0f - w), x);
}
/** 1 / (1 + exp(-x)), at most 2.5 ulp. */
T_FN float t_sigmoid(float x) {
  float c = -__builtin_fabsf(x);
  c = c < -104.0f ? -104.0f : c;
  float e = t_exp_in(c);
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}
/** Error function, at most 2 ulp (2.5 without fused multiply-add): 1 - e^r, r = ln(erfc(|x|)) as a polynomial, e^r - 1 without cancellation. */
T_FN float t_erf(float x) {
  float t = __builtin_fabsf(x);
  t = t > 3.95f ? 3.95f : t;
  float r = 0x1.393f40p-17f;
  r = r * t - 0x1.f07c64p-14f;
  r = r * t + 0x1.4d34e0p-11f;
  r = r * t - 0x1.b65bdcp-10f;
  r = r * t + 0x1.5be740p-13f;
  r = r * t + 0x1.39c048p-6f;
  r = r * t - 0x1.a4f95ap-4f;
  r = r * t - 0x1.45f2fep-1f;
  // The leading coefficient in two parts, and no sum of two products but this small one: which of them is fused would be the compiler's choice.
  r = r * (t * t) + 0x1.f7ac92p-25f * t;
  r = r - 0x1.20dd76p+0f * t;
  float k = r * 0x1.715476p+0f + (0x1.8p23f + 127.0f);
  float s = t_float(t_bits(k) << 23), f = r - (k - (0x1.8p23f + 127.0f)) * 0x1.62e430p-1f;
  float p = 0x1.6b9ce8p-10f;
  p = p * f + 0x1.12256cp-7f;
  p = p * f + 0x1.5556f2p-5f;
  p = p * f + 0x1.5554b4p-3f;
  p = p * f + 0x1.fffffep-2f;
  p = p * (f * f) + f;
  return t_with_sign((1.0f - s) - s * p, x);
}
/** sin(x + quarter·π/2), at most 0.6 ulp for |x| < 2^50 (in double precision; 2^20 without fused multiply-add); larger finite arguments, whose
 *  neighbours in f32 are many turns apart, count as 0. */
T_FN float t_sincos(float x, int quarter) {
  float a = __builtin_fabsf(x);
  double d = (a >= 0x1p50f) & (a < __builtin_inff()) ? 0.0f : x, k = d * 0x1.45f306dc9c883p-1 + 0x1.8p52;
  int q = (int)t_dbits(k) + quarter;
  k -= 0x1.8p52;
#if T_FMA
  d = d - k * 0x1.921fb54442d18p+0;
  d = d - k * 0x1.1a62633145c07p-54;
#else
  // Parts of 33 bits, whose products with k < 2^20 are exact.
  d = d - k * 1.57079632673412561417e+00;
  d = d - k * 6.07710050630396597660e-11;
  d = d - k * 2.02226624879595063154e-21;
#endif
  // The series in double precision too: with f32's polynomials normal deviates would differ from other devices' by 3 ulp.
  double z = d * d;
  double s = -2.5052108385441719e-8;
  s = s * z + 2.7557319223985893e-6;
  s = s * z - 1.9841269841269841e-4;
  s = s * z + 8.3333333333333333e-3;
  s = s * z - 1.6666666666666667e-1;
  s = s * z * d + d;
  double c = 2.0876756987868099e-9;
  c = c * z - 2.7557319223985888e-7;
  c = c * z + 2.4801587301587302e-5;
  c = c * z - 1.3888888888888889e-3;
  c = c * z + 4.1666666666666667e-2;
  c = c * (z * z) + (1.0 - 0.5 * z);
  float r = (float)(q & 1 ? c : s);
  return t_neg_if(r, (q & 2) << 30);
}
T_FN float t_sin(float x) { return x == 0.0f ? x : t_sincos(x, 0); }
T_FN float t_cos(float x) { return t_sincos(x, 1); }
/** x·2^n for -252 ≤ n ≤ 254, with subnormal results rounded. */
T_FN float t_scale(float x, int n) {
  int h = n >> 1;
  return x * t_float((h + 127) << 23) * t_float((n - h + 127) << 23);
}
/** a^b in double precision inside, at most 1 ulp; edge cases are ECMAScript's (1^±inf is NaN). */
T_FN float t_pow(float a, float b) {
  float x = __builtin_fabsf(a);
  int tiny = x < 0x1p-126f;
  float y = tiny ? x * 0x1p23f : x;
  int bits = t_bits(y), e = (bits - 0x3f3504f3) >> 23;
  double m = (double)t_float(bits - (e << 23));
  // log2(m) = 2/ln 2 · atanh(s)
  double s = (m - 1.0) / (m + 1.0), z = s * s;
  double p = 0.2616345783984;
  p = p * z + 0.3205988768;
  p = p * z + 0.412198583111;
  p = p * z + 0.577078016355585;
  p = p * z + 0.961796693925976;
  p = p * z + 2.885390081777927;
  double l = (double)(e - (tiny ? 23 : 0)) + p * s;
  l = x < __builtin_inff() ? l : (double)x;
  l = x == 0.0f ? -(double)__builtin_inff() : l;
  double w = (double)b * l;
  w = w < -160.0 ? -160.0 : w;
  w = w > 160.0 ? 160.0 : w;
  double k = w + 0x1.8p52;
  int n = (int)t_dbits(k);
  double f = w - (k - 0x1.8p52);
  double g = 1.5252733804059841e-5;
  g = g * f + 1.540353039338161e-4;
  g = g * f + 1.3333558146428443e-3;
  g = g * f + 9.6181291076284772e-3;
  g = g * f + 5.5504108664821580e-2;
  g = g * f + 2.4022650695910071e-1;
  g = g * f + 6.9314718055994531e-1;
  g = g * f + 1.0;
  float r = t_scale((float)g, n);
  float half = b * 0.5f;
  int whole = __builtin_floorf(b) == b, odd = whole & (__builtin_floorf(half) != half);
  r = (t_bits(a) < 0) & odd ? -r : r;
  r = (a < 0.0f) & !whole & (x < __builtin_inff()) ? __builtin_nanf("") : r;
  return b == 0.0f ? 1.0f : r;
}
/** Integers in the order of floats, NaN above all: a loop's largest float is found as an integer, of which a vector's lanes are compared in a few
 *  steps and not one after another. */
T_FN int t_order(float x) {
  int b = t_bits(x);
  return x != x ? 0x7fffffff : b ^ ((b >> 31) & 0x7fffffff);
}
T_FN float t_unorder(int k) { return t_float(k ^ ((k >> 31) & 0x7fffffff)); }

#define T_PHILOX_ROUND { \
  unsigned long p = (unsigned long)0xD2511F53u * a, q = (unsigned long)0xCD9E8D57u * c; \
  a = (unsigned)(q >> 32) ^ b ^ k0; b = (unsigned)q; c = (unsigned)(p >> 32) ^ d ^ k1; d = (unsigned)p; \
  k0 += 0x9E3779B9u; k1 += 0xBB67AE85u; }
/** Word (at & 3) of Philox4x32-10 with counter (at >> 2, step, stream, 0). */
T_FN unsigned t_philox(long at, unsigned step, unsigned stream, unsigned k0, unsigned k1) {
  unsigned a = (unsigned)(at >> 2), b = step, c = stream, d = 0;
  unsigned low = (unsigned)at;
  // Written out: a loop, even one unrolled later, would keep its surroundings from being vectorized.
  T_PHILOX_ROUND T_PHILOX_ROUND T_PHILOX_ROUND T_PHILOX_ROUND T_PHILOX_ROUND
  T_PHILOX_ROUND T_PHILOX_ROUND T_PHILOX_ROUND T_PHILOX_ROUND T_PHILOX_ROUND
  unsigned x = low & 1 ? b : a, y = low & 1 ? d : c;
  return low & 2 ? y : x;
}

// ---- sorting: order-preserving keys above the position, so that equal keys keep their order
T_FN unsigned long t_key_f(float x) {
  int b = t_bits(x + 0.0f);
  unsigned k = (unsigned)(b < 0 ? ~b : b ^ (int)0x80000000);
  return x != x ? 0xffffffffu : k;
}
T_FN unsigned long t_key_i(int x) { return (unsigned)x ^ 0x80000000u; }
T_FN unsigned long t_key_u(unsigned x) { return x; }
/** Merge sort of n words; tmp holds n words. */
static __attribute__((unused)) void t_sort(unsigned long *v, unsigned long *tmp, long n) {
  for (long s = 0; s < n; s += 16) {
    long e = s + 16 < n ? s + 16 : n;
    for (long i = s + 1; i < e; i++) {
      unsigned long x = v[i];
      long j = i;
      while (j > s && v[j - 1] > x) { v[j] = v[j - 1]; j--; }
      v[j] = x;
    }
  }
  unsigned long *from = v, *to = tmp;
  for (long w = 16; w < n; w *= 2) {
    for (long s = 0; s < n; s += 2 * w) {
      long m = s + w < n ? s + w : n, e = s + 2 * w < n ? s + 2 * w : n, i = s, j = m, k = s;
      while (i < m && j < e) to[k++] = from[i] <= from[j] ? from[i++] : from[j++];
      while (i < m) to[k++] = from[i++];
      while (j < e) to[k++] = from[j++];
    }
    unsigned long *t = from; from = to; to = t;
  }
  if (from != v) __builtin_memcpy(v, from, (unsigned long)n * 8);
}
`;

/** Static helpers, once a translation unit. */
export function cPrelude(target: TargetInfo): string {
  return `#define T_FMA ${target.hasFma ? 1 : 0}\n${cVectorTypes()}\n${common}\n${cTransposes(target.lanes)}\n${cLookups(target.lanes)}\n${cNarrowTypes()}\n${target.hasBf16Dot ? `#ifdef __AVX512VL__\n${cBf16Dot}\n#endif\n` : ''}`;
}
