/**
 * The provider that the settings name, ready to be asked.
 *
 * @module
 */
import type { ValidatorContext } from 'pgbearer/validator'
import { hostAndPort, problemOfUrl } from '../http/policy.ts'
import { createHttpPolicy } from '../http/settings.ts'
import type { IntrospectionSettings } from '../introspection-settings.ts'
import type { JsonObject } from '../json.ts'
import type { OpaqueSettings } from '../opaque-settings.ts'
import type { ProviderConnection } from '../remote/ask.ts'
import type { Gate } from '../remote/gate.ts'
import { IntrospectionPolicies } from '../remote/introspection-policies.ts'
import { SettingsError } from '../settings/parse-settings.ts'
import { readSecret } from '../settings/values.ts'
import { github } from './github.ts'
import { gitlab } from './gitlab.ts'
import { google } from './google.ts'
import type { OpaqueProvider } from './provider.ts'
import { userinfo } from './userinfo.ts'

export interface ProviderForIssuer extends AsyncDisposable {
  /** @param issuer - of the rule: whose introspection endpoint proves a token */
  for(issuer: string): Promise<OpaqueProvider>
}

/** @throws {SettingsError} for an address or a secret that cannot be used */
export async function createProvider(
  settings: OpaqueSettings,
  gate: Gate,
  context: ValidatorContext,
): Promise<ProviderForIssuer> {
  const url = new URL(settings.base_url)
  const problem = problemOfUrl(url, settings.http.dangerously_allow_http)
  if (problem !== undefined) {
    throw new SettingsError(`base_url: ${problem}`)
  }
  const http = await createHttpPolicy(settings.http, [hostAndPort(url)], context.baseDirectory)
  const connection = { http, gate }
  const { base_url: base } = settings
  switch (settings.provider) {
    case 'github': {
      const { client_id: clientId, client_secret: place } = settings
      const clientSecret = await readSecret(place, 'client_secret', context.baseDirectory)
      const { memberships: kinds, max_pages: maxPages } = settings
      return always(github(base, { clientId, clientSecret, kinds, maxPages }, connection))
    }
    case 'google':
      return always(google(base, new Set(settings.client_ids), connection))
    case 'gitlab':
      return always(gitlab(base, new Set(settings.application_uids), connection))
    case 'userinfo':
      return settings.introspection === undefined
        ? always(userinfo(base, undefined, connection))
        : proven(base, settings.introspection, connection, context)
  }
}

function always(provider: OpaqueProvider): ProviderForIssuer {
  return {
    for: () => Promise.resolve(provider),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

async function proven(
  base: string,
  settings: IntrospectionSettings,
  connection: ProviderConnection,
  context: ValidatorContext,
): Promise<ProviderForIssuer> {
  const policies = await IntrospectionPolicies.create(settings, context)
  return {
    async for(issuer) {
      const policy = await policies.policyFor(issuer)
      const prove = (token: string): Promise<JsonObject> => policy.introspect(token)
      return userinfo(base, prove, connection)
    },
    [Symbol.asyncDispose]: () => policies[Symbol.asyncDispose](),
  }
}
