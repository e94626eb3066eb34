import { type AppDefinition, HeadraceError } from "@headrace/sdk";

/** Imports a bundle's default export and takes its definition. @throws HR_APP_INVALID when there is none */
export const importApp = async (bundleUrl: string): Promise<AppDefinition> => {
  const module = (await import(bundleUrl)) as { default?: { definition?: AppDefinition } };
  const definition = module.default?.definition;
  if (!definition || typeof definition.name !== "string" || !Array.isArray(definition.streams)) {
    throw new HeadraceError(
      "HR_APP_INVALID",
      "the application's default export is no app: end the file with `export default app(...)`",
    );
  }
  return definition;
};
