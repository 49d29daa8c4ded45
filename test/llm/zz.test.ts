import { gunzipSync } from 'node:zlib';
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { loadTokenizer } from '../../src/llm/tokenizer-node.js';
it('x', async () => {
  const t = await loadTokenizer('/work/shared/data/pretrained/tinystories-656k');
  console.log(t.vocabSize, t.bosId, t.eosId, t.padId, t.spelling, t.encode('Once upon a time'), JSON.stringify(t.decode(t.encode('Once upon a time'))));
  const lines = gunzipSync(readFileSync('/work/shared/data/multi30k/test_2016_flickr.en.gz')).toString().trimEnd().split('\n');
  const t0 = performance.now();
  let n = 0;
  for (const l of lines) n += t.encode(l).length + 1;
  console.log(n, lines.length, performance.now() - t0);
  for (const l of lines) { const ids = t.encode(l); const d = t.decode(ids); if (d !== l) console.log(JSON.stringify([l, d])); }
});
