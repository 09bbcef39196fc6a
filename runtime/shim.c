#define _GNU_SOURCE
#include "shim.h"

#include <signal.h>

#include "api.h"

void *const *ebm_api;
static void *memory_info;

const void *ebm_call_base(void *symbol) { return ((const void *(*)(void))symbol)(); }

const char *ebm_version(const void *base) { return ((const api_base *)base)->get_version(); }

int ebm_use_api(const void *base, uint32_t version) {
  ebm_api = ((const api_base *)base)->get_api(version);
  if (!ebm_api) return 0;
  return CALL(create_memory_info_fn, API_CREATE_CPU_MEMORY_INFO)(ARENA_ALLOCATOR, MEMORY_DEFAULT, &memory_info) == NULL;
}

const char *ebm_status_text(void *status) { return CALL(text_fn, API_GET_ERROR_MESSAGE)(status); }
void ebm_status_free(void *status) { CALL(release_fn, API_RELEASE_STATUS)(status); }

void *ebm_tensor(float *data, size_t count, const int64_t *dims, size_t rank, uintptr_t *value) {
  return CALL(create_tensor_fn, API_CREATE_TENSOR_WITH_DATA)(memory_info, data, count * sizeof(float), dims, rank, ELEMENT_FLOAT, (void **)value);
}

void ebm_value_free(uintptr_t value) { CALL(release_fn, API_RELEASE_VALUE)((void *)value); }

void *ebm_binding(uintptr_t session, uintptr_t *binding) { return CALL(create_binding_fn, API_CREATE_IO_BINDING)((void *)session, (void **)binding); }
void ebm_binding_free(uintptr_t binding) { CALL(release_fn, API_RELEASE_IO_BINDING)((void *)binding); }

void *ebm_bind_input(uintptr_t binding, const char *name, uintptr_t value) {
  return CALL(bind_fn, API_BIND_INPUT)((void *)binding, name, (void *)value);
}

void *ebm_bind_output(uintptr_t binding, const char *name, uintptr_t value) {
  return CALL(bind_fn, API_BIND_OUTPUT)((void *)binding, name, (void *)value);
}

// The floating-point control word, and the bits in it that flush denormal
// results (FTZ, FZ) and operands (DAZ).
#if defined(__x86_64__)
#include <xmmintrin.h>
typedef unsigned int control;
#define FLUSH 0x8040u
static control get_control(void) { return _mm_getcsr(); }
static void set_control(control c) { _mm_setcsr(c); }
#elif defined(__aarch64__)
typedef uint64_t control;
#define FLUSH (1ull << 24)
static control get_control(void) {
  control c;
  __asm__ volatile("mrs %0, fpcr" : "=r"(c));
  return c;
}
static void set_control(control c) { __asm__ volatile("msr fpcr, %0" : : "r"(c)); }
#else
typedef unsigned int control;
#define FLUSH 0u
static control get_control(void) { return 0; }
static void set_control(control c) { (void)c; }
#endif

int ebm_denormals_flushed(void) { return FLUSH && (get_control() & FLUSH) == FLUSH; }

void *ebm_run(uintptr_t session, uintptr_t binding) {
  control saved = get_control();
  set_control(saved | FLUSH);
  void *status = CALL(run_fn, API_RUN_WITH_BINDING)((void *)session, NULL, (void *)binding);
  set_control(saved);
  return status;
}

void *ebm_providers(char ***names, int *n) { return CALL(providers_fn, API_GET_AVAILABLE_PROVIDERS)(names, n); }

void ebm_providers_free(char **names, int n) {
  void *status = CALL(providers_free_fn, API_RELEASE_AVAILABLE_PROVIDERS)(names, n);
  if (status) ebm_status_free(status);
}

#if defined(_WIN32)
int ebm_repair_signals(void) { return 0; }
#else
int ebm_repair_signals(void) {
  int changed = 0;
  for (int s = 1; s < NSIG; s++) {
    struct sigaction a;
    if (sigaction(s, NULL, &a) != 0) continue;
    if (a.sa_handler == SIG_DFL || a.sa_handler == SIG_IGN || (a.sa_flags & SA_ONSTACK)) continue;
    a.sa_flags |= SA_ONSTACK;
    changed += sigaction(s, &a, NULL) == 0;
  }
  return changed;
}
#endif
