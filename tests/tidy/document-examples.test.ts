/**
 * Goal: the applications and tests that the documents show compile against the packages as they are.
 * Method: give every `ts` block that imports from a package of ours to the TypeScript compiler, with the repository's options.
 */
import { join } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";
import { filesBelow, repositoryRoot, type SourceFile, textOf } from "./repository.ts";

/** Blocks as files beside their page, so that they resolve packages as a project there would. */
function examplesOf({ path, text }: SourceFile): SourceFile[] {
  const blocks = [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code as string);
  return blocks
    .filter((code) => /from "(headrace|@headrace)[/\w]*"/.test(code))
    .map((code, index) => ({ path: path.replace(/\.md$/, `.example-${index + 1}.ts`), text: code }));
}

/** What the compiler says about the files, as `path: message`. */
function diagnosticsOf(files: readonly SourceFile[]): string[] {
  const { config } = ts.readConfigFile(join(repositoryRoot, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, repositoryRoot);
  const virtual = new Map(files.map(({ path, text }) => [join(repositoryRoot, path), text]));
  const host = ts.createCompilerHost({ ...options, noEmit: true });
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (path) => virtual.has(path) || fileExists(path);
  host.readFile = (path) => virtual.get(path) ?? readFile(path);
  host.getSourceFile = (path, version) => {
    const text = virtual.get(path);
    return text === undefined ? getSourceFile(path, version) : ts.createSourceFile(path, text, version);
  };
  const program = ts.createProgram([...virtual.keys()], { ...options, noEmit: true }, host);
  return [...virtual.keys()].flatMap((path) => {
    const source = program.getSourceFile(path);
    const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    return found.map(
      ({ messageText }) =>
        `${path.slice(repositoryRoot.length)}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`,
    );
  });
}

test("every example of the documents compiles", { timeout: 120_000 }, () => {
  const pages = [
    { path: "README.md", text: textOf("README.md") ?? "" },
    ...filesBelow("docs", (p) => p.endsWith(".md")),
  ];
  const examples = pages.flatMap(examplesOf);
  expect(examples.length).toBeGreaterThan(3);
  const planted = { path: "docs/planted.ts", text: 'import { app } from "headrace";\napp(1);\n' };
  const found = diagnosticsOf([...examples, planted]);
  expect(found).toEqual([expect.stringContaining("docs/planted.ts: Argument of type 'number'")]);
});
