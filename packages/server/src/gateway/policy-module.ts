/** A policy that several threads can have: a module, which each of them loads, and plain data, which travels. */
import { HeadraceError } from "@headrace/sdk";
import type { Mechanisms } from "./mechanism.ts";
import { type Authenticate, type Authorize, anonymous, openPolicy } from "./policy.ts";

/** Where a policy comes from. Functions do not travel between threads; this does. */
export interface PolicyModule {
  /** URL of a module that exports `policy`, a {@link MakePolicy}. */
  readonly module: string;
  /** Given to it; plain data. */
  readonly data?: unknown;
}

/** What a policy decides. What it leaves out is as without a policy. */
export interface Policy {
  readonly authorize?: Authorize | undefined;
  readonly authenticate?: Authenticate | undefined;
  readonly mechanisms?: Mechanisms | undefined;
  /** Takes new data; what is refused from then on is refused to connected clients too. */
  update?(data: unknown): void;
}

/** Makes the policy of one thread. */
export type MakePolicy = (data: unknown) => Policy | Promise<Policy>;

/** A policy that answers everything. */
export interface WholePolicy {
  readonly authorize: Authorize;
  readonly authenticate: Authenticate;
  readonly mechanisms: Mechanisms | undefined;
  update(data: unknown): void;
}

export const wholePolicy = ({ authorize, authenticate, mechanisms, update }: Policy): WholePolicy => ({
  authorize: authorize ?? openPolicy,
  authenticate: authenticate ?? anonymous,
  mechanisms,
  update: (data) => update?.(data),
});

/** Loads a policy in this thread. @throws HR_BAD_REQUEST when the module has none */
export const loadPolicy = async (source: PolicyModule | undefined): Promise<WholePolicy> => {
  if (source === undefined) return wholePolicy({});
  const { policy } = (await import(source.module)) as { policy?: MakePolicy };
  if (typeof policy !== "function") throw new HeadraceError("HR_BAD_REQUEST", `${source.module} exports no policy`);
  return wholePolicy(await policy(source.data));
};
