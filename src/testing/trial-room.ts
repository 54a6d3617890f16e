/**
 * Where a conformance case tries a module: the real host, and eyes on everything that is written.
 *
 * @module
 */
import assert from 'node:assert/strict'
import { createLog, type Log } from '../log.ts'
import type { ValidatorRule } from '../validator/contract.ts'
import { disposeValidators } from '../validator/dispose-validators.ts'
import { openValidatorSession } from '../validator/host.ts'
import { instantiateValidator } from '../validator/load-validator-module.ts'
import type { LoadedValidator } from '../validator/loaded-validator.ts'
import type { ValidationOutcome } from '../validator/validation-outcome.ts'
import { checkValidatorOptions } from '../validator/validator-options.ts'
import { splitScope } from '../validator/validation-request.ts'
import type { ValidatorSession } from '../validator/validator-session.ts'
import type { ConformanceOptions } from './conformance-options.ts'

const CONSOLE = ['log', 'info', 'warn', 'error', 'debug', 'trace', 'dir', 'table'] as const
const WATCHED = [Object.prototype, Array.prototype, Function.prototype, Promise.prototype]

/** A shorter token is in texts by chance: one that is a full stop ends every sentence. */
const SHORTEST_LEAK = 16

/** What differs from the module's ordinary login. */
export interface Attempt {
  readonly role?: string
  readonly delegateIdentMapping?: boolean
}

/** One module, loaded once for all cases. */
export class TrialRoom {
  readonly #module: unknown
  readonly #options: ConformanceOptions
  readonly #written: string[] = []
  readonly #log: Log
  #loaded: Promise<LoadedValidator> | undefined

  constructor(module: unknown, options: ConformanceOptions) {
    this.#module = module
    this.#options = options
    this.#log = createLog({ level: 'debug', write: (line) => this.#written.push(line) })
  }

  get #timeoutMs(): number {
    return this.#options.timeoutMs ?? 10_000
  }

  /** Loads the module at the first call. */
  validator(): Promise<LoadedValidator> {
    this.#loaded ??= this.#load()
    return this.#loaded
  }

  #load(): Promise<LoadedValidator> {
    const { settings, issuer, name } = this.#options
    return instantiateValidator(name ?? 'validator', asNamespace(this.#module), {
      settings: settings ?? {},
      baseDirectory: process.cwd(),
      issuers: issuer === undefined ? [] : [issuer],
      rules: this.#rules(),
      log: this.#log,
      timeoutMs: this.#timeoutMs,
    })
  }

  /** The one of the ordinary login, and one that delegates where the module supports that. */
  #rules(): readonly ValidatorRule[] {
    const { issuer = '', scope = '', delegation } = this.#options
    const rule = (place: string, delegateIdentMapping: boolean): ValidatorRule => ({
      place,
      issuer,
      scope: splitScope(scope),
      delegateIdentMapping,
      options: this.#ruleOptions(delegateIdentMapping),
    })
    const ordinary = rule('the rule of the kit', false)
    return delegation === 'refused'
      ? [ordinary]
      : [ordinary, rule('the delegating rule of the kit', true)]
  }

  #ruleOptions(delegates: boolean): Readonly<Record<string, string>> {
    const { options = {}, delegation } = this.#options
    const own = delegates && delegation !== 'refused' ? delegation.options : undefined
    return own ?? options
  }

  /** Ends what the module holds; what goes wrong, as text. */
  async dispose(): Promise<string> {
    const before = this.#written.length
    const loaded = await this.validator()
    await disposeValidators([loaded], { log: this.#log, timeoutMs: this.#timeoutMs })
    return this.#written
      .slice(before)
      .filter((line) => line.includes('"level":"warning"'))
      .join('')
  }

  /** A session, and the end of its client. */
  async open(): Promise<{ readonly session: ValidatorSession; readonly leave: () => void }> {
    const client = new AbortController()
    const session = openValidatorSession(await this.validator(), {
      connection: { id: 'conformance', database: 'app', clientAddress: '192.0.2.1', tls: true },
      log: this.#log,
      signal: AbortSignal.any([client.signal, AbortSignal.timeout(this.#timeoutMs)]),
    })
    return { session, leave: () => client.abort() }
  }

  /** The token in a session that has started. */
  async validate(
    session: ValidatorSession,
    token: string,
    attempt: Attempt = {},
  ): Promise<ValidationOutcome> {
    const { issuer, scope, role } = this.#options
    const delegates = attempt.delegateIdentMapping ?? false
    const checked = await checkValidatorOptions(
      await this.validator(),
      new Map(Object.entries(this.#ruleOptions(delegates))),
    )
    assert.equal(checked.errors, undefined, 'the options of the kit are refused')
    return session.validate({
      token,
      role: attempt.role ?? role,
      issuer: issuer ?? '',
      scope: scope ?? '',
      options: checked.options,
      delegateIdentMapping: delegates,
    })
  }

  /** One whole login. Fails when the module writes the token, or part of it, anywhere. */
  async login(token: string, attempt: Attempt = {}): Promise<ValidationOutcome> {
    const { session } = await this.open()
    const before = this.#written.length
    const { outcome, printed } = await whileWatchingConsole(async () => {
      await session.startup()
      return this.validate(session, token, attempt)
    })
    const logged = this.#written.slice(before).join('')
    await session.shutdown()
    const said = JSON.stringify(outcome)
    if (token.length >= SHORTEST_LEAK) {
      assert.ok(
        !(logged + said).includes('[token]'),
        'the module wrote a token into its log or answer',
      )
      assert.ok(
        !printed.includes(token.slice(0, SHORTEST_LEAK)),
        'the module printed a token on the console',
      )
    }
    return outcome
  }
}

/** Runs a case, and fails it for promises left to reject and for prototypes that were changed. */
export async function watched(run: () => Promise<void>): Promise<void> {
  const rejections: unknown[] = []
  const onRejection = (reason: unknown): void => {
    rejections.push(reason)
  }
  const before = WATCHED.map((prototype) => Reflect.ownKeys(prototype).length)
  process.on('unhandledRejection', onRejection)
  try {
    await run()
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
  } finally {
    process.off('unhandledRejection', onRejection)
  }
  assert.equal(rejections.length, 0, 'a promise of the module rejected and nobody handled it')
  const after = WATCHED.map((prototype) => Reflect.ownKeys(prototype).length)
  assert.deepEqual(after, before, 'the module changed a prototype that everybody shares')
}

async function whileWatchingConsole(
  run: () => Promise<ValidationOutcome>,
): Promise<{ readonly outcome: ValidationOutcome; readonly printed: string }> {
  const printed: string[] = []
  const originals = CONSOLE.map((method) => [method, console[method]] as const)
  for (const [method, original] of originals) {
    console[method] = (...args: readonly unknown[]) => {
      printed.push(args.map(String).join(' '))
      Reflect.apply(original, console, args)
    }
  }
  try {
    return { outcome: await run(), printed: printed.join('\n') }
  } finally {
    for (const [method, original] of originals) {
      console[method] = original
    }
  }
}

// An init function or an object is what a file would default-export.
function asNamespace(module: unknown): object {
  const isNamespace = typeof module === 'object' && module !== null && Symbol.toStringTag in module
  return isNamespace ? module : { default: module }
}
