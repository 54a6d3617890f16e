/**
 * `pgbearer/client`: the client side of an OAuth login.
 *
 * @packageDocumentation
 */
export { type DriverOAuthOptions, pgOAuth } from './adapters/pg.ts'
export { type PgClientOAuthOptions, pgOAuthClient } from './adapters/pg-client.ts'
export type { PgClientClass } from './adapters/pg-internals.ts'
export { type PostgresTarget, postgresOAuth } from './adapters/postgres.ts'
export {
  type ConnectOAuthOptions,
  type OAuthConnection,
  type ServerGreeting,
  connectOAuth,
} from './connect/connect-oauth.ts'
export type { OAuthLoginOptions, OAuthTlsOptions } from './connect/options.ts'
export {
  type AnyClientError,
  InsecureTransportError,
  OAuthConnectionError,
  OAuthGrantError,
  OAuthProtocolError,
  type RejectionChallenge,
  type ServerError,
  ServerRefusedError,
  TokenCallbackError,
  TokenConfigError,
  TokenRejectedError,
  TokenTimeoutError,
} from './errors.ts'
export { MAX_BEARER_TOKEN_LENGTH } from './token/bearer-token.ts'
export {
  TokenCallback,
  type TokenCallbackOptions,
  type TokenFunction,
  tokenCallback,
} from './token/callback.ts'
export type { CancelTimer, Clock } from './token/clock.ts'
export { ConnectionToken } from './token/connection-token.ts'
export {
  type CredentialLike,
  type CredentialOptions,
  TokenCredential,
  credential,
} from './token/credential.ts'
export type {
  ClientLog,
  ProvidedToken,
  TokenNeed,
  TokenProviderOptions,
  TokenSource,
} from './token/provider-options.ts'
export { TokenProvider } from './token/provider.ts'
export {
  TOKEN_CALLBACK_VERSION,
  type TokenReason,
  type TokenRequest,
  type TokenRequestFields,
  type TokenTarget,
  tokenRequest,
} from './token/request.ts'
export type { ClientAuthentication } from './grants/client-authentication.ts'
export type { GrantOptions } from './grants/grant-client.ts'
export type { AuthorizationCodeOptions } from './sources/authorization-code.ts'
export type { DeviceFlowOptions, DevicePrompt } from './sources/device-flow.ts'
export type { ExternalCommandOptions } from './sources/external-command.ts'
export type { RefreshSourceOptions, TokenExchangeOptions } from './sources/grant-sources.ts'
export { sources } from './sources/index.ts'
export type {
  AzureSourceOptions,
  GitHubActionsSourceOptions,
  GoogleCloudSourceOptions,
  WebIdentityToken,
} from './sources/metadata-sources.ts'
export { type OpenBrowser, browserCommand } from './sources/open-browser.ts'
export type { FileSourceOptions, KubernetesSourceOptions } from './sources/simple-sources.ts'
export { type ExecCommandOptions, runExec } from './cli/exec-command.ts'
export {
  type TokenCommandOptions,
  runLogoutCommand,
  runTokenCommand,
} from './cli/token-command.ts'
export type { CommandStreams, SourceFlags } from './cli/command-options.ts'
export {
  type OAuthConnectionString,
  parseOAuthConnectionString,
} from './config/connection-string.ts'
export {
  SOURCE_ENVIRONMENTS,
  type SourceConfig,
  type SourceEnvironment,
  sourceFromConfig,
} from './config/source-config.ts'
