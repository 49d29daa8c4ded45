/** @file Vector types in C, and squares of them turned over their diagonal: GCC's and clang's extensions, no header. */

/** Lanes for which vector types exist. */
export const vectorWidths = [2, 4, 8, 16, 32] as const;

export function cVectorTypes(): string {
  const rows: string[] = [];
  const scalars: [string, string, number][] = [
    ['f32', 'float', 4],
    ['i32', 'int', 4],
    ['u32', 'unsigned', 4],
    ['u16', 'unsigned short', 2],
    ['i8', 'signed char', 1],
    ['u8', 'unsigned char', 1],
  ];
  for (const n of vectorWidths) {
    for (const [name, c, bytes] of scalars) {
      rows.push(`typedef ${c} t_${name}x${n} __attribute__((vector_size(${n * bytes})));`);
      // In memory: any element address, any neighbour's type.
      rows.push(`typedef ${c} t_${name}x${n}m __attribute__((vector_size(${n * bytes}), aligned(${bytes}), may_alias));`);
    }
    rows.push(`typedef unsigned t_u32x${n}p __attribute__((vector_size(${n * 4}), aligned(2), may_alias));`);
    const s = Array.from({ length: n }, () => 's_').join(', ');
    rows.push(`#define T_SPLAT${n}(T, V, X) ({ T s_ = (X); (V){${s}}; })`);
  }
  // Words of two bf16 lie at any element's address.
  rows.push('typedef unsigned t_u32x1p __attribute__((aligned(2), may_alias));');
  return rows.join('\n');
}

/** As text: the types of the intrinsic differ from compiler to compiler, and from version to version. */
export const cBf16Dot = [4, 8, 16]
  .map(
    (n) =>
      `T_FN t_f32x${n} t_dot2x${n}(t_u32x${n} a, t_u32x${n} b, t_f32x${n} c) { __asm__("vdpbf16ps\\t{%2, %1, %0|%0, %1, %2}" : "+v"(c) : "v"(a), "vm"(b)); return c; }`,
  )
  .join('\n');

/** Rows as vectors, whose blocks of 1, 2, 4 … lanes off the diagonal are exchanged. */
function transposeOf(n: number): string {
  const out = [`T_FN void t_transpose${n}(float *restrict d, long ds, const float *restrict s, long ss) {`];
  const rows = Array.from({ length: n }, (_, i) => i);
  for (const i of rows) out.push(`  t_f32x${n} r${i} = *(const t_f32x${n}m *)(s + ${i} * ss), q${i};`);
  const mask = (of: (lane: number) => number) => rows.map(of).join(', ');
  let [a, b] = ['r', 'q'];
  for (let step = 1; step < n; step *= 2) {
    for (const i of rows) {
      if (i & step) continue;
      const pair = `${a}${i}, ${a}${i + step}`;
      out.push(`  ${b}${i} = T_SHUFFLE${n}(${pair}, ${mask((l) => (l & step ? n + l - step : l))});`);
      out.push(`  ${b}${i + step} = T_SHUFFLE${n}(${pair}, ${mask((l) => (l & step ? n + l : l + step))});`);
    }
    [a, b] = [b, a];
  }
  for (const i of rows) out.push(`  *(t_f32x${n}m *)(d + ${i} * ds) = ${a}${i};`);
  return [
    '#ifdef __clang__',
    `#define T_SHUFFLE${n}(A, B, ...) __builtin_shufflevector(A, B, __VA_ARGS__)`,
    '#else',
    `#define T_SHUFFLE${n}(A, B, ...) __builtin_shuffle(A, B, (t_i32x${n}){__VA_ARGS__})`,
    '#endif',
    ...out,
    '}',
  ].join('\n');
}

/**
 * `t_load_bf16x16` …: neighbours in memory as they are computed with, and `t_store_bf16x16` …: floats rounded to 16 bits, to nearest, ties to even.
 * GCC 12 widens and narrows by halves of a register unless it is told the instruction.
 */
