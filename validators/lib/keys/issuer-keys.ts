/**
 * The key ring of one issuer, as the settings want it: shared with whoever else wants the same.
 *
 * @module
 */
import { createPublicKey } from 'node:crypto'
import { resolve } from 'node:path'
import type { ValidatorContext } from 'pgbearer/validator'
import { discoveryUrl, IssuerMetadata } from '../http/issuer-metadata.ts'
import { hostAndPort, type HttpPolicy, problemOfUrl } from '../http/policy.ts'
import { createHttpPolicy } from '../http/settings.ts'
import type { RuleIssuer } from '../issuer.ts'
import type { JsonObject } from '../json.ts'
import type { JwtSettings } from '../jwt-settings.ts'
import { SettingsError } from '../settings/parse-settings.ts'
import { readText } from '../settings/values.ts'
import { KeyRing } from './key-ring.ts'
import { DiscoveredKeys, FixedKeys, KeysAtUrl, KeysInFile, type KeySource } from './key-source.ts'
import { keyPolicy, refreshPolicy } from './settings.ts'
import { SavedKeys } from './saved-keys.ts'
import { type KeyRingLease, nameOf, shareKeyRing } from './shared-key-rings.ts'

/** The settings that say where keys are, and how good they have to be. */
export type KeySourceSettings = Pick<
  JwtSettings,
  | 'algorithms'
  | 'discovery'
  | 'discovery_url'
  | 'http'
  | 'jwks'
  | 'jwks_file'
  | 'jwks_uri'
  | 'keys'
  | 'prefetch'
  | 'public_keys'
>

/**
 * @throws {SettingsError} for an address or a file that cannot be used
 */
export async function leaseIssuerKeys(
  settings: KeySourceSettings,
  rule: RuleIssuer,
  context: ValidatorContext,
): Promise<KeyRingLease> {
  const source = await keySource(settings, rule, context)
  const name = nameOf([rule.issuer, source.identity, settings.keys, settings.algorithms])
  const saved = await savedKeys(settings, source.source, name, context)
  return shareKeyRing(
    // A file is not named after a password, of which its name would be a hash.
    nameOf([name, source.proxyAuthorization]),
    () =>
      new KeyRing({
        source: source.source,
        keyPolicy: keyPolicy(settings.keys, settings.algorithms),
        refresh: refreshPolicy(settings.keys),
        saved,
        log: context.log,
      }),
  )
}

async function savedKeys(
  { keys }: KeySourceSettings,
  source: KeySource,
  name: string,
  { baseDirectory, log }: ValidatorContext,
): Promise<SavedKeys | undefined> {
  if (keys.persist === undefined) {
    return undefined
  }
  if (source.refresh !== 'by_policy') {
    throw new SettingsError('keys.persist: the keys are on this machine already')
  }
  return await SavedKeys.in(resolve(baseDirectory, keys.persist), name, log)
}

/**
 * Fetches the keys, as early as the settings say. Keys in the settings themselves are looked at
 * always: a mistake in them must not wait for the first login.
 */
export async function prefetchKeys(ring: KeyRing, settings: KeySourceSettings): Promise<void> {
  const fixed = settings.jwks !== undefined || settings.public_keys !== undefined
  if (fixed || settings.prefetch === 'required') {
    await ring.prefetch()
    if (ring.size === 0) {
      throw new SettingsError('keys: there is no key that can verify a token')
    }
  } else if (settings.prefetch === 'background') {
    // The failure is in the log, and tried again.
    ring.prefetch().catch(() => undefined)
  }
}

interface NamedSource {
  readonly source: KeySource
  /** Everything that makes it another source than the next, except for this password. */
  readonly identity: unknown
  readonly proxyAuthorization?: string | undefined
}

async function keySource(
  settings: KeySourceSettings,
  rule: RuleIssuer,
  context: ValidatorContext,
): Promise<NamedSource> {
  const { jwks, jwks_file: file, public_keys: publicKeys, jwks_uri: jwksUri } = settings
  if (jwks !== undefined) {
    return { source: new FixedKeys(jwks), identity: jwks }
  }
  if (file !== undefined) {
    const path = resolve(context.baseDirectory, file)
    return { source: new KeysInFile(path), identity: path }
  }
  if (publicKeys !== undefined) {
    const keys = await Promise.all(publicKeys.map((key) => readPublicKey(key, context)))
    return { source: new FixedKeys({ keys }), identity: keys }
  }
  if (jwksUri !== undefined) {
    const url = configuredUrl(jwksUri, 'jwks_uri', settings)
    const http = await createHttpPolicy(settings.http, [hostAndPort(url)], context.baseDirectory)
    return { source: new KeysAtUrl(url, http), ...identityOf(url, http, settings) }
  }
  const { url, http } = await discoverySettings(settings, rule, context.baseDirectory)
  return {
    source: new DiscoveredKeys(new IssuerMetadata(rule.issuer, url, http), http),
    ...identityOf(url, http, settings),
  }
}

/** Where the metadata of an issuer is, and how it is asked for. */
export async function discoverySettings(
  settings: Pick<JwtSettings, 'discovery' | 'discovery_url' | 'http'>,
  rule: RuleIssuer,
  baseDirectory: string,
): Promise<{ readonly url: URL; readonly http: HttpPolicy }> {
  const issuerUrl = configuredUrl(rule.issuer, 'issuer', settings)
  const named = settings.discovery_url ?? rule.discoveryUrl
  const url =
    named === undefined
      ? discoveryUrl(rule.issuer, settings.discovery)
      : configuredUrl(named, 'discovery_url', settings)
  const hosts = [hostAndPort(issuerUrl), hostAndPort(url)]
  return { url, http: await createHttpPolicy(settings.http, hosts, baseDirectory) }
}

function identityOf(
  url: URL,
  http: HttpPolicy,
  settings: KeySourceSettings,
): Omit<NamedSource, 'source'> {
  return {
    identity: [url.href, [settings.http, http.tls, [...http.allowedHosts]]],
    proxyAuthorization: http.proxy?.authorization,
  }
}

export function configuredUrl(
  written: string,
  name: string,
  { http }: Pick<JwtSettings, 'http'>,
): URL {
  if (!URL.canParse(written)) {
    throw new SettingsError(`${name}: "${written}" is not a URL`)
  }
  const url = new URL(written)
  const problem = problemOfUrl(url, http.dangerously_allow_http)
  if (problem !== undefined) {
    throw new SettingsError(`${name}: "${url.origin}${url.pathname}" ${problem}`)
  }
  return url
}

async function readPublicKey(
  { file, alg, kid }: NonNullable<JwtSettings['public_keys']>[number],
  { baseDirectory }: ValidatorContext,
): Promise<JsonObject> {
  const pem = await readText(file, 'public_keys', baseDirectory)
  if (pem.includes('PRIVATE KEY')) {
    throw new SettingsError(`public_keys: "${file}" holds a private key`)
  }
  try {
    const jwk = createPublicKey(pem).export({ format: 'jwk' }) as JsonObject
    return { ...jwk, alg, use: 'sig', ...(kid === undefined ? {} : { kid }) }
  } catch {
    throw new SettingsError(`public_keys: "${file}" does not hold a public key`)
  }
}
