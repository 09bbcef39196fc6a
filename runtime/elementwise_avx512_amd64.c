// Instructions for processors with AVX-512.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,fma,avx2"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,fma,avx2")
#endif

#include <immintrin.h>

#define WIDTH 16
#define SQRT(x) ((vf)_mm512_sqrt_ps((__m512)(x)))
#define LARGER(x, y) ((vf)_mm512_max_ps((__m512)(x), (__m512)(y)))
#define SMALLER(x, y) ((vf)_mm512_min_ps((__m512)(x), (__m512)(y)))
#define KERNELS elementwise_avx512
#define KERNEL_NAME "avx512"
#include "elementwise_lanes.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
