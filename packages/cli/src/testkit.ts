/** The test kit under the package that users install: `import { testApp } from "headrace/testkit"`. */
export * from "@headrace/testkit";
