// The instructions of elementwise.h in vectors of WIDTH floats, for a file that
// defines WIDTH, KERNELS (the name of the table) and, of vectors, SQRT, LARGER and
// SMALLER, which give their second operand if one is no number.
//
// Functions are polynomials fitted for the least maximum of the relative error
// after the usual reductions; each is within 2 units in the last place.

#include <math.h>
#include <string.h>

#include "elementwise.h"

typedef float vf __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE vf all(float x) { return x - (vf){0}; }
INLINE vi alli(int32_t x) { return x - (vi){0}; }
INLINE vf choose(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }
INLINE vf truth(vi mask) { return (vf)(mask & (vi)all(1)); }
INLINE vf absolute(vf x) { return (vf)((vi)x & alli(0x7fffffff)); }

// e^x = 2^(k−1)·2e^r, r = x − k·ln 2, 2e^r a polynomial. The limits are where
// this is infinite (k = 128, e^r ≥ 1) and 0 (k = −126).
INLINE vf exponential(vf x) {
  x = SMALLER(all(88.73f), LARGER(all(-87.4f), x));
  vf shifted = x * 1.44269504f + 12582912.0f; // 1.5·2²³: k is in the low bits
  vf k = shifted - 12582912.0f;
  vf r = x - k * 0.693359375f;
  r = r - k * -2.12194440e-4f;
  vf p = 2 * 1.381446724e-3f * r + 2 * 8.368780836e-3f;
  p = p * r + 2 * 4.166839272e-2f;
  p = p * r + 2 * 1.666651964e-1f;
  p = p * r + 2 * 4.999999404e-1f;
  p = p * r + 2.0f;
  p = p * r + 2.0f;
  return p * (vf)(((vi)shifted << 23) + 0x3f000000);
}

// ln x = e·ln 2 + ln(1+f), 1+f in [√½, √2), ln(1+f) = f − f²/2 + f³·P(f); for
// positive normal x.
INLINE vf logarithm(vf x) {
  vi e = ((vi)x - 0x3f3504f3) >> 23;
  vf f = (vf)((vi)x - (e << 23)) - 1.0f;
  vf n = __builtin_convertvector(e, vf);
  vf p = -7.634502649e-2f * f + 1.276157796e-1f;
  p = p * f - 1.316018105e-1f;
  p = p * f + 1.420175731e-1f;
  p = p * f - 1.662335694e-1f;
  p = p * f + 2.000122666e-1f;
  p = p * f - 2.500081956e-1f;
  p = p * f + 3.333333135e-1f;
  vf square = f * f;
  vf r = p * (f * square) + n * -2.12194440e-4f;
  r = r - 0.5f * square;
  return r + f + n * 0.693359375f;
}

INLINE vf logarithm_of_any(vf x) {
  vf y = choose(x < 1.17549435e-38f, choose(x < 0.0f, all(NAN), all(-INFINITY)), logarithm(x));
  return choose((x == INFINITY) | (x != x), x, y);
}

// tanh x = x + x³·P(x²) near 0, ±(1 − 2/(e^2|x| + 1)) elsewhere.
INLINE vf hyperbolic(vf x) {
  vf t = absolute(x);
  vf z = x * x;
  vf p = -5.693818443e-3f * z + 2.063204348e-2f;
  p = p * z - 5.373859033e-2f;
  p = p * z + 1.333144307e-1f;
  p = p * z - 3.333328366e-1f;
  vf small = x + x * (z * p);
  vf large = 1.0f - 2.0f / (exponential(t + t) + 1.0f);
  large = (vf)((vi)large | ((vi)x & alli(INT32_MIN)));
  return choose(t < 0.625f, small, large);
}

// softplus x = max(x, 0) + ln(1 + u), u = e^−|x|; the last term mends that 1 + u is rounded.
INLINE vf softplus(vf x) {
  vf u = exponential(-absolute(x));
  vf w = 1.0f + u;
  vf rest = (u - (w - 1.0f)) / w;
  return choose(x < 0.0f, all(0), x) + (logarithm(w) + rest);
}

