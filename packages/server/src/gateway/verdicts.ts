/** What the policy said about the topics that a connection publishes to: asked once per topic. */
import type { Route } from "./routes.ts";

const verdictsMax = 1_024;
/** The answer for a topic that is permitted; any other text is the reason of a refusal. */
export const allowed = "";

export class Verdicts {
  readonly #ask: (topic: string) => string | undefined;
  readonly #byRoute = new Map<Route, string>();
  #lastRoute: Route | undefined;
  #last = allowed;

  constructor(ask: (topic: string) => string | undefined) {
    this.#ask = ask;
  }

  of(route: Route): string {
    return route === this.#lastRoute ? this.#last : this.#find(route);
  }

  #find(route: Route): string {
    let verdict = this.#byRoute.get(route);
    if (verdict === undefined) {
      verdict = this.#ask(route.topic) ?? allowed;
      if (this.#byRoute.size >= verdictsMax) this.#byRoute.clear();
      this.#byRoute.set(route, verdict);
    }
    this.#lastRoute = route;
    this.#last = verdict;
    return verdict;
  }
}
