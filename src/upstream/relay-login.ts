/**
 * A login that the server behind decides: its questions go to the client, the client's answers to it
 * (the method `upstream`).
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import { ProtocolViolationError } from '../errors.ts'
import { startupMessage } from '../protocol/frontend-messages.ts'
import { MAX_AUTH_TOKEN_LENGTH } from '../protocol/limits.ts'
import { checkSettings, type UpstreamConnection, type UpstreamStartup } from './connect-upstream.ts'
import { withDeadline } from './deadline.ts'
import { connectError, loginError } from './errors.ts'
import { readGreeting } from './greeting.ts'
import { AUTH, parseAuthentication } from './login-attempt.ts'
import { LoginReader, type RawMessage } from './login-reader.ts'
import { isUnixSocket, mustEncrypt, type UpstreamSettings } from './settings.ts'
import { openPlain, openTls, TlsUnavailableError, type Transport } from './transport.ts'

/** `p`: PasswordMessage, SASLInitialResponse and SASLResponse share it. */
const PASSWORD_MESSAGE = 0x70

/** The client, as far as a login needs it. */
export interface LoginClient {
  /** Exactly so many bytes, or undefined where the client leaves. */
  readExactly(size: number): Promise<Buffer | undefined>
  write(bytes: Buffer): void
}

/**
 * Connects and passes the exchange on. The greeting of what it returns begins with AuthenticationOk.
 *
 * `sslmode` `allow` and `prefer` connect without TLS: a client that could bind its login to our TLS
 * channel tells the server so, and a server with TLS of its own would take that for a downgrade.
 *
 * @throws {UpstreamRefusedError} where the server refuses.
 * @throws {UpstreamError} also where the server asks the client nothing: it trusts our address, and
 *   everybody would be anybody.
 * @throws {ProtocolViolationError} where the client answers with another message.
 */
export async function relayLogin(
  settings: UpstreamSettings,
  startup: UpstreamStartup,
  { client, signal }: { readonly client: LoginClient; readonly signal: AbortSignal },
): Promise<UpstreamConnection> {
  checkSettings(settings)
  const transport = await withDeadline(signal, settings.connectTimeoutMs, (inner) =>
    open(settings, inner),
  )
  const end = (): void => {
    transport.socket.destroy()
  }
  signal.addEventListener('abort', end, { once: true })
  try {
    signal.throwIfAborted()
    return await passOn(transport, startup, client)
  } catch (error) {
    end()
    throw error
  } finally {
    signal.removeEventListener('abort', end)
  }
}

async function open(settings: UpstreamSettings, signal: AbortSignal): Promise<Transport> {
  if (isUnixSocket(settings) || !mustEncrypt(settings.sslmode)) {
    return openPlain(settings, signal)
  }
  try {
    return await openTls(settings, signal, false)
  } catch (error) {
    throw error instanceof TlsUnavailableError
      ? connectError('tls_failed', error.message, error)
      : error
  }
}

async function passOn(
  transport: Transport,
  startup: UpstreamStartup,
  client: LoginClient,
): Promise<UpstreamConnection> {
  const { socket, source } = transport
  const reader = new LoginReader(transport)
  socket.write(startupMessage(startup.version, startup.parameters))
  let message = await nextAuthentication(reader)
  let asked = false
  for (let code = codeOf(message); code !== AUTH.ok; code = codeOf(message)) {
    client.write(message.bytes)
    if (code !== AUTH.saslFinal) {
      asked = true
      socket.write(await readAnswer(client))
    }
    message = await nextAuthentication(reader)
  }
  if (!asked) {
    throw loginError(
      'server_not_authenticated',
      'the server let the client in without asking it anything: its pg_hba.conf must not trust this address where a rule here says "upstream"',
    )
  }
  reader.authenticated()
  const { bytes, cancelKey } = await readGreeting(reader)
  reader.release()
  transport.release()
  return {
    socket,
    source,
    greeting: Buffer.concat([message.bytes, bytes]),
    cancelKey,
    version: startup.version,
  }
}

/** The client's version was negotiated with us; a shorter cancel key is all that it would notice. */
async function nextAuthentication(reader: LoginReader): Promise<RawMessage> {
  const message = await reader.next()
  return message.type === 'v' ? reader.next() : message
}

function codeOf(message: RawMessage): number {
  return parseAuthentication(message).code
}

/** One `p` message of the client, whole. */
async function readAnswer(client: LoginClient): Promise<Buffer> {
  const head = await client.readExactly(5)
  if (head === undefined) {
    throw new ProtocolViolationError('incomplete message from client')
  }
  if (head[0] !== PASSWORD_MESSAGE) {
    throw new ProtocolViolationError(`expected password response, got message type ${head[0]}`)
  }
  const length = head.readUInt32BE(1)
  if (length < 4 || length > MAX_AUTH_TOKEN_LENGTH) {
    throw new ProtocolViolationError('invalid message length')
  }
  const body = length > 4 ? await client.readExactly(length - 4) : Buffer.alloc(0)
  if (body === undefined) {
    throw new ProtocolViolationError('incomplete message from client')
  }
  return Buffer.concat([head, body])
}
