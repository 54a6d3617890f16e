/**
 * pgbearer: log in to any PostgreSQL with an OAuth bearer token.
 *
 * {@link createServer} is the proxy; {@link createAuthenticator} is the same decision without sockets,
 * for servers of your own.
 *
 * @packageDocumentation
 */
export {
  type Authenticator,
  type AuthenticatorOptions,
  createAuthenticator,
} from './authenticator.ts'
export type { AuthorizedSession } from './authorized-session.ts'
export type { ByteString } from './byte-string.ts'
export { fromText, toText } from './byte-string.ts'
export * as errors from './errors.ts'
export type { ConversationLogin, Login, LoginOptions, UpstreamLogin } from './login/login.ts'
export type { ClientCertificate, LoginRequest } from './login/login-request.ts'
export { createLog, type Log, type LogOptions } from './log.ts'
export { errorResponse } from './protocol/backend-messages.ts'
export { type ConversationEnd, type ConversationPeer, converse } from './sasl/converse.ts'
export type { Conversation, ConversationStep } from './sasl/conversation.ts'
export { createServer, createServerFromFile, type Server, type ServerOptions } from './server.ts'
export { type ClientStream, negotiateStartup, type Startup } from './startup/negotiate.ts'
export { parseStartupMessage, type StartupMessage } from './startup/startup-message.ts'
export { VERSION } from './version.ts'
