/**
 * @file The native device's runtime, in C: a pool of threads that runs the calls of a plan in order, one arena and one
 * scratch area a thread that all plans share (runs never overlap), and dlopen for kernels. Waiting spins at most 50 µs,
 * then sleeps. Compiled once by the system compiler and cached like kernels.
 */
export const runtimeSource = String.raw`#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

typedef void (*Kernel)(void **b, long lo, long hi, void *scratch);

/* owner: the thread that runs the call alone, or -1 for all; barrier: all threads meet before it. */
typedef struct { int64_t run, extent, first, owner, barrier; } Call;
/* kind 0: an address; 1: an offset in the arena; 2: an external slot. */
typedef struct { int64_t kind, value; } Arg;
typedef struct {
  int64_t calls, args, arena, scratch, parallel;
  Call *call;
  Arg *arg;
  void **b;
} Plan;

enum { MAX_THREADS = 256, SPIN_NS = 50000 };

static pthread_mutex_t run_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t sleep_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake_up = PTHREAD_COND_INITIALIZER;
/* Words that threads wait on, each on a cache line of its own. */
static struct { _Alignas(64) _Atomic uint32_t value; } started, met, arrived, sleepers;
static int pool = 1;
static int wanted = 1;
static Plan *current;
static double *current_times;

static char *arena;
static int64_t arena_bytes;
static char *scratch;
static int64_t scratch_bytes;

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void await_change(_Atomic uint32_t *word, uint32_t old) {
  int64_t end = 0;
  for (;;) {
    for (int i = 0; i < 64; i++) {
      if (atomic_load_explicit(word, memory_order_acquire) != old) return;
      relax();
    }
    int64_t now = now_ns();
    if (end == 0) end = now + SPIN_NS;
    else if (now > end) break;
  }
  pthread_mutex_lock(&sleep_lock);
  atomic_fetch_add(&sleepers.value, 1);
  while (atomic_load(word) == old) pthread_cond_wait(&wake_up, &sleep_lock);
  atomic_fetch_sub(&sleepers.value, 1);
  pthread_mutex_unlock(&sleep_lock);
}

static void publish(_Atomic uint32_t *word, uint32_t value) {
  atomic_store(word, value);
  /* A sleeper counts itself before it looks at the word: either we see it, or it sees the new value. */
  if (atomic_load(&sleepers.value) > 0) {
    pthread_mutex_lock(&sleep_lock);
    pthread_cond_broadcast(&wake_up);
    pthread_mutex_unlock(&sleep_lock);
  }
}

static void meet(void) {
  uint32_t round = atomic_load(&met.value);
  if (atomic_fetch_add(&arrived.value, 1) + 1 == (uint32_t)pool) {
    atomic_store(&arrived.value, 0);
    publish(&met.value, round + 1);
  } else {
    await_change(&met.value, round);
  }
}

static void execute(Plan *p, int thread, int threads, double *times) {
  char *own = scratch + thread * scratch_bytes;
  for (int64_t i = 0; i < p->calls; i++) {
    Call *c = p->call + i;
    if (threads > 1 && (c->barrier || times)) meet();
    int64_t begin = times && thread == 0 ? now_ns() : 0;
    if (c->owner < 0 && threads > 1) {
      int64_t lo = c->extent * thread / threads, hi = c->extent * (thread + 1) / threads;
      if (lo < hi) ((Kernel)c->run)(p->b + c->first, lo, hi, own);
    } else if (threads == 1 || c->owner == thread) {
      ((Kernel)c->run)(p->b + c->first, 0, c->extent, own);
    }
    if (times) {
      if (threads > 1) meet();
      if (thread == 0) times[i] = (now_ns() - begin) * 1e-6;
    }
  }
  if (threads > 1) meet();
}

static void *worker(void *arg) {
  int thread = (int)(intptr_t)arg;
  /* Work is only published once all workers were made, so the first change is from 0. */
  for (uint32_t seen = 0;; seen++) {
    await_change(&started.value, seen);
    execute(current, thread, pool, current_times);
  }
  return NULL;
}

static void start_pool(void) {
  if (pool >= wanted || atomic_load(&started.value) != 0) return;
  sigset_t all, before;
  sigfillset(&all);
  /* Signals belong to the process's own threads. */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (pool < wanted) {
    pthread_t t;
    if (pthread_create(&t, NULL, worker, (void *)(intptr_t)pool) != 0) break;
    pthread_detach(t);
    pool++;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static char *map(int64_t bytes) {
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return NULL;
#ifdef MADV_HUGEPAGE
  if (bytes >= 4 << 20) madvise(p, bytes, MADV_HUGEPAGE);
#endif
  return p;
}

/* Makes an area at least so large; what it held is lost. */
static int grow(char **area, int64_t *held, int64_t bytes, int64_t copies) {
  if (bytes <= *held) return 1;
  bytes = (bytes + 4095) & ~(int64_t)4095;
  if (*area) munmap(*area, *held * copies);
  *held = 0;
  *area = map(bytes * copies);
  if (*area) *held = bytes;
  return *area != NULL;
}

/* The first call of a process decides. */
void tn_threads(int threads) {
  static int decided;
  pthread_mutex_lock(&run_lock);
  if (!decided) wanted = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
  decided = 1;
  pthread_mutex_unlock(&run_lock);
}

int64_t tn_plan(int64_t calls, int64_t args, const int64_t *call, const int64_t *arg, int64_t arena, int64_t scratch, int parallel) {
  Plan *p = malloc(sizeof *p + calls * sizeof(Call) + args * (sizeof(Arg) + sizeof(void *)));
  if (!p) return 0;
  *p = (Plan){calls, args, arena, scratch, parallel, (Call *)(p + 1)};
  p->arg = (Arg *)(p->call + calls);
  p->b = (void **)(p->arg + args);
  memcpy(p->call, call, calls * sizeof(Call));
  memcpy(p->arg, arg, args * sizeof(Arg));
  return (int64_t)p;
}

void tn_free(int64_t plan) {
  pthread_mutex_lock(&run_lock);
  free((void *)plan);
  pthread_mutex_unlock(&run_lock);
}

/* Runs a plan; times, if not null, receives the milliseconds of each call. 0: done, 1: no memory for the arena, 2: none for scratch. */
int tn_run(int64_t plan, int64_t externals, int64_t times) {
  Plan *p = (Plan *)plan;
  void **external = (void **)externals;
  int result = 0;
  pthread_mutex_lock(&run_lock);
  if (p->parallel) start_pool();
  if (!grow(&arena, &arena_bytes, p->arena, 1)) result = 1;
  else if (!grow(&scratch, &scratch_bytes, p->scratch, wanted)) result = 2;
  else {
    for (int64_t i = 0; i < p->args; i++) {
      Arg a = p->arg[i];
      p->b[i] = a.kind == 0 ? (void *)a.value : a.kind == 1 ? arena + a.value : external[a.value];
    }
    if (p->parallel && pool > 1) {
      current = p;
      current_times = (double *)times;
      publish(&started.value, atomic_load(&started.value) + 1);
      execute(p, 0, pool, (double *)times);
    } else {
      execute(p, 0, 1, (double *)times);
    }
  }
  pthread_mutex_unlock(&run_lock);
  return result;
}

/* Gives the arena back when it is larger than this. */
void tn_trim(int64_t bytes) {
  pthread_mutex_lock(&run_lock);
  if (arena && arena_bytes > bytes) {
    munmap(arena, arena_bytes);
    arena = NULL;
    arena_bytes = 0;
  }
  pthread_mutex_unlock(&run_lock);
}

int64_t tn_open(const char *path) { return (int64_t)dlopen(path, RTLD_NOW | RTLD_LOCAL); }
int64_t tn_symbol(int64_t handle, const char *name) { return (int64_t)dlsym((void *)handle, name); }
const char *tn_error(void) { return dlerror(); }
`;
