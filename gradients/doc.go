// Package gradients derives graphs from graphs: derivatives of any order as plain ONNX ops.
//
// There is one rule per op, its vector-Jacobian product (VJP). Every rule emits only ops that have rules, so a derivative
// graph is differentiated like any other. Since Hessians are symmetric, a Hessian-vector product is the VJP of the gradient
// graph with the vector as cotangent.
//
// # Cotangents
//
// The cotangent of a value has the value's rank, and each of its extents is the value's or 1: a cotangent that is constant
// along an axis stays of extent 1 there ("under-broadcast") and is broadcast by the products it meets, never expanded before
// something needs its real shape. Summing such a cotangent over that axis multiplies it by the extent. An absent (nil)
// cotangent is zero.
package gradients
