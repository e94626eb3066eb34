/** Writes docs/reference/errors.md from the error catalogue: `node tools/errors-doc.ts`. */
import { mkdirSync, writeFileSync } from "node:fs";
// By path, because the tools run without the export condition that resolves packages to their sources.
import { errorCatalogue } from "../packages/sdk/src/errors.ts";
import { errorPage } from "./error-page.ts";

const page = new URL("../docs/reference/errors.md", import.meta.url);
mkdirSync(new URL(".", page), { recursive: true });
writeFileSync(page, errorPage(errorCatalogue));
