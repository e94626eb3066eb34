/**
 * The Leases port: who works on a task, and with which epoch. A lease is for liveness, so that two workers seldom meet; safety is the log's, which
 * refuses the older epoch whatever a worker believes of its lease (ADR 0014). Every driver passes the same conformance suite.
 */

/** One turn of ownership of a task. */
export interface Lease {
  readonly task: string;
  /** Who has it: the name that the driver was opened with. */
  readonly holder: string;
  /** Larger than every epoch that was ever given for this task, over restarts too. Goes into every block that the task writes. */
  readonly epoch: number;
  /** Wall clock, ms, at which it ends unless it is renewed; `Infinity` where only the end of the process ends it. */
  readonly untilMs: number;
}

/**
 * A driver is opened for one holder. Time is the driver's clock: compare `untilMs` with the same one. An abort before the store was asked changes
 * nothing; one after it leaves open whether the call took effect, as a lost answer does: what it may have taken ends by itself.
 */
export interface Leases {
  /**
   * Takes a task that nobody has, whose lease has ended, or that this holder has already: then what it had before is fenced like anybody else's.
   * Undefined: another holder has it.
   */
  acquire(task: string, signal?: AbortSignal): Promise<Lease | undefined>;
  /** Moves the end of a lease on, also when it is over and nobody has taken the task since. @throws HR_LEASE_LOST when the task has a later lease, or was released */
  renew(lease: Lease, signal?: AbortSignal): Promise<Lease>;
  /** Gives a task back, so that the next one need not wait. A lease that is lost already changes nothing. */
  release(lease: Lease, signal?: AbortSignal): Promise<void>;
  /** The lease that holds now, for people and for those who wait. */
  holder(task: string, signal?: AbortSignal): Promise<Lease | undefined>;
}
