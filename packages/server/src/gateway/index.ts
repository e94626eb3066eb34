export { type Gateway, type GatewayOptions, type GatewayStats, startGateway } from "./gateway.ts";
export { defaultLimits, type GatewayLimits } from "./limits.ts";
export {
  type Authenticate,
  type Authentication,
  type Authorize,
  type Credentials,
  openPolicy,
  type PolicyAction,
} from "./policy.ts";
