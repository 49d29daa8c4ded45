/** @file `tenon serve`'s options. */
import { type Command, Option } from 'commander';
import { type LoadOptions, loading, MODEL } from './language-commands.js';
import { wholeNumber } from './options.js';

/** What `tenon serve` was given; undefined where nothing was. */
export interface ServeCommandOptions extends LoadOptions {
  readonly host: string;
  readonly port: number;
  readonly apiKey?: string;
  readonly slots: number;
  readonly maxQueue: number;
  readonly maxPrompt?: number;
  readonly maxTokens?: number;
  readonly cors?: readonly string[];
  /** A file. */
  readonly chatTemplate?: string;
}

/** Adds the command; `run` does the work. */
export function addServeCommand(program: Command, run: (model: string, options: ServeCommandOptions) => Promise<void>): void {
  const command = program
    .command('serve')
    .description("Serve a language model as OpenAI's API: /v1/chat/completions, /v1/completions, /v1/models, /health.")
    .argument('<model>', MODEL)
    .option('--host <address>', 'where to listen; 0.0.0.0: other machines may come too', '127.0.0.1')
    .option('--port <n>', 'port; 0: any that is free', wholeNumber(0, 65_535), 8080)
    .addOption(new Option('--api-key <key>', 'what clients must send as a bearer token').env('TENON_API_KEY'))
    .option('--slots <n>', 'answers that are worked on at once', wholeNumber(1, 4096), 4)
    .option('--max-queue <n>', 'answers that may wait for a slot; more get 429', wholeNumber(0, 1_000_000), 64)
    .option('--max-prompt <n>', 'tokens of a prompt (default: what the context holds)', wholeNumber(1))
    .option('--max-tokens <n>', 'tokens of an answer (default: what the context holds)', wholeNumber(1))
    .option('--chat-template <file>', "a template in Jinja (default: the model's own, or ChatML where it has none)")
    .option('--cors <origin...>', "pages that may use the server, such as http://localhost:5173, or '*' (default: none)");
  loading(command).action(async (model: string, options: ServeCommandOptions) => run(model, options));
}
