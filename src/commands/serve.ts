/**
 * `pgbearer serve`.
 *
 * @module
 */
import { loadSettingsFile } from '../config/load-settings.ts'
import { ConfigError } from '../errors.ts'
import { validatorPlaces } from '../explain/inspect-configuration.ts'
import { problemOf, problemText } from '../explain/problem.ts'
import { createLog, type Log } from '../log.ts'
import { logReload } from '../reload/log-reload.ts'
import { createServerFromFile, type Server } from '../server.ts'

/** Why nothing was started: a line for each mistake, with its file and line where it has one. */
export class StartError extends Error {
  override readonly name = 'StartError'
}

/**
 * Runs the proxy until a signal ends it.
 *
 * @throws StartError, ConfigError
 */
export async function serve({ config }: { readonly config: string }): Promise<void> {
  const settings = loadSettingsFile(config)
  const log = createLog({ format: settings.logFormat, level: settings.logMinMessages })
  const server = await createServerFromFile(config, log).catch((error: unknown) => {
    throw error instanceof ConfigError ? new StartError(located(error, config)) : error
  })
  // Handlers come before the word that all is ready: a signal may follow at once.
  const stopped = untilStopped(server, log)
  log.log('pgbearer is ready to accept connections')
  await stopped
  log.log('pgbearer is shut down')
}

function located({ errors }: ConfigError, config: string): string {
  const places = validatorPlaces(config)
  return errors.map((error) => problemText(problemOf(error, places))).join('\n')
}

async function untilStopped(server: Server, log: Log): Promise<void> {
  const onHangup = (): void => {
    void logReload(server, log)
  }
  process.on('SIGHUP', onHangup)
  await new Promise<void>((resolve) => {
    let asked = false
    const stop = (signal: string): void => {
      const what = asked ? 'ending all sessions' : 'waiting for sessions to finish'
      log.log(`received ${signal}, ${what}`)
      // A second signal does not wait any more.
      void server.close(asked ? { timeout: 0 } : {}).then(resolve)
      asked = true
    }
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
  })
  process.off('SIGHUP', onHangup)
}
