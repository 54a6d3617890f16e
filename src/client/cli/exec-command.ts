/**
 * `pgbearer exec -- psql …`: runs a program that knows nothing of OAuth against a server that wants a
 * token. The program talks to a private Unix socket; the token is in this process's memory and nowhere
 * else.
 *
 * @module
 */
import { spawn } from 'node:child_process'
import os from 'node:os'
import { type OAuthLoginOptions, type OAuthTlsOptions, planLogin } from '../connect/options.ts'
import { TokenConfigError } from '../errors.ts'
import { TokenProvider } from '../token/provider.ts'
import { type CommandStreams, type SourceFlags, readPem, sourceOf } from './command-options.ts'
import { openPrivateSocket } from './private-socket.ts'
import { reported } from './token-command.ts'

/** Flags of `pgbearer exec`. */
export interface ExecCommandOptions extends SourceFlags {
  /** The server. A directory for a Unix socket. */
  readonly host: string
  /** Default 5432. */
  readonly port?: number | undefined
  /** Given to the program as `PGUSER`. */
  readonly user?: string | undefined
  /** Given to the program as `PGDATABASE`. */
  readonly database?: string | undefined
  /** Authorities that the server's certificate is checked against, PEM. Default: Node's. */
  readonly sslrootcert?: string | undefined
  readonly sslcert?: string | undefined
  readonly sslkey?: string | undefined
  readonly sslnegotiation?: 'postgres' | 'direct' | undefined
  /** `false`: no TLS; see the next two. */
  readonly tls?: boolean | undefined
  readonly insecure?: 'loopback-only' | undefined
  readonly allowInsecureTransport?: boolean | undefined
  readonly requireAuth?: string | undefined
  /** The program and its arguments. */
  readonly command: readonly string[]
}

/**
 * What the program is told through its environment, besides `PGUSER` and `PGDATABASE` where they are
 * given. Whatever would lead it elsewhere, or make it ask for more than the private socket has, is
 * taken out.
 */
const REMOVED = [
  'PGHOSTADDR',
  'PGSERVICE',
  'PGCHANNELBINDING',
  'PGREQUIREAUTH',
  'PGREQUIRESSL',
  'PGSSLNEGOTIATION',
  'PGREQUIREPEER',
  'PGTARGETSESSIONATTRS',
] as const

/**
 * Runs the program and waits for it. The socket's directory is gone afterwards, whatever happened.
 *
 * @returns the program's exit code, 128 and the signal's number if a signal ended it, or the exit code
 * of our own error.
 */
export async function runExec(
  options: ExecCommandOptions,
  streams: CommandStreams = process,
): Promise<number> {
  return reported(streams, async () => {
    const [program, ...args] = options.command
    if (program === undefined) {
      throw new TokenConfigError('no program is named')
    }
    await using provider = new TokenProvider(await sourceOf(options, streams))
    const plan = planLogin({ ...(await loginOptions(options, streams)), token: provider })
    const endpoint = { host: options.host, port: options.port ?? 5432 }
    await using socket = await openPrivateSocket(plan, [endpoint])
    return await run(program, args, environmentFor(options, socket))
  })
}

async function loginOptions(
  options: ExecCommandOptions,
  streams: CommandStreams,
): Promise<Omit<OAuthLoginOptions, 'token'>> {
  const { issuer, clientId, scope, sslnegotiation, insecure, requireAuth } = options
  return {
    issuer,
    clientId,
    scope,
    sslnegotiation,
    insecure,
    requireAuth,
    tls: options.tls === false ? false : await tlsOptions(options),
    allowInsecureTransport: options.allowInsecureTransport,
    allowInsecureIssuer: options.allowInsecureIssuer,
    log: {
      debug() {},
      warning: (message) => void streams.stderr.write(`pgbearer: warning: ${message}\n`),
    },
  }
}

async function tlsOptions(options: ExecCommandOptions): Promise<OAuthTlsOptions> {
  const { sslrootcert, sslcert, sslkey } = options
  return {
    ca: sslrootcert === undefined ? undefined : await readPem(sslrootcert),
    cert: sslcert === undefined ? undefined : await readPem(sslcert),
    key: sslkey === undefined ? undefined : await readPem(sslkey),
  }
}

function environmentFor(
  { user, database, variable }: ExecCommandOptions,
  socket: { readonly directory: string; readonly port: number },
): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = {
    ...process.env,
    PGHOST: socket.directory,
    PGPORT: String(socket.port),
    PGSSLMODE: 'disable',
    PGGSSENCMODE: 'disable',
    ...(user === undefined ? {} : { PGUSER: user }),
    ...(database === undefined ? {} : { PGDATABASE: database }),
  }
  // The variable that a token came in (sources env and gitlab) is for us, not for the program.
  for (const name of [...REMOVED, ...(variable === undefined ? [] : [variable])]) {
    delete environment[name]
  }
  return environment
}

const PASSED_ON = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT'] as const

function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit', env, shell: false })
    const handlers = PASSED_ON.map((signal) => {
      const pass = (): void => {
        // A terminal sends these two to the program itself.
        if (!(process.stdin.isTTY && (signal === 'SIGINT' || signal === 'SIGQUIT'))) {
          child.kill(signal)
        }
      }
      process.on(signal, pass)
      return [signal, pass] as const
    })
    const settle = (): void => {
      for (const [signal, pass] of handlers) {
        process.off(signal, pass)
      }
    }
    child.on('error', (error: NodeJS.ErrnoException) => {
      settle()
      reject(new TokenConfigError(`could not run ${program}: ${error.code}`))
    })
    child.on('exit', (code, signal) => {
      settle()
      resolve(code ?? 128 + os.constants.signals[signal ?? 'SIGKILL'])
    })
  })
}
