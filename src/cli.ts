#!/usr/bin/env node
/**
 * The command line.
 *
 * @module
 */
import { Command, CommanderError } from 'commander'
import { addClientCommands } from './client/cli/client-commands.ts'
import type { CheckOptions } from './commands/check.ts'
import type { CheckValidatorOptions } from './commands/check-validator.ts'
import type { ExplainOptions } from './commands/explain.ts'
import { serve, StartError } from './commands/serve.ts'
import { ConfigError } from './errors.ts'
import { VERSION } from './version.ts'

/** Exit codes: 0 fine, 1 it failed or the configuration is bad, 2 refused or wrong usage. */
async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('pgbearer')
    .description('Log in to any PostgreSQL with an OAuth bearer token.')
    .version(VERSION)
    .exitOverride()
  program
    .command('serve')
    .description('run the proxy; SIGHUP reloads, SIGTERM and SIGINT drain and stop')
    .option('-c, --config <file>', 'settings file', 'pgbearer.toml')
    .action(serve)
  program
    .command('check')
    .description('load everything without listening and show rules, maps and all that is wrong')
    .option('-c, --config <file>', 'settings file', 'pgbearer.toml')
    .option('--json', 'for programs')
    .option('--expect <file>', 'who must get in, who must not, and by which line')
    .option('--without-secrets', 'leave out certificates, keys and the users file')
    .action(async (options: CheckOptions) => {
      const { check } = await import('./commands/check.ts')
      process.exitCode = await check(options)
    })
  program
    .command('explain')
    .description(
      'say why somebody gets in or does not; exits 0, or 2 where refused, or 1 for neither',
    )
    .option('-c, --config <file>', 'settings file', 'pgbearer.toml')
    .requiredOption('--user <role>', 'the role that is asked for')
    .option('--database <name>', 'default: as the role')
    .option('--address <ip>', 'where the client is; default: at a Unix socket')
    .option('--tls', 'the connection is encrypted')
    .option('--client-cert-dn <subject>', 'of its certificate, such as CN=ann,O=Example')
    .option('--replication [value]', 'physical replication, or the value of the startup parameter')
    .option('--token-file <file>', 'ask the validator about this token; - is standard input')
    .option('--identity <name>', 'as if the validator had answered so')
    .option('--json', 'for programs')
    .action(async (options: ExplainOptions) => {
      const { explain } = await import('./commands/explain.ts')
      process.exitCode = await explain(options)
    })
  program
    .command('demo')
    .description('PostgreSQL, an authorization server and the proxy on this machine')
    .option('--once', 'show it and exit')
    .action(async (options: { once?: boolean }) => {
      const { runDemo } = await import('./demo/demo.ts')
      process.exitCode = await runDemo({ once: options.once === true })
    })
  program
    .command('new-validator')
    .description('make a folder with a validator module, its test and a README')
    .argument('<name>')
    .option('--ts', 'in TypeScript')
    .action(async (name: string, options: { ts?: boolean }) => {
      const { newValidator } = await import('./commands/new-validator.ts')
      process.exitCode = await newValidator(name, options)
    })
  program
    .command('check-validator')
    .description('ask one validator module about one token; exits 0, or 2 where refused, or 1')
    .argument('<module>', 'a path such as ./acme.js, a bundled name, or a package')
    .requiredOption('--token-file <file>', '- is standard input')
    .requiredOption('--role <role>', 'the role that is asked for')
    .option('-c, --config <file>', 'settings file with the tables of the module')
    .option('--issuer <url>', 'as in the rule; the bundled modules need it')
    .option('--scope <list>', 'as in the rule')
    .option('--option <name=value...>', 'as behind "validator." in the rule')
    .option('--delegate', 'as with delegate_ident_mapping=1')
    .action(async (module: string, options: CheckValidatorOptions) => {
      const { checkValidator } = await import('./commands/check-validator.ts')
      process.exitCode = await checkValidator(module, options)
    })
  addClientCommands(program)
  await program.parseAsync(argv)
}

try {
  await main(process.argv)
} catch (error) {
  process.exitCode = exitCode(error)
}

function exitCode(error: unknown): number {
  if (error instanceof CommanderError) {
    return error.exitCode === 0 ? 0 : 2
  }
  const isList = error instanceof ConfigError || error instanceof StartError
  console.error(isList ? error.message : `pgbearer: ${describe(error)}`)
  return 1
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
