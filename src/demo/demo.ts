/**
 * `pgbearer demo`: watch a real client log in through pgbearer into a real PostgreSQL with a signed
 * token, as the right role, and wrong tokens stay out. Everything is on this machine, and is gone at
 * the end.
 *
 * @module
 */
import { createLog } from '../log.ts'
import { commandsToPaste } from './demo-commands.ts'
import { DemoLog } from './demo-log.ts'
import { PERSON, PROGRAM, setStage, type Stage } from './demo-stage.ts'
import { requireDemoPackages } from './development-packages.ts'
import { type Conninfo, type LibpqProcess, startLibpq } from './libpq.ts'

export interface DemoOptions {
  /** Ends after the show instead of waiting for Ctrl-C. */
  readonly once: boolean
  /** Where the show goes; default: standard output. */
  readonly write?: (text: string) => void
  /** Ends the demo, as Ctrl-C does. */
  readonly signal?: AbortSignal
}

const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Something did not go as the demo promises. */
export class DemoError extends Error {
  readonly code = 'ERR_DEMO'
  override readonly name = 'DemoError'
}

/**
 * Runs the demo.
 *
 * @returns the exit code: 0 where everything went as it should.
 * @throws {MissingPackagesError} where a package that only the demo needs is not installed.
 * @throws {DemoError} where a login that should work is refused, or one that should not is not.
 */
export async function runDemo(options: DemoOptions): Promise<number> {
  requireDemoPackages()
  const write = options.write ?? ((text: string) => void process.stdout.write(text))
  const ending = endingSignal(options.signal)
  try {
    await show({ ...options, write }, ending.signal)
    return 0
  } catch (error) {
    // Whoever ends the demo early gets what they asked for.
    if (ending.signal.aborted) {
      return 0
    }
    throw error
  } finally {
    ending.release()
  }
}

async function show(
  { once, write }: Required<Pick<DemoOptions, 'once' | 'write'>>,
  signal: AbortSignal,
): Promise<void> {
  const demoLog = new DemoLog(write)
  const log = createLog({ format: 'text', write: (line) => demoLog.add(line) })
  write('pgbearer demo: all of this runs on this machine and is gone when it ends.\n\n')
  const stage = await setStage({
    log,
    signal,
    onReady: (what, where) => write(`  ${what.padEnd(22)}${where}\n`),
  })
  try {
    demoLog.showKept()
    write(`\nThe rules, pg_hba.conf:\n\n${indent(stage.rules)}`)
    const libpq = await startLibpq()
    try {
      await logInWithToken({ stage, libpq, demoLog, write })
      signal.throwIfAborted()
      await refuseTokens({ stage, libpq, demoLog, write })
    } finally {
      await libpq.stop()
    }
    write(`\n${once ? 'Without --once all of this stays up, and you can do this:\n\n' : ''}`)
    write(commandsToPaste(stage))
    if (!once) {
      write('\nIt runs until you press Ctrl-C. The log of pgbearer:\n\n')
      demoLog.follow()
      await aborted(signal)
    }
  } finally {
    write('\nending everything …\n')
    await stage[Symbol.asyncDispose]()
  }
}

interface Scene {
  readonly stage: Stage
  readonly libpq: LibpqProcess
  readonly demoLog: DemoLog
  readonly write: (text: string) => void
}

async function logInWithToken({ stage, libpq, demoLog, write }: Scene): Promise<void> {
  write(
    `\n${PERSON} gets a token (device flow) and logs in with it (libpq 18, SASL OAUTHBEARER):\n\n`,
  )
  const token = await stage.authorizationServer.requestUserToken(PERSON)
  const connection = await libpq.connect({ conninfo: conninfoOf(stage, PERSON), token })
  const sql = 'SELECT current_user, pg_backend_pid(), version()'
  const { rows, error } = await connection.execute(sql)
  const [user, pid, version] = rows[0] ?? []
  const [activity] = await stage.postgres.query(
    'SELECT usename AS user FROM pg_stat_activity WHERE pid = $1',
    [pid],
  )
  if (user !== PERSON || activity?.['user'] !== PERSON) {
    throw new DemoError(`${PERSON} logged in as ${user ?? 'nobody'} ${error}`)
  }
  write(`    current_user      ${user}
    pg_backend_pid()  ${pid}, and PostgreSQL itself has ${user} there
    version()         ${version?.replace(/ on .*/, '')}\n`)
  await connection.close()
  await demoLog.showUntil(/connection authorized/)
}

async function refuseTokens({ stage, libpq, demoLog, write }: Scene): Promise<void> {
  const { authorizationServer } = stage
  const wrongs = [
    {
      what: `${PERSON} tries a token that has expired`,
      token: await authorizationServer.mintToken({ sub: PERSON }, { expiresIn: -600 }),
    },
    {
      what: `${PROGRAM} gets a token (client credentials) and tries to be ${PERSON} with it`,
      token: await authorizationServer.requestServiceToken(),
    },
  ]
  for (const { what, token } of wrongs) {
    write(`\n${what}:\n\n`)
    const { ok, error } = await libpq.login({ conninfo: conninfoOf(stage, PERSON), token })
    if (ok) {
      throw new DemoError(`${what}, and was let in`)
    }
    // libpq also says that it tried again with the new token; its last line is the answer.
    write(indent(`${error.trimEnd().split('\n').at(-1)}\n`))
    await demoLog.showUntil(/OAuth bearer authentication failed/)
  }
}

function conninfoOf({ authorizationServer, caFile, proxyPort }: Stage, user: string): Conninfo {
  return {
    host: '127.0.0.1',
    port: proxyPort,
    user,
    dbname: 'postgres',
    sslmode: 'verify-full',
    sslrootcert: caFile,
    require_auth: 'oauth',
    oauth_issuer: authorizationServer.issuer,
    oauth_client_id: authorizationServer.deviceClient,
  }
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '    ')
}

/** Aborts at Ctrl-C and its like. A second one ends the program at once; the keepers clean up then. */
function endingSignal(signal: AbortSignal | undefined): {
  readonly signal: AbortSignal
  release(): void
} {
  const controller = new AbortController()
  const end = (): void => {
    if (controller.signal.aborted) {
      process.exit(1)
    }
    controller.abort()
  }
  for (const name of ENDING_SIGNALS) {
    process.on(name, end)
  }
  // Nobody reads any more (`pgbearer demo | head`); it stays, because more may still be written.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') {
      throw error
    }
    controller.abort()
  })
  return {
    signal: signal === undefined ? controller.signal : AbortSignal.any([controller.signal, signal]),
    release() {
      for (const name of ENDING_SIGNALS) {
        process.off(name, end)
      }
    },
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) {
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
  }
}
