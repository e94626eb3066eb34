#!/usr/bin/env node
/** The command's entry: plain syntax only, so that an old Node.js reads as far as the message that says what to do. */
const found = process.versions.node;
if (Number(found.split(".")[0]) >= 24) {
  import("./main.ts");
} else {
  const code = "HR_NODE_VERSION";
  console.error(`headrace: this is Node.js ${found}, and Headrace needs Node.js 24 or newer`);
  console.error(`  Install Node.js 24 (https://nodejs.org, or nvm install 24) and run the command again.  [${code}]`);
  process.exitCode = 1;
}
