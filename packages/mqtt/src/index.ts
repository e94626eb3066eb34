/**
 * MQTT 3.1.1 and 5.0 without I/O. A map of the files:
 *
 * - hot path: `scanner` (bytes → packets), `topic-cache` (topic bytes → anything), `publish`, `acknowledgement` (encoders)
 * - cold packets: `connect`, `connack`, `subscribe`, `disconnect`, `auth`, with `properties` and `bytes` beneath
 * - decisions: `session` (one connection of a server), `session-state` (what outlives it), `outbox`, `subscriptions`, `subscription-tree`, `filter-shapes`, `topic`
 */
export {
  type Acknowledgement,
  decodeAcknowledgement,
  encodeAcknowledgement,
  encodePuback,
  pubackBytes,
  shortPuback,
} from "./acknowledgement.ts";
export { type AuthPacket, decodeAuth, encodeAuth } from "./auth.ts";
export { decodeUtf8, utf8 } from "./bytes.ts";
export { type ConnackPacket, connackReturnCode, decodeConnack, encodeConnack } from "./connack.ts";
export {
  type ConnectOptions,
  type ConnectPacket,
  decodeConnect,
  encodeConnect,
  type Will,
} from "./connect.ts";
export {
  type DisconnectPacket,
  decodeDisconnect,
  encodeDisconnect,
  encodePingreq,
  encodePingresp,
} from "./disconnect.ts";
export { MqttError, type MqttErrorScope, reasonCodes } from "./errors.ts";
export { FilterShapes } from "./filter-shapes.ts";
export {
  type InFlight,
  Outbox,
  type OutboxBudget,
  type OutboxOptions,
  type OutboxWindow,
  type Outgoing,
  offered,
  type Waiting,
} from "./outbox.ts";
export { type ProtocolVersion, packetTypes, type Qos, type RawPacket } from "./packet.ts";
export { decodePublishProperties, type Properties, type PublishProperties, userPropertiesMax } from "./properties.ts";
export {
  type EncodedPublish,
  encodePublish,
  encodePublishHeader,
  encodePublishTemplate,
  PublishGenerator,
  type PublishMessage,
  patchPublish,
  writePublish,
} from "./publish.ts";
export { type PublishView, parsePublish } from "./publish-view.ts";
export { PacketScanner, type ScannerOptions } from "./scanner.ts";
export { ServerSession } from "./session.ts";
export type {
  ConnectRequest,
  SessionAction,
  SessionChange,
  SessionOptions,
  SubscribeAction,
} from "./session-actions.ts";
export { SessionState } from "./session-state.ts";
export {
  decodeSuback,
  decodeSubscribe,
  decodeUnsubscribe,
  encodeSuback,
  encodeSubscribe,
  encodeUnsuback,
  encodeUnsubscribe,
  type FilterRequest,
  type SubackPacket,
  type SubscribePacket,
  type UnsubscribePacket,
} from "./subscribe.ts";
export { SubscriptionTree } from "./subscription-tree.ts";
export {
  type GrantedSubscription,
  type Subscription,
  type SubscriptionLimits,
  SubscriptionList,
  type SubscriptionRequest,
} from "./subscriptions.ts";
export {
  defaultTopicLimits,
  isSharedFilter,
  matchesFilter,
  splitSharedFilter,
  type TopicLimits,
  validateFilter,
  validateTopic,
} from "./topic.ts";
export { TopicCache, type TopicCacheOptions, TopicMemo } from "./topic-cache.ts";
