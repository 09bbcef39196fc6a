// Instructions for any processor: four lanes are what every 64-bit one has.
#include <math.h>

#define WIDTH 4
#if defined(__x86_64__)
#include <immintrin.h>
#define SQRT(x) ((vf)_mm_sqrt_ps((__m128)(x)))
#define LARGER(x, y) ((vf)_mm_max_ps((__m128)(x), (__m128)(y)))
#define SMALLER(x, y) ((vf)_mm_min_ps((__m128)(x), (__m128)(y)))
#elif defined(__aarch64__)
#include <arm_neon.h>
#define SQRT(x) ((vf)vsqrtq_f32((float32x4_t)(x)))
#else
#define SQRT(x) ((vf){sqrtf((x)[0]), sqrtf((x)[1]), sqrtf((x)[2]), sqrtf((x)[3])})
#endif
#ifndef LARGER
#define LARGER(x, y) choose((x) > (y), x, y)
#define SMALLER(x, y) choose((x) < (y), x, y)
#endif
#define KERNELS elementwise_base
#define KERNEL_NAME "base"
#include "elementwise_lanes.h"
