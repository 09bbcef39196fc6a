// The custom op Elementwise of the domain onnx-ebm: a straight-line program of
// element-wise instructions over float32 tensors, run block by block in the
// first-level cache, so that a chain of operations costs one pass through memory.
//
// A node has any number of inputs (at least one) and outputs, and two attributes:
//
//	program    instructions separated by ";", such as
//	           "Sigmoid a0; Mul a0 t0; Sub c0 t0; Out t1; Sum t2 1 1 0"
//	constants  floats c0, c1, …; absent if there are none
//
// Operands are inputs (a0 …), constants (c0 …) and results of earlier
// instructions (t0 …, in order; Out and Sum have none). Outputs are
// written in order by
//
//	Out t              a tensor of the whole shape
//	Sum t at k keep    sums over k axes from axis at on, which stay as 1 if keep is 1
//
// The whole shape is what the inputs broadcast to. An input has that shape, or
// extents of 1 in front and behind: a number, [H], [1,H], [N,1], [1,C,1,1]; or
// it has the first and the last axes of the whole and 1 between: [D,1,H].
// Comparisons give 1 or 0; Where takes its second operand where the first is
// not 0. Not-a-numbers pass through every instruction, Min, Max and Relu
// included; results below 2^-125 may be 0. A result depends on the element's
// operands alone, not on its place.
#ifndef ONNX_EBM_ELEMENTWISE_H
#define ONNX_EBM_ELEMENTWISE_H

#include <stddef.h>
#include <stdint.h>

// The instructions and their numbers of operands.
#define ELEMENTWISE_OPS(X)                                                                   \
  X(Add, 2) X(Sub, 2) X(Mul, 2) X(Div, 2) X(Max, 2) X(Min, 2)                                \
  X(Neg, 1) X(Abs, 1) X(Sign, 1) X(Reciprocal, 1) X(Sqrt, 1) X(Relu, 1)                      \
  X(Exp, 1) X(Log, 1) X(Tanh, 1) X(Sigmoid, 1) X(Softplus, 1) X(Erf, 1)                      \
  X(Equal, 2) X(Less, 2) X(LessOrEqual, 2) X(Greater, 2) X(GreaterOrEqual, 2)                \
  X(And, 2) X(Or, 2) X(Not, 1) X(Where, 3)

enum {
#define X(name, operands) ELEMENTWISE_##name,
  ELEMENTWISE_OPS(X)
#undef X
  ELEMENTWISE_COUNT
};

// LANES elements are computed together at least; a block is padded to a multiple of it.
enum { LANES = 16 };

// operand is an array, or with step 0 LANES equal elements.
typedef struct {
  const float *p;
  size_t step;
} operand;

// kernels holds the instructions as compiled for a kind of processor. n is a
// multiple of LANES in op. rows adds the sums of count rows of n to total, add
// one row of n.
typedef struct {
  const char *name;
  void (*op[ELEMENTWISE_COUNT])(float *d, operand a, operand b, operand c, size_t n);
  void (*rows)(float *total, const float *a, size_t count, size_t n);
  void (*add)(float *total, const float *a, size_t n);
} kernels;

extern const kernels elementwise_base;
#if defined(__x86_64__)
extern const kernels elementwise_avx2, elementwise_avx512;
#endif

// elementwise_kernels gives those compiled for level 0, 1, …, NULL where the
// processor can't run them or there are no more.
const kernels *elementwise_kernels(int level);

// elementwise_level chooses the level of kernels made from now on: the best for
// -1, which is the default.
void elementwise_level(int level);

// elementwise_op gives the name and operands of instruction i, NULL beyond the last.
const char *elementwise_op(int i, int *operands);

// elementwise_add makes the op known to sessions made with these OrtSessionOptions.
void *elementwise_add(uintptr_t options);

#endif
