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
    const s = Array.from({ length: n }, () => 's_').join(', ');
    rows.push(`#define T_SPLAT${n}(T, V, X) ({ T s_ = (X); (V){${s}}; })`);
  }
  return rows.join('\n');
}

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
    return ['#if defined(__clang__)', `${head} ${clang} }`, '#else', `${head} return __builtin_shuffle(${halves(n).join(', ')}, at); }`, '#endif'];
  });
  return [...any, ...of16.flat()].join('\n');
}

/** `t_transpose4` … up to a vector's lanes: d[j·ds + i] = s[i·ss + j]. */
export const cTransposes = (lanes: number): string =>
  [4, 8, 16]
    .filter((n) => n <= lanes)
    .map(transposeOf)
    .join('\n');
