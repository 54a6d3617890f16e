/**
 * `pgbearer token` and `pgbearer exec` for the command line: flags in, exit codes out.
 *
 * @module
 */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { SOURCE_ENVIRONMENTS } from '../config/source-config.ts'
import { parseOAuthConnectionString } from '../config/connection-string.ts'
import { TokenConfigError } from '../errors.ts'
import type { CommandStreams, SourceFlags } from './command-options.ts'
import { type ExecCommandOptions, runExec } from './exec-command.ts'
import {
  type TokenCommandOptions,
  reported,
  runLogoutCommand,
  runTokenCommand,
} from './token-command.ts'

/** Adds the two commands; each sets `process.exitCode`. */
export function addClientCommands(program: Command, streams: CommandStreams = process): void {
  const token = withSourceFlags(
    program
      .command('token')
      .description('print a token, and nothing else, on stdout')
      .argument('[action]', 'logout: revoke the refresh token that is kept, and forget it'),
  )
    .addOption(new Option('--format <format>', 'what to print').choices(['raw', 'json']))
    .option('-U, --user <role>', 'the role that the token is for')
  token.action(async (action: string | undefined, flags: TokenCommandOptions) => {
    process.exitCode = await runToken(action, flags, streams)
  })

  const exec = withSourceFlags(
    program
      .command('exec')
      .description('run a program that knows no OAuth against a server that wants a token')
      .argument('<program...>', 'the program and its arguments, after --'),
  )
    .option('--host <host>', 'the server')
    .option('-p, --port <port>', 'its port', port)
    .option('-U, --user <role>', 'PGUSER for the program')
    .option('-d, --database <name>', 'PGDATABASE for the program, or a connection string')
    .option('--sslrootcert <file>', 'authorities of the server’s certificate')
    .option('--sslcert <file>', 'a client certificate')
    .option('--sslkey <file>', 'its key')
    .addOption(
      new Option('--sslnegotiation <how>', 'how TLS begins').choices(['postgres', 'direct']),
    )
    .option('--require-auth <methods>', 'as libpq’s require_auth; default oauth')
    .option('--no-tls', 'no TLS: needs one of the next two')
    .option('--insecure-loopback', 'allow that to a server on this machine')
    .option('--allow-insecure-transport', 'allow that to any server: the token can be stolen')
  exec.action(async (command: readonly string[], flags: ExecFlags) => {
    process.exitCode = await reported(streams, async () =>
      runExec(execOptions(command, flags), streams),
    )
  })
}

interface ExecFlags extends Partial<Omit<ExecCommandOptions, 'command' | 'insecure'>> {
  readonly insecureLoopback?: boolean
}

async function runToken(
  action: string | undefined,
  flags: TokenCommandOptions,
  streams: CommandStreams,
): Promise<number> {
  if (action === 'logout') {
    return runLogoutCommand(flags, streams)
  }
  if (action === undefined) {
    return runTokenCommand(flags, streams)
  }
  return reported(streams, async () => {
    throw new TokenConfigError(`unknown action "${action}"`)
  })
}

/** A flag wins over what the connection string says. */
function execOptions(command: readonly string[], flags: ExecFlags): ExecCommandOptions {
  const { insecureLoopback, ...options } = flags
  const given = isConnectionString(options.database) ? fromString(options.database ?? '') : {}
  const own = Object.entries(options).filter(
    ([name, value]) => value !== undefined && !(name === 'database' && 'database' in given),
  )
  const merged: Partial<ExecCommandOptions> = { ...given, ...Object.fromEntries(own) }
  const { host } = merged
  if (host === undefined) {
    throw new TokenConfigError('no server is named: --host')
  }
  return {
    ...merged,
    host,
    command,
    insecure: insecureLoopback === true ? 'loopback-only' : undefined,
  }
}

function isConnectionString(text: string | undefined): boolean {
  return text !== undefined && (/^postgres(?:ql)?:\/\//.test(text) || text.includes('='))
}

function fromString(text: string): Partial<ExecCommandOptions> {
  const parsed = parseOAuthConnectionString(text)
  if (parsed.clientSecret !== undefined) {
    throw new TokenConfigError(
      'a client secret in an argument is seen by everybody on this machine: --client-secret-file',
    )
  }
  if (parsed.channelBinding === 'require') {
    throw new TokenConfigError('channel binding is required, but OAUTHBEARER does not support it')
  }
  const { source, caFile, channelBinding: _channelBinding, ...rest } = parsed
  const known = { ...rest, oauthCaFile: caFile, ...sourceFlags(source) }
  return {
    database: undefined,
    ...Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined)),
  }
}

function sourceFlags(
  source: { readonly environment: string; readonly [name: string]: unknown } | undefined,
): SourceFlags {
  if (source === undefined) {
    return {}
  }
  const { environment, ...properties } = source
  return { source: environment, ...properties }
}

function withSourceFlags(command: Command): Command {
  return command
    .addOption(
      new Option('--source <name>', 'where the token comes from; default device').choices([
        ...SOURCE_ENVIRONMENTS,
      ]),
    )
    .option('--issuer <url>', 'the authorization server that is trusted')
    .option('--client-id <id>', 'who we are there')
    .option('--client-secret-file <file>', 'a file with our secret')
    .addOption(
      new Option('--client-authentication <how>', 'where the secret goes').choices([
        'basic',
        'post',
      ]),
    )
    .option('--scope <scopes>', 'what to ask for; default: what the server says')
    .option('--resource <uri>', 'resource indicator')
    .option('--audience <audience>', 'audience')
    .option('--redirect-uri <uri>', 'of the source code: a loopback address')
    .option('--oauth-ca-file <file>', 'authorities of the authorization server’s certificate')
    .option('--path <file>', 'of the sources file and k8s')
    .option('--variable <name>', 'of the sources env and gitlab')
    .option('--token-command <words...>', 'of the source exec')
    .option('--refresh-token-file <file>', 'where refresh tokens are kept; default: nowhere')
    .option('--allow-insecure-issuer', 'allow an http: issuer')
    .option('--force', 'print to a terminal; prompt although nobody may be there')
}

function port(text: string): number {
  const number = Number(text)
  if (!/^\d+$/.test(text) || number < 1 || number > 65_535) {
    throw new InvalidArgumentError('it is not a port number')
  }
  return number
}
