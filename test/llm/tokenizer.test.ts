import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { concatBytes } from '../../src/base/bytes.js';
import { ConfigError, FormatError } from '../../src/base/errors.js';
import { Tokenizer } from '../../src/llm/tokenizer.js';
import { loadTokenizer, saveTokenizer } from '../../src/llm/tokenizer-node.js';
import { changed, type Json, smallTokenizer } from './support.js';

let tokenizer: Tokenizer;
let folder: string;
beforeAll(async () => {
  tokenizer = await smallTokenizer();
  folder = mkdtempSync(join(tmpdir(), 'tenon-tokenizer-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('tokens', () => {
  it('by id and by text', () => {
    const id = tokenizer.idOf('Ġwell') ?? -1;
    expect(tokenizer.tokenOf(id)).toBe('Ġwell');
    expect(new TextDecoder().decode(tokenizer.bytesOf(id))).toBe(' well');
    expect(tokenizer.idOf('no such token')).toBe(null);
    expect(tokenizer.isSpecial(id)).toBe(false);
    expect(tokenizer.isSpecial(0)).toBe(true);
    expect(() => tokenizer.tokenOf(tokenizer.vocabSize)).toThrow(ConfigError);
    expect(() => tokenizer.tokenOf(-1)).toThrow('tokenOf: no token has the id -1. Expected one from 0 to ');
  });

  it('of a text have its bytes, though one may hold a part of a character', () => {
    const text = '🙂 é 玻璃';
    const ids = [...tokenizer.encode(text)];
    expect(ids.length).toBeGreaterThan(text.length);
    expect(new TextDecoder().decode(concatBytes(ids.map((id) => tokenizer.bytesOf(id))))).toBe(text);
    expect(tokenizer.decode(ids.slice(0, 2))).toBe('\ufffd');
  });

  it('that are special are left out of a text unless they are asked for', () => {
    const ids = tokenizer.encode('<|im_start|>lower<|im_end|>');
    expect(ids[0]).toBe(1);
    expect(tokenizer.decode(ids)).toBe('lower');
    expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe('<|im_start|>lower<|im_end|>');
  });

  it('that no vocabulary has give nothing, as models may have more rows; what is no id is refused', () => {
    expect(tokenizer.decode([5000, ...tokenizer.encode('lower')])).toBe('lower');
    expect(tokenizer.bytesOf(5000)).toEqual(new Uint8Array(0));
    expect(tokenizer.decode([])).toBe('');
    for (const id of [-1, 1.5, Number.NaN]) expect(() => tokenizer.decode([id])).toThrow(ConfigError);
    expect(() => tokenizer.encode(1 as unknown as string)).toThrow('encode: expected a text, received 1.');
  });
});

describe('roles', () => {
  const roles = ({ bosId, eosId, padId }: Tokenizer): (number | null)[] => [bosId, eosId, padId];
  it('are texts, objects, or nothing', () => {
    expect(roles(tokenizer)).toEqual([0, 0, 0]);
    const other = changed(tokenizer, (_, config) =>
      Object.assign(config, { bos_token: null, eos_token: { content: '<|im_end|>', lstrip: false }, pad_token: 'of no vocabulary' }),
    );
    expect(roles(other)).toEqual([null, 2, null]);
    expect(roles(Tokenizer.fromJson(tokenizer.json))).toEqual([null, null, null]);
  });

  it('make tokens special, as additional_special_tokens does', () => {
    const other = changed(tokenizer, (json, config) => {
      json.added_tokens = [] as unknown as typeof json.added_tokens;
      Object.assign(config, { added_tokens_decoder: {}, additional_special_tokens: ['lower', { content: 'Ġwell' }] });
    });
    expect(['<|endoftext|>', '<|im_start|>', 'Ġwell'].map((token) => other.isSpecial(other.idOf(token) ?? -1))).toEqual([
      true,
      false,
      true,
    ]);
  });

  it('tokens that only tokenizer_config.json adds are added', () => {
    const id = tokenizer.vocabSize + 2;
    const other = changed(tokenizer, (_, config) =>
      Object.assign(config.added_tokens_decoder, {
        [id]: { content: '<|tool|>', special: true, lstrip: false, rstrip: false, normalized: false },
      }),
    );
    expect(other.vocabSize).toBe(id + 1);
    expect([...other.encode('<|tool|>low')]).toEqual([id, ...tokenizer.encode('low')]);
    expect(other.decode([id])).toBe('');
    // The numbers between are nobody's.
    expect(() => other.tokenOf(id - 1)).toThrow(ConfigError);
  });
});

describe('a folder', () => {
  it('holds what was saved into it', async () => {
    await saveTokenizer(folder, tokenizer);
    const loaded = await loadTokenizer(folder);
    expect(loaded.json).toEqual(tokenizer.json);
    expect(loaded.config).toEqual(tokenizer.config);
    expect([...loaded.encode('The lowest tower')]).toEqual([...tokenizer.encode('The lowest tower')]);
    // Whole numbers as keys come back in their order, and files of one tokenizer are the same bytes.
    const before = readFileSync(join(folder, 'tokenizer.json'), 'utf8');
    await saveTokenizer(folder, loaded);
    expect(readFileSync(join(folder, 'tokenizer.json'), 'utf8')).toBe(before);
  });

  it('special_tokens_map.json has the roles that tokenizer_config.json leaves open; chat_template.jinja is the template', async () => {
    await saveTokenizer(folder, tokenizer);
    writeFileSync(
      join(folder, 'tokenizer_config.json'),
      JSON.stringify({ bos_token: null, eos_token: '<|im_end|>', chat_template: 'old' }),
    );
    writeFileSync(
      join(folder, 'special_tokens_map.json'),
      JSON.stringify({ bos_token: { content: '<|im_start|>' }, eos_token: '<|endoftext|>' }),
    );
    writeFileSync(join(folder, 'chat_template.jinja'), 'new');
    const loaded = await loadTokenizer(folder);
    expect([loaded.bosId, loaded.eosId, loaded.chatTemplate]).toEqual([1, 2, 'new']);
  });

  it('without a tokenizer, or with damaged files, is refused', async () => {
    await expect(loadTokenizer(join(folder, 'nowhere'))).rejects.toThrow(ConfigError);
    writeFileSync(join(folder, 'tokenizer.json'), '{"a":');
    await expect(loadTokenizer(folder)).rejects.toThrow(`${join(folder, 'tokenizer.json')} is not JSON. The file is damaged.`);
    writeFileSync(join(folder, 'tokenizer.json'), '[]');
    await expect(loadTokenizer(folder)).rejects.toThrow(FormatError);
    writeFileSync(join(folder, 'tokenizer.json'), Uint8Array.of(0x22, 0xff, 0x22));
    await expect(loadTokenizer(folder)).rejects.toThrow('is not UTF-8');
  });
});

describe('what a file may not say', () => {
  const set = (path: string, value: unknown): ((json: Json) => void) => {
    const keys = path.split('.');
    return (json) => {
      let inner = json;
      for (const key of keys.slice(0, -1)) inner = inner[key];
      Object.assign(inner, { [keys.at(-1) ?? '']: value });
    };
  };
  it.each<[string, unknown, string]>([
    ['model', null, 'tokenizer.json: model is malformed. Expected an object, received null.'],
    [
      'model.type',
      'Neural',
      'tokenizer.json: model.type is malformed. Expected "BPE", "WordPiece", "Unigram", "WordLevel", received "Neural".',
    ],
    ['model.vocab', [], 'tokenizer.json: model.vocab is malformed. Expected an object, received [].'],
    ['model.vocab.lower', 0.5, 'tokenizer.json: model.vocab: the id of the token "lower" is malformed'],
    ['model.vocab.other', 1e9, 'the id of the token "other" is malformed. Expected a whole number from 0 to 4194303, received 1000000000.'],
    ['model.vocab.other', 5, 'tokenizer.json: two tokens have the id 5: "#" and "other". The file is damaged.'],
    [
      'model.merges',
      ['a b c'],
      'tokenizer.json: model.merges[0] is malformed. Expected two tokens of the vocabulary that make a third one, received "a b c".',
    ],
    ['model.merges', [['a', 'Ā']], 'model.merges[0] is malformed'],
    ['model.unk_token', '<unk>', 'tokenizer.json: model.unk_token is malformed. Expected a token of the vocabulary, received "<unk>".'],
    ['model.continuing_subword_prefix', '##', 'a prefix of parts is not supported with BPE'],
    ['added_tokens', {}, 'tokenizer.json: added_tokens is malformed. Expected a list, received {}.'],
    ['added_tokens', [{ id: -1, content: 'x' }], 'tokenizer.json: added_tokens[0].id is malformed. Expected a whole number from 0'],
    ['added_tokens', [{ id: 1, content: '' }], 'added_tokens[0].content is malformed. Expected a text that is not empty'],
    [
      'normalizer',
      { type: 'Nmt' },
      'tokenizer.json: normalizer: a normalizer of type "Nmt" is not supported. Expected one of BertNormalizer,',
    ],
    [
      'normalizer',
      { type: 'Replace', pattern: { Glob: '*' }, content: '' },
      'tokenizer.json: normalizer.pattern.Regex is malformed. Expected a text',
    ],
    ['normalizer', { type: 'Replace', pattern: { String: '' }, content: 'x' }, 'Expected 1 to 64 characters'],
    ['normalizer', { type: 'Prepend', prepend: 'x'.repeat(65) }, 'Expected at most 64 characters'],
    [
      'pre_tokenizer',
      { type: 'FixedLength', length: 0 },
      'tokenizer.json: pre_tokenizer.length is malformed. Expected a whole number from 1',
    ],
    [
      'pre_tokenizer',
      { type: 'Split', pattern: { Regex: '\\G\\d' }, behavior: 'Isolated' },
      'a pattern without \\G, which is not supported',
    ],
    [
      'pre_tokenizer',
      { type: 'Split', pattern: { String: 'x' }, behavior: 'Sideways' },
      'tokenizer.json: pre_tokenizer.behavior is malformed',
    ],
    ['pre_tokenizer', { type: 'Sequence', pretokenizers: Array(65).fill({ type: 'Whitespace' }) }, 'Expected at most 64 parts'],
    [
      'post_processor',
      { type: 'TemplateProcessing', single: [{ SpecialToken: { id: '[CLS]' } }] },
      'Expected a token of the vocabulary, received "[CLS]"',
    ],
    [
      'post_processor',
      { type: 'TemplateProcessing', single: Array(2).fill({ Sequence: { id: 'A' } }) },
      'tokenizer.json: post_processor.single is malformed. Expected at most 64 pieces, and the text once',
    ],
    [
      'decoder',
      { type: 'Strip', start: -1 },
      'tokenizer.json: decoder.start is malformed. Expected a whole number from 0 to 1000, received -1.',
    ],
    ['decoder', 'ByteLevel', 'tokenizer.json: decoder is malformed. Expected an object, received "ByteLevel".'],
  ])('%s = %j', (path, value, message) => {
    expect(() => changed(tokenizer, set(path, value))).toThrow(FormatError);
    expect(() => changed(tokenizer, set(path, value))).toThrow(message);
  });

  it('parts of parts of parts without end', () => {
    let part: object = { type: 'NFC' };
    for (let i = 0; i < 10_000; i++) part = { type: 'Sequence', normalizers: [part] };
    expect(() => changed(tokenizer, (json) => Object.assign(json, { normalizer: part }))).toThrow('the parts are nested too deeply');
  });

  it('files that are no objects, roles that are no texts, templates that are none', () => {
    expect(() => Tokenizer.fromJson('x')).toThrow('tokenizer.json is malformed. Expected an object, received "x".');
    expect(() => Tokenizer.fromJson(tokenizer.json, [])).toThrow('tokenizer_config.json is malformed. Expected an object, received [].');
    const config =
      (value: object): (() => unknown) =>
      () =>
        Tokenizer.fromJson(tokenizer.json, value);
    expect(config({ bos_token: 5 })).toThrow('tokenizer_config.json: bos_token is malformed. Expected a text, received 5.');
    expect(config({ chat_template: 5 })).toThrow('chat_template is malformed');
    expect(config({ chat_template: [{ name: 'a' }] })).toThrow(FormatError);
    expect(config({ added_tokens_decoder: { x: { content: 'a' } } })).toThrow(
      'tokenizer_config.json: added_tokens_decoder: x is malformed',
    );
  });
});

it('what a vocabulary has no token for is refused, or becomes its unknown one', () => {
  const json = { added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  const model = { type: 'BPE', vocab: { a: 0, b: 1, ab: 2, '?': 3 }, merges: ['a b'], fuse_unk: true };
  // As Hugging Face's library has it: left out.
  expect([...Tokenizer.fromJson({ ...json, model }).encode('abxab')]).toEqual([2, 2]);
  const known = Tokenizer.fromJson({ ...json, model: { ...model, unk_token: '?' } });
  expect([...known.encode('abxyab')]).toEqual([2, 3, 2]);
  expect(known.unknownId).toBe(3);
  const unigram = {
    type: 'Unigram',
    vocab: [
      ['a', -1],
      ['b', -2],
    ],
    unk_id: null,
  };
  expect(() => Tokenizer.fromJson({ ...json, model: unigram }).encode('axb')).toThrow(
    'encode: the vocabulary has no token for part of the text "axb"',
  );
});

const data = process.env.TENON_DATA_DIR;
describe.skipIf(data === undefined)(`real data in TENON_DATA_DIR (${data ?? 'not set: skipped'})`, () => {
  it('tinystories-656k: captions of Multi30k are 24,468 predicted tokens, and come back', async () => {
    const stories = await loadTokenizer(join(data ?? '', 'pretrained/tinystories-656k'));
    expect([stories.vocabSize, stories.bosId, stories.eosId, stories.padId]).toEqual([2048, 1, 2, 0]);
    expect([...stories.encode('Once upon a time', { addSpecialTokens: true })]).toEqual([1, 80, 147, 201, 282, 57]);
    const captions = gunzipSync(readFileSync(join(data ?? '', 'multi30k/test_2016_flickr.en.gz')))
      .toString('utf8')
      .trimEnd()
      .split('\n');
    let tokens = 0;
    for (const caption of captions) {
      const ids = stories.encode(caption);
      tokens += ids.length + 1;
      // Characters that it doesn't know are left out.
      if (!ids.includes(stories.unknownId ?? -1)) expect(stories.decode(ids)).toBe(caption);
    }
    expect(tokens).toBe(24_468);
  });
});
