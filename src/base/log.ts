/** @file Diagnostics: topics switched on by TENON_DEBUG=kernels,schedule,graph,source,passes, and notices said once. All go to stderr. */

const environment: Record<string, string | undefined> = typeof process === 'undefined' ? {} : process.env;
const topics = new Set((environment.TENON_DEBUG ?? '').split(',').filter((t) => t !== ''));
const said = new Set<string>();

export const log = {
  enabled: (topic: string): boolean => topics.has(topic) || topics.has('all'),
  /** Prints under `[topic]`; ask `enabled` first where building the text costs something. */
  debug(topic: string, text: string): void {
    if (this.enabled(topic)) console.error(`[tenon:${topic}] ${text}`);
  },
  /** One line that the user should see, once a process. */
  notice(text: string): void {
    if (said.has(text)) return;
    said.add(text);
    console.error(`tenon: ${text}`);
  },
};
