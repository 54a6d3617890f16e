/**
 * Inside a worker: loads one module and calls its callbacks as the host asks.
 *
 * @module
 */
import { workerData } from 'node:worker_threads'
import { ValidatorLoadError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import type { ValidatorState } from '../contract.ts'
import { abortReason, Cancellation } from '../cancellation.ts'
import { createState, run } from '../connection-state.ts'
import { describeThrown } from '../describe-thrown.ts'
import { loadValidator } from '../load-validator-module.ts'
import type { LoadedValidator } from '../loaded-validator.ts'
import { NO_SECRETS, type Secrets, scrubText } from '../scrub.ts'
import { readValidationResult } from '../validation-outcome.ts'
import { createValidationRequest } from '../validation-request.ts'
import { checkValidatorOptions } from '../validator-options.ts'
import { createValidatorLog } from '../validator-log.ts'
import { FloodGate, gateOutput } from './flood-gate.ts'
import type { FromWorker, RemoteRequest, ToWorker, WorkerStart } from './messages.ts'
import { Outbox } from './outbox.ts'
import { lowerThisThread } from './thread-priority.ts'

interface RemoteConnection {
  readonly state: ValidatorState
  readonly controller: AbortController
  secrets: Secrets
}

const start = workerData as WorkerStart
const { port } = start
// The module can read workerData, too.
Reflect.deleteProperty(start, 'port')

// The module here looks at its signal.
const NEVER = new Cancellation(new AbortController().signal)
const connections = new Map<number, RemoteConnection>()
const parsedOptions = new Map<string, unknown>()

const outbox = new Outbox<FromWorker>(port)
const say = (message: FromWorker): void => outbox.put(message)

const gate = new FloodGate((lines) => say({ op: 'dropped', lines }))
gateOutput(process.stdout, gate)
gateOutput(process.stderr, gate)

process.on('unhandledRejection', (reason) => {
  if (!gate.lets()) {
    return
  }
  say({ op: 'stray', detail: scrubText(describeThrown(reason), everySecret()) })
})

lowerThisThread()
await main()

async function main(): Promise<void> {
  const loaded = await load()
  if (loaded === undefined) {
    return
  }
  port.on('message', (messages) => {
    for (const message of messages as readonly ToWorker[]) {
      void serve(loaded, message)
    }
  })
  const { startup, shutdown } = loaded.callbacks
  say({
    op: 'loaded',
    report: { startup: startup !== undefined, shutdown: shutdown !== undefined },
  })
}

async function load(): Promise<LoadedValidator | undefined> {
  try {
    return await loadValidator(start.name, {
      settings: start.settings,
      baseDirectory: start.baseDirectory,
      issuers: start.issuers,
      rules: start.rules,
      checkOnly: start.checkOnly,
      log: portLog(undefined),
      version: start.version,
      ...(start.timeoutMs === undefined ? {} : { timeoutMs: start.timeoutMs }),
    })
  } catch (error) {
    const reason = error instanceof ValidatorLoadError ? error.reason : 'not_loadable'
    const message = error instanceof ValidatorLoadError ? error.message : describeThrown(error)
    say({ op: 'load_failed', reason, message: scrubText(message, NO_SECRETS) })
    return undefined
  }
}

async function serve(loaded: LoadedValidator, message: ToWorker): Promise<void> {
  if (message.op === 'ping') {
    say({ op: 'pong' })
    return
  }
  if (message.op === 'cancel') {
    const reason = abortReason(message.timedOut ? 'timeout' : 'aborted')
    connections.get(message.state)?.controller.abort(reason)
    return
  }
  if (message.op === 'forget') {
    connections.delete(message.state)
    return
  }
  try {
    say({ op: 'answer', call: message.call, value: await answer(loaded, message) })
  } catch (error) {
    const secrets = 'state' in message ? secretsOf(message.state) : NO_SECRETS
    const detail = `${message.op} threw: ${scrubText(describeThrown(error), secrets)}`
    say({ op: 'fault', call: message.call, reason: 'threw', detail })
  }
}

type Call = Exclude<ToWorker, { readonly op: 'ping' | 'cancel' | 'forget' }>

async function answer(loaded: LoadedValidator, message: Call): Promise<unknown> {
  const { startup, shutdown } = loaded.callbacks
  switch (message.op) {
    case 'startup':
      await run(() => startup?.(connectionOf(message.state).state, NEVER))
      return undefined
    case 'validate':
      return validate(loaded, message.state, message.request)
    case 'shutdown':
      await run(() => shutdown?.(connectionOf(message.state).state))
      return undefined
    case 'options':
      return checkOptions(loaded, message.options)
    case 'dispose':
      await run(() => loaded.callbacks.dispose?.())
      return undefined
  }
}

async function validate(
  loaded: LoadedValidator,
  id: number,
  remote: RemoteRequest,
): Promise<unknown> {
  const { token, connection: info, ...rest } = remote
  const connection = connectionOf(id)
  const secrets: Secrets = { tokens: [token], forgotten: false }
  connection.secrets = secrets
  const letGo = loaded.work.inFlight.hold(token)
  try {
    const options = await optionsOf(loaded, remote.options)
    const request = createValidationRequest(
      { ...rest, token, options, scope: remote.scope.join(' ') },
      Object.freeze({ ...info }),
    )
    const value = await run(() => loaded.callbacks.validate(connection.state, request, NEVER))
    return readValidationResult(value, token, secrets)
  } catch (error) {
    const detail = `validate threw: ${scrubText(describeThrown(error), secrets)}`
    return { kind: 'internal_error', reason: 'threw', logDetail: detail }
  } finally {
    letGo()
    connection.secrets = { tokens: [], forgotten: true }
  }
}

async function checkOptions(
  loaded: LoadedValidator,
  options: Readonly<Record<string, string>>,
): Promise<unknown> {
  const checked = await checkValidatorOptions(loaded, new Map(Object.entries(options)))
  return checked.errors
}

// There are as many as rules, and the host has had each checked before.
async function optionsOf(
  loaded: LoadedValidator,
  options: Readonly<Record<string, string>>,
): Promise<unknown> {
  const key = JSON.stringify(options)
  if (!parsedOptions.has(key)) {
    const checked = await checkValidatorOptions(loaded, new Map(Object.entries(options)))
    if (checked.errors !== undefined) {
      throw new Error(checked.errors[0].message)
    }
    parsedOptions.set(key, checked.options)
  }
  return parsedOptions.get(key)
}

function connectionOf(id: number): RemoteConnection {
  const known = connections.get(id)
  if (known !== undefined) {
    return known
  }
  const controller = new AbortController()
  const connection: RemoteConnection = {
    controller,
    state: createState({
      makeLog: () => createValidatorLog(portLog(id), () => secretsOf(id)),
      signal: controller.signal,
    }),
    secrets: NO_SECRETS,
  }
  connections.set(id, connection)
  return connection
}

function secretsOf(id: number): Secrets {
  return connections.get(id)?.secrets ?? { tokens: [], forgotten: true }
}

function everySecret(): Secrets {
  return {
    tokens: [...connections.values()].flatMap(({ secrets }) => [...secrets.tokens]),
    forgotten: true,
  }
}

function portLog(state: number | undefined): Log {
  const at =
    (level: 'debug' | 'log' | 'warning') =>
    (message: string, fields?: Readonly<Record<string, unknown>>): void => {
      if (gate.lets()) {
        say({ op: 'log', state, level, message, fields: fields?.['fields'] })
      }
    }
  const log: Log = {
    debug: at('debug'),
    log: at('log'),
    warning: at('warning'),
    error: at('warning'),
    fatal: at('warning'),
    child: () => log,
  }
  return log
}
