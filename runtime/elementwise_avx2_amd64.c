// Instructions for processors with AVX2.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#include <immintrin.h>

#define WIDTH 8
#define SQRT(x) ((vf)_mm256_sqrt_ps((__m256)(x)))
#define LARGER(x, y) ((vf)_mm256_max_ps((__m256)(x), (__m256)(y)))
#define SMALLER(x, y) ((vf)_mm256_min_ps((__m256)(x), (__m256)(y)))
#define KERNELS elementwise_avx2
#define KERNEL_NAME "avx2"
#include "elementwise_lanes.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
