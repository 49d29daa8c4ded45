/** @file The keys of `tenon pretrain` and `tenon finetune` on the command line: as flags, in --help, and written out by --print-config. */
import { parseDocument, stringify } from 'yaml';
import { finetuneSettings, kebab, pretrainSettings, type SettingFlag, settingFlags } from '../llm/settings.js';
import { UsageError } from './failure.js';

const yes = ['true', 'yes', 'on'];
const no = ['false', 'no', 'off'];

/** What a switch was set to. Throws UsageError for a word that is neither. */
function truth(name: string, text: string): boolean {
  const word = text.trim().toLowerCase();
  if (!yes.includes(word) && !no.includes(word))
    throw new UsageError(`--${name}: "${text}" is neither. Expected ${yes.join(', ')} or ${no.join(', ')}.`);
  return yes.includes(word);
}

/** A value of a map as the file would have it: 32 is a number, true no text. Throws UsageError. */
function scalar(name: string, text: string): unknown {
  const document = parseDocument(text, { logLevel: 'error' });
  const [fault] = document.errors;
  if (fault)
    throw new UsageError(`--${name}: "${text}" can't be read (${fault.message.split(/ at line |\n/)[0]}). Expected a value of YAML.`);
  return document.toJS({ maxAliasCount: 0 });
}

/** The file and the keys among a command's words. Throws UsageError for words that are neither. */
export function parseFlags(
  kind: 'pretrain' | 'finetune',
  known: readonly SettingFlag[],
  file: string | undefined,
  rest: readonly string[],
): { path: string | undefined; flags: Record<string, unknown> } {
  const byName = new Map(known.map((f) => [kebab(f.key), f]));
  const flags: Record<string, unknown> = {};
  let path = file?.startsWith('-') ? undefined : file;
  const words = rest[0] === path && path !== undefined ? rest.slice(1) : [...rest];
  while (words.length > 0) {
    const word = words.shift() as string;
    if (!word.startsWith('--')) {
      if (path !== undefined)
        throw new UsageError(`${kind}: "${word}" is too much. Expected one file with settings. See tenon ${kind} --help.`);
      path = word;
      continue;
    }
    const [name, given] = word.slice(2).split(/=(.*)/s, 2);
    const isOff = name.startsWith('no-') && byName.get(name.slice(3))?.kind === 'boolean';
    const flag = byName.get(isOff ? name.slice(3) : name);
    if (!flag)
      throw new UsageError(`${kind}: there is no option --${name}. Expected one of ${[...byName.keys()].map((k) => `--${k}`).join(', ')}.`);
    if (flag.kind === 'boolean') {
      if (isOff && given !== undefined)
        throw new UsageError(`--${name}: "${given}" is too much. Expected --${name}, or --${name.slice(3)}=no.`);
      flags[flag.key] = isOff ? false : given === undefined || truth(name, given);
      continue;
    }
    const value = given ?? words.shift();
    if (value === undefined)
      throw new UsageError(`--${name}: a value is missing. Expected ${flag.choices?.join(' or ') ?? `a ${flag.kind}`}.`);
    if (flag.kind === 'number') flags[flag.key] = value.trim() === '' ? value : Number.isNaN(Number(value)) ? value : Number(value);
    else if (flag.kind === 'list') {
      const before = flags[flag.key];
      flags[flag.key] = [...(Array.isArray(before) ? before : []), value];
      if (flag.key === 'loraTargets' && value === 'all-linear') flags[flag.key] = value;
    } else if (flag.kind === 'map') {
      const [key, ...to] = value.split('=');
      if (to.length === 0) throw new UsageError(`--${name}: "${value}". Expected key=value.`);
      flags[flag.key] = { ...(flags[flag.key] as object | undefined), [key]: flag.hasTexts ? to.join('=') : scalar(name, to.join('=')) };
    } else flags[flag.key] = value;
  }
  return { path, flags };
}

/** What a flag takes, in a word. */
const taken = ({ kind, choices }: SettingFlag): string =>
  choices?.join('|') ?? { boolean: '', number: 'n', text: 'text', list: 'text', map: 'key=value' }[kind];

/** Of --help: a line for each key, its values, its default. */
export function keysHelp(kind: 'pretrain' | 'finetune'): string {
  const flags = settingFlags(kind === 'pretrain' ? pretrainSettings : finetuneSettings);
  const rows = flags.map((flag) => {
    const value = taken(flag);
    const again = flag.kind === 'list' || flag.kind === 'map' ? '; again for more' : '';
    const { default: d } = flag;
    const isSilent = d === undefined || (flag.kind === 'list' && Array.isArray(d));
    const note = flag.isRequired ? ' (required)' : isSilent ? '' : ` (default: ${d === true ? 'yes' : d === false ? 'no' : String(d)})`;
    return [`  --${kebab(flag.key)}${value === '' ? '' : ` <${value}>`}`, `${flag.help}${again}${note}`];
  });
  const width = Math.min(34, Math.max(...rows.map(([name]) => name.length)));
  // A long name has its text below it.
  const lines = rows.map(([name, text]) =>
    name.length > width ? `${name}\n${' '.repeat(width)}  ${text}` : `${name.padEnd(width)}  ${text}`,
  );
  return `\nKeys of RUN.yaml, there in camel case (batchSize: 16); a flag wins over the file:\n${lines.join('\n')}`;
}

/** Settings as a file for a run: what is set, with the rest as comments that say what is needed or chosen. */
export function settingsText(flags: readonly SettingFlag[], settings: Readonly<Record<string, unknown>>): string {
  return flags
    .map(({ key, help, isRequired }) =>
      settings[key] === undefined ? `# ${key}: ${isRequired ? '(required) ' : ''}${help}\n` : stringify({ [key]: settings[key] }),
    )
    .join('');
}
