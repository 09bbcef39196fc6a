#include "elementwise.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "shim.h"

enum {
  MAX_OPERANDS = 192,  // inputs, constants and results of a program
  MAX_RANK = 16,
  BLOCK = 512,         // elements of a block at most
  SCRATCH = 12 * 1024, // elements of all registers
};

enum { NONE = 0xffff };

typedef enum { WHOLE, SUM } output_kind;

typedef struct {
  uint16_t op, result, slot, from[3];
} instruction;

typedef struct {
  output_kind kind;
  uint16_t from;
  size_t axis, axes; // those summed
  int keep;
} output;

// program is a kernel of the op. Operands are numbered: inputs, constants, results.
typedef struct {
  const kernels *lanes;
  size_t inputs, constants, results, outputs;
  int slots; // registers that results need which are no whole outputs
  float *constant; // LANES copies of each
  instruction *code;
  output *out;
  uint16_t *whole; // the output that a result is, or NONE
} program;

static const struct {
  const char *name;
  int operands;
} ops[] = {
#define X(name, operands) {#name, operands},
    ELEMENTWISE_OPS(X)
#undef X
};

const char *elementwise_op(int i, int *operands) {
  if (i < 0 || i >= ELEMENTWISE_COUNT) return NULL;
  *operands = ops[i].operands;
  return ops[i].name;
}

static int chosen = -1;

void elementwise_level(int level) { chosen = level; }

