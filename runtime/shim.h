// Calls into ONNX Runtime's C API that the Go binding does not offer: values
// of rank 0 over caller memory, runs with denormals flushed, the provider list.
// Functions that can fail return NULL or an OrtStatus as an opaque pointer.
#ifndef ONNX_EBM_SHIM_H
#define ONNX_EBM_SHIM_H

#include <stddef.h>
#include <stdint.h>

// ebm_version returns the version text of the library behind an OrtApiBase.
const char *ebm_version(const void *base);

// ebm_use_api makes the given API version current, once a process; 0 if the
// library lacks it.
int ebm_use_api(const void *base, uint32_t version);

// ebm_call_base calls OrtGetApiBase, given as a symbol address.
const void *ebm_call_base(void *symbol);

const char *ebm_status_text(void *status);
void ebm_status_free(void *status);

// ebm_tensor makes a float32 value over data (count elements, kept by the caller).
void *ebm_tensor(float *data, size_t count, const int64_t *dims, size_t rank, uintptr_t *value);
void ebm_value_free(uintptr_t value);

void *ebm_binding(uintptr_t session, uintptr_t *binding);
void ebm_binding_free(uintptr_t binding);
void *ebm_bind_input(uintptr_t binding, const char *name, uintptr_t value);
void *ebm_bind_output(uintptr_t binding, const char *name, uintptr_t value);

// ebm_run runs a session on its binding with denormals flushed to zero on the
// calling thread for the length of the call.
void *ebm_run(uintptr_t session, uintptr_t binding);

// ebm_providers gives a list of n names, to be freed with ebm_providers_free.
void *ebm_providers(char ***names, int *n);
void ebm_providers_free(char **names, int n);

// ebm_denormals_flushed reports whether the calling thread flushes denormals.
int ebm_denormals_flushed(void);

// ebm_repair_signals adds SA_ONSTACK to every signal handler that lacks it.
// Returns how many were changed.
int ebm_repair_signals(void);

#endif
