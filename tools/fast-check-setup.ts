/**
 * Replays and long searches for property tests, from the environment: FC_SEED and FC_PATH as fast-check printed them,
 * FC_NUM_RUNS for more runs than the 100 of a property that sets none itself. fast-check loads only when asked to.
 */
const { FC_SEED, FC_PATH, FC_NUM_RUNS } = process.env;

if (FC_SEED || FC_PATH || FC_NUM_RUNS) {
  const { default: fc } = await import("fast-check");
  fc.configureGlobal({
    ...fc.readConfigureGlobal(),
    ...(FC_SEED && { seed: Number(FC_SEED) }),
    ...(FC_PATH && { path: FC_PATH }),
    ...(FC_NUM_RUNS && { numRuns: Number(FC_NUM_RUNS) }),
  });
}

export {};
