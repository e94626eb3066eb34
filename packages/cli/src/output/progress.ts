/** Progress of long work on standard error: a bar on a terminal, a line now and then in a pipe, nothing with `--json`. */
import { grouped } from "./text.ts";

const barWidth = 30;
const terminalPauseMs = 100;
const pipePauseMs = 5000;

export interface ProgressBar {
  update(done: number, total: number): void;
  /** Clears the bar. */
  end(): void;
}

/**
 * @param unit what is counted, for example `bytes`
 * @param quiet prints nothing
 */
export function progressBar(
  what: string,
  unit: string,
  {
    quiet = false,
    isTerminal = process.stderr.isTTY === true,
    write = (text: string): void => void process.stderr.write(text),
  } = {},
): ProgressBar {
  let lastMs = performance.now();
  let shown = false;
  const pauseMs = isTerminal ? terminalPauseMs : pipePauseMs;
  return {
    update(done, total) {
      const nowMs = performance.now();
      if (quiet || nowMs - lastMs < pauseMs) return;
      lastMs = nowMs;
      const share = total > 0 ? Math.min(1, done / total) : 0;
      const text = `${what} ${Math.floor(share * 100)} %, ${grouped(done)} of ${grouped(total)} ${unit}`;
      if (!isTerminal) {
        write(`${text}\n`);
        return;
      }
      const filled = Math.round(share * barWidth);
      shown = true;
      write(`\r\u001b[K[${"=".repeat(filled)}${" ".repeat(barWidth - filled)}] ${text}`);
    },
    end() {
      if (shown) write("\r\u001b[K");
      shown = false;
    },
  };
}
