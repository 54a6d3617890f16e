/**
 * Certificates, keys and passwords that the settings name, read once per load.
 *
 * @module
 */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { ConfigError, ConfigFileError } from '../errors.ts'
import { noteFile } from './files-read.ts'
import { readSecretFile, whyUnreadable } from './secret-file.ts'
import type { Settings } from './settings.ts'

/** PEM text of the listener's TLS side. */
export interface ServerKeyMaterial {
  readonly cert: string
  readonly key: string
  readonly ca: string | undefined
  readonly minVersion: Settings['sslMinProtocolVersion']
}

/** PEM text for the connection to the server behind. */
export interface UpstreamKeyMaterial {
  readonly sslrootcert: string | undefined
  readonly sslcert: string | undefined
  readonly sslkey: string | undefined
}

/**
 * Reads what `ssl` and `upstream` name.
 *
 * @throws ConfigError with every file that cannot be used.
 */
export function readKeyMaterial(settings: Settings): {
  readonly server: ServerKeyMaterial | undefined
  readonly upstream: UpstreamKeyMaterial
} {
  const errors: ConfigFileError[] = []
  const read = (file: string, load: (file: string) => string): string => {
    const resolved = path.resolve(settings.baseDirectory, file)
    try {
      return load(resolved)
    } catch (cause) {
      errors.push(
        new ConfigFileError(`could not load file: ${whyUnreadable(cause)}`, {
          file: resolved,
          cause,
        }),
      )
      return ''
    }
  }
  const open = (file: string): string =>
    read(file, (name) => {
      noteFile(name)
      return certificates(readFileSync(name, 'utf8'))
    })
  const secret = (file: string): string => read(file, (name) => privateKey(readSecretFile(name)))
  const { upstream } = settings
  const material = {
    server: settings.ssl
      ? {
          cert: open(settings.sslCertFile),
          key: secret(settings.sslKeyFile),
          ca: settings.sslCaFile === undefined ? undefined : open(settings.sslCaFile),
          minVersion: settings.sslMinProtocolVersion,
        }
      : undefined,
    upstream: {
      sslrootcert:
        upstream.sslrootcert === 'system' ? 'system' : optional(upstream.sslrootcert, open),
      sslcert: optional(upstream.sslcert, open),
      sslkey: optional(upstream.sslkey, secret),
    },
  }
  if (errors.length > 0) {
    throw new ConfigError(errors)
  }
  return material
}

// OpenSSL would say it of a pair of files, and in words of its own; of authorities it would say nothing.
function certificates(pem: string): string {
  if (!works(() => new X509Certificate(pem))) {
    throw new Error('it does not begin with a certificate in PEM')
  }
  return pem
}

function privateKey(pem: string): string {
  if (!works(() => createPrivateKey(pem))) {
    throw new Error('it holds no private key in PEM, or one with a passphrase')
  }
  return pem
}

// What OpenSSL throws is not handed on: nothing of a key belongs into a log.
function works(parse: () => unknown): boolean {
  try {
    parse()
    return true
  } catch {
    return false
  }
}

function optional(file: string | undefined, read: (file: string) => string): string | undefined {
  return file === undefined ? undefined : read(file)
}
