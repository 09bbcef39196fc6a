// The functions of ONNX Runtime's C API that are called, by their places in
// OrtApi, a struct of function pointers that only ever grows at its end
// (onnxruntime_c_api.h). TestAPIPlaces checks them.
#ifndef ONNX_EBM_API_H
#define ONNX_EBM_API_H

#include <stddef.h>
#include <stdint.h>

enum { API_VERSION = 24 };

enum {
  API_CREATE_STATUS = 0,
  API_GET_ERROR_MESSAGE = 2,
  API_CREATE_CUSTOM_OP_DOMAIN = 26,
  API_CUSTOM_OP_DOMAIN_ADD = 27,
  API_ADD_CUSTOM_OP_DOMAIN = 28,
  API_CREATE_TENSOR_WITH_DATA = 49,
  API_GET_TENSOR_MUTABLE_DATA = 51,
  API_CREATE_CPU_MEMORY_INFO = 69,
  API_KERNEL_INFO_GET_ATTRIBUTE_STRING = 87,
  API_KERNEL_CONTEXT_GET_INPUT = 90,
  API_KERNEL_CONTEXT_GET_OUTPUT = 91,
  API_RELEASE_STATUS = 93,
  API_RELEASE_VALUE = 96,
  API_GET_AVAILABLE_PROVIDERS = 125,
  API_RELEASE_AVAILABLE_PROVIDERS = 126,
  API_RUN_WITH_BINDING = 133,
  API_CREATE_IO_BINDING = 134,
  API_RELEASE_IO_BINDING = 135,
  API_BIND_INPUT = 136,
  API_BIND_OUTPUT = 137,
  API_KERNEL_INFO_GET_ATTRIBUTE_ARRAY_FLOAT = 162,
  API_KERNEL_INFO_GET_INPUT_COUNT = 230,
  API_KERNEL_INFO_GET_OUTPUT_COUNT = 231,
  API_GET_TENSOR_DATA = 378,
  API_GET_TENSOR_ELEMENT_TYPE_AND_SHAPE_DATA_REFERENCE = 414,
};

enum { ELEMENT_FLOAT = 1, ARENA_ALLOCATOR = 1, MEMORY_DEFAULT = 0, INVALID_ARGUMENT = 2 };

typedef struct {
  const void *(*get_api)(uint32_t);
  const char *(*get_version)(void);
} api_base;

// Functions return NULL or an OrtStatus, unless they have a text or nothing to return.
typedef void *(*create_status_fn)(int, const char *);
typedef const char *(*text_fn)(void *);
typedef void (*release_fn)(void *);
typedef void *(*create_tensor_fn)(void *, void *, size_t, const int64_t *, size_t, int, void **);
typedef void *(*create_memory_info_fn)(int, int, void **);
typedef void *(*run_fn)(void *, void *, void *);
typedef void *(*bind_fn)(void *, const char *, void *);
typedef void *(*create_binding_fn)(void *, void **);
typedef void *(*providers_fn)(char ***, int *);
typedef void *(*providers_free_fn)(char **, int);
typedef void *(*domain_create_fn)(const char *, void **);
typedef void *(*domain_add_fn)(void *, const void *);
typedef void *(*options_add_fn)(void *, void *);
typedef void *(*attribute_text_fn)(const void *, const char *, char *, size_t *);
typedef void *(*attribute_floats_fn)(const void *, const char *, float *, size_t *);
typedef void *(*info_count_fn)(const void *, size_t *);
typedef void *(*context_input_fn)(const void *, size_t, void **);
typedef void *(*context_output_fn)(void *, size_t, const int64_t *, size_t, void **);
typedef void *(*shape_fn)(const void *, int *, const int64_t **, size_t *);
typedef void *(*data_fn)(const void *, void **);
typedef void *(*mutable_data_fn)(void *, void **);

// ebm_api is the OrtApi in use, set by ebm_use_api.
extern void *const *ebm_api;

#define CALL(type, place) ((type)ebm_api[place])

#endif
