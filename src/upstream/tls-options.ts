/** TLS to the server behind, with libpq's meanings of `sslmode`. @module */
import type { Buffer } from 'node:buffer'
import net from 'node:net'
import tls from 'node:tls'
import type { UpstreamSettings } from './settings.ts'

// Parsing certificates costs more than the rest of a login; settings are one object per configuration.
const contexts = new WeakMap<UpstreamSettings, tls.SecureContext>()

/**
 * Options for `tls.connect`, without the socket.
 *
 * A root certificate means that the chain is verified, also under `require` and below; only
 * `verify-full` compares names. Without one nothing is verified (`libpq-ssl.html`).
 */
export function tlsConnectOptions(settings: UpstreamSettings): tls.ConnectionOptions {
  const { host, sslmode, sslrootcert } = settings
  return {
    secureContext: secureContext(settings),
    ALPNProtocols: ['postgresql'],
    rejectUnauthorized: sslrootcert !== undefined,
    // RFC 6066 §3: no addresses in SNI. Node would compare the name with SNI's, so the host is put in here.
    ...(net.isIP(host) === 0 ? { servername: host } : {}),
    checkServerIdentity: (_servername, certificate) =>
      sslmode === 'verify-full' ? tls.checkServerIdentity(host, certificate) : undefined,
  }
}

/** The server's certificate, DER. */
export function peerCertificate(socket: tls.TLSSocket): Buffer | undefined {
  return socket.getPeerX509Certificate()?.raw
}

function secureContext(settings: UpstreamSettings): tls.SecureContext {
  const known = contexts.get(settings)
  if (known !== undefined) {
    return known
  }
  const ca = authorities(settings.sslrootcert)
  const context = tls.createSecureContext({
    minVersion: 'TLSv1.2',
    ...(ca === undefined ? {} : { ca }),
    ...(settings.sslcert === undefined ? {} : { cert: settings.sslcert }),
    ...(settings.sslkey === undefined ? {} : { key: settings.sslkey }),
  })
  contexts.set(settings, context)
  return context
}

/** `undefined` means the authorities Node itself trusts. */
function authorities(sslrootcert: string | undefined): string | string[] | undefined {
  if (sslrootcert !== 'system') {
    return sslrootcert
  }
  // Since Node 22.15; before, `--use-openssl-ca` and NODE_EXTRA_CA_CERTS say what the system trusts.
  const { getCACertificates } = tls as typeof tls & {
    getCACertificates?: (type: 'system') => string[]
  }
  return getCACertificates?.('system')
}
