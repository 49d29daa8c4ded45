// llama.cpp through node-llama-cpp's prebuilt binaries, on this machine's CPU. Node runs this with -e in the folder that has the package.
// Answers JSON: { do: 'hello' }, { do: 'load', path, flashAttention?, keys? } before { do: 'tokenize', texts }, { do: 'detokenize', ids }, { do: 'greedy', ids, count },
// { do: 'speak', prompt, count }: the times of a prompt of so many tokens and of what follows, and { do: 'choices', ids }: what it would say after each of the tokens.
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { getLlama, getModuleVersion, LlamaLogLevel } from 'node-llama-cpp';

// It starts processes of its own, which must not be told to run this text.
process.execArgv = [];
const llama = await getLlama({
  gpu: false,
  build: 'never',
  logLevel: LlamaLogLevel.error,
  logger: (_, text) => process.stderr.write(`${text}\n`),
});
let model;
let sequence;

async function open({ flashAttention = false, keys = 'F32' }) {
  const context = await model.createContext({
    contextSize: Math.min(1024, model.trainContextSize),
    threads: availableParallelism(),
    batchSize: 512,
    flashAttention,
    experimentalKvCacheKeyType: keys,
    experimentalKvCacheValueType: keys,
  });
  return context.getSequence();
}

const answers = {
  hello: async () => ({ version: await getModuleVersion() }),
  // Without options keys and values are f32 and attention is plain: its usual f16 cache changes a probability's third digit.
  load: async ({ path, ...options }) => {
    await model?.dispose();
    model = await llama.loadModel({ modelPath: path });
    sequence = await open(options);
    return { context: model.trainContextSize, bos: model.tokens.shouldPrependBosToken ? model.tokens.bos : null };
  },
  tokenize: async ({ texts }) => ({ ids: texts.map((text) => [...model.tokenize(text)]) }),
  detokenize: async ({ ids }) => ({ text: model.detokenize(ids) }),
  greedy: async ({ ids, count }) => {
    await sequence.clearHistory();
    const out = [];
    for await (const id of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
      out.push(id);
      if (out.length >= count) break;
    }
    return { ids: out };
  },
  speak: async ({ prompt, count }) => {
    await sequence.clearHistory();
    const began = performance.now();
    let first = 0;
    let n = 0;
    for await (const _ of sequence.evaluate(
      Array.from({ length: prompt }, (_, i) => 1000 + i),
      { temperature: 0, yieldEogToken: true },
    )) {
      first ||= performance.now();
      if (++n >= count) break;
    }
    return { firstMs: first - began, tokensMs: performance.now() - first };
  },
  choices: async ({ ids }) => {
    const asked = ids.map((id) => [id, { generateNext: { token: true, options: { temperature: 0 } } }]);
    await sequence.clearHistory();
    return { ids: (await sequence.controlledEvaluate(asked)).map(({ next }) => next.token) };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  let reply;
  try {
    const request = JSON.parse(line);
    reply = await answers[request.do](request);
  } catch (error) {
    reply = { error: error instanceof Error ? error.message : String(error) };
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
process.exit(0);
