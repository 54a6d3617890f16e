/**
 * Where tokens come from: callbacks like any other. None of them keeps a token between calls; that is
 * the provider's part.
 *
 * @module
 */
import { authorizationCodeSource } from './authorization-code.ts'
import { deviceFlowSource } from './device-flow.ts'
import { externalCommandSource } from './external-command.ts'
import { clientCredentialsSource, refreshSource, tokenExchangeSource } from './grant-sources.ts'
import {
  awsSource,
  azureSource,
  githubActionsSource,
  googleCloudSource,
} from './metadata-sources.ts'
import { environmentSource, fileSource, kubernetesSource, staticSource } from './simple-sources.ts'

/**
 * Built-in token callbacks.
 *
 * @example
 * ```ts
 * pgOAuth({ token: sources.azure({ resource: 'api://db' }) })
 * ```
 */
export const sources: {
  readonly static: typeof staticSource
  readonly environment: typeof environmentSource
  readonly file: typeof fileSource
  readonly kubernetes: typeof kubernetesSource
  readonly azure: typeof azureSource
  readonly googleCloud: typeof googleCloudSource
  readonly githubActions: typeof githubActionsSource
  /** GitLab's `id_tokens` are environment variables. */
  readonly gitlab: typeof environmentSource
  readonly aws: typeof awsSource
  readonly externalCommand: typeof externalCommandSource
  readonly clientCredentials: typeof clientCredentialsSource
  readonly refresh: typeof refreshSource
  readonly tokenExchange: typeof tokenExchangeSource
  readonly deviceFlow: typeof deviceFlowSource
  readonly authorizationCode: typeof authorizationCodeSource
} = Object.freeze({
  static: staticSource,
  environment: environmentSource,
  file: fileSource,
  kubernetes: kubernetesSource,
  azure: azureSource,
  googleCloud: googleCloudSource,
  githubActions: githubActionsSource,
  gitlab: environmentSource,
  aws: awsSource,
  externalCommand: externalCommandSource,
  clientCredentials: clientCredentialsSource,
  refresh: refreshSource,
  tokenExchange: tokenExchangeSource,
  deviceFlow: deviceFlowSource,
  authorizationCode: authorizationCodeSource,
})
