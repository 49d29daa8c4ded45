/** @file One line of a terminal for work that takes a while: redrawn in place, cleared at its end; nothing where there is no terminal. */

export interface WorkLine {
  /** What is done and the share of it. */
  show(what: string, share: number): void;
  /** Any text in its place. */
  text(text: string): void;
  clear(): void;
}

export function workLine(stream: NodeJS.WriteStream = process.stderr): WorkLine {
  let shown = false;
  let last = 0;
  const draw = (text: string): void => {
    if (!stream.isTTY) return;
    stream.write(`\r${text.slice(0, (stream.columns ?? 80) - 1)}\x1b[K`);
    shown = true;
  };
  return {
    show(what, share) {
      const now = performance.now();
      if (share < 1 && now - last < 100) return;
      last = now;
      const filled = Math.round(20 * Math.min(1, share));
      draw(`${what} ${'━'.repeat(filled)}${'─'.repeat(20 - filled)} ${Math.round(100 * share)} %`);
    },
    text: draw,
    clear() {
      if (shown) stream.write('\r\x1b[K');
      shown = false;
    },
  };
}
