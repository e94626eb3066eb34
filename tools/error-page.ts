/** The reference page of all errors, from the catalogue: a pure function, so that the test can compare. */

interface Entry {
  readonly summary: string;
  readonly action: string;
  readonly retry: "never" | "safe" | { readonly afterMs: number };
}

/** Markdown with one heading per code, sorted by code. */
export function errorPage(catalogue: Readonly<Record<string, Entry>>): string {
  const sections = Object.keys(catalogue)
    .sort()
    .map((code) => section(code, catalogue[code] as Entry));
  return `${header}\n${sections.join("\n")}`;
}

const header = `# Errors

Every failure that Headrace reports has a stable code. Programs decide by the code and by *retry*, never by the
message. This page is generated from the catalogue in \`packages/sdk/src/errors.ts\` by \`npm run docs:errors\`;
a test compares the two.
`;

function section(code: string, { summary, action, retry }: Entry): string {
  return `### ${code}\n\n${summary}\n\n- **What to do:** ${action}\n- **Retry:** ${retryText(retry)}\n`;
}

function retryText(retry: Entry["retry"]): string {
  if (retry === "never") return "no; the same call fails again";
  if (retry === "safe") return "yes, at once";
  return `yes, after ${retry.afterMs} ms`;
}
