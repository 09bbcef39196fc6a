// Package install gets an ONNX Runtime library of a pinned version.
//
// The library comes out of an archive that the user's own package client
// fetches: the Python wheel through pip, or the Node package through npm. Only
// the shared library is taken, nothing of the package is run. Its SHA-256 must
// be the pinned one; then it replaces the one in the target directory at once.
package install