export function cNarrowTypes(): string {
  const rows: string[] = [];
  for (const n of vectorWidths) {
    const ints = [
      ['i8', 'i32'],
      ['u8', 'u32'],
      ['u16', 'u32'],
    ] as const;
    const own: Partial<Record<string, string>> = {};
    if (n === 16) {
      own.i8 = '__builtin_ia32_pmovsxbd512_mask((t_qi)x, (t_i32x16){}, (t_u16)-1)';
      own.u8 = '__builtin_ia32_pmovzxbd512_mask((t_qi)x, (t_i32x16){}, (t_u16)-1)';
      own.u16 = '__builtin_ia32_pmovzxwd512_mask((t_hi16)x, (t_i32x16){}, (t_u16)-1)';
    } else if (n === 8) {
      own.i8 = '__builtin_ia32_pmovsxbd256((t_qi)(t_di){*(const t_i64m *)p})';
      own.u8 = '__builtin_ia32_pmovzxbd256((t_qi)(t_di){*(const t_i64m *)p})';
      own.u16 = '__builtin_ia32_pmovzxwd256((t_hi8)x)';
    }
    const macro = n === 16 ? '__AVX512F__' : '__AVX2__';
    for (const [from, to] of ints) {
      const start = `T_FN t_${to}x${n} t_load_${from}x${n}(const void *p) { t_${from}x${n} x = *(const t_${from}x${n}m *)p;`;
      const plain = `${start} return __builtin_convertvector(x, t_${to}x${n}); }`;
      const special = own[from];
      if (special)
        rows.push(`#if defined(${macro}) && !defined(__clang__)`, `${start} return (t_${to}x${n})${special}; }`, '#else', plain, '#endif');
      else rows.push(plain);
    }
    rows.push(`T_FN t_f32x${n} t_load_bf16x${n}(const void *p) { return (t_f32x${n})(t_load_u16x${n}(p) << 16); }`);
    const half = [
      `T_FN t_f32x${n} t_load_f16x${n}(const void *p) {`,
      `  t_i32x${n} h = (t_i32x${n})t_load_u16x${n}(p);`,
      `  t_f32x${n} f = (t_f32x${n})((h & 0x7fff) << 13) * 0x1p112f;`,
      `  return (t_f32x${n})((t_i32x${n})f | ((f >= 65536.0f) & 0x7f800000) | ((h & 0x8000) << 16));`,
      '}',
    ];
    const own16 =
      n === 16
        ? ['__AVX512F__', '__builtin_ia32_vcvtph2ps512_mask(*(const t_hi16m *)p, (t_f32x16){}, (t_u16)-1, 4)']
        : n === 8
          ? ['__F16C__', '__builtin_ia32_vcvtph2ps256(*(const t_hi8m *)p)']
          : null;
    if (own16)
      rows.push(`#ifdef ${own16[0]}`, `T_FN t_f32x${n} t_load_f16x${n}(const void *p) { return ${own16[1]}; }`, '#else', ...half, '#endif');
    else rows.push(...half);
    const narrow = `__builtin_convertvector(r, t_u16x${n})`;
    const pmov = n === 16 ? '(t_u16x16)__builtin_ia32_pmovdw512_mask((t_i32x16)r, (t_hi16){}, (t_u16)-1)' : null;
    rows.push(
      `T_FN t_u32x${n} t_round_bf16x${n}(t_f32x${n} x) {`,
      `  t_u32x${n} b = (t_u32x${n})x, r = (b + 0x7fffu + ((b >> 16) & 1)) >> 16, q = (b >> 16) | 0x40, m = (t_u32x${n})(x != x);`,
      '  return (m & q) | (~m & r);',
      '}',
      `T_FN void t_store_bf16x${n}(void *p, t_f32x${n} x) {`,
      `  t_u32x${n} r = t_round_bf16x${n}(x);`,
      ...(pmov ? ['#if defined(__AVX512F__) && !defined(__clang__)', `  *(t_u16x${n}m *)p = ${pmov};`, '#else'] : []),
      `  *(t_u16x${n}m *)p = ${narrow};`,
      ...(pmov ? ['#endif'] : []),
      '}',
    );
    const whole =
      n === 16
        ? ['__AVX512F__', '(t_u16x16)__builtin_ia32_vcvtps2ph512_mask(x, 0, (t_hi16){}, (t_u16)-1)']
        : n === 8
          ? ['__F16C__', '(t_u16x8)__builtin_ia32_vcvtps2ph256(x, 0)']
          : null;
    const one = `  t_u16x${n} r; for (int l = 0; l < ${n}; l++) r[l] = t_f16_store(x[l]); *(t_u16x${n}m *)p = r;`;
    rows.push(
      `T_FN void t_store_f16x${n}(void *p, t_f32x${n} x) {`,
      ...(whole ? [`#ifdef ${whole[0]}`, `  *(t_u16x${n}m *)p = ${whole[1]};`, '#else', one, '#endif'] : [one]),
      '}',
      `T_FN t_f32x${n} t_rounded_bf16x${n}(t_f32x${n} x) { return (t_f32x${n})(t_round_bf16x${n}(x) << 16); }`,
      `T_FN t_f32x${n} t_rounded_f16x${n}(t_f32x${n} x) { t_u16x${n} h; t_store_f16x${n}(&h, x); return t_load_f16x${n}(&h); }`,
    );
  }
  return [
    'typedef char t_qi __attribute__((vector_size(16)));',
    'typedef long long t_di __attribute__((vector_size(16)));',
    'typedef long long t_i64m __attribute__((aligned(1), may_alias));',
    'typedef short t_hi8 __attribute__((vector_size(16)));',
    'typedef short t_hi16 __attribute__((vector_size(32)));',
    'typedef short t_hi8m __attribute__((vector_size(16), aligned(2), may_alias));',
    'typedef short t_hi16m __attribute__((vector_size(32), aligned(2), may_alias));',
    ...rows,
  ].join('\n');
}