// erf x = x + x·P(x²) for |x| < 1, ±(1 − e^Q(|x|)) elsewhere.
INLINE vf error_function(vf x) {
  vf t = absolute(x);
  vf z = x * x;
  vf p = 7.889122935e-5f * z - 8.020842215e-4f;
  p = p * z + 5.189535674e-3f;
  p = p * z - 2.685444430e-2f;
  p = p * z + 1.128360033e-1f;
  p = p * z - 3.761262596e-1f;
  p = p * z + 1.283791661e-1f;
  vf small = x + x * p;
  vf s = choose(t > 3.95f, all(3.95f), t);
  vf q = 1.863788202e-4f * s - 2.947654575e-3f;
  q = q * s + 2.183804847e-2f;
  q = q * s - 1.031067222e-1f;
  q = q * s - 6.381448507e-1f;
  q = q * s - 1.127089143e+0f;
  q = q * s - 3.415283281e-4f;
  vf large = 1.0f - exponential(q);
  large = (vf)((vi)large | ((vi)x & alli(INT32_MIN)));
  return choose(t < 1.0f, small, large);
}

// OP defines an instruction by an expression in the vectors x, y and z.
#define OP(name, expression)                                                  \
  static void name(float *d, operand a, operand b, operand c, size_t n) {     \
    for (size_t i = 0; i < n; i += LANES) {                                   \
      _Pragma("GCC unroll 4") for (size_t j = 0; j < LANES; j += WIDTH) {     \
        vf x = *(const vf *)(a.p + j);                                        \
        vf y = *(const vf *)(b.p + j);                                        \
        vf z = *(const vf *)(c.p + j);                                        \
        (void)y, (void)z;                                                     \
        *(vf *)(d + i + j) = expression;                                      \
      }                                                                       \
      a.p += a.step;                                                          \
      b.p += b.step;                                                          \
      c.p += c.step;                                                          \
    }                                                                         \
  }

OP(Add, x + y)
OP(Sub, x - y)
OP(Mul, x *y)
OP(Div, x / y)
OP(Max, choose((x > y) | (x != x), x, y))
OP(Min, choose((x < y) | (x != x), x, y))
OP(Neg, (vf)((vi)x ^ alli(INT32_MIN)))
OP(Abs, absolute(x))
OP(Sign, choose(x != x, x, truth(x > 0.0f) - truth(x < 0.0f)))
OP(Reciprocal, 1.0f / x)
OP(Sqrt, SQRT(x))
OP(Relu, choose(x < 0.0f, all(0), x))
OP(Exp, exponential(x))
OP(Log, logarithm_of_any(x))
OP(Tanh, hyperbolic(x))
OP(Sigmoid, 1.0f / (1.0f + exponential(-x)))
OP(Softplus, softplus(x))
OP(Erf, error_function(x))
OP(Equal, truth(x == y))
OP(Less, truth(x < y))
OP(LessOrEqual, truth(x <= y))
OP(Greater, truth(x > y))
OP(GreaterOrEqual, truth(x >= y))
OP(And, truth((x != 0.0f) & (y != 0.0f)))
OP(Or, truth((x != 0.0f) | (y != 0.0f)))
OP(Not, truth(x == 0.0f))
OP(Where, choose(x != 0.0f, y, z))

// sum adds LANES partial sums up in a tree, whatever WIDTH is; few numbers one by one.
INLINE float sum(const float *a, size_t n) {
  typedef float quarter __attribute__((vector_size(16), aligned(4), may_alias));
  if (n < LANES) {
    float s = 0;
    for (size_t i = 0; i < n; i++) s += a[i];
    return s;
  }
  vf part[LANES / WIDTH];
  memset(part, 0, sizeof part);
  size_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    _Pragma("GCC unroll 4") for (size_t j = 0; j < LANES / WIDTH; j++) part[j] += *(const vf *)(a + i + j * WIDTH);
  }
  float lane[LANES];
  memcpy(lane, part, sizeof lane);
  for (size_t j = 0; i < n; i++, j++) lane[j] += a[i];
  quarter q[4];
  memcpy(q, lane, sizeof q);
  quarter s = (q[0] + q[2]) + (q[1] + q[3]);
  return (s[0] + s[2]) + (s[1] + s[3]);
}

static void rows(float *total, const float *a, size_t count, size_t n) {
  for (size_t i = 0; i < count; i++, a += n) total[i] += sum(a, n);
}

static void add(float *total, const float *a, size_t n) {
  size_t i = 0;
  for (; i + WIDTH <= n; i += WIDTH) *(vf *)(total + i) += *(const vf *)(a + i);
  for (; i < n; i++) total[i] += a[i];
}

const kernels KERNELS = {
    KERNEL_NAME,
    {
#define X(name, operands) name,
        ELEMENTWISE_OPS(X)
#undef X
    },
    rows,
    add,
};
