/** @file The worked example's model in llama.cpp (node-llama-cpp's prebuilt one): the same tokens for the same chat, and the same answers. */
import { readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { loadTokenizer, openEngine } from 'tenon/llm';
import { peerProgram } from '../../bench/paths.js';
import { type Json, PeerProcess } from '../../bench/peers.js';
import { question } from './data.js';

/** llama.cpp as a process, where node-llama-cpp is installed in `folder`; else null. */
export async function llamaCppIn(folder: string): Promise<string | null> {
  return (await stat(join(folder, 'node_modules', 'node-llama-cpp')).catch(() => null)) ? folder : null;
}

/** Puts questions to a GGUF file in llama.cpp and to the model in Tenon, always the most likely token; says how far they agree. */
export async function runInLlamaCpp(folder: string, gguf: string, model: string, texts: readonly string[]): Promise<Json> {
  const engine = await openEngine(model, { slots: 1 });
  const tokenizer = await loadTokenizer(model);
  const ends = [tokenizer.eosId, tokenizer.idOf('<|im_end|>')];
  const peer = new PeerProcess(
    'llama.cpp',
    process.execPath,
    ['--input-type=module', '-e', await readFile(peerProgram('llamacpp.mjs'), 'utf8')],
    {},
    folder,
  );
  try {
    await peer.request({ do: 'load', path: gguf });
    const count = 48;
    const greedy = { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, maxTokens: count, stop: [] };
    let [samePrompts, sameAnswers] = [0, 0];
    let example = '';
    for (const text of texts) {
      const ids = engine.renderChat([{ role: 'user', content: question(text) }]);
      const chat = `<|im_start|>user\n${question(text)}<|im_end|>\n<|im_start|>assistant\n`;
      const made = await peer.request({ do: 'tokenize', texts: [chat], special: true });
      if (JSON.stringify(made.ids) === JSON.stringify([[...ids]])) samePrompts++;
      let own = '';
      for await (const piece of engine.generate(ids, greedy)) own += piece.text;
      // It goes on behind the end of a turn.
      const { ids: said } = await peer.request({ do: 'greedy', ids: [...ids], count });
      const until = Array.isArray(said) ? said.findIndex((id) => ends.includes(id)) : -1;
      const { text: other } = await peer.request({
        do: 'detokenize',
        ids: Array.isArray(said) && until >= 0 ? said.slice(0, until) : said,
      });
      if (String(other).trim() === own.trim()) sameAnswers++;
      if (example === '') example = String(other).trim();
    }
    return { type: basename(gguf).replace(/^model-|\.gguf$/g, ''), questions: texts.length, samePrompts, sameAnswers, example };
  } finally {
    peer.close();
  }
}
