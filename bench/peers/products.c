/*
 * OpenBLAS as a contender, and what the machine itself can do: a process that reads one JSON request a line, its keys in the
 * order shown, and answers with one JSON line. Arguments: the library to open.
 *
 * {"do":"hello"} · {"do":"prepare","m":1,"k":1,"n":1,"ta":0,"tb":0} → samples · {"do":"run","steps":1} → seconds of the calls
 * {"do":"peak","threads":1} → GFLOP/s of multiply-adds in registers
 * {"do":"stream","bytes":1,"threads":1} → GB/s of a[i] = b[i] + s·c[i], bytes of the three together
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float Vector __attribute__((vector_size(LANES * 4)));
enum { CHAINS = 12, MAX_THREADS = 64, SAMPLES = 16 };

typedef void (*Sgemm)(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb,
                      float beta, float *c, int ldc);

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static float *area(long n) {
  float *p = aligned_alloc(4096, (n * 4 + 4095) / 4096 * 4096);
  if (!p) {
    fprintf(stderr, "products: no memory for %ld numbers\n", n);
    exit(1);
  }
  return p;
}

/* The same numbers as bench/products.ts: exact in f32, from -0.5 to 0.5. */
static float *filled(long n, uint32_t seed) {
  float *p = area(n);
  for (long i = 0; i < n; i++) p[i] = (float)((((uint32_t)i + seed * 7919u) * 2654435761u) >> 8 & 0xffff) / 65536.0f - 0.5f;
  return p;
}

/* ---- the machine's limits: every thread does the same, all begin together, the slowest counts */

typedef struct {
  int kind; /* 0: multiply-adds, 1: stream */
  long count;
  float *a, *b, *c;
  pthread_barrier_t *together;
  double begin, end;
} Work;

static volatile float sink;

static void multiply_adds(long count) {
  /* Converges to 1: no overflow, nothing subnormal. */
  Vector factor = (Vector){} + 0.9999f, offset = (Vector){} + 1e-4f, c[CHAINS];
  for (int i = 0; i < CHAINS; i++) c[i] = (Vector){} + (float)i;
  for (long k = 0; k < count; k++) {
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) c[i] = c[i] * factor + offset;
  }
  Vector sum = c[0];
  for (int i = 1; i < CHAINS; i++) sum += c[i];
  sink = sum[0];
}

static void *work(void *arg) {
  Work *w = arg;
  pthread_barrier_wait(w->together);
  w->begin = now();
  if (w->kind == 0) multiply_adds(w->count);
  else {
    const float s = 3.0f;
    float *restrict a = w->a;
    const float *restrict b = w->b, *restrict c = w->c;
    for (long i = 0; i < w->count; i++) a[i] = b[i] + s * c[i];
    sink = a[0];
  }
  w->end = now();
  return NULL;
}

/* The shortest of so many turns, seconds. */
static double fastest(int threads, Work *works, int turns) {
  double best = 1e9;
  for (int turn = 0; turn < turns; turn++) {
    pthread_barrier_t together;
    pthread_barrier_init(&together, NULL, threads);
    pthread_t id[MAX_THREADS];
    for (int t = 0; t < threads; t++) works[t].together = &together;
    for (int t = 1; t < threads; t++)
      if (pthread_create(&id[t], NULL, work, works + t) != 0) exit(1);
    work(works);
    double begin = works[0].begin, end = works[0].end;
    for (int t = 1; t < threads; t++) {
      pthread_join(id[t], NULL);
      if (works[t].begin < begin) begin = works[t].begin;
      if (works[t].end > end) end = works[t].end;
    }
    pthread_barrier_destroy(&together);
    if (end - begin < best) best = end - begin;
  }
  return best;
}

static double peak(int threads) {
  Work works[MAX_THREADS] = {0};
  const long count = 2000000;
  for (int t = 0; t < threads; t++) works[t].count = count;
  return 2.0 * LANES * CHAINS * count * threads / fastest(threads, works, 40) / 1e9;
}

static double stream(long bytes, int threads) {
  Work works[MAX_THREADS] = {0};
  const long part = bytes / 12 / threads / 16 * 16;
  float *a = filled(part * threads, 1), *b = filled(part * threads, 2), *c = filled(part * threads, 3);
  for (int t = 0; t < threads; t++)
    works[t] = (Work){.kind = 1, .count = part, .a = a + t * part, .b = b + t * part, .c = c + t * part};
  double seconds = fastest(threads, works, 40);
  free(a);
  free(b);
  free(c);
  return 12.0 * part * threads / seconds / 1e9;
}

/* ---- products */

int main(int argc, char **argv) {
  void *library = dlopen(argc > 1 ? argv[1] : "libopenblas.so.0", RTLD_NOW);
  Sgemm sgemm = library ? (Sgemm)dlsym(library, "cblas_sgemm") : NULL;
  char *(*config)(void) = library ? (char *(*)(void))dlsym(library, "openblas_get_config") : NULL;
  float *a = NULL, *b = NULL, *c = NULL;
  int m = 0, k = 0, n = 0, ta = 0, tb = 0, threads = 1;
  long count = 0;
  char line[512];
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "{\"do\":\"peak\",\"threads\":%d}", &threads) == 1 && threads <= MAX_THREADS) {
      printf("{\"gflops\":%.6g}\n", peak(threads));
    } else if (sscanf(line, "{\"do\":\"stream\",\"bytes\":%ld,\"threads\":%d}", &count, &threads) == 2 && threads <= MAX_THREADS) {
      printf("{\"gbytes\":%.6g}\n", stream(count, threads));
    } else if (!sgemm) {
      printf("{\"error\":\"no cblas_sgemm in %s\"}\n", argc > 1 ? argv[1] : "libopenblas.so.0");
    } else if (sscanf(line, "{\"do\":\"prepare\",\"m\":%d,\"k\":%d,\"n\":%d,\"ta\":%d,\"tb\":%d}", &m, &k, &n, &ta, &tb) == 5) {
      free(a);
      free(b);
      free(c);
      a = filled((long)m * k, 1);
      b = filled((long)k * n, 2);
      c = area((long)m * n);
      sgemm(101, ta ? 112 : 111, tb ? 112 : 111, m, n, k, 1, a, ta ? m : k, b, tb ? k : n, 0, c, n);
      printf("{\"samples\":[");
      for (int i = 0; i < SAMPLES; i++) printf("%s%.9g", i ? "," : "", c[((long)m * n - 1) * i / (SAMPLES - 1)]);
      printf("]}\n");
    } else if (sscanf(line, "{\"do\":\"run\",\"steps\":%ld}", &count) == 1 && c) {
      double begin = now();
      for (long i = 0; i < count; i++) sgemm(101, ta ? 112 : 111, tb ? 112 : 111, m, n, k, 1, a, ta ? m : k, b, tb ? k : n, 0, c, n);
      printf("{\"seconds\":%.9g}\n", now() - begin);
    } else if (strncmp(line, "{\"do\":\"hello\"}", 14) == 0) {
      printf("{\"version\":\"%s\"}\n", config ? config() : "");
    } else {
      printf("{\"error\":\"not understood: a request in another order of keys?\"}\n");
    }
    fflush(stdout);
  }
  return 0;
}
