export { type Gateway, type GatewayOptions, type GatewayStats, type ListenerStats, startGateway } from "./gateway.ts";
export { defaultLimits, type GatewayLimits } from "./limits.ts";
export {
  type Authenticate,
  type Authentication,
  type Authorize,
  type Credentials,
  openPolicy,
  type PolicyAction,
} from "./policy.ts";
export { examineTls } from "./transports/tls-examination.ts";
export type { ClientCertificates, TlsFiles } from "./transports/tls-material.ts";
export type { ListenerOptions, Peer, Transport } from "./transports/transport.ts";
