/**
 * @file Renders chat templates as transformers does: block tags take their lines' white space with them, and raise_exception, strftime_now and
 * range are there. `makeRenderer` is sent to a worker as text (guard.ts), so it uses nothing from outside of itself.
 */
import type * as Jinja from '@huggingface/jinja';

/** Renders a template with variables; `now` (milliseconds) is what strftime_now says. */
export type Render = (template: string, variables: Readonly<Record<string, unknown>>, now: number) => string;
/** What raise_exception throws. */
export interface RaisedError extends Error {
  readonly isRaised: true;
}

/** Makes a renderer of the package's exports. It throws RaisedError for what a template refuses, and Errors of other kinds for faults. */
export function makeRenderer({ Environment, Interpreter, parse, tokenize }: typeof Jinja): Render {
  type Program = ReturnType<typeof parse>;
  const months = 'January February March April May June July August September October November December'.split(' ');
  const days = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');
  const two = (n: number): string => String(n).padStart(2, '0');
  /** As Python's strftime in the C locale. */
  const strftime = (date: Date, format: string): string =>
    format.replace(/%([a-zA-Z%])/g, (text, code: string) => {
      switch (code) {
        case 'Y':
          return String(date.getFullYear());
        case 'y':
          return two(date.getFullYear() % 100);
        case 'm':
          return two(date.getMonth() + 1);
        case 'd':
          return two(date.getDate());
        case 'e':
          return String(date.getDate()).padStart(2, ' ');
        case 'B':
          return months[date.getMonth()];
        case 'b':
          return months[date.getMonth()].slice(0, 3);
        case 'A':
          return days[date.getDay()];
        case 'a':
          return days[date.getDay()].slice(0, 3);
        case 'H':
          return two(date.getHours());
        case 'I':
          return two(date.getHours() % 12 || 12);
        case 'p':
          return date.getHours() < 12 ? 'AM' : 'PM';
        case 'M':
          return two(date.getMinutes());
        case 'S':
          return two(date.getSeconds());
        case 'F':
          return strftime(date, '%Y-%m-%d');
        case 'T':
          return strftime(date, '%H:%M:%S');
        case '%':
          return '%';
        default:
          return text;
      }
    });
  const range = (start: number, stop?: number, step = 1): number[] => {
    const [from, to] = stop === undefined ? [0, start] : [start, stop];
    const length = Math.max(0, Math.ceil((to - from) / step));
    if (!(length <= 1_000_000)) throw new RangeError('range() is too long');
    return Array.from({ length }, (_, i) => from + i * step);
  };
  const raise = (message: unknown): never => {
    throw Object.assign(new Error(String(message)), { isRaised: true });
  };
  const programs = new Map<string, Program>();
  const programOf = (template: string): Program => {
    const known = programs.get(template);
    if (known) return known;
    const program = parse(tokenize(template, { lstrip_blocks: true, trim_blocks: true }));
    if (programs.size >= 16) programs.clear();
    programs.set(template, program);
    return program;
  };
  return (template, variables, now) => {
    const environment = new Environment();
    const globals = {
      true: true,
      True: true,
      false: false,
      False: false,
      none: null,
      None: null,
      raise_exception: raise,
      range,
      strftime_now: (format: string) => strftime(new Date(now), String(format)),
    };
    for (const [name, value] of Object.entries({ ...variables, ...globals })) environment.set(name, value);
    return String(new Interpreter(environment).run(programOf(template)).value);
  };
}
