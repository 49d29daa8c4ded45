/** @file What a finished run reports, and its model card: base, data with their hashes, settings, curve, figures. */
import { stringify } from 'yaml';
import type { CurvePoint } from './train-tokens.js';

export interface RunReport {
  readonly kind: 'pretrain' | 'finetune' | 'dpo';
  /** The model that was fine-tuned. */
  readonly base: string | null;
  readonly modelType: string;
  readonly data: readonly { readonly name: string; readonly bytes: number; readonly sha256: string }[];
  readonly settings: Readonly<Record<string, unknown>>;
  readonly parameters: number;
  readonly trainableParameters: number;
  /** Scores on the held data: natsPerToken and perplexity, or of preferences loss, rewardAccuracy and margin. */
  readonly before: Readonly<Record<string, number>> | null;
  readonly after: Readonly<Record<string, number>> | null;
  readonly curve: readonly CurvePoint[];
  readonly tokens: number;
  /** Of training alone, and of everything. */
  readonly seconds: number;
  readonly totalSeconds: number;
  readonly estimate: { readonly seconds: number; readonly peakBytes: number };
  readonly peakMemoryBytes: number;
  /** The folder in the run's, with the model or the adapter. */
  readonly saved: 'model' | 'adapter';
}

const n = (x: number): string => Math.round(x).toLocaleString('en-US');
const four = (x: number | null | undefined): string => (x === null || x === undefined ? '' : x.toFixed(4));

/** README.md of a run's folder. */
export function modelCard(report: RunReport): string {
  const { kind, base, modelType, curve } = report;
  const title =
    kind === 'pretrain' ? `A ${modelType} trained from nothing` : `${base}, fine-tuned${kind === 'dpo' ? ' on preferences' : ''}`;
  const front = { library_name: 'tenon', ...(base === null ? {} : { base_model: base }), pipeline_tag: 'text-generation' };
  const scores = (s: Readonly<Record<string, number>> | null): string =>
    s === null
      ? 'not measured'
      : Object.entries(s)
          .map(([name, x]) => `${name} ${four(x)}`)
          .join(', ');
  const settings = Object.entries(report.settings).filter(([, v]) => v !== undefined && !(Array.isArray(v) && v.length === 0));
  return [
    `---\n${stringify(front)}---\n`,
    `# ${title}\n`,
    `${n(report.parameters)} parameters, ${n(report.trainableParameters)} of them trained, on ${n(report.tokens)} tokens in ${report.seconds.toFixed(0)} s; ${(report.peakMemoryBytes / 1e9).toFixed(2)} GB of memory at most.\n`,
    `- before: ${scores(report.before)}`,
    `- after: ${scores(report.after)}\n`,
    '## Data\n',
    ...report.data.map((d) => `- \`${d.name}\`, ${n(d.bytes)} bytes, sha256 \`${d.sha256}\``),
    '\n## Curve\n',
    '| update | loss | validation loss | seconds |',
    '|---|---|---|---|',
    ...curve.map((p) => `| ${n(p.step)} | ${four(p.loss)} | ${four(p.validation?.loss)} | ${p.seconds.toFixed(0)} |`),
    '\n## Settings\n',
    '```yaml',
    stringify(Object.fromEntries(settings)).trimEnd(),
    '```\n',
    'Everything to repeat the run is in `run.yaml`.\n',
  ].join('\n');
}
