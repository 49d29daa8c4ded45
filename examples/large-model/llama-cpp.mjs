// Chats with a GGUF file in llama.cpp, through node-llama-cpp's prebuilt binaries, always the most likely token. Node runs this with -e in the folder
// that has the package. JSON on stdin: { path, chats, count }; on stdout: { ids, answers }.
import { availableParallelism } from 'node:os';
import { text } from 'node:stream/consumers';
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';

const { path, chats, count } = JSON.parse(await text(process.stdin));
// It starts processes of its own, which must not be told to run this text.
process.execArgv = [];
const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath: path });
// Keys and values as f32 and plain attention, as in Tenon.
const exact = { flashAttention: false, experimentalKvCacheKeyType: 'F32', experimentalKvCacheValueType: 'F32' };
const context = await model.createContext({
  contextSize: Math.min(1024, model.trainContextSize),
  threads: availableParallelism(),
  ...exact,
});
const sequence = context.getSequence();
const ids = chats.map((chat) => [...model.tokenize(chat, true)]);
const answers = [];
for (const prompt of ids) {
  await sequence.clearHistory();
  const answer = [];
  for await (const id of sequence.evaluate(prompt, { temperature: 0 })) {
    answer.push(id);
    if (answer.length >= count) break;
  }
  answers.push(model.detokenize(answer));
}
process.stdout.write(JSON.stringify({ ids, answers }), () => process.exit(0));
