/** Runs a bundled validator as the host does, with what the host hands in. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type {
  AnyValidatorModule,
  ValidationRequest,
  ValidatorInit,
  ValidatorResult,
  ValidatorRule,
} from 'pgbearer/validator'
import { testCertificates } from './certificates.ts'

/** What the log got, as lines of text with their fields. */
export type Lines = string[]

export interface Runner extends AsyncDisposable {
  readonly module: AnyValidatorModule
  readonly lines: Lines
  readonly directory: string
  /** A validation as the host makes it; the request's defaults fit a good token of the test server. */
  run(token: string, changes?: Partial<TestRequest>): Promise<ValidatorResult>
}

export interface TestRequest {
  readonly role: string
  readonly issuer: string
  readonly scope: readonly string[]
  readonly options: Readonly<Record<string, unknown>>
  readonly delegateIdentMapping: boolean
  readonly signal: AbortSignal
}

export interface StartOptions {
  readonly init: ValidatorInit
  readonly settings: Readonly<Record<string, unknown>>
  /** Of the rules. */
  readonly issuers: readonly string[]
  /** The rules themselves; default: none. */
  readonly rules?: readonly ValidatorRule[]
  /** Written next to `ca.pem` before the module starts. */
  readonly files?: Readonly<Record<string, string>>
}

/** A module with `ca.pem` of the test authority in its base directory. */
export async function startValidator(options: StartOptions): Promise<Runner> {
  const directory = await mkdtemp(join(tmpdir(), 'pgbearer-validator-'))
  const { ca } = await testCertificates()
  const files = { 'ca.pem': ca, ...options.files }
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(directory, name), content)
  }
  const lines: Lines = []
  const log = logTo(lines)
  try {
    const module = await options.init(options.settings, {
      name: 'test',
      log,
      baseDirectory: directory,
      issuers: options.issuers,
      rules: options.rules ?? [],
    })
    return {
      module,
      lines,
      directory,
      run: (token, changes = {}) => run(module, token, log, options.issuers[0] ?? '', changes),
      async [Symbol.asyncDispose]() {
        await module[Symbol.asyncDispose]?.()
        await rm(directory, { recursive: true })
      },
    }
  } catch (error) {
    await rm(directory, { recursive: true })
    throw error
  }
}

async function run(
  module: AnyValidatorModule,
  token: string,
  log: ReturnType<typeof logTo>,
  issuer: string,
  changes: Partial<TestRequest>,
): Promise<ValidatorResult> {
  const { signal = new AbortController().signal, ...rest } = changes
  const state = { privateData: undefined, log, signal, hostVersion: '0.0.0' }
  const request: ValidationRequest<unknown> = {
    token,
    role: 'alice',
    issuer,
    scope: ['db'],
    options: {},
    delegateIdentMapping: false,
    connection: { id: '1', database: 'db', clientAddress: '127.0.0.1', tls: true },
    ...rest,
  }
  await module.startup?.(state)
  try {
    const result = await module.validate(state, request)
    if (result === false) {
      throw new Error('the module answered false')
    }
    return result
  } finally {
    await module.shutdown?.(state)
  }
}

function logTo(lines: Lines): {
  debug(message: string, fields?: object): void
  log(message: string, fields?: object): void
  warning(message: string, fields?: object): void
} {
  const at =
    (level: string) =>
    (message: string, fields: object = {}): void => {
      lines.push(`${level}: ${message} ${JSON.stringify(fields)}`)
    }
  return { debug: at('debug'), log: at('log'), warning: at('warning') }
}
