#!/usr/bin/env node
/**
 * The command line.
 *
 * @module
 */
import { Command, CommanderError } from 'commander'
import { serve } from './commands/serve.ts'
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
    .command('demo')
    .description('PostgreSQL, an authorization server and the proxy on this machine')
    .option('--once', 'show it and exit')
    .action(async (options: { once?: boolean }) => {
      const { runDemo } = await import('./demo/demo.ts')
      process.exitCode = await runDemo({ once: options.once === true })
    })
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
  console.error(error instanceof ConfigError ? error.message : `pgbearer: ${describe(error)}`)
  return 1
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
