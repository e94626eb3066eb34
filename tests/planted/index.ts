/** How tests plant bugs: in a process that they start (`plantedArgs`), or in a vitest run of its own (`HEADRACE_PLANTED=<name>`). */
import { fileURLToPath } from "node:url";
import { plant, plantedBug } from "./bugs.ts";

export { plant, plantedBugs } from "./bugs.ts";

/** Arguments of Node that plant a bug in the process and all of its worker threads; none without a name. */
export const plantedArgs = (name: string | undefined): string[] =>
  name === undefined ? [] : [`--import=${new URL("./hook.ts", import.meta.url).href}?bug=${plantedBug(name).name}`];

interface TransformPlugin {
  readonly name: string;
  readonly enforce: "pre";
  transform(code: string, id: string): string | undefined;
}

/** The same for modules that vitest loads by itself. */
export const plantedPlugin = (name: string | undefined): TransformPlugin[] => {
  if (name === undefined) return [];
  const bug = plantedBug(name);
  const target = fileURLToPath(new URL(`../../${bug.file}`, import.meta.url));
  return [
    {
      name: `planted-${name}`,
      enforce: "pre",
      transform: (code, id) => (id.split("?")[0] === target ? plant(bug, code) : undefined),
    },
  ];
};
