/** What stops a scenario and is worth a sentence instead of a stack. */
export class BenchError extends Error {}
/** The command line makes no sense. */
export class UsageError extends Error {}
