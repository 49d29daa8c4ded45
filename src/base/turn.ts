/** @file The event loop's turn. */

const immediate: ((f: () => void) => unknown) | undefined = Reflect.get(globalThis, 'setImmediate');
/** Browsers make timers wait 4 ms; a message to oneself comes back at once, behind what waits already. */
const message = (f: () => void): void => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    f();
  };
  port2.postMessage(null);
};

/** Resolves after what waits in the event loop has had its turn. */
export const turn = (): Promise<void> => new Promise((resolve) => void (immediate ?? message)(resolve));
