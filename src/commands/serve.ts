/**
 * `pgbearer serve`.
 *
 * @module
 */
import { ConfigError } from '../errors.ts'
import { createLog, type Log } from '../log.ts'
import { loadSettingsFile } from '../config/load-settings.ts'
import { createServerFromFile, type Server } from '../server.ts'

/** Runs the proxy until a signal ends it. */
export async function serve({ config }: { readonly config: string }): Promise<void> {
  const settings = loadSettingsFile(config)
  const log = createLog({ format: settings.logFormat, level: settings.logMinMessages })
  const server = await createServerFromFile(config, log)
  log.log('pgbearer is ready to accept connections')
  await untilStopped(server, log)
  log.log('pgbearer is shut down')
}

async function untilStopped(server: Server, log: Log): Promise<void> {
  const onHangup = (): void => {
    void reload(server, log)
  }
  process.on('SIGHUP', onHangup)
  await new Promise<void>((resolve) => {
    let asked = false
    const stop = (signal: string): void => {
      log.log(
        `received ${signal}, ${asked ? 'ending all sessions' : 'waiting for sessions to finish'}`,
      )
      // A second signal does not wait any more.
      void server.close(asked ? { timeout: 0 } : {}).then(resolve)
      asked = true
    }
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
  })
  process.off('SIGHUP', onHangup)
}

async function reload(server: Server, log: Log): Promise<void> {
  try {
    await server.reload()
  } catch (error) {
    const problems = error instanceof ConfigError ? error.errors : [error]
    for (const problem of problems) {
      log.error(problem instanceof Error ? problem.message : String(problem), {
        code: 'ERR_CONFIG_FILE',
        ...(problem instanceof Error && 'file' in problem
          ? { file: problem.file, line: 'line' in problem ? problem.line : undefined }
          : {}),
      })
    }
    log.error('configuration was not reloaded')
  }
}