/** Elements of a table, lane by lane; of 16 elements it lies in one or two registers, whose lanes are permuted. */
export function cLookups(lanes: number): string {
  const any = vectorWidths.map(
    (n) =>
      `T_FN t_f32x${n} t_lookup${n}(const float *t, t_i32x${n} at) { t_f32x${n} r; for (int l = 0; l < ${n}; l++) r[l] = t[at[l]]; return r; }`,
  );
  const halves = (n: number) => Array.from({ length: 16 / n }, (_, i) => `*(const t_f32x${n}m *)(t + ${i * n})`);
  const of16 = [8, 16].map((n) => {
    const head = `T_FN t_f32x${n} t_lookup${n}_of16(const float *t, t_i32x${n} at) {`;
    const permute = (i: number) => `(t_f32x${n})__builtin_ia32_permvarsf${n * 32}(${halves(n)[i]}, at)`;
    const clang =
      n > lanes
        ? `return t_lookup${n}(t, at);`
        : n === 16
          ? `return ${permute(0)};`
          : `t_i32x8 high = at > 7; return (t_f32x8)((high & (t_i32x8)${permute(1)}) | (~high & (t_i32x8)${permute(0)}));`;
    return [
      '#if defined(__clang__)',
      `${head} ${clang} }`,
      '#else',
      `${head} return __builtin_shuffle(${halves(n).join(', ')}, at); }`,
      '#endif',
    ];
  });
  return [...any, ...of16.flat()].join('\n');
}

/** `t_transpose4` … up to a vector's lanes: d[j·ds + i] = s[i·ss + j]. */
export const cTransposes = (lanes: number): string =>
  [4, 8, 16]
    .filter((n) => n <= lanes)
    .map(transposeOf)
    .join('\n');
