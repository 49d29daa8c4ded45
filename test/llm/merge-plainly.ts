/** @file Byte-pair encoding in a few lines, which the fast one is compared with. */

/** The textbook's way: the pair of lowest rank, leftmost first, until there is none. */
export function mergePlainly(word: string, merges: readonly (readonly [string, string])[], suffix = ''): string[] {
  const parts = Array.from(word);
  if (parts.length > 0) parts[parts.length - 1] += suffix;
  const ranks = new Map(merges.map(([left, right], rank) => [`${left} ${right}`, rank]));
  for (;;) {
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Number.POSITIVE_INFINITY;
      if (rank < least) {
        least = rank;
        best = i;
      }
    }
    if (best < 0) return parts;
    parts.splice(best, 2, parts[best] + parts[best + 1]);
  }
}
