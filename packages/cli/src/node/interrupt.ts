/** Ctrl-C: the first asks to stop, the second ends at once. */

/** Longer than a clean stop takes; what does not stop by then is ended. */
const stopMs = 5_000;
const interruptedCode = 130;

export interface Interrupt extends Disposable {
  readonly signal: AbortSignal;
}

/** Listens to SIGINT and SIGTERM until it is disposed. */
export function onInterrupt(note: (text: string) => void): Interrupt {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const listener = (): void => {
    if (controller.signal.aborted) process.exit(interruptedCode);
    note("stopping; Ctrl-C again ends at once");
    controller.abort();
    timer = setTimeout(() => {
      note("the node did not stop within 5 s and is ended; nothing acknowledged is lost");
      process.exit(1);
    }, stopMs);
    timer.unref();
  };
  process.on("SIGINT", listener);
  process.on("SIGTERM", listener);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      process.off("SIGINT", listener);
      process.off("SIGTERM", listener);
    },
  };
}