const kernels *elementwise_kernels(int level) {
  if (level == 0) return &elementwise_base;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (level == 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &elementwise_avx2;
  if (level == 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) return &elementwise_avx512;
#endif
  return NULL;
}

static const kernels *best(void) {
  if (chosen >= 0) return elementwise_kernels(chosen);
  for (int level = 2; level > 0; level--) {
    const kernels *k = elementwise_kernels(level);
    if (k) return k;
  }
  return &elementwise_base;
}

static void *fail(const char *reason) {
  char text[256];
  snprintf(text, sizeof text, "Elementwise: %s", reason);
  return CALL(create_status_fn, API_CREATE_STATUS)(INVALID_ARGUMENT, text);
}

// ---- reading a program

typedef struct {
  const char *at;
  const char *error;
} reader;

static void spaces(reader *r) {
  while (*r->at == ' ') r->at++;
}

static int number(reader *r, int limit) {
  spaces(r);
  int n = 0, digits = 0;
  for (; *r->at >= '0' && *r->at <= '9' && n < limit; r->at++, digits++) n = 10 * n + (*r->at - '0');
  if (digits == 0 || n >= limit) {
    r->error = "a number is missing or too large";
    return 0;
  }
  return n;
}

static uint16_t read_operand(reader *r, const program *p) {
  spaces(r);
  char kind = *r->at ? *r->at++ : 0;
  size_t first = 0, count = 0;
  switch (kind) {
    case 'a': count = p->inputs; break;
    case 'c': first = p->inputs, count = p->constants; break;
    case 't': first = p->inputs + p->constants, count = p->results; break;
    default: r->error = "an operand is a, c or t and a number"; return 0;
  }
  size_t i = (size_t)number(r, MAX_OPERANDS);
  if (!r->error && i >= count) r->error = "an operand is not there";
  return (uint16_t)(first + i);
}

static int word(reader *r, const char *text) {
  size_t n = strlen(text);
  if (strncmp(r->at, text, n) != 0 || r->at[n] != ' ') return 0;
  r->at += n;
  return 1;
}

static uint16_t read_result(reader *r, const program *p) {
  uint16_t from = read_operand(r, p);
  if (!r->error && from < p->inputs + p->constants) r->error = "an output is a result";
  return from;
}

static void read_output(reader *r, program *p, output_kind kind, size_t declared) {
  if (p->outputs >= declared) {
    r->error = "the program has more outputs than the node";
    return;
  }
  output *o = &p->out[p->outputs];
  *o = (output){kind, read_result(r, p), 0, 0, 0};
  if (r->error) return;
  if (kind == WHOLE) {
    uint16_t *whole = &p->whole[o->from - p->inputs - p->constants];
    if (*whole != NONE) r->error = "a result is two outputs";
    *whole = (uint16_t)p->outputs;
  } else {
    o->axis = (size_t)number(r, MAX_RANK);
    o->axes = r->error ? 0 : (size_t)number(r, MAX_RANK);
    o->keep = r->error ? 0 : number(r, 2);
  }
  p->outputs++;
}

static void read_instruction(reader *r, program *p, size_t declared) {
  spaces(r);
  if (word(r, "Out")) return read_output(r, p, WHOLE, declared);
  if (word(r, "Sum")) return read_output(r, p, SUM, declared);
  for (int op = 0; op < ELEMENTWISE_COUNT; op++) {
    if (!word(r, ops[op].name)) continue;
    instruction *in = &p->code[p->results];
    in->op = (uint16_t)op;
    for (int i = 0; i < ops[op].operands && !r->error; i++) in->from[i] = read_operand(r, p);
    for (int i = ops[op].operands; i < 3; i++) in->from[i] = in->from[0];
    in->result = (uint16_t)(p->inputs + p->constants + p->results);
    p->whole[p->results] = NONE;
    p->results++;
    return;
  }
  r->error = "an instruction is unknown";
}

static const char *read_program(program *p, const char *text, size_t declared) {
  reader r = {text, NULL};
  while (!r.error) {
    if (p->inputs + p->constants + p->results >= MAX_OPERANDS) return "the program is too long";
    read_instruction(&r, p, declared);
    if (r.error) break;
    spaces(&r);
    if (*r.at == 0) break;
    if (*r.at++ != ';') r.error = "instructions are separated by ;";
  }
  if (!r.error && p->outputs != declared) r.error = "the program has fewer outputs than the node";
  return r.error;
}

// assign gives every result a register that is free from its last use on.
static void assign(program *p) {
  size_t first = p->inputs + p->constants;
  size_t last[MAX_OPERANDS];
  for (size_t i = 0; i < p->results; i++) {
    last[i] = i;
    for (int k = 0; k < 3; k++) {
      if (p->code[i].from[k] >= first) last[p->code[i].from[k] - first] = i;
    }
  }
  for (size_t i = 0; i < p->outputs; i++) last[p->out[i].from - first] = p->results; // sums come after the last instruction
  size_t busy[MAX_OPERANDS]; // until when
  for (size_t i = 0; i < p->results; i++) {
    int s = 0;
    while (s < p->slots && busy[s] > i) s++; // an instruction may write where it reads
    if (s == p->slots) p->slots++;
    busy[s] = last[i];
    p->code[i].slot = (uint16_t)s;
  }
}

static void destroy(void *kernel) {
  program *p = kernel;
  if (!p) return;
  free(p->constant);
  free(p->code);
  free(p->out);
  free(p->whole);
  free(p);
}

static void *allocate(program *p, size_t inputs, size_t outputs) {
  p->inputs = inputs;
  p->code = calloc(MAX_OPERANDS, sizeof *p->code);
  p->out = calloc(outputs + 1, sizeof *p->out);
  p->whole = calloc(MAX_OPERANDS, sizeof *p->whole);
  return p->code && p->out && p->whole ? NULL : fail("out of memory");
}

static void *read_constants(program *p, const void *info) {
  size_t n = 0;
  void *status = CALL(attribute_floats_fn, API_KERNEL_INFO_GET_ATTRIBUTE_ARRAY_FLOAT)(info, "constants", NULL, &n);
  if (status) { // there are none
    ebm_status_free(status);
    return NULL;
  }
  if (n > MAX_OPERANDS) return fail("too many constants");
  float value[MAX_OPERANDS];
  status = CALL(attribute_floats_fn, API_KERNEL_INFO_GET_ATTRIBUTE_ARRAY_FLOAT)(info, "constants", value, &n);
  if (status) return status;
  p->constant = malloc((n + 1) * LANES * sizeof(float));
  if (!p->constant) return fail("out of memory");
  for (size_t i = 0; i < n * LANES; i++) p->constant[i] = value[i / LANES];
  p->constants = n;
  return NULL;
}

static void *read_text(program *p, const void *info, size_t declared) {
  size_t n = 0;
  void *status = CALL(attribute_text_fn, API_KERNEL_INFO_GET_ATTRIBUTE_STRING)(info, "program", NULL, &n);
  if (status) return status;
  char *text = calloc(n + 1, 1);
  if (!text) return fail("out of memory");
  status = CALL(attribute_text_fn, API_KERNEL_INFO_GET_ATTRIBUTE_STRING)(info, "program", text, &n);
  if (!status) {
    const char *error = read_program(p, text, declared);
    if (error) status = fail(error);
  }
  free(text);
  return status;
}

static void *create(const void *op, const void *unused, const void *info, void **kernel) {
  (void)op, (void)unused;
  size_t inputs = 0, outputs = 0;
  void *status = CALL(info_count_fn, API_KERNEL_INFO_GET_INPUT_COUNT)(info, &inputs);
  if (!status) status = CALL(info_count_fn, API_KERNEL_INFO_GET_OUTPUT_COUNT)(info, &outputs);
  if (status) return status;
  if (inputs == 0 || inputs >= MAX_OPERANDS || outputs >= MAX_OPERANDS) return fail("no or too many inputs or outputs");
  program *p = calloc(1, sizeof *p);
  if (!p) return fail("out of memory");
  p->lanes = best();
  status = p->lanes ? allocate(p, inputs, outputs) : fail("the processor lacks the chosen instructions");
  if (!status) status = read_constants(p, info);
  if (!status) status = read_text(p, info, outputs);
  if (!status) {
    assign(p);
    if ((size_t)p->slots + p->inputs + p->outputs > SCRATCH / LANES) status = fail("the program needs too many registers");
  }
  if (status) {
    destroy(p);
    return status;
  }
  *kernel = p;
  return NULL;
}

// ---- running it

// input is a tensor: element e of the whole is data[e % period / inner], where data
// goes on by period with every outer elements.
typedef struct {
  const float *data;
  const int64_t *dims;
  size_t rank, inner, period, outer;
  float *slot; // a register of its own, for what has to be spread or padded
  int spread;  // the register holds what every block needs
} input;

typedef struct {
  int64_t dims[MAX_RANK];
  size_t rank, total;
} shape;

static void *read_inputs(const program *p, void *context, input *in) {
  for (size_t i = 0; i < p->inputs; i++) {
    void *value = NULL;
    int type = 0;
    void *status = CALL(context_input_fn, API_KERNEL_CONTEXT_GET_INPUT)(context, i, &value);
    if (!status) status = CALL(shape_fn, API_GET_TENSOR_ELEMENT_TYPE_AND_SHAPE_DATA_REFERENCE)(value, &type, &in[i].dims, &in[i].rank);
    if (!status && in[i].rank > MAX_RANK) status = fail("too many axes");
    if (!status) status = CALL(data_fn, API_GET_TENSOR_DATA)(value, (void **)&in[i].data);
    if (status) return status;
    in[i].slot = NULL;
    in[i].spread = 0;
  }
  return NULL;
}

// broadcast finds the whole shape.
static const char *broadcast(const program *p, const input *in, shape *whole) {
  whole->rank = 0;
  for (size_t i = 0; i < p->inputs; i++) {
    if (in[i].rank > whole->rank) whole->rank = in[i].rank;
  }
  for (size_t d = 0; d < whole->rank; d++) whole->dims[d] = 1;
  for (size_t i = 0; i < p->inputs; i++) {
    int64_t *dims = whole->dims + whole->rank - in[i].rank;
    for (size_t d = 0; d < in[i].rank; d++) {
      if (in[i].dims[d] == 1 || in[i].dims[d] == dims[d]) continue;
      if (dims[d] != 1) return "shapes do not broadcast";
      dims[d] = in[i].dims[d];
    }
  }
  whole->total = 1;
  for (size_t d = 0; d < whole->rank; d++) whole->total *= (size_t)whole->dims[d];
  return NULL;
}

// elements is the number of elements of the axes from .. to − 1.
static size_t elements(const shape *s, size_t from, size_t to) {
  size_t n = 1;
  for (size_t d = from; d < to; d++) n *= (size_t)s->dims[d];
  return n;
}

static const char *place(input *in, const shape *whole) {
  size_t lead = whole->rank - in->rank;
  size_t from = whole->rank, to = 0; // the axes that are not 1
  size_t gap = 0, after = 0;         // the repeated ones between
  for (size_t d = lead; d < whole->rank; d++) {
    if (in->dims[d - lead] == 1) continue;
    if (from == whole->rank) from = d;
    if (to > 0 && elements(whole, to, d) > 1) {
      if (after > 0) return "an input is repeated along more than one run of axes";
      gap = to, after = d;
    }
    to = d + 1;
  }
  in->outer = whole->total;
  in->inner = to > 0 ? elements(whole, to, whole->rank) : whole->total;
  in->period = to > 0 ? elements(whole, from, whole->rank) : whole->total;
  if (after == 0) return NULL;
  if (in->inner > 1 || elements(whole, 0, from) > 1) return "an input is repeated along more than one run of axes";
  in->outer = elements(whole, gap, whole->rank);
  in->period = elements(whole, after, whole->rank);
  return NULL;
}

// plan says how the elements are cut: segments that no longer period crosses,
// and blocks in them that hold whole periods of the shorter ones.
typedef struct {
  size_t total, segment, block;
} plan;

static void count_period(size_t period, size_t limit, plan *c, size_t *shorter) {
  if (period > limit) {
    if (period < c->segment) c->segment = period;
  } else if (period > *shorter) {
    *shorter = period;
  }
}

// extents are of a sum: each run of outer elements gives the next inner sums.
typedef struct {
  size_t outer, inner;
} extents;

static extents sum_extents(const output *o, const shape *whole) {
  return (extents){elements(whole, o->axis, whole->rank), elements(whole, o->axis + o->axes, whole->rank)};
}

static plan cut(const program *p, const input *in, const shape *whole, size_t limit) {
  plan c = {whole->total, whole->total, limit};
  size_t shorter = 0;
  for (size_t i = 0; i < p->inputs; i++) {
    if (in[i].inner == 1 && in[i].period > 1 && in[i].period < whole->total) count_period(in[i].period, limit, &c, &shorter);
    if (in[i].outer < c.segment) c.segment = in[i].outer;
  }
  for (size_t i = 0; i < p->outputs; i++) {
    if (p->out[i].kind == WHOLE) continue;
    extents e = sum_extents(&p->out[i], whole);
    if (e.inner == 1) count_period(e.outer, limit, &c, &shorter);
    else count_period(e.inner, limit, &c, &shorter);
    if (e.inner > 1 && e.outer < c.segment) c.segment = e.outer;
  }
  if (shorter > 1) c.block = limit / shorter * shorter;
  return c;
}

static void *make_outputs(const program *p, void *context, const shape *whole, float **out) {
  for (size_t i = 0; i < p->outputs; i++) {
    const output *o = &p->out[i];
    if (o->axis + o->axes > whole->rank) return fail("a sum has more axes than the whole");
    int64_t dims[MAX_RANK];
    size_t rank = 0;
    for (size_t d = 0; d < whole->rank; d++) {
      int summed = d >= o->axis && d < o->axis + o->axes;
      if (summed && o->keep) dims[rank++] = 1;
      if (!summed) dims[rank++] = whole->dims[d];
    }
    void *value = NULL;
    void *status = CALL(context_output_fn, API_KERNEL_CONTEXT_GET_OUTPUT)(context, i, dims, rank, &value);
    if (!status) status = CALL(mutable_data_fn, API_GET_TENSOR_MUTABLE_DATA)(value, (void **)&out[i]);
    if (status) return status;
    if (o->kind == WHOLE) continue;
    size_t n = 1;
    for (size_t d = 0; d < rank; d++) n *= (size_t)dims[d];
    memset(out[i], 0, n * sizeof(float));
  }
  return NULL;
}

// fetch gives the elements from start on, n padded to LANES; inside says that
// so many may be read from a whole tensor.
static operand fetch(input *in, size_t start, size_t n, size_t padded, int inside) {
  if (in->spread) return (operand){in->slot, in->spread == LANES ? 0 : LANES};
  size_t at = start % in->period;
  const float *data = in->data + start / in->outer * in->period;
  if (in->inner == 1 && at + (inside ? padded : n) <= in->period && (inside || n == padded)) return (operand){data + at, LANES};
  if (in->inner == 1) {
    for (size_t done = 0; done < n; at = 0) {
      size_t take = in->period - at < n - done ? in->period - at : n - done;
      memcpy(in->slot + done, data + at, take * sizeof(float));
      done += take;
    }
    memset(in->slot + n, 0, (padded - n) * sizeof(float));
    return (operand){in->slot, LANES};
  }
  size_t value = at / in->inner, run = in->inner - at % in->inner;
  if (run >= n) {
    for (size_t j = 0; j < LANES; j++) in->slot[j] = in->data[value];
    return (operand){in->slot, 0};
  }
  for (size_t done = 0; done < n; run = in->inner) {
    if (run > n - done) run = n - done;
    float v = in->data[value];
    for (size_t j = 0; j < run; j++) in->slot[done + j] = v;
    done += run;
    if (++value * in->inner == in->period) value = 0;
  }
  memset(in->slot + n, 0, (padded - n) * sizeof(float));
  return (operand){in->slot, LANES};
}

// keep marks what stays in its register from the first block on: numbers, and
// periods that blocks hold whole.
static void keep(input *in, const plan *c, operand first) {
  if (first.p != in->slot) return;
  if (in->inner >= c->total) in->spread = LANES;
  else if (in->inner == 1 && in->outer == c->total && in->period < c->total && c->block % in->period == 0 && c->segment % in->period == 0) in->spread = 1;
}

static void add_up(const program *p, const float *a, extents e, size_t start, size_t n, float *out) {
  out += start / e.outer * e.inner;
  if (e.inner == 1) {
    size_t row = n < e.outer ? n : e.outer;
    return p->lanes->rows(out, a, n / row, row);
  }
  if (n <= e.inner) return p->lanes->add(out + start % e.inner, a, n);
  for (size_t i = 0; i + e.inner <= n; i += e.inner) p->lanes->add(out, a + i, e.inner);
}

static void run(const program *p, input *in, float **out, const extents *sums, const plan *c, float *scratch) {
  operand v[MAX_OPERANDS];
  float *result[MAX_OPERANDS];
  size_t first = p->inputs + p->constants, limit = (c->block + LANES - 1) / LANES * LANES;
  for (size_t i = 0; i < p->inputs; i++, scratch += limit) in[i].slot = scratch;
  float *tails = scratch;
  scratch += p->outputs * limit;
  for (size_t i = 0; i < p->constants; i++) v[p->inputs + i] = (operand){p->constant + i * LANES, 0};
  size_t start = 0, left = c->segment;
  while (start < c->total) {
    size_t n = left < c->block ? left : c->block, padded = (n + LANES - 1) / LANES * LANES;
    int inside = start + padded <= c->total;
    for (size_t i = 0; i < p->inputs; i++) {
      v[i] = fetch(&in[i], start, n, padded, inside);
      if (start == 0) keep(&in[i], c, v[i]);
    }
    for (size_t i = 0; i < p->results; i++) {
      size_t o = p->whole[i];
      result[i] = o == NONE ? scratch + p->code[i].slot * limit : inside ? out[o] + start : tails + o * limit;
      v[first + i] = (operand){result[i], LANES};
    }
    for (size_t i = 0; i < p->results; i++) {
      const instruction *s = &p->code[i];
      p->lanes->op[s->op](result[i], v[s->from[0]], v[s->from[1]], v[s->from[2]], padded);
    }
    for (size_t i = 0; i < p->outputs; i++) {
      const output *o = &p->out[i];
      const float *a = result[o->from - first];
      if (o->kind != WHOLE) add_up(p, a, sums[i], start, n, out[i]);
      else if (!inside) memcpy(out[i] + start, a, n * sizeof(float));
    }
    start += n;
    left = left == n ? c->segment : left - n;
  }
}

static void *compute(void *kernel, void *context) {
  const program *p = kernel;
  input in[MAX_OPERANDS];
  float *out[MAX_OPERANDS];
  extents sums[MAX_OPERANDS];
  shape whole;
  void *status = read_inputs(p, context, in);
  if (status) return status;
  const char *error = broadcast(p, in, &whole);
  for (size_t i = 0; i < p->inputs && !error; i++) error = place(&in[i], &whole);
  if (error) return fail(error);
  status = make_outputs(p, context, &whole, out);
  if (status || whole.total == 0) return status;
  for (size_t i = 0; i < p->outputs; i++) sums[i] = sum_extents(&p->out[i], &whole);
  size_t limit = SCRATCH / ((size_t)p->slots + p->inputs + p->outputs) / LANES * LANES;
  plan c = cut(p, in, &whole, limit < BLOCK ? limit : BLOCK);
  float scratch[SCRATCH] __attribute__((aligned(64)));
  run(p, in, out, sums, &c, scratch);
  return NULL;
}

// ---- the op

typedef struct custom_op custom_op;

// OrtCustomOp of onnxruntime_c_api.h, which only ever grows at its end.
struct custom_op {
  uint32_t version;
  void *(*create)(const custom_op *, const void *, const void *);
  const char *(*name)(const custom_op *);
  const char *(*provider)(const custom_op *);
  int (*input_type)(const custom_op *, size_t);
  size_t (*inputs)(const custom_op *);
  int (*output_type)(const custom_op *, size_t);
  size_t (*outputs)(const custom_op *);
  void (*compute)(void *, void *);
  void (*destroy)(void *);
  int (*input_kind)(const custom_op *, size_t);
  int (*output_kind)(const custom_op *, size_t);
  int (*input_memory)(const custom_op *, size_t);
  int (*least_inputs)(const custom_op *);
  int (*inputs_alike)(const custom_op *);
  int (*least_outputs)(const custom_op *);
  int (*outputs_alike)(const custom_op *);
  void *(*create_checked)(const void *, const void *, const void *, void **);
  void *(*compute_checked)(void *, void *);
  void *(*infer)(const custom_op *, void *);
  int (*first_version)(const custom_op *);
  int (*last_version)(const custom_op *);
  size_t (*in_place)(int **, int **);
  void (*in_place_free)(int *, int *);
  size_t (*alias)(int **, int **);
  void (*alias_free)(int *, int *);
};

enum { VARIADIC = 2 };

static const char *op_name(const custom_op *op) { return (void)op, "Elementwise"; }
static const char *no_provider(const custom_op *op) { return (void)op, NULL; }
static int float_type(const custom_op *op, size_t i) { return (void)op, (void)i, ELEMENT_FLOAT; }
static int variadic(const custom_op *op, size_t i) { return (void)op, (void)i, VARIADIC; }
static int default_memory(const custom_op *op, size_t i) { return (void)op, (void)i, MEMORY_DEFAULT; }
static size_t one_kind(const custom_op *op) { return (void)op, 1; }
static int one(const custom_op *op) { return (void)op, 1; }
static int any_version(const custom_op *op) { return (void)op, INT32_MAX; }

static const custom_op elementwise = {
    .version = API_VERSION,
    .name = op_name, .provider = no_provider,
    .input_type = float_type, .inputs = one_kind, .output_type = float_type, .outputs = one_kind,
    .destroy = destroy,
    .input_kind = variadic, .output_kind = variadic, .input_memory = default_memory,
    .least_inputs = one, .inputs_alike = one, .least_outputs = one, .outputs_alike = one,
    .create_checked = create, .compute_checked = compute,
    .first_version = one, .last_version = any_version,
};

void *elementwise_add(uintptr_t options) {
  static void *domain; // sessions refer to it as long as they live
  if (!domain) {
    void *made = NULL;
    void *status = CALL(domain_create_fn, API_CREATE_CUSTOM_OP_DOMAIN)("onnx-ebm", &made);
    if (!status) status = CALL(domain_add_fn, API_CUSTOM_OP_DOMAIN_ADD)(made, &elementwise);
    if (status) return status;
    domain = made;
  }
  return CALL(options_add_fn, API_ADD_CUSTOM_OP_DOMAIN)((void *)options, domain);
}
