/** For tests: a policy that every gateway thread loads, and what a test may tell it. */
import type { MakePolicy } from "../src/gateway/policy-module.ts";

export interface TestPolicyData {
  /** This client gets no messages. */
  readonly denied?: string;
  /** Nobody may publish to topics that begin with this. */
  readonly closed?: string;
  /** The thread to which this client connects ends. */
  readonly poison?: string;
}

export const testPolicy = (data: TestPolicyData = {}) => ({ module: import.meta.url, data });

export const policy: MakePolicy = (given) => {
  let data: TestPolicyData = given ?? {};
  return {
    authorize: (action, _identity, clientId, topic) => {
      if (action === "receive" && clientId === data.denied) return "withdrawn";
      if (action === "publish" && data.closed !== undefined && topic.startsWith(data.closed)) return "closed";
      return undefined;
    },
    authenticate: ({ clientId, username }) => {
      // In a worker this ends the thread alone.
      if (clientId === data.poison) process.exit(1);
      return { identity: username };
    },
    update: (next) => {
      data = next ?? {};
    },
  };
};
