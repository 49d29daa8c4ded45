/**
 * @file The native device's runtime, in C: a pool of threads that runs the calls of a plan in order, one arena and one
 * scratch area a thread that all plans share (runs never overlap), and dlopen for kernels. Waiting spins at most 50 µs,
 * then sleeps. Compiled once by the system compiler and cached like kernels.
 */
export const runtimeSource = `#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

typedef void (*Kernel)(void **b, long lo, long hi, void *scratch);

/* owner: the thread that runs the call alone, or -1 for all; barrier: all calls before it must be over. */
typedef struct { int64_t run, extent, first, owner, barrier; } Call;
/* kind 0: an address; 1: an offset in the arena; 2: an external slot. */
typedef struct { int64_t kind, value; } Arg;
/* A number that counts within one run: the run's ticket in the high half, so that a late thread cannot touch the next run. */
typedef _Atomic uint64_t Ticketed;
typedef struct {
  int64_t calls, args, arena, scratch, parallel;
  Call *call;
  Arg *arg;
  void **b;
  Ticketed *taken;       /* chunks taken of each thread's part of each call */
  _Atomic uint32_t *done; /* chunks finished of each call */
} Plan;

enum { MAX_THREADS = 256, SPIN_NS = 50000, CHUNKS = 4 };

static pthread_mutex_t run_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t sleep_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake_up = PTHREAD_COND_INITIALIZER;
/* Words that threads wait on, each on a cache line of its own: the ticket of the last run, and (ticketed) its finished calls. */
static struct { _Alignas(64) Ticketed value; } started, finished;
static struct { _Alignas(64) _Atomic uint32_t value; } sleepers, inside;
static int pool = 1;
static int wanted = 1;
static Plan *_Atomic current;

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

/* Returns once the word is not old: spins, then sleeps. */
static void await_change(Ticketed *word, uint64_t old) {
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

/* After a change. A sleeper counts itself before it looks at the word: either we see it here, or it sees the new value. */
static void wake(void) {
  if (atomic_load(&sleepers.value) > 0) {
    pthread_mutex_lock(&sleep_lock);
    pthread_cond_broadcast(&wake_up);
    pthread_mutex_unlock(&sleep_lock);
  }
}

/* Waits until so many calls of the run are finished; 0 if the run is over and another has begun. */
static int await_calls(uint64_t ticket, uint64_t calls) {
  for (;;) {
    uint64_t v = atomic_load_explicit(&finished.value, memory_order_acquire);
    if (v >> 32 != ticket) return 0;
    if ((v & 0xffffffff) >= calls) return 1;
    await_change(&finished.value, v);
  }
}

static void finish(Plan *p) {
  int64_t n = (int64_t)((atomic_fetch_add(&finished.value, 1) + 1) & 0xffffffff);
  /* Others only wait for the calls before a barrier. */
  if (n == p->calls || p->call[n].barrier) wake();
}

static int64_t chunks_of(int64_t size) { return size < CHUNKS ? size : CHUNKS; }
static int64_t bound(Call *c, int part, int threads) { return c->extent * part / threads; }

/*
 * Every thread has a part of the grid, in a few chunks; who is done with its own takes from the others', for a core may be
 * busy with something else. No one waits for a thread that took nothing.
 */
static void share(Plan *p, int64_t i, uint64_t ticket, int thread, int threads, char *own) {
  Call *c = p->call + i;
  uint32_t count = 0, total = 0;
  for (int k = 0; k < threads; k++) {
    int part = thread + k < threads ? thread + k : thread + k - threads;
    Ticketed *taken = p->taken + i * threads + part;
    int64_t lo = bound(c, part, threads), size = bound(c, part + 1, threads) - lo, chunks = chunks_of(size);
    uint64_t v = atomic_load_explicit(taken, memory_order_relaxed);
    total += chunks;
    while (v >> 32 == ticket && (int64_t)(v & 0xffffffff) < chunks) {
      if (!atomic_compare_exchange_weak(taken, &v, v + 1)) continue;
      int64_t n = (int64_t)(v & 0xffffffff);
      ((Kernel)c->run)(p->b + c->first, lo + size * n / chunks, lo + size * (n + 1) / chunks, own);
      count++;
      v = atomic_load_explicit(taken, memory_order_relaxed);
    }
  }
  if (count > 0 && atomic_fetch_add(&p->done[i], count) + count == total) finish(p);
}

/* One thread's way through a run. */
static void execute(Plan *p, uint64_t ticket, int thread, int threads) {
  char *own = scratch + thread * scratch_bytes;
  for (int64_t i = 0; i < p->calls; i++) {
    Call *c = p->call + i;
    /* Everyone meets at a barrier, whoever owns the call behind it: later calls rely on what was over there. */
    if (c->barrier && !await_calls(ticket, i)) return;
    if (c->owner >= 0 && c->owner % threads != thread) continue;
    /* Even its owner must take a call: it may come late, and see the plan of the next run. */
    uint64_t free_call = ticket << 32;
    if (c->owner < 0) share(p, i, ticket, thread, threads, own);
    else if (atomic_compare_exchange_strong(p->taken + i * threads, &free_call, free_call + 1)) {
      ((Kernel)c->run)(p->b + c->first, 0, c->extent, own);
      finish(p);
    }
  }
}

/* All calls in this thread. */
static void execute_alone(Plan *p) {
  for (int64_t i = 0; i < p->calls; i++) {
    Call *c = p->call + i;
    ((Kernel)c->run)(p->b + c->first, 0, c->extent, scratch);
  }
}

static void *worker(void *arg) {
  int thread = (int)(intptr_t)arg;
  /* Work is only published once all workers were made, so the first change is from 0. */
  for (uint64_t seen = 0;;) {
    await_change(&started.value, seen);
    /* Counted before the plan is looked up: tn_free waits for us, or we find no plan. */
    atomic_fetch_add(&inside.value, 1);
    seen = atomic_load(&started.value);
    Plan *p = atomic_load(&current);
    if (p) execute(p, seen, thread, pool);
    atomic_fetch_sub(&inside.value, 1);
  }
  return NULL;
}

static void leave_plans(void) {
  atomic_store(&current, NULL);
  while (atomic_load(&inside.value) > 0) sched_yield();
}

static uint64_t ticket_of_run;

/* Lets the pool at a plan and waits for its end. */
static void execute_together(Plan *p) {
  uint64_t ticket = ticket_of_run = (ticket_of_run + 1) & 0xffffffff ? ticket_of_run + 1 : 1;
  for (int64_t k = 0; k < p->calls * pool; k++) atomic_store_explicit(p->taken + k, ticket << 32, memory_order_relaxed);
  for (int64_t k = 0; k < p->calls; k++) atomic_store_explicit(p->done + k, 0, memory_order_relaxed);
  atomic_store(&finished.value, ticket << 32);
  atomic_store(&current, p);
  atomic_store(&started.value, ticket);
  wake();
  execute(p, ticket, 0, pool);
  await_calls(ticket, p->calls);
}

/* Signals belong to the process's own threads. */
static int start_thread(void *(*work)(void *), intptr_t arg) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t t;
  int started = pthread_create(&t, NULL, work, (void *)arg) == 0;
  if (started) pthread_detach(t);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return started;
}

static void start_pool(void) {
  if (pool >= wanted || atomic_load(&started.value) != 0) return;
  while (pool < wanted && start_thread(worker, pool)) pool++;
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
  /* koffi unloads its libraries at exit, when our threads may still be spinning in this code. */
  Dl_info self;
  if (!decided && dladdr((void *)tn_threads, &self)) dlopen(self.dli_fname, RTLD_NOW | RTLD_NODELETE);
  if (!decided) wanted = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
  decided = 1;
  pthread_mutex_unlock(&run_lock);
}

int64_t tn_plan(int64_t calls, int64_t args, const int64_t *call, const int64_t *arg, int64_t arena, int64_t scratch, int parallel) {
  Plan *p = malloc(sizeof *p + calls * (sizeof(Call) + wanted * sizeof(Ticketed) + sizeof(uint32_t)) + args * (sizeof(Arg) + sizeof(void *)));
  if (!p) return 0;
  *p = (Plan){calls, args, arena, scratch, parallel, (Call *)(p + 1), 0, 0, 0, 0};
  p->arg = (Arg *)(p->call + calls);
  p->b = (void **)(p->arg + args);
  p->taken = (Ticketed *)(p->b + args);
  p->done = (_Atomic uint32_t *)(p->taken + calls * wanted);
  memcpy(p->call, call, calls * sizeof(Call));
  memcpy(p->arg, arg, args * sizeof(Arg));
  return (int64_t)p;
}

void tn_free(int64_t plan) {
  pthread_mutex_lock(&run_lock);
  leave_plans();
  free((void *)plan);
  pthread_mutex_unlock(&run_lock);
}

/* Each call as a plan of its own. */
static void execute_timed(Plan *p, double *times) {
  for (int64_t i = 0; i < p->calls; i++) {
    Call one = p->call[i];
    one.barrier = 0;
    Plan part = *p;
    part.calls = 1;
    part.call = &one;
    int64_t begin = now_ns();
    if (one.owner < 0 && pool > 1) execute_together(&part);
    else execute_alone(&part);
    times[i] = (now_ns() - begin) * 1e-6;
    /* The part lies on this stack. */
    leave_plans();
  }
}

static int run_locked(Plan *p, void **external, double *times) {
  if (p->parallel) start_pool();
  if (!grow(&arena, &arena_bytes, p->arena, 1)) return 1;
  if (!grow(&scratch, &scratch_bytes, p->scratch, wanted)) return 2;
  for (int64_t i = 0; i < p->args; i++) {
    Arg a = p->arg[i];
    p->b[i] = a.kind == 0 ? (void *)a.value : a.kind == 1 ? arena + a.value : external[a.value];
  }
  if (times) execute_timed(p, times);
  else if (p->parallel && pool > 1) execute_together(p);
  else execute_alone(p);
  return 0;
}

/* Runs a plan; times, if not null, receives the milliseconds of each call. 0: done, 1: no memory for the arena, 2: none for scratch. */
int tn_run(int64_t plan, int64_t externals, int64_t times) {
  pthread_mutex_lock(&run_lock);
  int result = run_locked((Plan *)plan, (void **)externals, (double *)times);
  pthread_mutex_unlock(&run_lock);
  return result;
}

/*
 * Runs one after another in a thread of our own, which finds the next one without waiting for anyone: callers' threads change
 * from run to run, and a system that has the pool's threads on their cores would move them about for each.
 */
enum { POSTS = 16 };
static pthread_mutex_t post_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t post_over = PTHREAD_COND_INITIALIZER;
static struct { int64_t plan, times, room; void **external; int result; } posts[POSTS];
static struct { _Alignas(64) Ticketed value; } posted;
static uint64_t served;

static void serve(uint64_t n) {
  int64_t plan = posts[n % POSTS].plan, times = posts[n % POSTS].times;
  int result = tn_run(plan, (int64_t)posts[n % POSTS].external, times);
  pthread_mutex_lock(&post_lock);
  posts[n % POSTS].result = result;
  served = n + 1;
  pthread_cond_broadcast(&post_over);
  pthread_mutex_unlock(&post_lock);
}

static void *runner(void *arg) {
  for (uint64_t n = (uint64_t)(uintptr_t)arg;; n++) {
    while (atomic_load_explicit(&posted.value, memory_order_acquire) <= n) await_change(&posted.value, n);
    serve(n);
  }
  return NULL;
}

/* Puts a run behind the others, with a copy of its \`count\` externals. Its number, for tn_wait; 0: no memory. */
int64_t tn_submit(int64_t plan, int64_t externals, int64_t count, int64_t times) {
  static int running;
  pthread_mutex_lock(&post_lock);
  uint64_t n = atomic_load(&posted.value);
  while (n - served >= POSTS) pthread_cond_wait(&post_over, &post_lock);
  if (posts[n % POSTS].room < count) {
    void **room = realloc(posts[n % POSTS].external, count * sizeof *room);
    if (!room) {
      pthread_mutex_unlock(&post_lock);
      return 0;
    }
    posts[n % POSTS].external = room;
    posts[n % POSTS].room = count;
  }
  if (count > 0) memcpy(posts[n % POSTS].external, (void *)externals, count * sizeof(void *));
  posts[n % POSTS].plan = plan;
  posts[n % POSTS].times = times;
  running = running || start_thread(runner, (intptr_t)n);
  atomic_store(&posted.value, n + 1);
  int alone = !running;
  pthread_mutex_unlock(&post_lock);
  if (alone) serve(n);
  else wake();
  return (int64_t)(n + 1);
}

/* Waits for the end of a run; 0 or what tn_run says. */
int tn_wait(int64_t number) {
  pthread_mutex_lock(&post_lock);
  while (served < (uint64_t)number) pthread_cond_wait(&post_over, &post_lock);
  int result = posts[(number - 1) % POSTS].result;
  pthread_mutex_unlock(&post_lock);
  return result;
}

/* Asks for huge pages where memory that nobody has touched yet is long enough for some. */
void tn_advise(int64_t address, int64_t bytes) {
#ifdef MADV_HUGEPAGE
  int64_t from = (address + (2 << 20) - 1) & -(2 << 20), to = (address + bytes) & -(2 << 20);
  if (from < to) madvise((void *)from, to - from, MADV_HUGEPAGE);
#endif
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
