/** What the tests of the host share: a log that can be read, sessions, and a token to look for. */
import { fileURLToPath } from 'node:url'
import { createLog, type Log } from '../../src/log.ts'
import type { ConnectionInfo } from '../../src/validator/contract.ts'
import { openValidatorSession } from '../../src/validator/host.ts'
import {
  type LoadValidatorOptions,
  loadValidator,
} from '../../src/validator/load-validator-module.ts'
import {
  bindValidator,
  type LoadedValidator,
  type ValidatorWork,
} from '../../src/validator/loaded-validator.ts'
import { TokensInFlight } from '../../src/validator/tokens-in-flight.ts'
import { Turns } from '../../src/validator/turns.ts'
import type { ValidationOutcome } from '../../src/validator/validation-outcome.ts'
import type { ValidationInput } from '../../src/validator/validation-request.ts'
import type { ValidatorSession } from '../../src/validator/validator-session.ts'

export const FIXTURES: string = fileURLToPath(new URL('../fixtures/validators', import.meta.url))

/** A JWT in form; nothing of 8 or more characters of it occurs in any other text here. */
export const TOKEN =
  'eyJhbGciOiJSUzI1NiIsImtpZCI6IjcifQ.eyJpc3MiOiJodHRwczovL2lkcC50ZXN0In0.Zm9yZ2VkLXNpZ25hdHVyZS1vZi1ubyB1c2UhIQ'

/** An opaque one: nothing about its form gives it away. */
export const OPAQUE = 'Qm7xT2vKpL9wRz4nYc8sHd3fGb6jMa1eUo5i'

export interface ReadableLog {
  readonly log: Log
  /** Every line that was written, parsed. */
  readonly lines: Record<string, unknown>[]
  /** All that was written. */
  text(): string
  /** The lines with this message. */
  with(message: string): Record<string, unknown>[]
}

export function readableLog(): ReadableLog {
  const raw: string[] = []
  const lines: Record<string, unknown>[] = []
  const log = createLog({
    level: 'debug',
    write: (line) => {
      raw.push(line)
      lines.push(JSON.parse(line) as Record<string, unknown>)
    },
  })
  return {
    log,
    lines,
    text: () => raw.join(''),
    with: (message) => lines.filter((line) => line['msg'] === message),
  }
}

export const CONNECTION: ConnectionInfo = {
  id: 'c7',
  database: 'app',
  clientAddress: '192.0.2.1',
  tls: true,
}

export const INPUT: ValidationInput = {
  token: TOKEN,
  role: 'ali',
  issuer: 'https://idp.test',
  scope: 'openid db',
  options: {},
  delegateIdentMapping: false,
}

/** Loads a fixture by its file name. */
export function fixture(
  file: string,
  options: Partial<LoadValidatorOptions> = {},
): Promise<LoadedValidator> {
  return loadValidator(`./${file}`, {
    baseDirectory: FIXTURES,
    issuers: [],
    log: readableLog().log,
    ...options,
  })
}

/** A module made here, loaded as one from a file is. */
export function inline(
  module: object,
  name = 'inline',
  work: Partial<ValidatorWork> = {},
): LoadedValidator {
  return bindValidator(
    name,
    { apiVersion: 1, ...module },
    { inFlight: new TokensInFlight(), turns: new Turns(100, 100), timeoutMs: undefined, ...work },
  )
}

export function open(
  loaded: LoadedValidator,
  options: { readonly log?: Log; readonly signal?: AbortSignal } = {},
): ValidatorSession {
  return openValidatorSession(loaded, {
    connection: CONNECTION,
    log: options.log ?? readableLog().log,
    signal: options.signal ?? new AbortController().signal,
  })
}

/** One whole login: startup, validate, shutdown. */
export async function login(
  loaded: LoadedValidator,
  input: Partial<ValidationInput> = {},
  log: Log = readableLog().log,
): Promise<ValidationOutcome> {
  const session = open(loaded, { log })
  try {
    await session.startup()
    return await session.validate({ ...INPUT, ...input })
  } finally {
    await session.shutdown()
  }
}

/** A promise and what settles it. */
export function gate(): { readonly opens: Promise<void>; readonly open: () => void } {
  let open = (): void => {}
  const opens = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opens, open }
}

/** Lets everything run that is ready to. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
  }
}

type Life = unknown[][]
interface Gates {
  startup?: Promise<void>
  validate?: Promise<void>
  shutdown?: Promise<void>
  init?: Promise<void>
  dispose?: Promise<void>
  disposed?: () => void
}
declare global {
  var pgbearerLife: Life
  var pgbearerGates: Gates | undefined
}

/** The list that fixtures write to, empty, and the gates that they wait at. */
export function freshLife(gates: Gates = {}): Life {
  globalThis.pgbearerLife = []
  globalThis.pgbearerGates = gates
  return globalThis.pgbearerLife
}

/** Pieces of 16 characters of a token that occur in a text. */
export function piecesIn(text: string, token: string): string[] {
  const pieces: string[] = []
  for (let at = 0; at + 16 <= token.length; at += 1) {
    const piece = token.slice(at, at + 16)
    if (text.includes(piece)) {
      pieces.push(piece)
    }
  }
  return pieces
}
