/**
 * Which package may import which (DESIGN: arrows point inwards, cli → server → engine → sdk), as rules.
 * tests/tidy/imports.test.ts plants a violation of each rule and asserts that it is reported, and that the real
 * tree was read at all: dependency-cruiser without a TypeScript that it understands reports "0 modules, no
 * violations" and exits 0, which is why TypeScript is pinned.
 */

/** What the sources of a package may import: packages of ours, packages from npm, and whether Node's own modules. */
const packages = {
  sdk: { ours: [], npm: [], node: false },
  engine: { ours: ["sdk"], npm: [], node: false },
  mqtt: { ours: [], npm: ["mqtt-packet"], node: true },
  server: { ours: ["engine", "sdk", "mqtt"], npm: "any", node: true },
  cli: { ours: ["server", "sdk", "simulator", "testkit"], npm: "any", node: true },
  simulator: { ours: ["sdk", "mqtt"], npm: "any", node: true },
  testkit: { ours: ["engine", "sdk"], npm: "any", node: true },
};

const stations = ["blobs", "gateway", "leases", "log", "runtime", "lake", "registry", "api"];

/** Tests may use more than the code beside them: Node, vitest, fast-check, the testkit. */
const testFiles = ["[.]test[.]ts$", "^packages/[^/]+/test/"];
const fromNpm = ["npm", "npm-dev", "npm-optional", "npm-peer", "npm-no-pkg", "npm-unknown"];

function rulesOfPackage([name, allowed]) {
  const from = { path: `^packages/${name}/src/`, pathNot: testFiles };
  const others = Object.keys(packages).filter((other) => other !== name && !allowed.ours.includes(other));
  const rules = [
    {
      name: `${name}-imports-only-what-its-row-allows`,
      comment: `packages/${name} may import ${allowed.ours.join(", ") || "no other package of Headrace"}.`,
      severity: "error",
      from,
      to: { path: `^packages/(${others.join("|")})/` },
    },
  ];
  if (allowed.npm !== "any") {
    const except = allowed.npm.map((dependency) => `node_modules/${dependency}/`);
    rules.push({
      name: `${name}-has-no-other-dependencies`,
      comment: `packages/${name} may use ${allowed.npm.join(", ") || "nothing"} from npm.`,
      severity: "error",
      from,
      to: { path: "node_modules/", ...(except.length > 0 && { pathNot: except }) },
    });
  }
  if (!allowed.node) {
    rules.push({
      name: `${name}-runs-without-node`,
      comment: `packages/${name} is pure: no Node modules, time and randomness are arguments.`,
      severity: "error",
      from,
      to: { dependencyTypes: ["core"] },
    });
  }
  return rules;
}

const stationRules = stations.map((station) => ({
  name: `${station}-meets-others-at-index`,
  comment: "Stations of the server import each other only through their index.ts.",
  severity: "error",
  from: { path: "^packages/server/src/", pathNot: [`^packages/server/src/${station}/`, ...testFiles] },
  to: { path: `^packages/server/src/${station}/`, pathNot: `^packages/server/src/${station}/index[.]ts$` },
}));

module.exports = {
  forbidden: [
    ...Object.entries(packages).flatMap(rulesOfPackage),
    ...stationRules,
    {
      name: "packages-by-name",
      comment: "Another package is imported by its name, never by a path into its folder.",
      severity: "error",
      from: { path: "^(packages/[^/]+|examples/[^/]+|bench|tests)/" },
      to: { path: "^packages/", pathNot: "^$1/", dependencyTypes: ["local"], dependencyTypesNot: fromNpm },
    },
    {
      name: "nothing-imports-the-edges",
      comment: "Examples, bench and tests are leaves.",
      severity: "error",
      from: { path: "^packages/" },
      to: { path: "^(examples|bench|tests)/" },
    },
    {
      name: "no-cycles",
      comment: "Modules that need each other are one module, or hide a third.",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    {
      name: "imports-resolve",
      severity: "error",
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
    exclude: { path: ["/dist/", "^build/"] },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["headrace-source", "import", "require", "node", "default", "types"],
      extensions: [".ts", ".js", ".cjs", ".mjs", ".json", ".d.ts"],
    },
  },
};
